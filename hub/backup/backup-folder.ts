/**
 * A folder of backups.
 *
 *     <folder>/tidemark-backups            says that it is one, and in which format
 *     <folder>/files/<log id>/...          files of logs that never change: shared by all backups that name them
 *     <folder>/backups/<name>/backup       the list of one backup: what it is made of
 *     <folder>/backups/<name>/data/...     what is its own: manifests, ends of logs, files of sinks
 *     <folder>/lock, hub.pid               keep a second backup out meanwhile
 *
 * The list is written when all that it names is durable, and replaced as a whole: a backup is complete, or not there. What
 * an interrupted one leaves is removed by the next. To remove a backup remove its folder; shared files that no backup names
 * are removed by the next one.
 */
import { join } from 'node:path';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { FileSystem } from '../../contracts/runtime.ts';
import { folderError } from '../log/embedded/disk-error.ts';
import { decodeBackupList, type BackupList } from './backup-list.ts';

const MARKER_FILE = 'tidemark-backups';
const MARKER = 'tidemark-backups 1\n';
export const LIST_FILE = 'backup';
export const SHARED_FOLDER = 'files';
export const BACKUPS_FOLDER = 'backups';
/** What the lock of the folder leaves in it. */
const OF_LOCK: ReadonlySet<string> = new Set(['lock', 'hub.pid', 'hub.pid.new']);

/** A complete backup. */
export interface NamedBackup {
  readonly name: string;
  readonly list: BackupList;
}

/** Makes an empty folder one of backups; one that is stays as it is. @throws TidemarkError `BACKUP_FOLDER`, `FOLDER_DENIED`, `LOG_DISK_FULL` */
export async function claimFolder(files: FileSystem, folder: string): Promise<void> {
  try {
    await claim(files, folder);
  } catch (error) {
    throw folderError(error, 'the folder of backups could not be made', folder);
  }
}

async function claim(files: FileSystem, folder: string): Promise<void> {
  if (await files.exists(join(folder, MARKER_FILE))) return mustBeBackups(files, folder);
  await files.makeDirectory(folder);
  const others = (await files.list(folder)).filter((name) => !OF_LOCK.has(name) && name !== SHARED_FOLDER && name !== BACKUPS_FOLDER);
  if (others.length > 0) throw new TidemarkError('BACKUP_FOLDER', `${folder} is not empty, and no folder of backups`, { where: { file: folder } });
  for (const name of [SHARED_FOLDER, BACKUPS_FOLDER]) await files.makeDirectory(join(folder, name));
  await files.replace(join(folder, MARKER_FILE), Buffer.from(MARKER, 'latin1'));
}

/** @throws TidemarkError `BACKUP_FOLDER` */
export async function mustBeBackups(files: FileSystem, folder: string): Promise<void> {
  const path = join(folder, MARKER_FILE);
  const marker = (await files.exists(path)) ? (await files.readFile(path)).toString('latin1') : '';
  if (marker !== MARKER) throw new TidemarkError('BACKUP_FOLDER', `${folder} is no folder of backups that this version knows`, { where: { file: path } });
}

/** The backups of a folder, and those whose list cannot be read: what they name is not known. */
export interface KnownBackups {
  /** From the oldest to the newest. */
  readonly backups: readonly NamedBackup[];
  readonly damaged: readonly string[];
}

/** @throws TidemarkError `BACKUP_FOLDER`, also for a backup of a newer format */
export async function readBackups(files: FileSystem, folder: string): Promise<KnownBackups> {
  const backups: NamedBackup[] = [];
  const damaged: string[] = [];
  for (const name of await backupNames(files, folder)) {
    try {
      backups.push({ name, list: await backupList(files, folder, name) });
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'BACKUP_DAMAGED') throw error;
      damaged.push(name);
    }
  }
  return { backups, damaged };
}

/** Names of the complete backups, from the oldest to the newest: they begin with the time. @throws TidemarkError `BACKUP_FOLDER` */
export async function backupNames(files: FileSystem, folder: string): Promise<string[]> {
  await mustBeBackups(files, folder);
  const names: string[] = [];
  for (const name of await files.list(join(folder, BACKUPS_FOLDER))) {
    if (await files.exists(join(folder, BACKUPS_FOLDER, name, LIST_FILE))) names.push(name);
  }
  return names.toSorted();
}

/** @throws TidemarkError `BACKUP_UNKNOWN`, `BACKUP_DAMAGED`, `BACKUP_FOLDER` for a newer format */
export async function backupList(files: FileSystem, folder: string, name: string): Promise<BackupList> {
  const path = join(folder, BACKUPS_FOLDER, name, LIST_FILE);
  if (!/^[\w-]+$/.test(name) || !(await files.exists(path))) {
    throw new TidemarkError('BACKUP_UNKNOWN', `there is no complete backup ${name} in ${folder}`, { where: { file: path } });
  }
  return decodeBackupList(await files.readFile(path), path);
}

/** Removes what interrupted backups left, and shared files that no backup names, where that is known of all of them. */
export async function removeLeftovers(files: FileSystem, folder: string, { backups, damaged }: KnownBackups): Promise<void> {
  const names = new Set([...backups.map(({ name }) => name), ...damaged]);
  for (const name of await files.list(join(folder, BACKUPS_FOLDER))) {
    if (!names.has(name)) await files.remove(join(folder, BACKUPS_FOLDER, name));
  }
  if (damaged.length > 0) return;
  const named = new Set(backups.flatMap(({ list }) => list.files.map(({ stored }) => stored)));
  for (const log of await files.list(join(folder, SHARED_FOLDER))) {
    for (const name of await files.list(join(folder, SHARED_FOLDER, log))) {
      if (!named.has(`${SHARED_FOLDER}/${log}/${name}`)) await files.remove(join(folder, SHARED_FOLDER, log, name));
    }
  }
}
