/**
 * How the values of one column go to a replica's column and come back. It depends on the logical type of the log and on the
 * type that the column at the replica has, whoever made it.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Column } from '../../../contracts/schema.ts';
import { baseType, type LogicalType } from '../../../contracts/types/logical-type.ts';
import { isBinary, isGeometry, isInteger, isTemporal, type MysqlType } from '../../../contracts/types/mysql-types.ts';
import { type CellEncoder, type CellWriter, countEscapes, encodeBytes, encodeText, writeField, writeQuoted } from './cell-writer.ts';
import { encodeJson } from './json-values.ts';
import { bitEncoder, bitLiteral, bitNumber, geometryEncoder, labelEncoder, vectorEncoder } from './packed-values.ts';
import {
  datetimeEncoder, decimalEncoder, encodeBool, encodeDate, encodeFloat32, encodeFloat64, encodeInteger, encodeYear, exactFloat32, exactFloat64, timeEncoder, timestampEncoder,
} from './plain-values.ts';
import { type ReadForm, readForm } from './read-form.ts';
import { hasLongTimestamps, type ReplicaServer } from './replica-server.ts';

export interface ValueForm extends ReadForm {
  /** A field of LOAD DATA in the format of `LOAD_FORMAT_SQL`. NULL (`\N`) is the caller's. */
  readonly field: CellWriter;
  /** What `SET column = …` of LOAD DATA makes of the field, read into a variable (`@v1`); null: the field is the column's. */
  readonly assign: ((variable: string) => string) | null;
  /** An expression of the column's value for a statement. NULL is the caller's. */
  readonly literal: CellWriter;
  /** The same for comparing it with the column. */
  readonly compared: CellWriter;
  /** Bytes that field or literal of this value take at most. */
  readonly room: (bytes: Uint8Array, start: number, end: number) => number;
}

/** @param target as `mysqlType` reads it from the replica's `information_schema.COLUMNS` */
export function valueForm({ type }: Pick<Column, 'type'>, target: MysqlType, server: ReplicaServer): ValueForm {
  const form = writtenForm(type, target, server);
  if (target.name === 'bit') return { ...form, compared: bitNumber(target.length ?? 1) };
  // What is no label is written by its number, and reads as ''.
  return { ...form, compared: target.name === 'enum' ? quoted('_utf8mb4', encodeText, true) : form.literal };
}

function writtenForm(logical: LogicalType, target: MysqlType, server: ReplicaServer): Omit<ValueForm, 'compared'> {
  const read = readForm(logical, target);
  // A literal is compared as it stands: with the bits of the column, not with their text or their bytes.
  if (target.name === 'float') return { ...read, field: encodeFloat32, assign: null, literal: exactFloat32, room };
  if (target.name === 'double') return { ...read, field: encodeFloat64, assign: null, literal: exactFloat64, room };
  if (target.name === 'bit') return { ...read, field: escaped(bitEncoder(target.length ?? 1)), assign: null, literal: bitLiteral(target.length ?? 1), room };
  const { encode, kind } = encoding(logical, target, server);
  switch (kind) {
    case 'number':
      return { ...read, field: encode, assign: null, literal: encode, room };
    case 'plain':
      return { ...read, field: encode, assign: null, literal: quoted('', encode, false), room };
    case 'packed':
      return { ...read, field: escaped(encode), assign: null, literal: quoted('_binary', encode, true), room };
    case 'bytes':
      return { ...read, field: encode === encodeText ? directField : escaped(encode), assign: null, literal: quoted('_binary', encode, true), room };
    case 'text':
      return { ...read, field: encode === encodeText ? directField : escaped(encode), assign: null, literal: quoted('_utf8mb4', encode, true), room };
    case 'converted':
      return { ...read, field: escaped(encode), assign: (variable) => `CONVERT(${variable} USING utf8mb4)`, literal: quoted('_utf8mb4', encode, true), room };
  }
}

/** The error of a value that its column cannot hold, for the caller to add table and key to. */
export function unfitValue(column: Pick<Column, 'name'>, type: string): TidemarkError {
  return new TidemarkError('SINK_DATA', `a value of column ${column.name} does not fit ${type} at the replica`, {
    where: { column: column.name },
    remedy: 'Set `unfit: text` for the column and rebuild the sink, correct the row at the source, or set `on_error: dead-letter`.',
  });
}

/**
 * number: digits, no quotes. plain: ASCII without anything to escape. packed: bytes made here. bytes, text: as they stand.
 * converted: text that the server must be told to be UTF-8, since a load is read as bytes.
 */
type Kind = 'number' | 'plain' | 'packed' | 'bytes' | 'text' | 'converted';

interface Encoding {
  readonly kind: Kind;
  readonly encode: CellEncoder;
}

