import { dirname, join, sep } from 'node:path';
import { crc32 } from 'node:zlib';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { FileSystem, Runtime } from '../../contracts/runtime.ts';
import { diskError } from '../log/embedded/disk-error.ts';
import { fileFault } from '../log/embedded/check/file-check.ts';
import { lastOffset, type HeldFolder, type HeldLog } from '../log/embedded/held-log.ts';
import { LOG_FOLDER, logFolder } from '../log/embedded/log-folder.ts';
import { encodeManifest, MANIFEST_FILE } from '../log/embedded/manifest.ts';
import { BACKUPS_FOLDER, claimFolder, LIST_FILE, readBackups, removeLeftovers, SHARED_FOLDER, type KnownBackups } from './backup-folder.ts';
import { encodeBackupList, type BackupFile, type BackupList } from './backup-list.ts';
import { copyFile, sizeOf, sumFile, type Copied, type Copying } from './copy-file.ts';
import { filesOf, type LastingFile } from './log-files.ts';
import { otherFiles } from './other-files.ts';

export interface BackupOptions extends Copying {
  readonly runtime: Pick<Runtime, 'files' | 'clock'>;
  /** Held, or of a hub that does not run, until the backup is complete. */
  readonly folder: HeldFolder;
  /** Absolute path of the folder of backups, which is the caller's alone meanwhile. */
  readonly to: string;
  /** Of this Tidemark. */
  readonly version: string;
}

export interface BackupResult {
  readonly name: string;
  readonly list: BackupList;
  /** Bytes of all that it names, and those of them that it brought. */
  readonly bytes: number;
  readonly addedBytes: number;
  /** Files that it brought as second names of the hub's own. */
  readonly linked: number;
}

/** Bytes that a backup looks at or copies, at most. */
export function bytesToBackUp({ logs }: HeldFolder): number {
  let bytes = 0;
  for (const { manifest } of logs) {
    const { lasting, ends } = filesOf(manifest);
    for (const file of [...lasting, ...ends]) bytes += file.bytes ?? 0;
  }
  return bytes;
}

/**
 * Takes a backup of a data folder: consistent as of the moment at which it was held, and checked on the way. What an
 * earlier backup has brought is not brought again. Interrupted, it leaves nothing that counts.
 * @throws TidemarkError `BACKUP_FOLDER`, `BACKUP_DAMAGED`, `BACKUP_OF_DAMAGE`, `LOG_WRITE_FAILED`, `LOG_DISK_FULL`, `ABORTED`
 */
export async function takeBackup(options: BackupOptions): Promise<BackupResult> {
  const { folder: { data, logs }, to } = options;
  if (`${to}${sep}`.startsWith(`${data}${sep}`)) throw new TidemarkError('BACKUP_FOLDER', `${to} lies in the data folder itself`, { where: { file: to } });
  const damaged = logs.find(({ manifest }) => manifest.segments.some(({ state }) => state === 'active'));
  if (damaged !== undefined) throw new TidemarkError('BACKUP_OF_DAMAGE', 'the end of the log is damaged', { where: { source: damaged.source } });
  try {
    await claimFolder(options.runtime.files, to);
    const before = await readBackups(options.runtime.files, to);
    return await new Taking(options, before).run(before);
  } catch (error) {
    throw diskError(error, 'the backup could not be taken', { file: options.to });
  }
}

