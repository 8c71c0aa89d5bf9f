import { constants } from 'node:fs';
import { type FileHandle, access, link, lstat, mkdir, open, readFile, readdir, rename, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FileSystem, LogFile } from '../../contracts/runtime.ts';

const FLAGS = {
  read: constants.O_RDONLY,
  write: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
} as const;

/**
 * The file system of the machine.
 * - `open`: `read` and `write` want an existing file (`ENOENT` otherwise); `create` wants none (`EEXIST` otherwise), so
 *   that a file of the log is never overwritten by mistake. The new name is durable only after `syncDirectory`.
 * - `list` answers names, sorted. `remove` takes files and whole directories; one that is not there is no error.
 * - `rename` replaces the target atomically; durable only after `syncDirectory`.
 * Errors are Node's own, with `code` (`ENOSPC`, `EIO`, ...).
 */
export const nodeFiles: FileSystem = {
  async open(path, mode) {
    return new NodeLogFile(await open(path, FLAGS[mode], 0o600));
  },
  readFile: (path) => readFile(path),
  replace,
  async list(directory) {
    return (await readdir(directory)).toSorted();
  },
  async makeDirectory(path) {
    await mkdir(path, { recursive: true, mode: 0o700 });
  },
  remove: (path) => rm(path, { recursive: true, force: true }),
  rename: (from, to) => rename(from, to),
  link: (from, to) => link(from, to),
  syncDirectory,
  async space(path) {
    const { bavail, blocks, bsize } = await statfs(path);
    return { free: bavail * bsize, total: blocks * bsize };
  },
  taken,
  async exists(path) {
    try {
      await access(path);
      return true;
    } catch (error) {
      if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return false;
      throw error;
    }
  },
};

/** Bytes of a block, as `stat` counts them. */
const STAT_BLOCK = 512;

/** What goes meanwhile counts as nothing. */
async function taken(path: string): Promise<number> {
  try {
    const found = await lstat(path);
    let bytes = found.blocks * STAT_BLOCK;
    if (found.isDirectory()) for (const name of await readdir(path)) bytes += await taken(join(path, name));
    return bytes;
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return 0;
    throw error;
  }
}

/** The name of the file that `replace` writes before it is renamed; one left by a crash is overwritten by the next. */
function temporaryName(path: string): string {
  return `${path}.new`;
}

async function replace(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await writeTemporary(temporary, bytes);
  } catch (error) {
    // On a full disk what there is of it is in the way.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

async function writeTemporary(temporary: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
  try {
    await writeAll(handle, [bytes], 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

class NodeLogFile implements LogFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  write(bytes: readonly Uint8Array[], position: number): Promise<void> {
    return writeAll(this.#handle, bytes, position);
  }

  /** Short only at the end of the file. */
  async read(into: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const { bytesRead } = await this.#handle.read(into, done, into.length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  sync(): Promise<void> {
    return this.#handle.datasync();
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length);
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** Writes every byte, however short the single writes are. */
async function writeAll(handle: FileHandle, bytes: readonly Uint8Array[], position: number): Promise<void> {
  let pending = bytes.filter((part) => part.length > 0);
  let at = position;
  while (pending.length > 0) {
    const first = pending[0];
    const { bytesWritten } =
      pending.length === 1 && first !== undefined
        ? await handle.write(first, 0, first.length, at)
        : await handle.writev(pending, at);
    at += bytesWritten;
    pending = dropWritten(pending, bytesWritten);
  }
}

function dropWritten(parts: readonly Uint8Array[], written: number): Uint8Array[] {
  let left = written;
  const rest: Uint8Array[] = [];
  for (const part of parts) {
    if (left >= part.length) {
      left -= part.length;
    } else {
      rest.push(left === 0 ? part : part.subarray(left));
      left = 0;
    }
  }
  return rest;
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
