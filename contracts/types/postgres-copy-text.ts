/**
 * COPY's text format to `r` records (docs: COPY, "Text Format"). A row is
 *
 *     value TAB value ... LF         value: `\N` null, else text in which \b \f \n \r \t \v and \\ stand for
 *                                    backspace, form feed, line feed, return, tab, vertical tab and backslash
 *
 * and comes as one CopyData message, which the protocol promises. It becomes one record: header, key, row image; byte by
 * byte for short values, by native search and copy for long ones; no object per row or column.
 */
import { BATCH_BYTES } from '../change-batch.ts';
import { TidemarkError } from '../errors/error.ts';
import { Flag, Op } from '../op.ts';
import { MAX_RECORD_BYTES, RECORD_HEADER, writeU32 } from '../record.ts';
import { Cell } from '../row-image.ts';

/** What becomes of a column's value between the server and the image. */
export type ColumnAction =
  /** The server's text as it stands. */
  | 'keep'
  /** `\x` hexadecimal to raw bytes. */
  | 'bytes'
  /** Replaced by the hash of the server's text (of `\\x...` for `bytea`). */
  | 'hash';

/** Bytes of a hashed value. */
export const HASH_BYTES = 64;

/** Tells the rows that may hold a value out of line. */
export interface WidthBound {
  /** An image that is not longer is narrow whatever is in it. */
  readonly narrowImage: number;
  isWide(bytes: Uint8Array, start: number, end: number): boolean;
}

/** How the values of one table's rows become an image. */
export interface RowLayout {
  /** One for each column, in the order of the COPY list. */
  readonly actions: readonly ColumnAction[];
  /** Indexes of the key columns in key order; empty: keyless. */
  readonly key: readonly number[];
  /** The text that stands for a hashed value: {@link HASH_BYTES} long. */
  readonly hash: (value: Uint8Array) => Buffer;
  /** Such rows get `Flag.wide`; null: none does. */
  readonly width: WidthBound | null;
}

/** Receives a full buffer of records. */
export type RecordSink = (records: Buffer, count: number) => void;

const TAB = 0x09;
const LINE_FEED = 0x0a;
const BACKSLASH = 0x5c;
const CAPITAL_N = 0x4e;
const SMALL_X = 0x78;
/** Below this many bytes a loop beats the calls of a native search and copy. */
const SHORT = 40;

const UNESCAPED = new Uint8Array(128);
for (let code = 0; code < 128; code++) UNESCAPED[code] = code;
for (const [letter, code] of [['b', 8], ['f', 12], ['n', 10], ['r', 13], ['t', 9], ['v', 11]] as const) {
  UNESCAPED[letter.charCodeAt(0)] = code;
}

