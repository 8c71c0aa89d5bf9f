import { dirname, join } from 'node:path';
import type { FileSystem } from '../../contracts/runtime.ts';
import { fileFault } from '../log/embedded/check/file-check.ts';
import { diskError } from '../log/embedded/disk-error.ts';
import { LOG_FOLDER, logFolder } from '../log/embedded/log-folder.ts';
import type { HeldFolder } from '../log/embedded/held-log.ts';
import { readBackups, SHARED_FOLDER } from './backup-folder.ts';
import type { BackupFile } from './backup-list.ts';
import type { Copying } from './copy-file.ts';
import { filesOf } from './log-files.ts';
import { restoreFile } from './restore.ts';

export interface MendOptions extends Copying {
  readonly files: FileSystem;
  /** Absolute path of the folder of backups. */
  readonly from: string;
  /** Of a hub that does not run. */
  readonly folder: HeldFolder;
}

export interface Mended {
  /** Paths in the data folder of files that were put back. */
  readonly mended: readonly string[];
  /** Of those that are damaged, and that no backup has. */
  readonly missing: readonly string[];
}

/**
 * Puts files of the logs that never change, and are damaged or gone, back from whichever backup has them. The logs keep all
 * that came after the backup.
 * @throws TidemarkError `BACKUP_FOLDER`, `BACKUP_DAMAGED`, `LOG_WRITE_FAILED`, `LOG_DISK_FULL`, `ABORTED`
 */
export async function mendLogs(options: MendOptions): Promise<Mended> {
  const { files, from, folder, signal } = options;
  const stored = new Map<string, BackupFile>();
  for (const { list } of (await readBackups(files, from)).backups) for (const file of list.files) stored.set(file.stored, file);
  const mended: string[] = [];
  const missing: string[] = [];
  for (const { folder: name, manifest } of folder.logs) {
    for (const file of filesOf(manifest).lasting) {
      const path = join(logFolder(folder.data, name), file.name);
      if ((await fileFault(files, path, file, signal)) === null) continue;
      const copy = stored.get(`${SHARED_FOLDER}/${manifest.logId}/${file.sharedName}`);
      const shown = `${LOG_FOLDER}/${name}/${file.name}`;
      if (copy === undefined) missing.push(shown);
      else {
        await putBack(options, copy, path);
        mended.push(shown);
      }
    }
  }
  return { mended, missing };
}

async function putBack(options: MendOptions, copy: BackupFile, path: string): Promise<void> {
  const { files } = options;
  try {
    await files.remove(`${path}.new`);
    await restoreFile(options, copy, `${path}.new`);
    await files.rename(`${path}.new`, path);
    await files.syncDirectory(dirname(path));
  } catch (error) {
    throw diskError(error, 'a file could not be put back', { file: path });
  }
}
