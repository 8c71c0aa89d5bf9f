import { ClassicLevel } from 'classic-level';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import { folderError } from './disk-error.ts';

/** Keeps a second hub out of a data folder. */
export interface DirectoryLock {
  /** The lock is held until it is disposed or the process ends. @throws TidemarkError `LOG_LOCKED`, `FOLDER_DENIED`, `LOG_DISK_FULL` */
  acquire(directory: string, runtime: Runtime): Promise<AsyncDisposable>;
}

const OWNER_FILE = 'hub.pid';

/**
 * Node has no file lock. LevelDB takes one that the kernel holds for the process (it is gone at once after `kill -9`,
 * and never left over), so an empty database in the folder is the lock. Who holds it stands in a file beside it.
 */
export const levelLock: DirectoryLock = {
  async acquire(directory, runtime) {
    const owner = join(directory, OWNER_FILE);
    const database = new ClassicLevel(join(directory, 'lock'), { cacheSize: 1 << 16, writeBufferSize: 1 << 16 });
    try {
      await database.open();
    } catch (error) {
      await database.close();
      if (!isLocked(error)) throw folderError(innermost(error), `${directory} cannot be locked`, directory);
      throw new TidemarkError('LOG_LOCKED', `${directory} is in use${await describeOwner(owner, runtime)}`, {
        where: { file: directory },
        cause: error,
      });
    }
    try {
      await runtime.files.replace(owner, Buffer.from(`${process.pid} ${hostname()}\n`));
    } catch (error) {
      await database.close();
      throw folderError(error, `${directory} cannot be locked`, directory);
    }
    return {
      async [Symbol.asyncDispose]() {
        await runtime.files.remove(owner);
        await database.close();
      },
    };
  },
};

/** LevelDB's own errors say only that it could not be opened. */
function innermost(error: unknown): unknown {
  let at = error;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  return at;
}

function isLocked(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if ('code' in at && at.code === 'LEVEL_LOCKED') return true;
  return false;
}

async function describeOwner(path: string, runtime: Runtime): Promise<string> {
  if (!(await runtime.files.exists(path))) return '';
  const [pid, host] = (await runtime.files.readFile(path)).toString('utf8').trim().split(' ');
  return pid === undefined || pid === '' ? '' : ` by process ${pid}${host === undefined ? '' : ` on ${host}`}`;
}
