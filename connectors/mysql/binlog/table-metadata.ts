/**
 * Optional metadata of a table map: fields of u8 kind, packed length, content. With `binlog_row_metadata=MINIMAL` only
 * signedness, charsets and kinds of geometry are there. Lists per column have an entry for each column of the kinds that
 * count for them, in order.
 */
import { ColumnType } from './column-types.ts';
import { binlogError, FieldReader } from './field-reader.ts';
import type { FormatDescription } from './format-description.ts';

export interface KeyColumn {
  /** From 0. */
  readonly column: number;
  /** Characters of the column that are in the key; 0: all. */
  readonly prefix: number;
}

/** Null where the server does not say. Arrays per column have null (or 0) at columns that the field does not count. */
export interface TableMetadata {
  /** 1: unsigned. */
  readonly unsigned: Uint8Array | null;
  /** Collation ids of character columns. */
  readonly collations: Uint16Array | null;
  /** Collation ids of the labels of enum and set columns. */
  readonly labelCollations: Uint16Array | null;
  readonly names: readonly string[] | null;
  /** Labels of enum and set columns, in the charset of `labelCollations`. */
  readonly labels: readonly (readonly Buffer[] | null)[] | null;
  /** 0 geometry, 1 point, 2 line string, 3 polygon, 4 to 6 their collections, 7 geometry collection. */
  readonly geometryKinds: Uint16Array | null;
  readonly primaryKey: readonly KeyColumn[] | null;
  /** 1: shown by `SELECT *`. */
  readonly visible: Uint8Array | null;
  readonly vectorDimensions: Uint16Array | null;
}

export const NO_METADATA: TableMetadata = {
  unsigned: null,
  collations: null,
  labelCollations: null,
  names: null,
  labels: null,
  geometryKinds: null,
  primaryKey: null,
  visible: null,
  vectorDimensions: null,
};

const Kind = {
  signedness: 1,
  defaultCharset: 2,
  columnCharset: 3,
  names: 4,
  setLabels: 5,
  enumLabels: 6,
  geometry: 7,
  simpleKey: 8,
  prefixKey: 9,
  labelDefaultCharset: 10,
  labelCharset: 11,
  visibility: 12,
  vectorDimensions: 13,
} as const;

type Counts = (type: number) => boolean;

const isNumeric: Counts = (type) =>
  type === ColumnType.tiny || type === ColumnType.short || type === ColumnType.int24 || type === ColumnType.long ||
  type === ColumnType.longLong || type === ColumnType.float || type === ColumnType.double || type === ColumnType.newDecimal ||
  type === ColumnType.decimal;
const isYear: Counts = (type) => type === ColumnType.year;
const isNumericOrYear: Counts = (type) => isNumeric(type) || isYear(type);
const isEnum: Counts = (type) => type === ColumnType.enum;
const isSet: Counts = (type) => type === ColumnType.set;
const isLabelled: Counts = (type) => isEnum(type) || isSet(type);
const isGeometry: Counts = (type) => type === ColumnType.geometry;
const isVector: Counts = (type) => type === ColumnType.vector;

const isString: Counts = (type) =>
  type === ColumnType.string || type === ColumnType.varString || type === ColumnType.varchar || type === ColumnType.blob;
/** MySQL counts vectors, MariaDB geometries and its compressed columns. */
const isMysqlCharacter: Counts = (type) => isString(type) || type === ColumnType.vector;
const isMariadbCharacter: Counts = (type) =>
  isString(type) || type === ColumnType.geometry || type === ColumnType.blobCompressed || type === ColumnType.varcharCompressed;

type Draft = { -readonly [Name in keyof TableMetadata]: TableMetadata[Name] };

/**
 * Reads to the end of `fields`. `types` as in the table map.
 * @throws TidemarkError `MYSQL_BINLOG`
 */
export function readOptionalMetadata(fields: FieldReader, types: Uint8Array, format: FormatDescription): TableMetadata {
  const draft: Draft = { ...NO_METADATA };
  const field = new FieldReader();
  while (fields.left > 0) {
    const kind = fields.u8();
    const length = fields.packedLength();
    const at = fields.skip(length);
    field.reset(fields.bytes, at, at + length, 'the metadata of a table');
    readField(kind, field, draft, types, format);
  }
  return draft;
}

