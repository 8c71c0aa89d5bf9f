/**
 * What a backup is made of: a line (`tidemark-backup`, format, length, CRC-32), then JSON. It is written last: a backup
 * without it is none.
 */
import { crc32 } from 'node:zlib';
import type { LogId } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';

const MAGIC = 'tidemark-backup';
const FORMAT = '1';

/** One file of the data folder. */
export interface BackupFile {
  /** In the data folder, with `/` between its parts. */
  readonly path: string;
  /** In the folder of backups, likewise. */
  readonly stored: string;
  readonly bytes: number;
  readonly crc: number;
}

/** Where one log stood. */
export interface BackupLog {
  readonly source: string;
  readonly logId: LogId;
  readonly horizon: Offset;
  readonly highWatermark: Offset;
}

export interface BackupList {
  /** Of the Tidemark that took it. */
  readonly version: string;
  /** ISO 8601. */
  readonly takenAt: string;
  readonly logs: readonly BackupLog[];
  readonly files: readonly BackupFile[];
}

export function encodeBackupList(list: BackupList): Buffer {
  const body = Buffer.from(`${JSON.stringify(list, null, 1)}\n`, 'utf8');
  return Buffer.concat([Buffer.from(`${MAGIC} ${FORMAT} ${body.length} ${crc32(body).toString(16).padStart(8, '0')}\n`, 'latin1'), body]);
}

/** @throws TidemarkError `BACKUP_DAMAGED`; `BACKUP_FOLDER` for a newer format */
export function decodeBackupList(bytes: Buffer, file: string): BackupList {
  const newline = bytes.indexOf(0x0a);
  const [magic, format, length, sum] = newline < 0 ? [] : bytes.toString('latin1', 0, newline).split(' ');
  if (magic !== MAGIC) throw damaged('it does not begin as one', file);
  if (format !== FORMAT) throw new TidemarkError('BACKUP_FOLDER', `a backup has format version ${format}`, { where: { file } });
  const body = bytes.subarray(newline + 1);
  if (String(body.length) !== length || crc32(body) !== Number.parseInt(sum ?? '', 16)) throw damaged('its checksum does not fit', file);
  const list: unknown = JSON.parse(body.toString('utf8'));
  if (!isList(list)) throw damaged('it lacks a field', file);
  return list;
}

function isList(value: unknown): value is BackupList {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof BackupList, unknown>>;
  return typeof v.version === 'string' && typeof v.takenAt === 'string' && Array.isArray(v.logs) && v.logs.every(isLog) && Array.isArray(v.files) && v.files.every(isFile);
}

function isLog(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof BackupLog, unknown>>;
  return typeof v.source === 'string' && typeof v.logId === 'string' && Number.isSafeInteger(v.horizon) && Number.isSafeInteger(v.highWatermark);
}

function isFile(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof BackupFile, unknown>>;
  return isInside(v.path) && isInside(v.stored) && Number.isSafeInteger(v.bytes) && Number.isSafeInteger(v.crc);
}

/** A path that leads nowhere but into its folder. */
function isInside(path: unknown): boolean {
  return typeof path === 'string' && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && !part.includes('\0'));
}

function damaged(what: string, file: string): TidemarkError {
  return new TidemarkError('BACKUP_DAMAGED', `the list of a backup cannot be read: ${what}`, { where: { file } });
}
