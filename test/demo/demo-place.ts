import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory } from '../fixtures/temp.ts';

const root = resolve(import.meta.dirname, '../..');

/** The temporary folder of one demo, so that everything that it makes is seen. */
export async function openPlace(): Promise<TemporaryDirectory> {
  const place = await temporaryDirectory('place');
  chmodSync(place.path, 0o755);
  return place;
}

export function startDemo(place: TemporaryDirectory, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [join(root, 'demo/main.ts'), ...args], {
    cwd: root,
    env: { ...process.env, TMPDIR: place.path },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
}

export async function ended(demo: ChildProcess): Promise<{ status: number | null; output: string }> {
  let output = '';
  for (const stream of [demo.stdout, demo.stderr]) stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [status] = (await once(demo, 'close')) as [number | null];
  return { status, output };
}

export async function printed(demo: ChildProcess, wanted: string): Promise<string> {
  let output = '';
  return new Promise((resolvePrinted, reject) => {
    demo.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes(wanted)) resolvePrinted(output);
    });
    demo.once('close', () => reject(new Error(`the demo ended before "${wanted}":\n${output}`)));
  });
}

/** Command lines of processes that work in the place. */
export function processesIn(place: TemporaryDirectory): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      if (environment.includes(`TMPDIR=${place.path}\0`) && command !== '') found.push(command);
    } catch (error) {
      // It has ended since, or is somebody else's.
      if (!(error instanceof Error && 'code' in error && ['ENOENT', 'EACCES', 'ESRCH', 'EPERM'].includes(String(error.code)))) throw error;
    }
  }
  return found;
}
