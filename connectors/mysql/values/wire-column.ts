/** A column as a table map describes it, and what a definition in SQL must look like there. */
import { GEOMETRY_NAMES, isGeometry, mysqlType, type MysqlType } from '../../../contracts/types/mysql-types.ts';
import { ColumnType } from '../binlog/column-types.ts';
import type { TableMap } from '../binlog/table-map.ts';
import { charsetOfCollation } from '../charset/collations.ts';
import { requireTranscoder, textOf, type Unmapped } from '../charset/transcoder.ts';

export interface WireColumn {
  /** One of ColumnType; enum and set also as `string` with their metadata. */
  readonly type: number;
  /** Its bytes in the table map, the first one lowest: 0 to 65535; 0: it has none. */
  readonly metadata: number;
  /** The rest is of the optional metadata; null: not sent, or not of this column. */
  readonly unsigned: boolean | null;
  /** Id of the collation of text, enum and set. 63: bytes. */
  readonly collation: number | null;
  /** Of an enum or a set, in the column's charset. */
  readonly labels: readonly Uint8Array[] | null;
  /** Number of the kind of geometry. */
  readonly geometry: number | null;
  readonly dimensions: number | null;
}

/** A column of a table map. */
export function wireColumn({ types, metadata, optional }: TableMap, column: number): WireColumn {
  const type = types[column] ?? ColumnType.null;
  const isListed = type === ColumnType.enum || type === ColumnType.set;
  const isNumber = optional.unsigned !== null && INTEGER_BYTES.has(type);
  const collation = (isListed ? optional.labelCollations : optional.collations)?.[column] ?? 0;
  return {
    type,
    metadata: metadata[column] ?? 0,
    unsigned: isNumber ? optional.unsigned?.[column] === 1 : null,
    collation: collation === 0 ? null : collation,
    labels: optional.labels?.[column] ?? null,
    geometry: type === ColumnType.geometry ? (optional.geometryKinds?.[column] ?? null) : null,
    dimensions: type === ColumnType.vector ? (optional.vectorDimensions?.[column] ?? null) : null,
  };
}

/** Types that have a sign or none. */
const INTEGER_BYTES: ReadonlySet<number> = new Set([
  ColumnType.tiny, ColumnType.short, ColumnType.int24, ColumnType.long, ColumnType.longLong, ColumnType.float, ColumnType.double, ColumnType.newDecimal,
]);

/** Of a column of type `string`, enum or set: which of them it is, and how many bytes a value has at most (of an enum or set: has). */
export function stringForm(metadata: number): { readonly type: number; readonly length: number } {
  const first = metadata & 0xff;
  const second = metadata >>> 8;
  if (first === ColumnType.enum || first === ColumnType.set) return { type: first, length: second };
  // Lengths above 255 have their two highest bits in the type, inverted.
  if ((first & 0x30) !== 0x30) return { type: first | 0x30, length: second | (((first & 0x30) ^ 0x30) << 4) };
  return { type: first, length: second };
}

const BLOBS = ['tiny', '', 'medium', 'long'] as const;

/**
 * The type of a column that has nothing but its table map (`binlog_row_metadata=FULL`). What a table map does not say is
 * guessed the usual way: MariaDB's uuid, inet4 and inet6 look like `binary`, its json like longtext, bool like tinyint.
 * Null: signedness, charset or labels would be needed and are not there, or the type is not known.
 */
export function typeOfWireColumn(wire: WireColumn, unmapped: Unmapped = 'refuse'): MysqlType | null {
  const text = nativeText(wire, unmapped);
  if (text === null) return null;
  const charset = wire.collation === null ? null : charsetOfCollation(wire.collation);
  return mysqlType({ columnType: text, charset: hasCharset(wire) ? charset : null, collation: null });
}

function hasCharset({ type }: WireColumn): boolean {
  const { varchar, varcharCompressed, string, blob, blobCompressed, enum: enumeration, set } = ColumnType;
  return [varchar, varcharCompressed, string, blob, blobCompressed, enumeration, set].some((one) => one === type);
}

