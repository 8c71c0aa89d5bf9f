import { TidemarkError } from './errors/error.ts';

/**
 * A row image is laid out as the TupleData of the Postgres logical replication protocol (message formats, PostgreSQL
 * documentation), so that a row goes from the socket to the log by one copy:
 *
 *     u16 number of columns, then per column
 *       'n'                     null
 *       'u'                     placeholder: left out by the source, not known here
 *       'p' i32 length, bytes   placeholder, too: left out by the source, which says what of it has changed
 *                               (types/json-part.ts); in incomplete records only
 *       't' i32 length, bytes   value in canonical text
 *       'b' i32 length, bytes   value in canonical bytes (logical type `bytes` only)
 *
 * Integers are big-endian. Columns stand in the order of the schema version that the record names.
 */
export const Cell = { null: 0x6e, placeholder: 0x75, part: 0x70, text: 0x74, binary: 0x62 } as const;

/** Smallest possible image: the column count. */
export const IMAGE_HEADER = 2;

export function imageColumns(bytes: Uint8Array, start: number): number {
  return ((bytes[start] as number) << 8) | (bytes[start + 1] as number);
}

/**
 * Walks the columns of one image without making objects. Reusable: `reset` puts it before the first column.
 * Values are the span `start .. end` of the bytes given to `reset`.
 */
export class ImageWalker {
  bytes: Uint8Array = EMPTY;
  kind = 0;
  start = 0;
  end = 0;
  /** Columns not yet walked. */
  left = 0;
  #next = 0;
  #limit = 0;

  /** @throws TidemarkError `RECORD_CORRUPT` when the span cannot hold an image. */
  reset(bytes: Uint8Array, start: number, end: number): this {
    if (end - start < IMAGE_HEADER || end > bytes.length) throw corrupt('a row image is shorter than its header', start);
    this.bytes = bytes;
    this.left = imageColumns(bytes, start);
    this.#next = start + IMAGE_HEADER;
    this.#limit = end;
    return this;
  }

  /** Moves to the next column; false after the last. @throws TidemarkError `RECORD_CORRUPT` */
  next(): boolean {
    const bytes = this.bytes;
    let at = this.#next;
    if (this.left === 0) {
      if (at !== this.#limit) throw corrupt('a row image is longer than its columns', at);
      return false;
    }
    if (at >= this.#limit) throw corrupt('a row image ends before its last column', at);
    this.left--;
    const kind = bytes[at++] as number;
    this.kind = kind;
    if (kind === Cell.text || kind === Cell.binary || kind === Cell.part) {
      if (at + 4 > this.#limit) throw corrupt('a row image ends inside a length', at);
      const length =
        ((bytes[at] as number) << 24) |
        ((bytes[at + 1] as number) << 16) |
        ((bytes[at + 2] as number) << 8) |
        (bytes[at + 3] as number);
      at += 4;
      if (length < 0 || length > this.#limit - at) throw corrupt('a value is longer than its row image', at);
      this.start = at;
      this.end = at + length;
      this.#next = at + length;
      return true;
    }
    if (kind !== Cell.null && kind !== Cell.placeholder) throw corrupt(`unknown cell kind ${kind}`, at - 1);
    this.start = at;
    this.end = at;
    this.#next = at;
    return true;
  }
}

const EMPTY = new Uint8Array(0);

/** A cell given as a value: null, a placeholder (also one that says what has changed), or canonical text / bytes. */
export type CellValue = null | typeof PLACEHOLDER | string | Uint8Array;
export const PLACEHOLDER: unique symbol = Symbol('placeholder');

/** Builds an image from values; for tests, tools and cold paths. Strings become 't', bytes become 'b'. */
export function buildImage(cells: readonly CellValue[]): Buffer {
  const parts: Buffer[] = [];
  const header = Buffer.alloc(IMAGE_HEADER);
  header.writeUInt16BE(cells.length, 0);
  parts.push(header);
  for (const cell of cells) {
    if (cell === null) parts.push(Buffer.from([Cell.null]));
    else if (cell === PLACEHOLDER) parts.push(Buffer.from([Cell.placeholder]));
    else {
      const value = typeof cell === 'string' ? Buffer.from(cell, 'utf8') : Buffer.from(cell);
      const head = Buffer.alloc(5);
      head[0] = typeof cell === 'string' ? Cell.text : Cell.binary;
      head.writeInt32BE(value.length, 1);
      parts.push(head, value);
    }
  }
  return Buffer.concat(parts);
}

/** The cells of an image as values; for tests, tools and cold paths. @throws TidemarkError `RECORD_CORRUPT` */
export function readImage(bytes: Uint8Array, start = 0, end = bytes.length): CellValue[] {
  const walker = new ImageWalker().reset(bytes, start, end);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cells: CellValue[] = [];
  while (walker.next()) {
    if (walker.kind === Cell.null) cells.push(null);
    else if (walker.kind === Cell.placeholder || walker.kind === Cell.part) cells.push(PLACEHOLDER);
    else if (walker.kind === Cell.text) cells.push(buffer.toString('utf8', walker.start, walker.end));
    else cells.push(Buffer.from(buffer.subarray(walker.start, walker.end)));
  }
  return cells;
}

function corrupt(what: string, at: number): TidemarkError {
  return new TidemarkError('RECORD_CORRUPT', `${what} (byte ${at})`);
}
