import { TidemarkError } from '../../contracts/errors/error.ts';
import { Cell, ImageWalker } from '../../contracts/row-image.ts';
import type { RecordRef } from '../../contracts/sink.ts';
import { type ImageSide, placeholder, resetToImage } from './array-parameters.ts';
import { writeHex } from './hex.ts';

const TAB = 0x09;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const BACKSLASH = 0x5c;

/**
 * The images of `refs` as rows of COPY's text format, in column order, without the columns that are not `wanted`.
 * @throws TidemarkError `RECORD_CORRUPT` for an image that is not one of the schema, or that has a placeholder
 */
export function copyRows(refs: readonly RecordRef[], side: ImageSide, wanted: readonly boolean[]): Buffer {
  const writer = new CopyText(refs.length * 64);
  const walker = new ImageWalker();
  for (const { batch, at } of refs) {
    const bytes = batch.records;
    resetToImage(walker, bytes, at, side);
    if (walker.left !== wanted.length) {
      throw new TidemarkError('RECORD_CORRUPT', `an image has ${walker.left} columns, its schema has ${wanted.length}`);
    }
    let first = true;
    for (let index = 0; walker.next(); index++) {
      if (wanted[index] !== true) continue;
      if (first) first = false;
      else writer.byte(TAB);
      if (walker.kind === Cell.text) writer.text(bytes, walker.start, walker.end);
      else if (walker.kind === Cell.null) writer.null();
      else if (walker.kind === Cell.binary) writer.hex(bytes, walker.start, walker.end);
      else throw placeholder(index);
    }
    writer.byte(NEWLINE);
  }
  return writer.take();
}

/** Values from this size on are counted before room is made: twice their length would be too much to hold. */
const LARGE_VALUE = 1 << 20;

/** True for the bytes that are escaped in COPY's text format. */
function hasMeaning(byte: number): boolean {
  return byte <= RETURN ? byte === NEWLINE || byte === TAB || byte === RETURN : byte === BACKSLASH;
}

function escapedLength(bytes: Uint8Array, start: number, end: number): number {
  let length = end - start;
  for (let from = start; from < end; from++) if (hasMeaning(bytes[from] as number)) length++;
  return length;
}

class CopyText {
  #buffer: Buffer;
  #length = 0;

  constructor(expectedBytes: number) {
    this.#buffer = Buffer.allocUnsafe(Math.max(expectedBytes, 256));
  }

  take(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  byte(value: number): void {
    this.#room(1);
    this.#buffer[this.#length++] = value;
  }

  null(): void {
    this.#room(2);
    this.#buffer[this.#length++] = BACKSLASH;
    this.#buffer[this.#length++] = 0x4e;
  }

  /** A value, with what has a meaning in the format escaped. */
  text(bytes: Uint8Array, start: number, end: number): void {
    this.#room(end - start < LARGE_VALUE ? 2 * (end - start) : escapedLength(bytes, start, end));
    const buffer = this.#buffer;
    let to = this.#length;
    for (let from = start; from < end; from++) {
      const byte = bytes[from] as number;
      if (!hasMeaning(byte)) {
        buffer[to++] = byte;
        continue;
      }
      buffer[to++] = BACKSLASH;
      buffer[to++] = byte === NEWLINE ? 0x6e : byte === TAB ? 0x74 : byte === RETURN ? 0x72 : byte;
    }
    this.#length = to;
  }

  /** `\x...`, its backslash escaped. */
  hex(bytes: Uint8Array, start: number, end: number): void {
    this.#room(3 + 2 * (end - start));
    this.#buffer[this.#length++] = BACKSLASH;
    this.#buffer[this.#length++] = BACKSLASH;
    this.#buffer[this.#length++] = 0x78;
    this.#length = writeHex(bytes, start, end, this.#buffer, this.#length);
  }

  #room(size: number): void {
    const needed = this.#length + size;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
