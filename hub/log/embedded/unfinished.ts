import { join } from 'node:path';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';
import { readError } from './disk-error.ts';

/** Stands in a data folder for as long as a restore writes it. */
export const RESTORING_FILE = 'restoring';

/** @throws TidemarkError `RESTORE_UNFINISHED`, `LOG_READ_FAILED` */
export async function mustBeRestored(files: FileSystem, data: string): Promise<void> {
  const file = join(data, RESTORING_FILE);
  const isThere = await files.exists(file).catch((error: unknown) => {
    throw readError(error, { file });
  });
  if (isThere) throw new TidemarkError('RESTORE_UNFINISHED', `a restore to ${data} did not come to its end`, { where: { file } });
}
