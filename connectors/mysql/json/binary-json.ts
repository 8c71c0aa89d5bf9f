/**
 * MySQL's binary JSON. A document is a byte of type and a value:
 *
 *     0 1    object, small and large      count, size, (key offset, u16 key length) for each key, a value entry for each, keys, values
 *     2 3    array, small and large       count, size, a value entry for each, values
 *     4      literal                      a byte: 0 null, 1 true, 2 false
 *     5 6 7 8 9 10   int16 uint16 int32 uint32 int64 uint64
 *     11     double
 *     12     string                       length in groups of 7 bits, the lowest first; UTF-8
 *     15     opaque                       a byte: type of a column; length as above; the value
 *
 * Numbers are little-endian; counts, sizes and offsets have 2 bytes in small containers and 4 in large ones, offsets count from the
 * container's beginning. A value entry is a type and an offset, or the value itself where it fits (literals, 16-bit integers; in
 * large containers 32-bit ones too). Keys are sorted by length, then by bytes. A document that the server has changed in
 * place has bytes that belong to nothing.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { readU16, readU32 } from '../values/digits.ts';

export const JsonType = {
  smallObject: 0, largeObject: 1, smallArray: 2, largeArray: 3, literal: 4, int16: 5, uint16: 6, int32: 7, uint32: 8, int64: 9, uint64: 10, double: 11,
  string: 12, opaque: 15,
} as const;

/** The server's own limit. */
export const MAX_DEPTH = 100;
/** Of a length in groups of 7 bits. */
const MAX_LENGTH_BYTES = 5;

/** A value: its first byte in `bytes`, behind the byte of type; nothing of it lies at `end` or beyond. */
export interface JsonLeaf {
  readonly bytes: Buffer;
  readonly type: number;
  readonly at: number;
  readonly end: number;
}

export function isContainer(type: number): boolean {
  return type <= JsonType.largeArray;
}

export function isObject(type: number): boolean {
  return type <= JsonType.largeObject;
}

/** One container, to find its keys and values. Reusable: `reset`. */
export class JsonContainer {
  count = 0;
  isObject = false;
  /** Of the value, of the key that was asked for last. */
  type = 0;
  at = 0;
  end = 0;
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #limit = 0;
  #large = false;
  #values = 0;

  /** @throws TidemarkError `MYSQL_VALUE` when the entries do not fit */
  reset(bytes: Buffer, type: number, at: number, end: number): this {
    const large = type === JsonType.largeObject || type === JsonType.largeArray;
    const width = large ? 4 : 2;
    requireRoom(at, width * 2, end);
    const size = large ? readU32(bytes, at + width) : readU16(bytes, at + width);
    requireRoom(at, size, end);
    this.#bytes = bytes;
    this.#start = at;
    this.#limit = at + size;
    this.#large = large;
    this.isObject = isObject(type);
    this.count = large ? readU32(bytes, at) : readU16(bytes, at);
    this.#values = at + width * 2 + (this.isObject ? this.count * (width + 2) : 0);
    requireRoom(this.#values, this.count * (width + 1), this.#limit);
    return this;
  }

  /** Sets `at` and `end` to the bytes of a key. */
  key(index: number): void {
    const width = this.#large ? 4 : 2;
    const entry = this.#start + width * 2 + index * (width + 2);
    const offset = this.#large ? readU32(this.#bytes, entry) : readU16(this.#bytes, entry);
    this.at = this.#start + offset;
    this.end = this.at + readU16(this.#bytes, entry + width);
    requireRoom(this.at, this.end - this.at, this.#limit);
  }

  /** Sets `type`, `at` and `end` to a value. */
  value(index: number): void {
    const width = this.#large ? 4 : 2;
    const entry = this.#values + index * (width + 1);
    const type = this.#bytes[entry] as number;
    this.type = type;
    this.end = this.#limit;
    const isInline = type === JsonType.literal || type === JsonType.int16 || type === JsonType.uint16 || (this.#large && (type === JsonType.int32 || type === JsonType.uint32));
    this.at = isInline ? entry + 1 : this.#start + (this.#large ? readU32(this.#bytes, entry + 1) : readU16(this.#bytes, entry + 1));
  }
}

/** @throws TidemarkError `MYSQL_VALUE` */
export function requireRoom(at: number, length: number, end: number): void {
  if (at + length > end) throw new TidemarkError('MYSQL_VALUE', `a JSON value of ${length} bytes ends ${at + length - end} bytes behind its container`);
}

/** A length in groups of 7 bits: its value, and where it ends. Reused by each call. */
export const varLength = { value: 0, next: 0 };

export function readVarLength(bytes: Buffer, at: number, end: number): void {
  let value = 0;
  let factor = 1;
  for (let index = 0; index < MAX_LENGTH_BYTES; index++) {
    requireRoom(at, index + 1, end);
    const byte = bytes[at + index] as number;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) {
      varLength.value = value;
      varLength.next = at + index + 1;
      requireRoom(varLength.next, value, end);
      return;
    }
    factor *= 128;
  }
  throw new TidemarkError('MYSQL_VALUE', 'a JSON value has a length of more than five bytes');
}