function readField(kind: number, field: FieldReader, draft: Draft, types: Uint8Array, format: FormatDescription): void {
  const isCharacter = format.flavor === 'mysql' ? isMysqlCharacter : isMariadbCharacter;
  switch (kind) {
    case Kind.signedness:
      draft.unsigned = signedness(field, types, format);
      return;
    case Kind.defaultCharset:
      draft.collations = defaultAndExceptions(field, types, isCharacter);
      return;
    case Kind.columnCharset:
      draft.collations = packedPerColumn(field, types, isCharacter);
      return;
    case Kind.labelDefaultCharset:
      draft.labelCollations = defaultAndExceptions(field, types, isLabelled);
      return;
    case Kind.labelCharset:
      draft.labelCollations = packedPerColumn(field, types, isLabelled);
      return;
    case Kind.names:
      draft.names = Array.from(types, () => field.utf8(field.packedLength()));
      field.finish();
      return;
    case Kind.setLabels:
      draft.labels = labels(field, types, isSet, draft.labels);
      return;
    case Kind.enumLabels:
      draft.labels = labels(field, types, isEnum, draft.labels);
      return;
    case Kind.geometry:
      draft.geometryKinds = packedPerColumn(field, types, isGeometry);
      return;
    case Kind.simpleKey: case Kind.prefixKey:
      draft.primaryKey = keyColumns(field, types.length, kind === Kind.prefixKey);
      return;
    case Kind.visibility:
      draft.visible = bits(field, types, () => true);
      return;
    case Kind.vectorDimensions:
      draft.vectorDimensions = packedPerColumn(field, types, isVector);
      return;
    default:
      // Newer servers may say more; each field has its length.
      return;
  }
}

/** MySQL up to this version gives years no bit, from the other on it does, as an unsigned number. MariaDB always does. */
const WITHOUT_YEARS = 8_00_15;
const WITH_YEARS = 8_00_29;

function signedness(field: FieldReader, types: Uint8Array, format: FormatDescription): Uint8Array {
  const version = format.flavor === 'mariadb' ? WITH_YEARS : versionOf(format.serverVersion);
  if (version <= WITHOUT_YEARS) return bits(field, types, isNumeric);
  if (version >= WITH_YEARS || !types.some(isYear)) return bits(field, types, isNumericOrYear);
  // In between the bits tell: those of years are set, and there are as many bytes as bits need.
  const { at } = field;
  const place = [...types].filter(isNumericOrYear);
  if (field.left === (place.length + 7) >> 3) {
    const values = bits(field, types, isNumericOrYear);
    if (types.every((type, column) => !isYear(type) || values[column] === 1)) return values;
  }
  field.at = at;
  return bits(field, types, isNumeric);
}

/** `9.7.4-log` as 90704. */
function versionOf(text: string): number {
  const [, major = '0', minor = '0', patch = '0'] = /^(\d+)\.(\d+)\.(\d+)/.exec(text) ?? [];
  return Number(major) * 1_00_00 + Number(minor) * 1_00 + Number(patch);
}

/** A bit per column that counts, the highest of a byte first. */
function bits(field: FieldReader, types: Uint8Array, counts: Counts): Uint8Array {
  const values = new Uint8Array(types.length);
  const bytes = field.slice(field.left);
  let place = 0;
  for (const [column, type] of types.entries()) {
    if (!counts(type)) continue;
    const byte = bytes[place >> 3];
    if (byte === undefined) throw binlogError('the metadata of a table have too few bits');
    values[column] = (byte >> (7 - (place & 7))) & 1;
    place++;
  }
  if (bytes.length !== (place + 7) >> 3) throw binlogError('the metadata of a table have too many bits');
  return values;
}

function packedPerColumn(field: FieldReader, types: Uint8Array, counts: Counts): Uint16Array {
  const values = new Uint16Array(types.length);
  for (const [column, type] of types.entries()) if (counts(type)) values[column] = small(field);
  field.finish();
  return values;
}

/** One for all columns that count, then pairs of the place among them and another. */
function defaultAndExceptions(field: FieldReader, types: Uint8Array, counts: Counts): Uint16Array {
  const common = small(field);
  const exceptions = new Map<number, number>();
  while (field.left > 0) exceptions.set(field.packed(), small(field));
  const values = new Uint16Array(types.length);
  let place = 0;
  for (const [column, type] of types.entries()) if (counts(type)) values[column] = exceptions.get(place++) ?? common;
  for (const exception of exceptions.keys()) if (exception >= place) throw binlogError(`the metadata of a table name column ${exception} of ${place}`);
  return values;
}

function labels(field: FieldReader, types: Uint8Array, counts: Counts, others: TableMetadata['labels']): TableMetadata['labels'] {
  const values = Array.from(types, (type, column) => {
    if (!counts(type)) return others?.[column] ?? null;
    // A label takes a byte at least, so that a count is never above the bytes.
    return Array.from({ length: field.packedLength() }, () => field.copy(field.packedLength()));
  });
  field.finish();
  return values;
}

function keyColumns(field: FieldReader, columns: number, withPrefix: boolean): KeyColumn[] {
  const key: KeyColumn[] = [];
  while (field.left > 0) {
    const column = field.packed();
    if (column >= columns) throw binlogError(`a key has column ${column} of ${columns}`);
    key.push({ column, prefix: withPrefix ? field.packed() : 0 });
  }
  return key;
}

function small(field: FieldReader): number {
  const value = field.packed();
  if (value > 0xffff) throw binlogError(`the metadata of a table have a ${value} where a small number stands`);
  return value;
}
