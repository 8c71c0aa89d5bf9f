/** Binary JSON as the text that the server prints for it. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { isUtf8 } from 'node:buffer';
import { DECIMAL_TEXT, DecimalDecoder } from '../values/decimal.ts';
import { writeClock, writeDate, writeTime } from '../values/calendar.ts';
import { readU16, readU32, writeDigits, writePadded, writeSigned64, writeUnsigned64 } from '../values/digits.ts';
import { isContainer, JsonContainer, JsonType, MAX_DEPTH, readVarLength, requireRoom, varLength } from './binary-json.ts';
import { jsonDouble } from '../../../contracts/types/mysql-json-number.ts';
import type { JsonNode } from './json-tree.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_BYTES = 4096;
/** A larger buffer is given up for a small one by the next document. */
const KEEP_BYTES = 1 << 20;
/** Text that no number is longer than. */
const NUMBER_TEXT = 40;
/** No byte of a document becomes more bytes of text than this: `\u001f`; values that are found twice are damage. */
const GROWTH = 6;
const SLACK = 128;
const NULL = Buffer.from('null');
const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const HEX = Buffer.from('0123456789abcdef');
/** Characters that have an escape of their own, by their byte. */
const ESCAPES: ReadonlyMap<number, number> = new Map([[8, 0x62], [9, 0x74], [10, 0x6e], [12, 0x66], [13, 0x72], [QUOTE, QUOTE], [BACKSLASH, BACKSLASH]]);
/** 1: the byte must be escaped in a string. */
const MUST_ESCAPE = Uint8Array.from({ length: 256 }, (_, byte) => (byte < 0x20 || byte === QUOTE || byte === BACKSLASH ? 1 : 0));
const Opaque = { timestamp: 7, date: 10, time: 11, datetime: 12, decimal: 246 } as const;
const BASE64_LINE = 76;

/** Holds the text of one document at a time: valid until the next `print`. Owned by one decoder. */
export class JsonText {
  bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  length = 0;
  #limit = 0;
  /** A container for each level of depth, made when first needed. */
  readonly #levels: JsonContainer[] = [];
  readonly #decimals = new Map<number, DecimalDecoder>();

  /** @throws TidemarkError `MYSQL_VALUE` */
  print(bytes: Buffer, start: number, end: number): void {
    this.#begin(end - start);
    // What the server keeps where NULL was put into a column that has none.
    if (start === end) this.#write(NULL);
    else this.#value(bytes, bytes[start] as number, start + 1, end, 1);
  }

  /** @param size bytes of the documents that the tree was made from */
  printTree(root: JsonNode, size: number): void {
    this.#begin(size);
    this.#node(root, 1);
  }

  /** A string as JSON, in quotes. @throws TidemarkError `MYSQL_VALUE` */
  printString(bytes: Buffer): void {
    this.#begin(bytes.length);
    this.#string(bytes, 0, bytes.length);
  }

