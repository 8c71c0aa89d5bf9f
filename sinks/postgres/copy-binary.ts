import { TidemarkError } from '../../contracts/errors/error.ts';
import { writeU32 } from '../../contracts/record.ts';
import { Cell, ImageWalker } from '../../contracts/row-image.ts';
import type { RecordRef } from '../../contracts/sink.ts';
import { bytesOfText, type ColumnForm, copySpan, type ImageSide, placeholder, resetToImage } from './array-parameters.ts';
import { type BinaryWriter, binaryWriter, mostBytes } from './binary-values.ts';
import { imageBytes } from './column-bytes.ts';

/** What comes before the rows: the format's name, no flags, no extension. */
export const COPY_BINARY_HEAD: Buffer = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
/** What comes after the last row. */
export const COPY_BINARY_END: Buffer = Buffer.from([0xff, 0xff]);

const NULL_LENGTH = 0xffffffff;

/**
 * The images of `refs` as rows of COPY's binary format, in column order, without the columns that are skipped. Null: a
 * value has no binary form, and the rows must go as text.
 * @throws TidemarkError `RECORD_CORRUPT` for an image that is not one of the schema, or that has a placeholder
 */
export function copyBinaryRows(refs: readonly RecordRef[], side: ImageSide, forms: readonly ColumnForm[]): Buffer | null {
  const columns = forms.filter((form) => form !== 'skip').length;
  const writers = forms.map((form) => (form === 'skip' || form === 'text' || form === 'bytes' ? null : binaryWriter(form)));
  const writer = new CopyBinary(imageBytes(refs, side));
  const walker = new ImageWalker();
  for (const { batch, at } of refs) {
    const bytes = batch.records;
    resetToImage(walker, bytes, at, side);
    if (walker.left !== forms.length) {
      throw new TidemarkError('RECORD_CORRUPT', `an image has ${walker.left} columns, its schema has ${forms.length}`);
    }
    writer.row(columns);
    for (let index = 0; walker.next(); index++) {
      const form = forms[index];
      if (form === 'skip') continue;
      const write = writers[index] ?? null;
      if (walker.kind === Cell.null) writer.null();
      else if (walker.kind === Cell.placeholder) throw placeholder(index);
      else if (write !== null) {
        if (walker.kind !== Cell.text || !writer.value(write, bytes, walker.start, walker.end)) return null;
      } else if ((walker.kind === Cell.binary) === (form === 'bytes')) writer.span(bytes, walker.start, walker.end);
      else if (form === 'bytes') writer.bytes(bytesOfText(bytes, walker.start, walker.end));
      else return null;
    }
  }
  return writer.take();
}

class CopyBinary {
  #buffer: Buffer;
  #length = 0;

  constructor(expectedBytes: number) {
    this.#buffer = Buffer.allocUnsafe(Math.max(expectedBytes, 256));
  }

  take(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  row(columns: number): void {
    this.#room(2);
    this.#buffer[this.#length++] = columns >>> 8;
    this.#buffer[this.#length++] = columns;
  }

  null(): void {
    this.#room(4);
    writeU32(this.#buffer, this.#length, NULL_LENGTH);
    this.#length += 4;
  }

  /** A value as it stands in an image, its length before it. */
  span(bytes: Uint8Array, start: number, end: number): void {
    this.#room(4 + end - start);
    this.#length = copySpan(bytes, start - 4, end, this.#buffer, this.#length);
  }

  bytes(value: Uint8Array): void {
    this.#room(4 + value.length);
    writeU32(this.#buffer, this.#length, value.length);
    this.#buffer.set(value, this.#length + 4);
    this.#length += 4 + value.length;
  }

  /** False: the text has no binary form. */
  value(write: BinaryWriter, bytes: Buffer, start: number, end: number): boolean {
    this.#room(4 + mostBytes(end - start));
    const from = this.#length + 4;
    const to = write(bytes, start, end, this.#buffer, from);
    if (to < 0) return false;
    writeU32(this.#buffer, this.#length, to - from);
    this.#length = to;
    return true;
  }

  #room(size: number): void {
    const needed = this.#length + size;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, Math.ceil(this.#buffer.length * 1.5)));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
