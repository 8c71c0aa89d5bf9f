/**
 * What each logical type becomes in JSON. Nothing is rounded: a number is written as a JSON number only where every
 * reader gets the same value back, else as a string of its canonical text.
 *
 *     bool                                true, false
 *     int16, int32                        number
 *     int64, uint64                       number from -(2^53 - 1) to 2^53 - 1, string beyond
 *     float32, float64                    number; NaN, Infinity, -Infinity: string
 *     decimal, money                      string
 *     bytes                               string of base64
 *     json                                embedded as it is written (RedisJSON: a string, when a number in it would be rounded)
 *     array                               array, to any depth; with bounds of its own (`[2:4]={...}`): string
 *     composite                           object
 *     vector                              array of numbers
 *     everything else                     string of the canonical text
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import type { CommandBuffer } from '../resp/command-buffer.ts';
import { readArray, readComposite, type LiteralVisitor } from './literal.ts';
import { writeBase64, writeString } from './json-text.ts';

/** Writes the value `start .. end` of `bytes`; `binary`: raw bytes, else canonical text. */
export type JsonWriter = (out: CommandBuffer, bytes: Uint8Array, start: number, end: number, binary: boolean) => void;

/** @param exactNumbers the reader keeps numbers of any size as they are written (a string does, RedisJSON does not) */
export function jsonWriter(type: LogicalType, exactNumbers: boolean): JsonWriter {
  if (type.kind === 'domain') return jsonWriter(type.base, exactNumbers);
  if (type.kind === 'array') return arrayWriter(type.element, exactNumbers);
  if (type.kind === 'composite') return compositeWriter(type.fields, exactNumbers);
  if (type.kind === 'json' && exactNumbers) return writeRaw;
  return WRITERS[type.kind] ?? writeString;
}

/** By the type's kind; what is not here is a string. */
const WRITERS: Partial<Record<LogicalType['kind'], JsonWriter>> = {
  bool: (out, bytes, start) => append(out, bytes[start] === 0x74 ? TRUE : FALSE),
  int16: writeRaw,
  int32: writeRaw,
  int64: writeInteger,
  uint64: writeInteger,
  float32: writeFloat,
  float64: writeFloat,
  bytes: writeBinary,
  json: (out, bytes, start, end) => (numbersFit(bytes, start, end) ? writeRaw : writeString)(out, bytes, start, end),
  vector: (out, bytes, start, end) => (bytes[start] === 0x5b ? writeRaw : writeString)(out, bytes, start, end),
};

const TRUE = Buffer.from('true', 'latin1');
const FALSE = Buffer.from('false', 'latin1');
export const NULL = Buffer.from('null', 'latin1');
const COMMA = 0x2c;

function append(out: CommandBuffer, text: Buffer): void {
  out.bytesOf(text, 0, text.length);
}

function writeRaw(out: CommandBuffer, bytes: Uint8Array, start: number, end: number): void {
  out.bytesOf(bytes, start, end);
}

function writeInteger(out: CommandBuffer, bytes: Uint8Array, start: number, end: number): void {
  (isSafeInteger(bytes, start, end) ? writeRaw : writeString)(out, bytes, start, end);
}

function writeFloat(out: CommandBuffer, bytes: Uint8Array, start: number, end: number): void {
  (isFinite(bytes, start) ? writeRaw : writeString)(out, bytes, start, end);
}

/** `bytes` outside an array stand raw in the image; inside one they are text: `\x0a1b`. */
function writeBinary(out: CommandBuffer, bytes: Uint8Array, start: number, end: number, binary: boolean): void {
  if (binary) {
    writeBase64(out, bytes, start, end);
    return;
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
  if (!/^\\x([\da-fA-F]{2})*$/.test(text)) throw new TidemarkError('RECORD_CORRUPT', 'a value of type bytes is neither raw nor hex');
  const raw = Buffer.from(text.slice(2), 'hex');
  writeBase64(out, raw, 0, raw.length);
}

const MAX_SAFE = Buffer.from(String(Number.MAX_SAFE_INTEGER), 'latin1');

function isSafeInteger(bytes: Uint8Array, start: number, end: number): boolean {
  const digits = bytes[start] === 0x2d ? start + 1 : start;
  const length = end - digits;
  if (length !== MAX_SAFE.length) return length < MAX_SAFE.length;
  for (let i = 0; i < length; i++) {
    const difference = (bytes[digits + i] as number) - (MAX_SAFE[i] as number);
    if (difference !== 0) return difference < 0;
  }
  return true;
}

/** `NaN`, `Infinity` and `-Infinity` begin with a letter. */
function isFinite(bytes: Uint8Array, start: number): boolean {
  const first = bytes[start] === 0x2d ? bytes[start + 1] : bytes[start];
  return first !== undefined && first >= 0x30 && first <= 0x39;
}

/** True when every number in a JSON text is one that a reader with 64-bit floats and integers keeps exactly. */
export function numbersFit(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte === 0x22) {
      for (at++; at < end && bytes[at] !== 0x22; at++) if (bytes[at] === 0x5c) at++;
    } else if (byte === 0x2d || (byte >= 0x30 && byte <= 0x39)) {
      const from = at;
      while (at < end && isNumeric(bytes[at] as number)) at++;
      if (!numberFits(Buffer.from(bytes.buffer, bytes.byteOffset + from, at - from).toString('latin1'))) return false;
      at--;
    }
  }
  return true;
}