function nativeText(wire: WireColumn, unmapped: Unmapped): string | null {
  const { type, metadata } = wire;
  switch (type) {
    case ColumnType.tiny:
      return integerText('tinyint', wire);
    case ColumnType.short:
      return integerText('smallint', wire);
    case ColumnType.int24:
      return integerText('mediumint', wire);
    case ColumnType.long:
      return integerText('int', wire);
    case ColumnType.longLong:
      return integerText('bigint', wire);
    case ColumnType.float:
      return 'float';
    case ColumnType.double:
      return 'double';
    case ColumnType.year:
      return 'year';
    case ColumnType.newDecimal:
      return `decimal(${metadata & 0xff},${metadata >>> 8})${wire.unsigned === true ? ' unsigned' : ''}`;
    case ColumnType.bit:
      return `bit(${(metadata & 0xff) + (metadata >>> 8) * 8})`;
    case ColumnType.date:
    case ColumnType.newDate:
      return 'date';
    case ColumnType.time2:
      return `time(${metadata})`;
    case ColumnType.dateTime2:
      return `datetime(${metadata})`;
    case ColumnType.timestamp2:
      return `timestamp(${metadata})`;
    case ColumnType.json:
      return 'json';
    case ColumnType.vector:
      return wire.dimensions === null ? 'vector' : `vector(${wire.dimensions})`;
    case ColumnType.geometry:
      return GEOMETRY_NAMES[wire.geometry ?? 0] ?? null;
    default:
      return characterText(wire, unmapped);
  }
}

function integerText(name: string, { unsigned }: WireColumn): string | null {
  return unsigned === null ? null : `${name}${unsigned ? ' unsigned' : ''}`;
}

const BINARY_COLLATION = 63;

function characterText(wire: WireColumn, unmapped: Unmapped): string | null {
  const { type, metadata, collation } = wire;
  if (collation === null) return null;
  const charset = charsetOfCollation(collation);
  if (charset === null) return null;
  const isBinary = collation === BINARY_COLLATION;
  const characters = (bytes: number): number => Math.floor(bytes / (MAX_BYTES.get(charset) ?? 1));
  const compressed = type === ColumnType.varcharCompressed || type === ColumnType.blobCompressed ? ' /*M!100301 COMPRESSED*/' : '';
  switch (type) {
    case ColumnType.string:
    case ColumnType.enum:
    case ColumnType.set:
      return stringText(wire, charset, isBinary ? null : characters, unmapped);
    case ColumnType.varchar:
      return isBinary ? `varbinary(${metadata})` : `varchar(${characters(metadata)})`;
    case ColumnType.varcharCompressed:
      // One byte is the header of a compressed value.
      return isBinary ? `varbinary(${metadata - 1})${compressed}` : `varchar(${characters(metadata - 1)})${compressed}`;
    case ColumnType.blob:
    case ColumnType.blobCompressed: {
      const size = BLOBS[metadata - 1];
      return size === undefined ? null : `${size}${isBinary ? 'blob' : 'text'}${compressed}`;
    }
    default:
      return null;
  }
}

function stringText({ metadata, labels }: WireColumn, charset: string, characters: ((bytes: number) => number) | null, unmapped: Unmapped): string | null {
  const form = stringForm(metadata);
  if (form.type === ColumnType.string) return characters === null ? `binary(${form.length})` : `char(${characters(form.length)})`;
  if ((form.type !== ColumnType.enum && form.type !== ColumnType.set) || labels === null) return null;
  const transcoder = requireTranscoder(charset === 'binary' ? 'latin1' : charset, unmapped);
  const quoted = labels.map((label) => `'${textOf(transcoder, label).replaceAll('\\', '\\\\').replaceAll("'", "''")}'`);
  return `${form.type === ColumnType.enum ? 'enum' : 'set'}(${quoted.join(',')})`;
}

/** The most bytes of one character. Charsets of one byte are left out. */
const MAX_BYTES: ReadonlyMap<string, number> = new Map([
  ['big5', 2], ['cp932', 2], ['eucjpms', 3], ['euckr', 2], ['gb18030', 4], ['gb2312', 2], ['gbk', 2], ['sjis', 2], ['ucs2', 2], ['ujis', 3], ['utf16', 4],
  ['utf16le', 4], ['utf32', 4], ['utf8mb3', 3], ['utf8mb4', 4],
]);