const NO_DIGIT = 0xff;
const HEX = new Uint8Array(256).fill(NO_DIGIT);
for (let digit = 0; digit < 16; digit++) {
  HEX[digit.toString(16).charCodeAt(0)] = digit;
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

/**
 * Decodes rows into buffers of about {@link BATCH_BYTES}, handed to the sink when full and at `flush`. Table id and
 * schema version are left 0. Owned by one copy; not re-entrant.
 */
export class CopyTextDecoder {
  readonly #layout: RowLayout;
  readonly #columns: number;
  readonly #sink: RecordSink;
  readonly #bufferBytes: number;
  readonly #keyStart: Float64Array;
  readonly #keyEnd: Float64Array;
  /** Per column: its place in the key, or -1. */
  readonly #keyPlace: Int32Array;
  /** Bytes that hashing can add to an image. */
  readonly #slack: number;
  #out: Buffer = Buffer.alloc(0);
  #at = 0;
  #count = 0;
  /** The key length of the last row: where the image is written before this row's is known. */
  #keyGuess: number;
  #row: Buffer = Buffer.alloc(0);
  #from = 0;
  /** Where the next backslash of the row is known to be, at or after `#from`; -1: not looked for. */
  #nextBackslash = -1;

  /** @param bufferBytes of each buffer, where a row is not longer */
  constructor(layout: RowLayout, sink: RecordSink, bufferBytes: number = BATCH_BYTES) {
    this.#bufferBytes = bufferBytes;
    this.#layout = layout;
    this.#columns = layout.actions.length;
    this.#sink = sink;
    this.#keyStart = new Float64Array(layout.key.length);
    this.#keyEnd = new Float64Array(layout.key.length);
    this.#keyPlace = new Int32Array(this.#columns).fill(-1);
    layout.key.forEach((column, place) => {
      this.#keyPlace[column] = place;
    });
    this.#slack = layout.actions.filter((action) => action === 'hash').length * HASH_BYTES;
    this.#keyGuess = layout.key.length * 12;
  }

  /**
   * One CopyData message. The bytes are not kept.
   * @throws TidemarkError `POSTGRES_COPY_MALFORMED` when it is not a row of the layout
   */
  row(row: Buffer): void {
    const columns = this.#columns;
    const { key } = this.#layout;
    const end = row.length - 1;
    if (end < 0 || row[end] !== LINE_FEED) throw malformed('a row does not end with a line feed');
    const guess = this.#keyGuess;
    const limit = RECORD_HEADER + guess + 2 + columns * 5 + row.length + this.#slack;
    if (limit > MAX_RECORD_BYTES) throw malformed(`a row of ${row.length} bytes is above the record limit`);
    if (this.#at + limit > this.#out.length) this.#room(limit);
    const record = this.#at;
    const image = record + RECORD_HEADER + guess;
    const imageEnd = this.#image(row, end, image);
    let keyLength = 0;
    for (let place = 0; place < key.length; place++) {
      keyLength += 4 + (this.#keyEnd[place] as number) - (this.#keyStart[place] as number);
    }
    if (keyLength === guess) this.#finish(record, keyLength, image, imageEnd);
    else this.#moveAndFinish(record, keyLength, image, imageEnd);
  }

  /** Hands over what has been built so far. */
  flush(): void {
    if (this.#count > 0) this.#sink(this.#out.subarray(0, this.#at), this.#count);
    this.#out = Buffer.alloc(0);
    this.#at = 0;
    this.#count = 0;
  }

  #room(needed: number): void {
    if (this.#count > 0) this.flush();
    this.#out = Buffer.allocUnsafeSlow(Math.max(needed, this.#bufferBytes));
  }

  #image(row: Buffer, end: number, image: number): number {
    const columns = this.#columns;
    const { actions, hash } = this.#layout;
    const out = this.#out;
    out[image] = columns >>> 8;
    out[image + 1] = columns & 0xff;
    let at = image + 2;
    this.#row = row;
    this.#from = 0;
    this.#nextBackslash = -1;
    for (let column = 0; column < columns; column++) {
      if (column > 0) {
        if (row[this.#from] !== TAB || this.#from >= end) throw malformed(`a row ends at column ${column} of ${columns}`);
        this.#from++;
      }
      const from = this.#from;
      const place = this.#keyPlace[column] as number;
      if (row[from] === BACKSLASH && row[from + 1] === CAPITAL_N) {
        if (place >= 0) throw malformed('a key column is null');
        out[at++] = Cell.null;
        this.#from = from + 2;
        continue;
      }
      const value = at + 5;
      const action = actions[column] as ColumnAction;
      let to = action === 'bytes' ? this.#hexValue(end, value) : this.#textValue(end, value);
      if (action === 'hash') {
        out.set(hash(out.subarray(value, to)), value);
        to = value + HASH_BYTES;
      }
      out[at] = action === 'bytes' ? Cell.binary : Cell.text;
      writeU32(out, at + 1, to - value);
      if (place >= 0) {
        this.#keyStart[place] = value;
        this.#keyEnd[place] = to;
      }
      at = to;
    }
    if (this.#from !== end) throw malformed(`a row has more than ${columns} columns`);
    return at;
  }

  /** Copies the value at `#from` to `to`, unescaped; answers where it ends there. Leaves `#from` at the value's end. */
  #textValue(end: number, to: number): number {
    const row = this.#row;
    const out = this.#out;
    let from = this.#from;
    const short = from + SHORT < end ? from + SHORT : end;
    while (from < short) {
      const byte = row[from] as number;
      if (byte === TAB) {
        this.#from = from;
        return to;
      }
      if (byte === BACKSLASH) {
        out[to++] = unescaped(row[from + 1]);
        from += 2;
      } else {
        out[to++] = byte;
        from++;
      }
    }
    // An escape that began before the border may have ended behind it; never behind the row, which ends with a line feed.
    if (from >= end) {
      if (from > end) throw malformed('a row ends inside an escape');
      this.#from = from;
      return to;
    }
    return this.#longValue(from, end, to);
  }

  #longValue(from: number, end: number, to: number): number {
    const row = this.#row;
    const out = this.#out;
    const tab = row.indexOf(TAB, from);
    const stop = tab < 0 ? end : tab;
    while (from < stop) {
      const backslash = this.#backslash(from, end);
      const plain = backslash < stop ? backslash : stop;
      row.copy(out, to, from, plain);
      to += plain - from;
      from = plain;
      if (plain < stop) {
        out[to++] = unescaped(row[plain + 1]);
        from = plain + 2;
      }
    }
    if (from > stop) throw malformed('a row ends inside an escape');
    this.#from = stop;
    return to;
  }

  /** The next backslash at or after `from`, or `end`. The row is searched once over, not once a value. */
  #backslash(from: number, end: number): number {
    if (this.#nextBackslash < from) {
      const found = this.#row.indexOf(BACKSLASH, from);
      this.#nextBackslash = found < 0 ? end : found;
    }
    return this.#nextBackslash;
  }

  /** `\\x` and hex digits to raw bytes. */
  #hexValue(end: number, to: number): number {
    const row = this.#row;
    const out = this.#out;
    let from = this.#from;
    if (row[from] !== BACKSLASH || row[from + 1] !== BACKSLASH || row[from + 2] !== SMALL_X) {
      throw malformed('a bytea value is not in hex (bytea_output)');
    }
    for (from += 3; from < end && row[from] !== TAB; from += 2) {
      const high = HEX[row[from] as number] as number;
      const low = HEX[row[from + 1] as number] as number;
      if (high === NO_DIGIT || low === NO_DIGIT) throw malformed('a bytea value has a byte that is not two hex digits');
      out[to++] = (high << 4) | low;
    }
    this.#from = from;
    return to;
  }

  /** The key is longer or shorter than the last one: the image goes where it belongs. */
  #moveAndFinish(record: number, keyLength: number, image: number, imageEnd: number): void {
    const place = record + RECORD_HEADER + keyLength;
    const length = imageEnd - image;
    if (place + length > this.#out.length) {
      const larger = Buffer.allocUnsafeSlow(place + length);
      this.#out.copy(larger, 0, 0, imageEnd);
      this.#out = larger;
    }
    this.#out.copyWithin(place, image, imageEnd);
    const moved = place - image;
    for (let index = 0; index < this.#keyStart.length; index++) {
      this.#keyStart[index] = (this.#keyStart[index] as number) + moved;
      this.#keyEnd[index] = (this.#keyEnd[index] as number) + moved;
    }
    this.#keyGuess = keyLength;
    this.#finish(record, keyLength, place, place + length);
  }

  #finish(record: number, keyLength: number, image: number, imageEnd: number): void {
    const out = this.#out;
    const { width } = this.#layout;
    const wide = width !== null && imageEnd - image > width.narrowImage && width.isWide(out, image, imageEnd);
    writeU32(out, record, imageEnd - record - 4);
    out[record + 4] = Op.read;
    out[record + 5] = wide ? Flag.wide : 0;
    out[record + 6] = 0;
    out[record + 7] = 0;
    writeU32(out, record + 8, 0);
    writeU32(out, record + 12, 0);
    writeU32(out, record + 16, keyLength);
    writeU32(out, record + 20, 0);
    writeU32(out, record + 24, imageEnd - image);
    let at = record + RECORD_HEADER;
    for (let place = 0; place < this.#keyStart.length; place++) {
      const start = this.#keyStart[place] as number;
      const end = this.#keyEnd[place] as number;
      writeU32(out, at, end - start);
      at += 4;
      if (end - start < SHORT) for (let from = start; from < end; from++) out[at++] = out[from] as number;
      else {
        out.copyWithin(at, start, end);
        at += end - start;
      }
    }
    this.#at = imageEnd;
    this.#count++;
  }
}

function unescaped(letter: number | undefined): number {
  if (letter === undefined || letter === LINE_FEED || letter > 127) throw malformed('a row has an escape that COPY does not write');
  return UNESCAPED[letter] as number;
}

function malformed(what: string): TidemarkError {
  return new TidemarkError('POSTGRES_COPY_MALFORMED', what);
}
