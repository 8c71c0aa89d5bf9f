/**
 * A hash of 64 bits over the text of a row, which a database can compute as well. The text is what Postgres prints for a row
 * (`ROW(a, b, ...)::text`, documentation: "Composite Type Input and Output Syntax"), in UTF-8:
 *
 *     ( value , value ... )     value: nothing for null, else canonical text, raw bytes as `\x` and hexadecimal digits;
 *                               between quotes when it is empty or has one of  " \ ( ) , or white space;
 *                               a quote or a backslash in it is doubled
 *
 * so that two rows have the same text only if they are the same. The hash is Postgres' `hashtextextended`: lookup3 by
 * Bob Jenkins (public domain) with a seed of 64 bits, words read as little-endian.
 */
import { TidemarkError } from './errors/error.ts';
import { Cell, IMAGE_HEADER } from './row-image.ts';

/** Both halves of a seed, each of 32 bits. */
export type HashSeed = readonly [low: number, high: number];

const OPEN = 0x28;
const CLOSE = 0x29;
const COMMA = 0x2c;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SMALL_X = 0x78;

/** What a byte asks for: 1 quotes around the value, 2 also to be doubled. */
const ASKS = new Uint8Array(256);
for (const byte of [OPEN, CLOSE, COMMA, 0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d]) ASKS[byte] = 1;
for (const byte of [QUOTE, BACKSLASH]) ASKS[byte] = 2;

const DIGITS = Buffer.from('0123456789abcdef', 'latin1');
/** Stands for a value that is not known: no text of a database has it. */
const UNKNOWN = 0;
/** Columns of which it is remembered how they were printed last. */
const REMEMBERED = 2048;
const INITIAL_BYTES = 4096;
/** What one long row asks for is not kept. */
const KEPT_BYTES = 4 << 20;
/** Bytes of a step of the hash. The seed is one before the text; behind it there are zeros, which count for nothing. */
const STEP = 12;

/** Hashes row after row; no object for each. The results stand in its fields until the next one. Not re-entrant. */
export class RowTextHash {
  /** The hash, as two halves of 32 bits. */
  low = 0;
  high = 0;
  readonly #seedLow: number;
  readonly #seedHigh: number;
  /** The seed, then the text. */
  #out = new Uint8Array(0);
  #words = new Int32Array(0);
  /** By column: 1 if its last value was quoted. */
  readonly #quoted = new Uint8Array(REMEMBERED);
  #view: DataView | null = null;
  #bytes: Uint8Array = new Uint8Array(0);

  constructor([low, high]: HashSeed) {
    this.#seedLow = low | 0;
    this.#seedHigh = high | 0;
    this.#room(INITIAL_BYTES);
  }

  /** Where the row belongs: some bits of the hash. */
  get place(): number {
    return this.low;
  }

  /**
   * @param view over bytes that hold a row image from `imageStart` to `end`
   * @throws TidemarkError `RECORD_CORRUPT`
   */
  row(view: DataView, _keyStart: number, imageStart: number, end: number): void {
    if (view !== this.#view) {
      this.#view = view;
      this.#bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    }
    // A value of n bytes has five before it in the image, and is printed in 2n + 6 at most.
    const most = 2 * (end - imageStart) + 2 * STEP + 2;
    if (most > this.#out.length || (this.#out.length > KEPT_BYTES && most <= KEPT_BYTES)) this.#room(most);
    this.#hash(this.#print(imageStart, end) - STEP);
  }

  #room(bytes: number): void {
    const buffer = new ArrayBuffer(Math.ceil(Math.max(bytes, INITIAL_BYTES) / 4) * 4);
    this.#words = new Int32Array(buffer);
    this.#out = new Uint8Array(buffer);
    this.#words[0] = this.#seedHigh;
    this.#words[1] = this.#seedLow;
  }

  /** Answers where the text ends. */
  #print(imageStart: number, end: number): number {
    const bytes = this.#bytes;
    const out = this.#out;
    if (end - imageStart < IMAGE_HEADER || end > bytes.length) throw corrupt(imageStart);
    const columns = ((bytes[imageStart] as number) << 8) | (bytes[imageStart + 1] as number);
    let from = imageStart + IMAGE_HEADER;
    let to = STEP;
    out[to++] = OPEN;
    for (let column = 0; column < columns; column++) {
      if (column > 0) out[to++] = COMMA;
      const kind = bytes[from++];
      if (kind === Cell.null) continue;
      if (kind === Cell.placeholder) {
        out[to++] = UNKNOWN;
        continue;
      }
      const start = from + 4;
      const length = ((bytes[from] as number) << 24) | ((bytes[from + 1] as number) << 16) | ((bytes[from + 2] as number) << 8) | (bytes[from + 3] as number);
      if (start > end || length < 0 || length > end - start || (kind !== Cell.text && kind !== Cell.binary)) throw corrupt(from);
      from = start + length;
      to = kind === Cell.text ? this.#value(column, start, from, to) : this.#raw(start, from, to);
    }
    if (from !== end) throw corrupt(from);
    out[to++] = CLOSE;
    return to;
  }

