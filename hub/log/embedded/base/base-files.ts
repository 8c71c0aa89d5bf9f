/** Names of the base's files, and the one that holds its catalog. */
import { crc32 } from 'node:zlib';
import { Catalog, type CatalogTable } from '../../../../contracts/catalog.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';

const MAGIC = 'tidemark-base-catalog';
const FORMAT = '1';

export function runFile(number: number): string {
  return `${String(number).padStart(10, '0')}.run`;
}

export function catalogFile(number: number): string {
  return `${String(number).padStart(10, '0')}.catalog`;
}

/** The number of a file of the base; null for any other file. */
export function baseFileNumber(name: string): number | null {
  const digits = /^(\d{10,})\.(run|catalog)$/.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** A line with format, length and CRC-32, then JSON: every table with all its versions and its state at the horizon. */
export function encodeCatalog(catalog: Catalog): Buffer {
  const body = Buffer.from(JSON.stringify(catalog.tables()), 'utf8');
  return Buffer.concat([Buffer.from(`${MAGIC} ${FORMAT} ${body.length} ${crc32(body).toString(16).padStart(8, '0')}\n`, 'latin1'), body]);
}

/** @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT` */
export function decodeCatalog(bytes: Buffer, file: string): Catalog {
  const newline = bytes.indexOf(0x0a);
  const [magic, format, length, sum] = newline < 0 ? [] : bytes.toString('latin1', 0, newline).split(' ');
  if (magic !== MAGIC) throw corrupt('it does not begin as one', file);
  if (format !== FORMAT) throw new TidemarkError('LOG_FORMAT', `the catalog of the base has format version ${format}`, { where: { file } });
  const body = bytes.subarray(newline + 1);
  if (String(body.length) !== length || crc32(body) !== Number.parseInt(sum ?? '', 16)) throw corrupt('its checksum does not fit', file);
  const tables: unknown = JSON.parse(body.toString('utf8'));
  if (!Array.isArray(tables) || !tables.every(isTable)) throw corrupt('it lacks a field', file);
  return Catalog.from(tables);
}

function isTable(value: unknown): value is CatalogTable {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof CatalogTable, unknown>>;
  return typeof v.tableId === 'number' && Array.isArray(v.versions) && typeof v.state === 'object' && Array.isArray(v.consistent);
}

function corrupt(what: string, file: string): TidemarkError {
  return new TidemarkError('LOG_CORRUPT', `the catalog of the base cannot be read: ${what}`, { where: { file } });
}