  #begin(size: number): void {
    if (this.bytes.length > KEEP_BYTES) this.bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
    this.length = 0;
    this.#limit = size * GROWTH + SLACK;
  }

  #room(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.bytes.length) return;
    if (this.length > this.#limit) throw new TidemarkError('MYSQL_VALUE', 'a JSON document has values that are found more than once');
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  #node(node: JsonNode, depth: number): void {
    if (node.kind === 'leaf') {
      this.#value(node.bytes, node.type, node.at, node.end, depth);
      return;
    }
    requireDepth(depth);
    const isObject = node.kind === 'object';
    this.#byte(isObject ? 0x7b : 0x5b);
    for (const [index, item] of node.items.entries()) {
      if (index > 0) this.#separator();
      if (node.kind === 'object') this.#key(node.keys[index] as Buffer, 0, (node.keys[index] as Buffer).length);
      this.#node(item, depth + 1);
    }
    this.#byte(isObject ? 0x7d : 0x5d);
  }

  #value(bytes: Buffer, type: number, at: number, end: number, depth: number): void {
    if (isContainer(type)) this.#container(bytes, type, at, end, depth);
    else if (type === JsonType.string) {
      readVarLength(bytes, at, end);
      this.#string(bytes, varLength.next, varLength.next + varLength.value);
    } else if (type === JsonType.opaque) this.#opaque(bytes, at, end);
    else this.#scalar(bytes, type, at, end);
  }

  #container(bytes: Buffer, type: number, at: number, end: number, depth: number): void {
    requireDepth(depth);
    const container = (this.#levels[depth] ??= new JsonContainer()).reset(bytes, type, at, end);
    const { count, isObject } = container;
    this.#byte(isObject ? 0x7b : 0x5b);
    for (let index = 0; index < count; index++) {
      if (index > 0) this.#separator();
      if (isObject) {
        container.key(index);
        this.#key(bytes, container.at, container.end);
      }
      container.value(index);
      this.#value(bytes, container.type, container.at, container.end, depth + 1);
    }
    this.#byte(isObject ? 0x7d : 0x5d);
  }

  #key(bytes: Buffer, start: number, end: number): void {
    this.#string(bytes, start, end);
    this.#room(2);
    this.bytes[this.length++] = 0x3a;
    this.bytes[this.length++] = 0x20;
  }

  #separator(): void {
    this.#room(2);
    this.bytes[this.length++] = 0x2c;
    this.bytes[this.length++] = 0x20;
  }

  #byte(byte: number): void {
    this.#room(1);
    this.bytes[this.length++] = byte;
  }

  #write(text: Uint8Array): void {
    this.#room(text.length);
    this.bytes.set(text, this.length);
    this.length += text.length;
  }

  #scalar(bytes: Buffer, type: number, at: number, end: number): void {
    requireRoom(at, widthOf(type), end);
    this.#room(NUMBER_TEXT);
    switch (type) {
      case JsonType.literal:
        this.#write(literal(bytes[at] as number));
        break;
      case JsonType.int16:
        this.#integer((readU16(bytes, at) << 16) >> 16);
        break;
      case JsonType.uint16:
        this.#integer(readU16(bytes, at));
        break;
      case JsonType.int32:
        this.#integer(readU32(bytes, at) | 0);
        break;
      case JsonType.uint32:
        this.#integer(readU32(bytes, at));
        break;
      case JsonType.int64:
        this.length = writeSigned64(this.bytes, this.length, readU32(bytes, at + 4), readU32(bytes, at));
        break;
      case JsonType.uint64:
        this.length = writeUnsigned64(this.bytes, this.length, readU32(bytes, at + 4), readU32(bytes, at));
        break;
      default:
        this.length += this.bytes.write(jsonDouble(bytes.readDoubleLE(at)), this.length, 'latin1');
    }
  }

  #integer(value: number): void {
    if (value < 0) this.bytes[this.length++] = 0x2d;
    this.length = writeDigits(this.bytes, this.length, Math.abs(value));
  }

  /** In quotes. @throws TidemarkError `MYSQL_VALUE` when it is not UTF-8 */
  #string(bytes: Buffer, start: number, end: number): void {
    if (!isUtf8(bytes.subarray(start, end))) throw new TidemarkError('MYSQL_VALUE', `a text of ${end - start} bytes in a JSON document is not UTF-8`);
    this.#room(end - start + 2);
    this.bytes[this.length++] = QUOTE;
    let from = start;
    for (let at = start; at < end; at++) {
      const byte = bytes[at] as number;
      if (MUST_ESCAPE[byte] === 0) continue;
      this.#run(bytes, from, at);
      this.#escape(byte);
      from = at + 1;
    }
    this.#run(bytes, from, end);
    this.#byte(QUOTE);
  }

  #run(bytes: Buffer, start: number, end: number): void {
    this.#room(end - start);
    bytes.copy(this.bytes, this.length, start, end);
    this.length += end - start;
  }

  #escape(byte: number): void {
    this.#room(GROWTH);
    this.bytes[this.length++] = BACKSLASH;
    const letter = ESCAPES.get(byte);
    if (letter !== undefined) {
      this.bytes[this.length++] = letter;
      return;
    }
    this.bytes.write('u00', this.length, 'latin1');
    this.bytes[this.length + 3] = HEX[byte >> 4] as number;
    this.bytes[this.length + 4] = HEX[byte & 15] as number;
    this.length += 5;
  }

  #opaque(bytes: Buffer, at: number, end: number): void {
    requireRoom(at, 1, end);
    const type = bytes[at] as number;
    readVarLength(bytes, at + 1, end);
    const { next, value } = varLength;
    switch (type) {
      case Opaque.decimal:
        this.#decimal(bytes, next, next + value);
        break;
      case Opaque.date:
      case Opaque.datetime:
      case Opaque.timestamp:
      case Opaque.time:
        this.#temporal(type, bytes, next, value);
        break;
      default:
        this.#base64(type, bytes.subarray(next, next + value));
    }
  }

  /** Precision, scale, the packed form. */
  #decimal(bytes: Buffer, start: number, end: number): void {
    requireRoom(start, 2, end);
    const precision = bytes[start] as number;
    const scale = bytes[start + 1] as number;
    const shape = (precision << 8) | scale;
    let decoder = this.#decimals.get(shape);
    if (decoder === undefined) this.#decimals.set(shape, (decoder = new DecimalDecoder(precision, scale)));
    requireRoom(start + 2, decoder.length, end);
    this.#room(DECIMAL_TEXT);
    this.length = decoder.write(bytes, start + 2, this.bytes, this.length);
  }

  /** 64 bits: 24 of microseconds; 6 each of second and minute, 5 of hour (10 in a time); 5 of day and the rest of year * 13 + month. */
  #temporal(type: number, bytes: Buffer, at: number, length: number): void {
    if (length !== 8) throw new TidemarkError('MYSQL_VALUE', `a time in a JSON document has ${length} bytes`);
    const negative = (bytes[at + 7] as number) >= 0x80;
    const micros24 = bytes.readUIntLE(at, 3);
    const upper = bytes.readIntLE(at + 3, 5);
    // The two's complement as a whole, in its two parts.
    const micros = negative && micros24 !== 0 ? 0x1000000 - micros24 : micros24;
    const clock = negative ? -upper - (micros24 === 0 ? 0 : 1) : upper;
    this.#room(NUMBER_TEXT);
    const { bytes: into } = this;
    into[this.length] = QUOTE;
    const to = this.length + 1;
    const days = Math.floor(clock / 0x20000);
    const months = Math.floor(days / 32);
    const year = Math.floor(months / 13);
    const minute = Math.floor(clock / 64) % 64;
    let next: number;
    if (type === Opaque.time) next = writeTime(into, to, negative, Math.floor(clock / 4096) % 1024, minute, clock % 64, micros);
    else {
      if (negative) throw new TidemarkError('MYSQL_VALUE', 'a date in a JSON document is negative');
      next = writeDate(into, to, year, months % 13, days % 32, 'keep');
      if (type !== Opaque.date) next = writeClock(into, next, Math.floor(clock / 4096) % 32, minute, clock % 64, micros);
    }
    if (type !== Opaque.date) next = withMicros(into, next, micros);
    into[next] = QUOTE;
    this.length = next + 1;
  }

  #base64(type: number, value: Buffer): void {
    const text = value.toString('base64');
    const lines = text.length <= BASE64_LINE ? text : (text.match(new RegExp(`.{1,${BASE64_LINE}}`, 'g')) ?? []).join('\\n');
    this.#write(Buffer.from(`"base64:type${type}:${lines}"`, 'latin1'));
  }
}

/** The fraction has six digits here, whatever it is. */
function withMicros(into: Uint8Array, end: number, micros: number): number {
  let point = end;
  if (micros !== 0) while (into[--point] !== 0x2e);
  into[point] = 0x2e;
  writePadded(into, point + 1, 6, micros);
  return point + 7;
}

function literal(byte: number): Buffer {
  const text = byte === 0 ? NULL : byte === 1 ? TRUE : byte === 2 ? FALSE : undefined;
  if (text === undefined) throw new TidemarkError('MYSQL_VALUE', `a JSON literal is ${byte}`);
  return text;
}

function widthOf(type: number): number {
  switch (type) {
    case JsonType.literal:
      return 1;
    case JsonType.int16:
    case JsonType.uint16:
      return 2;
    case JsonType.int32:
    case JsonType.uint32:
      return 4;
    case JsonType.int64:
    case JsonType.uint64:
    case JsonType.double:
      return 8;
    default:
      throw new TidemarkError('MYSQL_VALUE', `a JSON value is of type ${type}`);
  }
}

function requireDepth(depth: number): void {
  if (depth > MAX_DEPTH) throw new TidemarkError('MYSQL_VALUE', `a JSON document is nested more than ${MAX_DEPTH} deep`);
}

