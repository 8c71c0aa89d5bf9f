import { TidemarkError } from '../../contracts/errors/error.ts';
import { readU32, RECORD_HEADER, writeU32 } from '../../contracts/record.ts';
import { Cell, ImageWalker } from '../../contracts/row-image.ts';
import type { RecordRef } from '../../contracts/sink.ts';
import { binaryOid, type BinaryType, type BinaryWriter, binaryWriter, mostBytes } from './binary-values.ts';
import { expectedBytes } from './column-bytes.ts';
import { readHex, writeHex } from './hex.ts';
import { BYTEA_OID, TEXT_OID, type Parameter } from './wire.ts';

/** Which image of a record is read. */
export type ImageSide = 'before' | 'after';

/** Bytes of an array's header on the wire: dimensions, nulls, element type, length, lower bound. */
const ARRAY_HEADER = 20;
/** Spans up to this length are quicker copied by a loop than by a call. */
const LOOP_COPY = 40;

/**
 * One column of many rows as a binary array parameter: each value is its length and its bytes. As `text[]` and `bytea[]`
 * that is just as it stands in a row image, so that a value is copied once and never becomes a string.
 */
class ArrayColumn {
  readonly #oid: number;
  readonly #write: BinaryWriter | null;
  buffer: Buffer;
  length = ARRAY_HEADER;
  #count = 0;
  #nulls = false;

  constructor(form: ValueForm, expectedBytes: number) {
    const isBinary = form !== 'text' && form !== 'bytes';
    this.#oid = isBinary ? binaryOid(form) : form === 'bytes' ? BYTEA_OID : TEXT_OID;
    this.#write = isBinary ? binaryWriter(form) : null;
    this.buffer = Buffer.allocUnsafe(ARRAY_HEADER + expectedBytes);
  }

  /** Adds the canonical text `bytes[start .. end]` in the column's form. False: it has none. */
  addText(bytes: Buffer, start: number, end: number): boolean {
    if (this.#write === null) {
      this.addSpan(bytes, start, end);
      return true;
    }
    this.#room(4 + mostBytes(end - start));
    const from = this.length + 4;
    const to = this.#write(bytes, start, end, this.buffer, from);
    if (to < 0) return false;
    writeU32(this.buffer, this.length, to - from);
    this.length = to;
    this.#count++;
    return true;
  }

  addNull(): void {
    this.#room(4);
    writeU32(this.buffer, this.length, 0xffffffff);
    this.length += 4;
    this.#count++;
    this.#nulls = true;
  }

  /** Adds the value `bytes[start .. end]`; its length stands in the four bytes before `start`. */
  addSpan(bytes: Uint8Array, start: number, end: number): void {
    this.#room(4 + end - start);
    this.length = copySpan(bytes, start - 4, end, this.buffer, this.length);
    this.#count++;
  }

  /** Adds bytes as the text that a bytea has: `\x...`. */
  addHex(bytes: Uint8Array, start: number, end: number): void {
    const size = 2 + 2 * (end - start);
    this.#room(4 + size);
    writeU32(this.buffer, this.length, size);
    this.buffer[this.length + 4] = 0x5c;
    this.buffer[this.length + 5] = 0x78;
    this.length = writeHex(bytes, start, end, this.buffer, this.length + 6);
    this.#count++;
  }

  addBytes(bytes: Uint8Array): void {
    this.#room(4 + bytes.length);
    writeU32(this.buffer, this.length, bytes.length);
    this.buffer.set(bytes, this.length + 4);
    this.length += 4 + bytes.length;
    this.#count++;
  }

