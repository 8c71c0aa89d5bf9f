/**
 * A record on the wire between connector, log and sink, and on disk. All integers big-endian:
 *
 *      0  u32 length          bytes after this field
 *      4  u8  op              see op.ts
 *      5  u8  flags           see op.ts
 *      6  u16 0               reserved
 *      8  u32 table id        hub-assigned; 0 in records that belong to no table
 *     12  u32 schema version
 *     16  u32 key length
 *     20  u32 before length   0: no before image
 *     24  u32 after length    0: no after image
 *     28  key, before image, after image
 *
 * In `c` `u` `d` `r` the images are row images (row-image.ts). In `s` `m` `h` the after image is the payload
 * (schema.ts, message.ts, control.ts). The offset is not in the record: it is the batch's base offset plus the index.
 */
import { TidemarkError } from './errors/error.ts';
import { isOp } from './op.ts';

export const RECORD_HEADER = 28;

/** Limit of one record, a little above the row limit, so that a length read from bytes is never trusted blindly. */
export const MAX_RECORD_BYTES = 1 << 30;

export function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = (value >>> 16) & 0xff;
  bytes[at + 2] = (value >>> 8) & 0xff;
  bytes[at + 3] = value & 0xff;
}

const NOTHING = new DataView(new ArrayBuffer(0));

/**
 * A movable view over the records of a batch: no object per record. Spans are positions in `bytes`. `seek` goes to the
 * record at a byte position (as `at` gave it); `next` walks in order.
 */
export class RecordView {
  bytes: Buffer = Buffer.alloc(0);
  /** Byte position of the record; what `seek` takes. */
  at = 0;
  /** Index in the batch while walking with `next`; -1 before the first and after a `seek`. */
  index = -1;
  op = 0;
  flags = 0;
  tableId = 0;
  schemaVersion = 0;
  keyStart = 0;
  keyEnd = 0;
  beforeStart = 0;
  beforeEnd = 0;
  afterStart = 0;
  afterEnd = 0;
  #next = 0;
  /** The same bytes: four of them are read at once. */
  #data: DataView = NOTHING;

  /** Before the first record of `bytes`. */
  reset(bytes: Buffer): this {
    this.#over(bytes);
    this.index = -1;
    this.#next = 0;
    return this;
  }

  /** The next record; false at the end. @throws TidemarkError `RECORD_CORRUPT` */
  next(): boolean {
    const at = this.#next;
    if (at === this.bytes.length) return false;
    const index = this.index + 1;
    this.#load(at);
    this.index = index;
    return true;
  }

  /** The record that starts at byte `at`. @throws TidemarkError `RECORD_CORRUPT` */
  seek(bytes: Buffer, at: number): this {
    if (bytes !== this.bytes) this.#over(bytes);
    this.index = -1;
    this.#load(at);
    return this;
  }

  #over(bytes: Buffer): void {
    this.bytes = bytes;
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #load(at: number): void {
    const data = this.#data;
    const size = data.byteLength;
    if (at + RECORD_HEADER > size) throw corrupt('a record ends inside its header', at);
    const length = data.getUint32(at);
    const keyLength = data.getUint32(at + 16);
    const beforeLength = data.getUint32(at + 20);
    const afterLength = data.getUint32(at + 24);
    const end = at + 4 + length;
    if (length !== RECORD_HEADER - 4 + keyLength + beforeLength + afterLength || end > size) throw corrupt('the lengths of a record do not fit', at);
    const kind = data.getUint16(at + 4);
    this.at = at;
    this.op = kind >>> 8;
    if (!isOp(this.op)) throw corrupt(`unknown op ${this.op}`, at);
    this.flags = kind & 0xff;
    this.tableId = data.getUint32(at + 8);
    this.schemaVersion = data.getUint32(at + 12);
    this.keyStart = at + RECORD_HEADER;
    this.keyEnd = this.beforeStart = this.keyStart + keyLength;
    this.beforeEnd = this.afterStart = this.beforeStart + beforeLength;
    this.#next = this.afterEnd = end;
  }

  get hasBefore(): boolean {
    return this.beforeEnd > this.beforeStart;
  }

  get hasAfter(): boolean {
    return this.afterEnd > this.afterStart;
  }

  /** The key's bytes: a window on the batch, not a copy. */
  key(): Buffer {
    return this.bytes.subarray(this.keyStart, this.keyEnd);
  }

  /** The before image's bytes: a window on the batch, not a copy; empty when there is none. */
  before(): Buffer {
    return this.bytes.subarray(this.beforeStart, this.beforeEnd);
  }

  /** The after image (or payload): a window on the batch, not a copy; empty when there is none. */
  after(): Buffer {
    return this.bytes.subarray(this.afterStart, this.afterEnd);
  }

  /** The whole record: a window on the batch, not a copy. */
  record(): Buffer {
    return this.bytes.subarray(this.at, this.afterEnd);
  }
}

function corrupt(what: string, at: number): TidemarkError {
  return new TidemarkError('RECORD_CORRUPT', `${what} (byte ${at})`);
}