  /** A column's values mostly look alike: the way of the last one is tried first. */
  #value(column: number, start: number, end: number, begin: number): number {
    const bytes = this.#bytes;
    const out = this.#out;
    const isQuoted = column < REMEMBERED && this.#quoted[column] === 1;
    if (isQuoted) return this.#quote(column, start, end, begin);
    let asks = 0;
    let to = begin;
    for (let from = start; from < end; from++) {
      const byte = bytes[from] as number;
      asks |= ASKS[byte] as number;
      out[to++] = byte;
    }
    return asks === 0 && end > start ? to : this.#quote(column, start, end, begin);
  }

  #quote(column: number, start: number, end: number, begin: number): number {
    const bytes = this.#bytes;
    const out = this.#out;
    let asks = 0;
    let to = begin;
    out[to++] = QUOTE;
    for (let from = start; from < end; from++) {
      const byte = bytes[from] as number;
      const ask = ASKS[byte] as number;
      asks |= ask;
      out[to++] = byte;
      if (ask === 2) out[to++] = byte;
    }
    out[to++] = QUOTE;
    const isQuoted = asks !== 0 || end === start;
    if (column < REMEMBERED) this.#quoted[column] = isQuoted ? 1 : 0;
    if (isQuoted) return to;
    // Nothing was doubled: the text lies one place too far.
    out.copyWithin(begin, begin + 1, to - 1);
    return to - 2;
  }

  /** The backslash has it quoted, and is doubled. */
  #raw(start: number, end: number, begin: number): number {
    const bytes = this.#bytes;
    const out = this.#out;
    let to = begin;
    out[to++] = QUOTE;
    out[to++] = BACKSLASH;
    out[to++] = BACKSLASH;
    out[to++] = SMALL_X;
    for (let from = start; from < end; from++) {
      const byte = bytes[from] as number;
      out[to++] = DIGITS[byte >>> 4] as number;
      out[to++] = DIGITS[byte & 15] as number;
    }
    out[to++] = QUOTE;
    return to;
  }

  #hash(length: number): void {
    const words = this.#words;
    this.#out.fill(0, STEP + length, 2 * STEP + length);
    let a = (0x9e3779b9 + length + 3923095) | 0;
    let b = a;
    let c = a;
    // A seed of 0 is none.
    let at = words[0] === 0 && words[1] === 0 ? STEP / 4 : 0;
    for (const whole = (length - (length % STEP)) / 4 + STEP / 4; at < whole; at += STEP / 4) {
      a = (a + (words[at] as number)) | 0;
      b = (b + (words[at + 1] as number)) | 0;
      c = (c + (words[at + 2] as number)) | 0;
      a = (a - c) ^ ((c << 4) | (c >>> 28));
      c = (c + b) | 0;
      b = (b - a) ^ ((a << 6) | (a >>> 26));
      a = (a + c) | 0;
      c = (c - b) ^ ((b << 8) | (b >>> 24));
      b = (b + a) | 0;
      a = (a - c) ^ ((c << 16) | (c >>> 16));
      c = (c + b) | 0;
      b = (b - a) ^ ((a << 19) | (a >>> 13));
      a = (a + c) | 0;
      c = (c - b) ^ ((b << 4) | (b >>> 28));
      b = (b + a) | 0;
    }
    a = (a + (words[at] as number)) | 0;
    b = (b + (words[at + 1] as number)) | 0;
    // The lowest byte of the last word is the length's.
    c = (c + ((words[at + 2] as number) << 8)) | 0;
    c = ((c ^ b) - ((b << 14) | (b >>> 18))) | 0;
    a = ((a ^ c) - ((c << 11) | (c >>> 21))) | 0;
    b = ((b ^ a) - ((a << 25) | (a >>> 7))) | 0;
    c = ((c ^ b) - ((b << 16) | (b >>> 16))) | 0;
    a = ((a ^ c) - ((c << 4) | (c >>> 28))) | 0;
    b = ((b ^ a) - ((a << 14) | (a >>> 18))) | 0;
    c = ((c ^ b) - ((b << 24) | (b >>> 8))) | 0;
    this.low = c;
    this.high = b;
  }
}

function corrupt(at: number): TidemarkError {
  return new TidemarkError('RECORD_CORRUPT', `a row to be compared has no row image (byte ${at})`);
}