/** Charsets in which bytes of UTF-8 mean the same text, as far as they are allowed at all. */
const READS_UTF8: ReadonlySet<string> = new Set(['utf8mb4', 'utf8mb3', 'ascii']);

function encoding(logical: LogicalType, target: MysqlType, server: ReplicaServer): Encoding {
  const plain = plainEncoder(baseType(logical), target, server);
  if (plain !== null) return { kind: target.name === 'year' || isTemporal(target.name) ? 'plain' : 'number', encode: plain };
  const { name, length } = target;
  const isMariadb = server.version.flavor === 'mariadb';
  if (name === 'vector') return { kind: 'packed', encode: isMariadb ? vectorEncoder(length, true) : vectorEncoder(null, false) };
  if (isGeometry(name)) return { kind: 'packed', encode: geometryEncoder(isMariadb) };
  if (name === 'json') return { kind: 'converted', encode: encodeJson };
  if (name === 'enum' || name === 'set') {
    const isPlain = target.charset === null || READS_UTF8.has(target.charset);
    return { kind: isPlain ? 'text' : 'converted', encode: name === 'enum' ? labelEncoder(target.labels) : encodeText };
  }
  if (target.charset === null && isBinary(name)) return { kind: 'bytes', encode: logical.kind === 'bytes' || isBytesDomain(logical) ? encodeBytes : encodeText };
  return { kind: target.charset !== null && READS_UTF8.has(target.charset) ? 'text' : 'converted', encode: encodeText };
}

function plainEncoder(logical: LogicalType, target: MysqlType, server: ReplicaServer): CellEncoder | null {
  const { name } = target;
  const digits = target.digits ?? 0;
  const zoned = logical.kind === 'timestamptz';
  if (isInteger(name)) return logical.kind === 'bool' ? encodeBool : encodeInteger;
  if (name === 'year') return encodeYear;
  if (name === 'decimal') return decimalEncoder(target.length ?? 10, digits);
  if (name === 'date') return encodeDate;
  if (name === 'datetime') return datetimeEncoder(digits, zoned);
  if (name === 'timestamp') return timestampEncoder(digits, zoned, hasLongTimestamps(server) ? '2106-02-07 06:28:15' : '2038-01-19 03:14:07');
  return name === 'time' ? timeEncoder(digits, server.version.flavor === 'mysql') : null;
}

function isBytesDomain(type: LogicalType): boolean {
  return type.kind === 'domain' && baseType(type).kind === 'bytes';
}

const directField: CellWriter = (kind, bytes, start, end, out, at) =>
  kind === TEXT_CELL ? writeField(bytes, start, end, out, at) : escapedText(kind, bytes, start, end, out, at);

const TEXT_CELL = 0x74;

let scratch = Buffer.allocUnsafeSlow(4_096);

/** The value's own bytes, until the next one is asked for; null: it does not fit. */
function encoded(encode: CellEncoder, kind: number, bytes: Uint8Array, start: number, end: number): Buffer | null {
  const most = 2 * (end - start) + SLACK;
  if (scratch.length < most) scratch = Buffer.allocUnsafeSlow(2 * most);
  const to = encode(kind, bytes, start, end, scratch, 0);
  const value = to < 0 ? null : scratch.subarray(0, to);
  if (scratch.length > MOST_KEPT) scratch = Buffer.allocUnsafeSlow(4_096);
  return value;
}

/** Larger than this, the buffer for one value is given back. */
const MOST_KEPT = 1 << 20;
/** What any value may take besides its own bytes. */
const SLACK = 64;

function escaped(encode: CellEncoder): CellWriter {
  return (kind, bytes, start, end, out, at) => {
    const value = encoded(encode, kind, bytes, start, end);
    return value === null ? -1 : writeField(value, 0, value.length, out, at);
  };
}

const escapedText = escaped(encodeText);

function quoted(introducer: string, encode: CellEncoder, escapes: boolean): CellWriter {
  const head = Buffer.from(escapes ? introducer : "'", 'latin1');
  return (kind, bytes, start, end, out, at) => {
    if (encode === encodeText && kind === TEXT_CELL) return writeQuoted(bytes, start, end, out, at + head.copy(out, at));
    if (!escapes) {
      const to = encode(kind, bytes, start, end, out, at + head.copy(out, at));
      if (to >= 0) out[to] = 0x27;
      return to < 0 ? -1 : to + 1;
    }
    const value = encoded(encode, kind, bytes, start, end);
    return value === null ? -1 : writeQuoted(value, 0, value.length, out, at + head.copy(out, at));
  };
}

/** Values from this size on are counted: twice their length would be too much to hold. */
const LARGE_VALUE = 1 << 20;

function room(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  return SLACK + (length < LARGE_VALUE ? 4 * length : 2 * length + countEscapes(bytes, start, end));
}
