import { dirname, join } from 'node:path';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { FileSystem } from '../../contracts/runtime.ts';
import { folderError } from '../log/embedded/disk-error.ts';
import { MANIFEST_FILE } from '../log/embedded/manifest.ts';
import { RESTORING_FILE } from '../log/embedded/unfinished.ts';
import { backupList, backupNames } from './backup-folder.ts';
import type { BackupFile, BackupList } from './backup-list.ts';
import { copyFile, type Copying } from './copy-file.ts';

export interface RestoreOptions extends Copying {
  readonly files: FileSystem;
  /** Absolute path of the folder of backups. */
  readonly from: string;
  readonly list: BackupList;
  /** Absolute path of the data folder: empty, or not there. */
  readonly to: string;
}

/** A backup by its name; null: the newest. @throws TidemarkError `BACKUP_UNKNOWN`, `BACKUP_DAMAGED`, `BACKUP_FOLDER` */
export async function chosenBackup(files: FileSystem, from: string, name: string | null): Promise<{ readonly name: string; readonly list: BackupList }> {
  const chosen = name ?? (await backupNames(files, from)).at(-1);
  if (chosen === undefined) throw new TidemarkError('BACKUP_UNKNOWN', `there is no complete backup in ${from}`, { where: { file: from } });
  return { name: chosen, list: await backupList(files, from, chosen) };
}

/**
 * Writes a data folder as a backup has it; every file's checksum is compared. A hub does not start in a folder that is
 * not complete. Files are copied, never shared with the backup.
 *
 * Nothing in the logs is changed: a hub that opens them begins an epoch there, so that what the hub that was backed up has
 * written since then is told apart from what this one writes at the same offsets.
 * @throws TidemarkError `RESTORE_NOT_EMPTY`, `BACKUP_DAMAGED`, `LOG_WRITE_FAILED`, `LOG_DISK_FULL`, `ABORTED`
 */
export async function restoreBackup(options: RestoreOptions): Promise<void> {
  const { files, list, to } = options;
  try {
    if ((await files.exists(to)) && (await files.list(to)).length > 0) {
      throw new TidemarkError('RESTORE_NOT_EMPTY', `${to} is not empty`, { where: { file: to } });
    }
    await files.makeDirectory(to);
    await files.replace(join(to, RESTORING_FILE), Buffer.from('A backup is being restored to this folder.\n', 'latin1'));
    const folders = new Set<string>([to]);
    for (const file of manifestsLast(list.files)) {
      const target = join(to, ...file.path.split('/'));
      await files.makeDirectory(dirname(target));
      for (let folder = dirname(target); folder.length > to.length; folder = dirname(folder)) folders.add(folder);
      await restoreFile(options, file, target);
    }
    for (const folder of folders) await files.syncDirectory(folder);
    await files.remove(join(to, RESTORING_FILE));
    await files.syncDirectory(to);
    await files.syncDirectory(dirname(to));
  } catch (error) {
    throw folderError(error, 'the backup could not be restored', to);
  }
}

/** Copies one file of a backup to a name that is not taken. @throws TidemarkError `BACKUP_DAMAGED` */
export async function restoreFile({ files, from, signal, progress }: Pick<RestoreOptions, 'files' | 'from' | 'signal' | 'progress'>, file: BackupFile, target: string): Promise<void> {
  const stored = join(from, ...file.stored.split('/'));
  if (!(await files.exists(stored))) throw new TidemarkError('BACKUP_DAMAGED', 'a file of the backup is missing', { where: { file: stored } });
  const copied = await copyFile(files, stored, target, { signal, progress });
  if (copied.bytes === file.bytes && copied.crc === file.crc) return;
  throw new TidemarkError('BACKUP_DAMAGED', 'a file of the backup does not hold what was written to it', { where: { file: stored } });
}

function manifestsLast(all: readonly BackupFile[]): BackupFile[] {
  const isManifest = ({ path }: BackupFile): boolean => path.endsWith(`/${MANIFEST_FILE}`);
  return [...all.filter((file) => !isManifest(file)), ...all.filter(isManifest)];
}
