/**
 * How many bytes a value of a column takes in a row, from the column's type and metadata alone. A *width* is one number
 * per column: 0 and more: so many bytes; -1 .. -4: that many bytes of length, little-endian, before the value.
 */
import { ColumnType } from './column-types.ts';
import { binlogError, type FieldReader } from './field-reader.ts';

/** Bytes that decimal digits take, by their number: nine digits in four bytes. */
const DIGIT_BYTES = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4] as const;
const DIGITS_PER_WORD = 9;
const MAX_PRECISION = 65;
const MAX_SCALE = 38;
const MAX_FRACTION = 6;
const MAX_BLOB_LENGTH_BYTES = 4;
/** Bits of the first byte of a string's metadata that hold two more bits of its length, inverted. */
const LENGTH_BITS = 0x30;

/** Bytes of a packed decimal. */
export function decimalBytes(precision: number, scale: number): number {
  const whole = precision - scale;
  return wordBytes(whole) + wordBytes(scale);
}

function wordBytes(digits: number): number {
  const words = Math.floor(digits / DIGITS_PER_WORD);
  return words * 4 + (DIGIT_BYTES[digits - words * DIGITS_PER_WORD] as number);
}

/**
 * Reads a column's metadata: two bytes at most, as a number whose low byte is the first; of a typed array those of its
 * elements. @throws TidemarkError `MYSQL_BINLOG`
 */
export function readMetadata(type: number, fields: FieldReader): number {
  switch (type) {
    case ColumnType.float: case ColumnType.double: case ColumnType.blob: case ColumnType.tinyBlob: case ColumnType.mediumBlob:
    case ColumnType.longBlob: case ColumnType.geometry: case ColumnType.json: case ColumnType.vector: case ColumnType.timestamp2:
    case ColumnType.dateTime2: case ColumnType.time2: case ColumnType.blobCompressed:
      return fields.u8();
    case ColumnType.varchar: case ColumnType.varString: case ColumnType.bit: case ColumnType.newDecimal: case ColumnType.enum:
    case ColumnType.set: case ColumnType.string: case ColumnType.varcharCompressed:
      return fields.u16();
    case ColumnType.typedArray: {
      const element = fields.u8();
      // The length of an array's strings has three bytes.
      if (element === ColumnType.varchar) fields.skip(3);
      else if (element !== ColumnType.typedArray) readMetadata(element, fields);
      return element;
    }
    default:
      return 0;
  }
}

/** @throws TidemarkError `MYSQL_BINLOG` for a type or metadata that are not known */
export function valueWidth(type: number, metadata: number): number {
  const first = metadata & 0xff;
  const second = metadata >>> 8;
  switch (type) {
    case ColumnType.null:
      return 0;
    case ColumnType.tiny: case ColumnType.year:
      return 1;
    case ColumnType.short:
      return 2;
    case ColumnType.int24: case ColumnType.date: case ColumnType.time: case ColumnType.newDate:
      return 3;
    case ColumnType.long: case ColumnType.float: case ColumnType.timestamp:
      return 4;
    case ColumnType.double: case ColumnType.longLong: case ColumnType.dateTime:
      return 8;
    case ColumnType.timestamp2:
      return 4 + fractionBytes(first);
    case ColumnType.dateTime2:
      return 5 + fractionBytes(first);
    case ColumnType.time2:
      return 3 + fractionBytes(first);
    case ColumnType.varchar: case ColumnType.varString: case ColumnType.varcharCompressed:
      return metadata > 255 ? -2 : -1;
    case ColumnType.bit:
      if (first > 7 || second > 8) throw unknown('bit', metadata);
      return second + (first > 0 ? 1 : 0);
    case ColumnType.newDecimal:
      if (first < 1 || first > MAX_PRECISION || second > MAX_SCALE || second > first) throw unknown('decimal', metadata);
      return decimalBytes(first, second);
    case ColumnType.blob: case ColumnType.geometry: case ColumnType.json: case ColumnType.vector: case ColumnType.blobCompressed:
      if (first < 1 || first > MAX_BLOB_LENGTH_BYTES) throw unknown('blob', metadata);
      return -first;
    case ColumnType.typedArray:
      return -MAX_BLOB_LENGTH_BYTES;
    case ColumnType.enum: case ColumnType.set: case ColumnType.string:
      return stringWidth(first, second);
    default:
      throw binlogError(`a table has a column of type ${type}, which is not known`);
  }
}

/** Enum and set are strings whose metadata begin with the type that they are. */
export function realType(type: number, metadata: number): number {
  if (type !== ColumnType.string) return type;
  const first = metadata & 0xff;
  return first === ColumnType.enum || first === ColumnType.set ? first : type;
}

function stringWidth(first: number, second: number): number {
  if (first === ColumnType.enum || first === ColumnType.set) {
    if (second < 1 || second > 8) throw unknown('enum or set', first | (second << 8));
    return second;
  }
  const longest = ((first & LENGTH_BITS) ^ LENGTH_BITS) << 4 | second;
  return longest > 255 ? -2 : -1;
}

function fractionBytes(digits: number): number {
  if (digits > MAX_FRACTION) throw unknown('time', digits);
  return (digits + 1) >> 1;
}

function unknown(what: string, metadata: number): Error {
  return binlogError(`a column (${what}) has metadata ${metadata}, which are not known`);
}

/**
 * Where the value that begins at `at` ends: at or before `limit`, or -1 when it does not lie whole before it.
 */
export function valueEnd(width: number, bytes: Buffer, at: number, limit: number): number {
  let end = at + width;
  if (width < 0) {
    const from = at - width;
    if (from > limit) return -1;
    let length = bytes[at] as number;
    if (width !== -1) {
      length |= (bytes[at + 1] as number) << 8;
      if (width !== -2) {
        length |= (bytes[at + 2] as number) << 16;
        if (width === -4) length += (bytes[at + 3] as number) * 0x100_0000;
      }
    }
    end = from + length;
  }
  return end > limit ? -1 : end;
}