/** What a disk says that cannot give a file a second name in the folder. */
const NO_LINKS: ReadonlySet<unknown> = new Set(['EXDEV', 'EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'ENOSYS']);

class Taking {
  readonly #options: BackupOptions;
  readonly #name: string;
  /** Of shared files that complete backups name. */
  readonly #known: ReadonlyMap<string, Copied>;
  readonly #files: BackupFile[] = [];
  readonly #home: string;
  readonly #folders = new Set<string>();
  #addedBytes = 0;
  #linked = 0;

  constructor(options: BackupOptions, before: KnownBackups) {
    this.#options = options;
    this.#known = new Map(before.backups.flatMap(({ list }) => list.files.map(({ stored, bytes, crc }) => [stored, { bytes, crc }] as const)));
    this.#name = nameAt(options.runtime.clock.now(), before);
    this.#home = join(options.to, BACKUPS_FOLDER, this.#name);
  }

  async run(before: KnownBackups): Promise<BackupResult> {
    const { runtime, folder, to, version } = this.#options;
    const { files, clock } = runtime;
    // An interrupted one of this very second.
    await files.remove(this.#home);
    await files.makeDirectory(this.#home);
    await files.syncDirectory(join(to, BACKUPS_FOLDER));
    for (const log of folder.logs) await this.#log(log);
    // After the logs: what a sink left out up to there has its letter by then.
    for (const path of await otherFiles(files, folder.data)) await this.#other(path, join(folder.data, path));
    const list: BackupList = { version, takenAt: new Date(clock.now()).toISOString(), logs: folder.logs.map(logOf), files: this.#files };
    for (const own of this.#folders) await files.syncDirectory(own);
    await files.replace(join(this.#home, LIST_FILE), encodeBackupList(list));
    await removeLeftovers(files, to, { ...before, backups: [...before.backups, { name: this.#name, list }] });
    const bytes = this.#files.reduce((sum, file) => sum + file.bytes, 0);
    return { name: this.#name, list, bytes, addedBytes: this.#addedBytes, linked: this.#linked };
  }

  async #log({ folder, manifest, source }: HeldLog): Promise<void> {
    const { to, runtime, folder: { data } } = this.#options;
    const { lasting, ends } = filesOf(manifest);
    const shared = join(to, SHARED_FOLDER, manifest.logId);
    await runtime.files.makeDirectory(shared);
    await runtime.files.syncDirectory(dirname(shared));
    for (const file of lasting) await this.#lasting(file, `${LOG_FOLDER}/${folder}/${file.name}`, join(logFolder(data, folder), file.name), `${SHARED_FOLDER}/${manifest.logId}/${file.sharedName}`, source);
    await runtime.files.syncDirectory(shared);
    for (const { name, bytes } of ends) await this.#own(`${LOG_FOLDER}/${folder}/${name}`, join(logFolder(data, folder), name), bytes);
    await this.#write(`${LOG_FOLDER}/${folder}/${MANIFEST_FILE}`, encodeManifest(manifest));
  }

  async #lasting(file: LastingFile, path: string, from: string, stored: string, source: string): Promise<void> {
    const { to, runtime: { files }, signal, progress } = this.#options;
    const target = join(to, ...stored.split('/'));
    const known = this.#known.get(stored);
    if (known !== undefined && (await files.exists(target))) {
      progress(known.bytes);
      this.#files.push({ path, stored, ...known });
      return;
    }
    const fault = await fileFault(files, from, file, signal);
    // An index is made again from its segment when the log is opened.
    if (fault !== null && file.kind === 'index') return;
    if (fault !== null) throw new TidemarkError('BACKUP_OF_DAMAGE', fault, { where: { source, file: from } });
    this.#files.push({ path, stored, ...(await this.#bring(from, target, file.bytes)) });
  }

  /**
   * As a second name where the disk is the same, else as a copy. A crash may have left bytes behind those that count: then
   * it is a copy without them.
   */
  async #bring(from: string, target: string, bytes: number | null): Promise<Copied> {
    const { runtime: { files }, signal, progress } = this.#options;
    const aside = `${target}.new`;
    await files.remove(aside);
    const isLinked = (bytes === null || (await sizeOf(files, from)) === bytes) && (await link(files, from, aside));
    const copied = isLinked ? await sumFile(files, aside, { signal, progress }) : await copyFile(files, from, aside, { signal, progress }, bytes);
    await files.rename(aside, target);
    if (isLinked) this.#linked++;
    this.#addedBytes += copied.bytes;
    return copied;
  }

  /** A file of a hub that may run: one that is gone by now is not missed. */
  async #other(path: string, from: string): Promise<void> {
    try {
      await this.#own(path, from, null);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
  }

  /** A file that other backups have otherwise. @param limit of its bytes; null: all of them */
  async #own(path: string, from: string, limit: number | null): Promise<void> {
    const { runtime: { files }, signal, progress } = this.#options;
    const copied = await copyFile(files, from, await this.#place(path), { signal, progress }, limit);
    this.#addOwn(path, copied);
  }

  async #write(path: string, bytes: Buffer): Promise<void> {
    await this.#options.runtime.files.replace(await this.#place(path), bytes);
    this.#addOwn(path, { bytes: bytes.length, crc: crc32(bytes) });
  }

  #addOwn(path: string, copied: Copied): void {
    this.#addedBytes += copied.bytes;
    this.#files.push({ path, stored: `${BACKUPS_FOLDER}/${this.#name}/data/${path}`, ...copied });
  }

  /** Where the backup's own copy of a file goes, in a folder that is there. */
  async #place(path: string): Promise<string> {
    const target = join(this.#home, 'data', ...path.split('/'));
    await this.#options.runtime.files.makeDirectory(dirname(target));
    for (let folder = dirname(target); folder.length >= this.#home.length; folder = dirname(folder)) this.#folders.add(folder);
    return target;
  }
}

/** False where it has to be copied: another disk, or one that knows no second names. */
async function link(files: FileSystem, from: string, to: string): Promise<boolean> {
  if (files.link === undefined) return false;
  try {
    await files.link(from, to);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && NO_LINKS.has(error.code)) return false;
    throw error;
  }
}

function logOf({ source, manifest }: HeldLog): BackupList['logs'][number] {
  return { source, logId: manifest.logId, horizon: manifest.horizon, highWatermark: lastOffset(manifest) };
}

/**
 * `20261121T192112Z`; a second one in the same second ends in `-2`. The newest is the last by name, also where the clock has
 * gone back: it then gets the second behind the newest.
 */
function nameAt(now: number, { backups, damaged }: KnownBackups): string {
  const taken = new Set([...backups.map((backup) => backup.name), ...damaged]);
  const newest = Math.max(...[...taken].map(timeOf));
  const name = nameOf(now < newest ? newest + 1000 : now);
  if (!taken.has(name)) return name;
  for (let count = 2; ; count++) if (!taken.has(`${name}-${count}`)) return `${name}-${count}`;
}

function nameOf(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z').replaceAll(/[-:]/g, '');
}

/** The second that a backup is named after, milliseconds since 1970; -Infinity: it has another name. */
function timeOf(name: string): number {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/.exec(name) ?? [];
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time) ? Number.NEGATIVE_INFINITY : time;
}
