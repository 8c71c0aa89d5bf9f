/**
 * Writes row images (contracts/row-image.ts) into a buffer of its own, cell by cell, and notes where each value lies. No
 * object is made per cell. A decoder writes one cell per value, by one of:
 *
 *     out.null()                                   null
 *     out.text(bytes, start, end)                  bytes that are canonical text as they stand (UTF-8)
 *     out.part(bytes)                              what has changed of a value that was left out
 *     out.binary(bytes, start, end)                raw bytes (logical type `bytes` only)
 *     out.ascii(text)                              a short string of ASCII
 *     out.integer(value)                           a safe integer in decimal
 *     at = out.open(most); …out.bytes[at++] = …; out.close(Cell.text, at)
 *                                                  a value of at most `most` bytes, written in place
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { MAX_RECORD_BYTES, writeU32 } from '../../../contracts/record.ts';
import { Cell, IMAGE_HEADER } from '../../../contracts/row-image.ts';

/** Kind and length before a value. */
const CELL_HEADER = 5;
const FIRST_BYTES = 1 << 16;
/** A larger buffer is given up for a small one by `reset`. */
const KEEP_BYTES = 1 << 20;
/** Up to this many bytes a loop is quicker than a call. */
const SHORT_COPY = 32;
const SMALL_INTEGER = 1 << 30;

/** Where the cells of one image lie in its writer's buffer. Valid until the writer's next `reset`. Reused for row after row. */
export class CellSpans {
  /** The whole image, its column count included. */
  start = 0;
  end = 0;
  columns = 0;
  placeholders = 0;
  kinds = new Uint8Array(64);
  /** Values are `bytes[starts[i] .. ends[i])`; a text's length stands in the 4 bytes before it. */
  starts = new Int32Array(64);
  ends = new Int32Array(64);

  makeRoom(columns: number): void {
    if (columns <= this.kinds.length) return;
    this.kinds = new Uint8Array(columns);
    this.starts = new Int32Array(columns);
    this.ends = new Int32Array(columns);
  }
}

/** Owned by one reader of rows. Images follow each other in `bytes` without gaps. */
export class CellWriter {
  /** Changes when `open`, `text` or any other call grows it. */
  bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  /** Where the next cell begins. */
  at = 0;
  #spans: CellSpans = new CellSpans();
  #cell = 0;

  /** Forgets every image. */
  reset(): void {
    this.at = 0;
    if (this.bytes.length > KEEP_BYTES) this.bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  }

  /** Begins an image of `columns` cells behind the one before; where they lie goes to `spans`. */
  beginImage(spans: CellSpans, columns: number): void {
    spans.makeRoom(columns);
    if (this.at + IMAGE_HEADER > this.bytes.length) this.#grow(IMAGE_HEADER);
    spans.start = this.at;
    spans.columns = columns;
    spans.placeholders = 0;
    this.bytes[this.at] = columns >>> 8;
    this.bytes[this.at + 1] = columns & 0xff;
    this.at += IMAGE_HEADER;
    this.#spans = spans;
    this.#cell = 0;
  }

