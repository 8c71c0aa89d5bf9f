import { crc32 } from 'node:zlib';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { FileSystem, LogFile } from '../../contracts/runtime.ts';

const CHUNK = 1 << 20;

export interface Copying {
  readonly signal: AbortSignal;
  /** So many bytes more are done. */
  readonly progress: (bytes: number) => void;
}

export interface Copied {
  readonly bytes: number;
  readonly crc: number;
}

export async function sizeOf(files: FileSystem, path: string): Promise<number> {
  const file = await files.open(path, 'read');
  try {
    return await file.size();
  } finally {
    await file.close();
  }
}

/** Length and checksum of a file. @throws TidemarkError `ABORTED`; Node's errors */
export async function sumFile(files: FileSystem, path: string, copying: Copying): Promise<Copied> {
  const file = await files.open(path, 'read');
  try {
    return await eachChunk(file, path, null, copying, null);
  } finally {
    await file.close();
  }
}

/**
 * Copies a file, or its first `limit` bytes, to a name that is not taken. Its bytes are durable, its name when the caller
 * syncs the directory.
 * @throws TidemarkError `ABORTED`, `LOG_CORRUPT` when it is shorter than the limit; Node's errors
 */
export async function copyFile(files: FileSystem, from: string, to: string, copying: Copying, limit: number | null = null): Promise<Copied> {
  const source = await files.open(from, 'read');
  try {
    const target = await files.open(to, 'create');
    try {
      const copied = await eachChunk(source, from, limit, copying, target);
      await target.sync();
      return copied;
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function eachChunk(source: LogFile, path: string, limit: number | null, { signal, progress }: Copying, target: LogFile | null): Promise<Copied> {
  const bytes = limit ?? (await source.size());
  let crc = 0;
  for (let at = 0; at < bytes; ) {
    if (signal.aborted) throw signal.reason instanceof TidemarkError ? signal.reason : new TidemarkError('ABORTED', 'the copy was given up', { cause: signal.reason });
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK, bytes - at));
    const read = await source.read(chunk, at);
    if (read < chunk.length) throw new TidemarkError('LOG_CORRUPT', `the file ends at byte ${at + read} instead of ${bytes}`, { where: { file: path } });
    crc = crc32(chunk, crc);
    await target?.write([chunk], at);
    at += read;
    progress(read);
  }
  return { bytes, crc };
}
