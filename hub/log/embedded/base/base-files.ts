/** Names of the base's files, and the one that holds its catalog. */
import { crc32 } from 'node:zlib';
import { Catalog, type CatalogTable } from '../../../../contracts/catalog.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Extents } from './kept-tables.ts';

const MAGIC = 'tidemark-base-catalog';
/** 1: the tables alone, without what is kept of them. */
const FORMAT = '2';

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

/** What stands in the catalog file of a base. */
export interface BaseCatalog {
  /** Every table with all its versions and its state at the horizon. */
  readonly catalog: Catalog;
  readonly extents: Extents;
}

/** A line with format, length and CRC-32, then JSON. */
export function encodeCatalog({ catalog, extents }: BaseCatalog): Buffer {
  const kept = [...extents].map(([tableId, { recordsAfter, rowsAfter, ages }]) => [tableId, recordsAfter, rowsAfter, ages]);
  const body = Buffer.from(JSON.stringify({ tables: catalog.tables(), extents: kept }), 'utf8');
  return Buffer.concat([Buffer.from(`${MAGIC} ${FORMAT} ${body.length} ${crc32(body).toString(16).padStart(8, '0')}\n`, 'latin1'), body]);
}

/** @param crc of the file, as the manifest has it; null: it does not. @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT` */
export function decodeCatalog(bytes: Buffer, file: string, crc: number | null): BaseCatalog {
  const newline = bytes.indexOf(0x0a);
  const [magic, format, length, sum] = newline < 0 ? [] : bytes.toString('latin1', 0, newline).split(' ');
  if (magic !== MAGIC) throw corrupt('it does not begin as one', file);
  if (format !== '1' && format !== FORMAT) throw new TidemarkError('LOG_FORMAT', `the catalog of the base has format version ${format}`, { where: { file } });
  const body = bytes.subarray(newline + 1);
  if (String(body.length) !== length || crc32(body) !== Number.parseInt(sum ?? '', 16)) throw corrupt('its checksum does not fit', file);
  if (crc !== null && crc32(bytes) !== crc) throw corrupt('it is not the one that belongs to the base', file);
  const read: unknown = JSON.parse(body.toString('utf8'));
  const { tables, extents } = format === '1' ? { tables: read, extents: [] } : partsOf(read);
  if (!Array.isArray(tables) || !tables.every(isTable)) throw corrupt('it lacks a field', file);
  if (!Array.isArray(extents) || !extents.every(isExtent)) throw corrupt('what is kept of a table is not understood', file);
  return {
    catalog: Catalog.from(tables),
    extents: new Map(extents.map(([tableId, recordsAfter, rowsAfter, ages]) => [tableId, { recordsAfter, rowsAfter, ages }])),
  };
}

function partsOf(value: unknown): { tables: unknown; extents: unknown } {
  const isWhole = typeof value === 'object' && value !== null && 'tables' in value && 'extents' in value;
  return isWhole ? { tables: value.tables, extents: value.extents } : { tables: null, extents: null };
}

function isExtent(value: unknown): value is [number, number, number, (number | null)[]] {
  if (!Array.isArray(value) || value.length !== 4) return false;
  const numbers: readonly unknown[] = value.slice(0, 3);
  const ages: unknown = value[3];
  return numbers.every(isCount) && Array.isArray(ages) && ages.every((age) => age === null || isCount(age));
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isTable(value: unknown): value is CatalogTable {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof CatalogTable, unknown>>;
  return typeof v.tableId === 'number' && Array.isArray(v.versions) && typeof v.state === 'object' && Array.isArray(v.consistent);
}

function corrupt(what: string, file: string): TidemarkError {
  return new TidemarkError('LOG_CORRUPT', `the catalog of the base cannot be read: ${what}`, { where: { file } });
}
