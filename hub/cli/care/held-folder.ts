/** The logs of a hub for a command that reads their files itself: held by the hub that runs, or locked while none does. */
import { asTidemarkError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { FileSystem, Runtime } from '../../../contracts/runtime.ts';
import { holdAt } from '../../api/hold.ts';
import { logFolders, stoppedLog, type HeldFolder, type HeldLog } from '../../log/embedded/held-log.ts';
import { levelLock } from '../../log/embedded/lock.ts';
import type { CliContext } from '../context.ts';
import { withHub, type HubOptions } from '../hub-access.ts';

/** A log whose manifest cannot be read: nothing else of it can be understood. */
export interface UnreadableLog {
  readonly source: string;
  readonly folder: string;
  readonly error: TidemarkError;
}

export interface Held {
  readonly folder: HeldFolder;
  readonly unreadable: readonly UnreadableLog[];
  /** Aborts when the command is to end, and when the files are not held any more. */
  readonly signal: AbortSignal;
}

/** @throws TidemarkError `LOG_UNKNOWN`, `LOG_LOCKED` by a hub that does not answer, what the API answers */
export async function withHeldFolder<T>(options: HubOptions, context: CliContext, runtime: Runtime, use: (held: Held) => Promise<T>): Promise<T> {
  return withHub(
    options,
    context,
    async (client) => {
      await using hold = await holdAt(client, context.signal);
      const unreadable = await leftOut(runtime.files, hold.folder);
      return await use({ folder: hold.folder, unreadable, signal: AbortSignal.any([context.signal, hold.lost]) });
    },
    async (data) => {
      const folders = await logFolders(runtime.files, data);
      await using _lock = await lockIfWritable(data, runtime);
      const logs: HeldLog[] = [];
      const unreadable: UnreadableLog[] = [];
      for (const { source, folder } of folders) {
        const log = await readable(runtime.files, data, source, folder);
        if ('error' in log) unreadable.push(log);
        else logs.push(log);
      }
      return await use({ folder: { data, logs }, unreadable, signal: context.signal });
    },
  );
}

/** Keeps a hub from being started meanwhile. Where nothing can be written, none can be. */
async function lockIfWritable(data: string, runtime: Runtime): Promise<AsyncDisposable | null> {
  try {
    return await levelLock.acquire(data, runtime);
  } catch (error) {
    if (error instanceof TidemarkError) throw error;
    return null;
  }
}

/** What the running hub could not make anything of. */
async function leftOut(files: FileSystem, { data, logs }: HeldFolder): Promise<UnreadableLog[]> {
  const held = new Set(logs.map(({ folder }) => folder));
  const unreadable: UnreadableLog[] = [];
  for (const { source, folder } of await logFolders(files, data)) {
    if (held.has(folder)) continue;
    const log = await readable(files, data, source, folder);
    if ('error' in log) unreadable.push(log);
  }
  return unreadable;
}

async function readable(files: FileSystem, data: string, source: string, folder: string): Promise<HeldLog | UnreadableLog> {
  try {
    return await stoppedLog(files, data, folder);
  } catch (error) {
    return { source, folder, error: asTidemarkError(error, 'LOG_READ_FAILED', { source }) };
  }
}