function isNumeric(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2b || byte === 0x2e || byte === 0x65 || byte === 0x45;
}

/** Up to 15 significant digits survive a double; plain integers up to 2^53 - 1. */
function numberFits(text: string): boolean {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e');
  const digits = mantissa.replace(/[-.]/g, '').replace(/^0+/, '');
  if (!/[.e]/i.test(text)) return digits.length < 16 || Number.isSafeInteger(Number(text));
  return digits.length <= 15 && Math.abs(Number(exponent)) < 290;
}

function arrayWriter(element: LogicalType, exactNumbers: boolean): JsonWriter {
  const write = jsonWriter(element, exactNumbers);
  // The one built-in type whose arrays are delimited by something else.
  const delimiter = element.kind === 'unknown' && element.nativeType === 'box' ? 0x3b : COMMA;
  return (out, bytes, start, end) => {
    const mark = out.length;
    const visitor = new ArrayToJson(out, write);
    if (bytes[start] === 0x7b && readArray(bytes, start, end, delimiter, visitor)) return;
    out.length = mark;
    writeString(out, bytes, start, end);
  };
}

class ArrayToJson implements LiteralVisitor {
  readonly #out: CommandBuffer;
  readonly #write: JsonWriter;
  #first = true;

  constructor(out: CommandBuffer, write: JsonWriter) {
    this.#out = out;
    this.#write = write;
  }

  open(): void {
    this.#separate();
    this.#out.byte(0x5b);
    this.#first = true;
  }

  close(): void {
    this.#out.byte(0x5d);
    this.#first = false;
  }

  value(bytes: Uint8Array, start: number, end: number): void {
    this.#separate();
    this.#write(this.#out, bytes, start, end, false);
  }

  nothing(): void {
    this.#separate();
    append(this.#out, NULL);
  }

  #separate(): void {
    if (!this.#first) this.#out.byte(COMMA);
    this.#first = false;
  }
}

function compositeWriter(fields: readonly { name: string; type: LogicalType }[], exactNumbers: boolean): JsonWriter {
  const members = fields.map(({ name, type }) => ({ label: memberLabel(name), write: jsonWriter(type, exactNumbers) }));
  return (out, bytes, start, end) => {
    const mark = out.length;
    const visitor = new CompositeToJson(out, members);
    if (readComposite(bytes, start, end, visitor) && visitor.isComplete) return;
    out.length = mark;
    writeString(out, bytes, start, end);
  };
}

interface MemberWriter {
  readonly label: Buffer;
  readonly write: JsonWriter;
}

class CompositeToJson implements LiteralVisitor {
  readonly #out: CommandBuffer;
  readonly #members: readonly MemberWriter[];
  #index = 0;
  #excess = false;

  constructor(out: CommandBuffer, members: readonly MemberWriter[]) {
    this.#out = out;
    this.#members = members;
  }

  get isComplete(): boolean {
    return !this.#excess && this.#index === this.#members.length;
  }

  open(): void {
    this.#out.byte(0x7b);
  }

  close(): void {
    this.#out.byte(0x7d);
  }

  value(bytes: Uint8Array, start: number, end: number): void {
    this.#label()?.(this.#out, bytes, start, end, false);
  }

  nothing(): void {
    if (this.#label() !== null) append(this.#out, NULL);
  }

  #label(): JsonWriter | null {
    const member = this.#members[this.#index];
    if (member === undefined) {
      this.#excess = true;
      return null;
    }
    if (this.#index > 0) this.#out.byte(COMMA);
    this.#index++;
    append(this.#out, member.label);
    return member.write;
  }
}

/** `"name":` as it stands in an object. */
export function memberLabel(name: string): Buffer {
  return Buffer.from(`${JSON.stringify(name)}:`, 'utf8');
}