  /** @throws TidemarkError `INTERNAL` when the image has another number of cells than it announced */
  endImage(): void {
    const spans = this.#spans;
    if (this.#cell !== spans.columns) throw new TidemarkError('INTERNAL', `an image of ${spans.columns} columns got ${this.#cell} cells`);
    spans.end = this.at;
  }

  /** Cells of the open image so far. */
  get cells(): number {
    return this.#cell;
  }

  null(): void {
    this.#bare(Cell.null);
  }

  /** The source left the column out. */
  placeholder(): void {
    this.#bare(Cell.placeholder);
    this.#spans.placeholders++;
  }

  /** The source left the column out, and says what of it has changed (contracts/types/json-part.ts). */
  part(bytes: Uint8Array): void {
    this.#copy(Cell.part, bytes, 0, bytes.length);
    this.#spans.placeholders++;
  }

  /** Canonical text as it stands in `bytes[start .. end)`. */
  text(bytes: Uint8Array, start: number, end: number): void {
    this.#copy(Cell.text, bytes, start, end);
  }

  /** Raw bytes; for the logical type `bytes` only. */
  binary(bytes: Uint8Array, start: number, end: number): void {
    this.#copy(Cell.binary, bytes, start, end);
  }

  /** A string of ASCII characters only. */
  ascii(text: string): void {
    const at = this.open(text.length);
    const { bytes } = this;
    for (let index = 0; index < text.length; index++) bytes[at + index] = text.charCodeAt(index);
    this.close(Cell.text, at + text.length);
  }

  /** A safe integer in decimal digits. */
  integer(value: number): void {
    if (value >= SMALL_INTEGER || value <= -SMALL_INTEGER) {
      this.ascii(String(value));
      return;
    }
    let at = this.open(11);
    const { bytes } = this;
    let rest = value;
    if (rest < 0) {
      bytes[at++] = 0x2d;
      rest = -rest;
    }
    const end = at + digitsOf(rest);
    for (let digit = end - 1; digit >= at; digit--) {
      const tenth = (rest / 10) | 0;
      bytes[digit] = 0x30 + rest - tenth * 10;
      rest = tenth;
    }
    this.close(Cell.text, end);
  }

  /** A whole cell (kind, length, value) as it stands elsewhere. */
  cell(cell: Uint8Array): void {
    const kind = cell[0] as number;
    if (kind === Cell.null) this.null();
    else if (kind === Cell.placeholder) this.placeholder();
    else this.#copy(kind, cell, CELL_HEADER, cell.length);
  }

  /** The cell `column` of an image of this writer again. */
  again(spans: CellSpans, column: number): void {
    const kind = spans.kinds[column] as number;
    if (kind === Cell.null) this.null();
    else if (kind === Cell.placeholder) this.placeholder();
    else {
      const start = spans.starts[column] as number;
      const length = (spans.ends[column] as number) - start;
      const at = this.open(length);
      this.bytes.copyWithin(at, start, start + length);
      this.close(kind, at + length);
    }
  }

  /**
   * Begins a value of at most `most` bytes and answers where its first byte goes in `bytes` (read it after this call);
   * `close` must follow before anything else is called.
   * @throws TidemarkError `MYSQL_ROW_TOO_LARGE` above what a record can hold
   */
  open(most: number): number {
    const at = this.at;
    if (at + CELL_HEADER + most > this.bytes.length) this.#grow(CELL_HEADER + most);
    return at + CELL_HEADER;
  }

  /** Ends the value that `open` began; its last byte is before `end`. `kind`: Cell.text or Cell.binary. */
  close(kind: number, end: number): void {
    const { bytes, at } = this;
    const start = at + CELL_HEADER;
    bytes[at] = kind;
    writeU32(bytes, at + 1, end - start);
    const spans = this.#spans;
    const cell = this.#cell++;
    spans.kinds[cell] = kind;
    spans.starts[cell] = start;
    spans.ends[cell] = end;
    this.at = end;
  }

  #copy(kind: number, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    let at = this.open(length);
    const into = this.bytes;
    if (length > SHORT_COPY) {
      if (bytes instanceof Buffer) bytes.copy(into, at, start, end);
      else into.set(bytes.subarray(start, end), at);
      at += length;
    } else for (let next = start; next < end; next++) into[at++] = bytes[next] as number;
    this.close(kind, at);
  }

  #bare(kind: number): void {
    if (this.at >= this.bytes.length) this.#grow(1);
    this.bytes[this.at++] = kind;
    const spans = this.#spans;
    const cell = this.#cell++;
    spans.kinds[cell] = kind;
    spans.starts[cell] = this.at;
    spans.ends[cell] = this.at;
  }

  #grow(bytes: number): void {
    const needed = this.at + bytes;
    if (needed > 2 * MAX_RECORD_BYTES) throw new TidemarkError('MYSQL_ROW_TOO_LARGE', `the images of a row need ${needed} bytes`);
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(this.bytes.length * 2, this.bytes.length + (64 << 20))));
    this.bytes.copy(larger, 0, 0, this.at);
    this.bytes = larger;
  }
}

function digitsOf(value: number): number {
  if (value < 10) return 1;
  if (value < 100) return 2;
  if (value < 1_000) return 3;
  if (value < 10_000) return 4;
  if (value < 100_000) return 5;
  if (value < 1_000_000) return 6;
  if (value < 10_000_000) return 7;
  if (value < 100_000_000) return 8;
  if (value < 1_000_000_000) return 9;
  return 10;
}