  parameter(): Parameter {
    const { buffer } = this;
    writeU32(buffer, 0, 1);
    writeU32(buffer, 4, this.#nulls ? 1 : 0);
    writeU32(buffer, 8, this.#oid);
    writeU32(buffer, 12, this.#count);
    writeU32(buffer, 16, 1);
    return { format: 'binary', pieces: [buffer.subarray(0, this.length)] };
  }

  #room(size: number): void {
    const needed = this.length + size;
    if (needed <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, Math.ceil(this.buffer.length * 1.5)));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}

/** How a value goes to the server: as text, as bytes of a bytea, or in the binary form of a type. */
export type ValueForm = 'text' | 'bytes' | BinaryType;
/** How a source column goes to the server: not at all, or in a form. */
export type ColumnForm = 'skip' | ValueForm;

/**
 * The columns of the images of `refs`, one array parameter for each column that is not skipped, in column order. Null: a
 * value has no binary form, and the column must go as text.
 * @param forms by index of the column in the schema
 * @throws TidemarkError `RECORD_CORRUPT` for an image that is not one of the schema, or that has a placeholder
 */
export function imageParameters(refs: readonly RecordRef[], side: ImageSide, forms: readonly ColumnForm[]): Parameter[] | null {
  const expected = expectedBytes(refs, side, forms.length);
  const columns = forms.map((form, index) => (form === 'skip' ? null : new ArrayColumn(form, expected[index] ?? 0)));
  const walker = new ImageWalker();
  for (const { batch, at } of refs) {
    const bytes = batch.records;
    resetToImage(walker, bytes, at, side);
    if (walker.left !== columns.length) {
      throw new TidemarkError('RECORD_CORRUPT', `an image has ${walker.left} columns, its schema has ${columns.length}`);
    }
    for (let index = 0; walker.next(); index++) {
      const column = columns[index];
      if (column === null || column === undefined) continue;
      if (walker.kind === Cell.text) {
        if (forms[index] === 'bytes') column.addBytes(bytesOfText(bytes, walker.start, walker.end));
        else if (!column.addText(bytes, walker.start, walker.end)) return null;
      } else if (walker.kind === Cell.null) column.addNull();
      else if (walker.kind === Cell.binary) {
        if (forms[index] === 'bytes') column.addSpan(bytes, walker.start, walker.end);
        else if (forms[index] === 'text') column.addHex(bytes, walker.start, walker.end);
        else return null;
      } else throw placeholder(index);
    }
  }
  return columns.filter((column) => column !== null).map((column) => column.parameter());
}

/**
 * The keys of `refs`, one array parameter for each key column in key order. Null: a value has no binary form.
 * @throws TidemarkError `RECORD_CORRUPT` for a key of another number of columns
 */
export function keyParameters(refs: readonly RecordRef[], forms: readonly ValueForm[]): Parameter[] | null {
  const columns = forms.map((form) => new ArrayColumn(form, refs.length * 12));
  for (const { batch, at } of refs) {
    const bytes = batch.records;
    let from = at + RECORD_HEADER;
    const end = from + readU32(bytes, at + 16);
    for (let index = 0; index < columns.length; index++) {
      const column = columns[index] as ArrayColumn;
      const length = from + 4 <= end ? readU32(bytes, from) : -1;
      if (length < 0 || from + 4 + length > end) throw new TidemarkError('RECORD_CORRUPT', 'a key has fewer columns than its schema');
      if (!column.addText(bytes, from + 4, from + 4 + length)) return null;
      from += 4 + length;
    }
    if (from !== end) throw new TidemarkError('RECORD_CORRUPT', 'a key has more columns than its schema');
  }
  return columns.map((column) => column.parameter());
}

/** Puts `walker` before the first column of the image of the record at `at`. */
export function resetToImage(walker: ImageWalker, bytes: Buffer, at: number, side: ImageSide): void {
  const before = at + RECORD_HEADER + readU32(bytes, at + 16);
  const after = before + readU32(bytes, at + 20);
  if (side === 'before') walker.reset(bytes, before, after);
  else walker.reset(bytes, after, after + readU32(bytes, at + 24));
}

/** The bytes that a text of type bytes stands for. @throws TidemarkError `RECORD_CORRUPT` */
export function bytesOfText(bytes: Uint8Array, start: number, end: number): Buffer {
  const value = readHex(bytes, start, end);
  if (value === null) throw new TidemarkError('RECORD_CORRUPT', 'a value of type bytes is neither bytes nor their hexadecimal text');
  return value;
}

export function placeholder(column: number): TidemarkError {
  return new TidemarkError('RECORD_CORRUPT', `column ${column} of an image is a placeholder: it must not reach a sink`);
}

/** Copies `bytes[start .. end]` to `out` at `at`, where there is room; answers where it ends. */
export function copySpan(bytes: Uint8Array, start: number, end: number, out: Buffer, at: number): number {
  if (end - start > LOOP_COPY) {
    out.set(bytes.subarray(start, end), at);
    return at + end - start;
  }
  for (let from = start; from < end; from++) out[at++] = bytes[from] as number;
  return at;
}