const FIXED: ReadonlyMap<string, readonly number[]> = new Map([
  ['tinyint', [ColumnType.tiny]], ['smallint', [ColumnType.short]], ['mediumint', [ColumnType.int24]], ['int', [ColumnType.long]], ['bigint', [ColumnType.longLong]],
  ['year', [ColumnType.year]], ['float', [ColumnType.float]], ['double', [ColumnType.double]], ['date', [ColumnType.date, ColumnType.newDate]],
  ['json', [ColumnType.json]],
]);

/**
 * Whether values of a table map's column can be of a type: false means that the definition is not the one of that moment.
 * (True does not say that it is: a table map without optional metadata does not tell `int` from `int unsigned`.)
 */
export function fits(wire: WireColumn, type: MysqlType): boolean {
  const fixed = FIXED.get(type.name);
  if (fixed !== undefined) return fixed.includes(wire.type) && (wire.unsigned === null || wire.unsigned === type.unsigned || !FIXED_INTEGERS.has(type.name));
  const length = type.length ?? 0;
  const bytes = length * (MAX_BYTES.get(type.charset ?? '') ?? 1);
  const name: string = type.name;
  switch (name) {
    case 'decimal':
      return wire.type === ColumnType.newDecimal && wire.metadata === (length | ((type.digits ?? 0) << 8));
    case 'bit':
      return wire.type === ColumnType.bit && (wire.metadata & 0xff) + (wire.metadata >>> 8) * 8 === length;
    case 'datetime':
      return fitsTime(wire, type, ColumnType.dateTime2, ColumnType.dateTime);
    case 'timestamp':
      return fitsTime(wire, type, ColumnType.timestamp2, ColumnType.timestamp);
    case 'time':
      return fitsTime(wire, type, ColumnType.time2, ColumnType.time);
    case 'char':
    case 'binary':
      return isString(wire, ColumnType.string, bytes);
    case 'uuid':
    case 'inet6':
      return isString(wire, ColumnType.string, 16);
    case 'inet4':
      return isString(wire, ColumnType.string, 4);
    case 'varchar':
    case 'varbinary':
      return type.compressed ? wire.type === ColumnType.varcharCompressed && wire.metadata === bytes + 1 : wire.type === ColumnType.varchar && wire.metadata === bytes;
    case 'enum':
      return isString(wire, ColumnType.enum, type.labels.length < 256 ? 1 : 2);
    case 'set':
      return isString(wire, ColumnType.set, setBytes(type.labels.length));
    case 'vector':
      return wire.type === ColumnType.vector || (wire.type === ColumnType.varchar && wire.metadata === length * 4);
    case 'other':
      return false;
    default:
      if (isGeometry(type.name)) return wire.type === ColumnType.geometry;
      return wire.type === (type.compressed ? ColumnType.blobCompressed : ColumnType.blob) && wire.metadata === blobPrefix(type.name);
  }
}

const FIXED_INTEGERS: ReadonlySet<string> = new Set(['tinyint', 'smallint', 'mediumint', 'int', 'bigint']);

function isString({ type, metadata }: WireColumn, form: number, length: number): boolean {
  if (type !== ColumnType.string && type !== form) return false;
  const found = stringForm(metadata);
  return found.type === form && found.length === length;
}

function fitsTime({ type, metadata }: WireColumn, { digits, oldTemporal }: MysqlType, present: number, old: number): boolean {
  return (type === present && metadata === (digits ?? 0)) || (type === old && (oldTemporal || digits === 0));
}

export function setBytes(labels: number): number {
  const bytes = (labels + 7) >> 3;
  return bytes > 4 ? 8 : bytes;
}

function blobPrefix(name: string): number {
  return name.startsWith('tiny') ? 1 : name.startsWith('medium') ? 3 : name.startsWith('long') ? 4 : 2;
}
