import { TidemarkError, type ErrorWhere } from '../../../contracts/errors/error.ts';

const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
/** No write can succeed there as it is. */
const DENIED: ReadonlySet<unknown> = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST']);
/** LevelDB gives no code. */
const DENIED_IN_WORDS = /permission denied|read-only file system/i;

/** What a failed write or sync means: `LOG_DISK_FULL` or `LOG_WRITE_FAILED`; a TidemarkError stays itself. */
export function diskError(error: unknown, what: string, where: ErrorWhere): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const detail = error instanceof Error ? error.message : String(error);
  return new TidemarkError(FULL.has(code) ? 'LOG_DISK_FULL' : 'LOG_WRITE_FAILED', `${what}: ${detail}`, { where, cause: error });
}

/** What it means that a folder cannot be made or used: `FOLDER_DENIED` where nobody may write there, else as {@link diskError}. */
export function folderError(error: unknown, what: string, directory: string): TidemarkError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const failed = diskError(error, what, { file: directory });
  return DENIED.has(code) || DENIED_IN_WORDS.test(failed.message) ? new TidemarkError('FOLDER_DENIED', failed.message, { where: failed.where, cause: error }) : failed;
}

/** What a failed read means: `LOG_READ_FAILED`; a TidemarkError stays itself. */
export function readError(error: unknown, where: ErrorWhere): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new TidemarkError('LOG_READ_FAILED', `the log could not be read: ${detail}`, { where, cause: error });
}
