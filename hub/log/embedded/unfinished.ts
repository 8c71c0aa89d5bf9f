import { join } from 'node:path';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';

/** Stands in a data folder for as long as a restore writes it. */
export const RESTORING_FILE = 'restoring';

/** @throws TidemarkError `RESTORE_UNFINISHED` */
export async function mustBeRestored(files: FileSystem, data: string): Promise<void> {
  const file = join(data, RESTORING_FILE);
  if (await files.exists(file)) throw new TidemarkError('RESTORE_UNFINISHED', `a restore to ${data} did not come to its end`, { where: { file } });
}
