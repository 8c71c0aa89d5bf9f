import { readFile } from 'node:fs/promises';

/** The peak resident memory of a process so far, in megabytes (10^6 bytes), as the kernel keeps it (Linux). */
export async function peakRssMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kibibytes = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]);
  if (!Number.isFinite(kibibytes)) throw new Error(`/proc/${pid}/status names no peak`);
  return (kibibytes * 1024) / 1e6;
}
