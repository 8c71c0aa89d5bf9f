/**
 * An entry of a base run: what one key is as of the run's end. All integers big-endian.
 *
 *     table with a key     (table id, record key) -> value
 *     table without one    (table id, row image of the version that the value names) -> value
 *     emptied              (table id, no key) -> value: what older runs have of the table is void
 *
 *     value    0 u8 kind, 1 u8 flags of the record that are kept (`wide`), 2 u16 0, 4 u32 schema version,
 *              8 u64 offset of the last change,
 *             16 kind row: the row image; kind bag: i64 by how many the row stands more (or less) often than in the
 *                older runs; others: nothing
 */
import type { Offset } from '../../../../contracts/offset.ts';
import { readU32, writeU32 } from '../../../../contracts/record.ts';
import { readI64, readU64, writeI64, writeU64 } from '../bytes.ts';
import { corruptRun } from '../runs/run-format.ts';

export const EntryKind = { row: 1, deleted: 2, bag: 3, emptied: 4 } as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

export const VALUE_HEADER = 16;
const BAG_VALUE = VALUE_HEADER + 8;

/** Writes the first 16 bytes of a value; answers where they end. */
export function writeValueHeader(into: Buffer, at: number, kind: EntryKind, flags: number, version: number, offset: Offset): number {
  into[at] = kind;
  into[at + 1] = flags;
  into[at + 2] = 0;
  into[at + 3] = 0;
  writeU32(into, at + 4, version);
  return writeU64(into, offset, at + 8);
}

/** A value that is nothing but its header. */
export function bareValue(kind: EntryKind, version: number, offset: Offset): Buffer {
  const value = Buffer.allocUnsafe(VALUE_HEADER);
  writeValueHeader(value, 0, kind, 0, version, offset);
  return value;
}

export function bagValue(version: number, offset: Offset, count: number): Buffer {
  const value = Buffer.allocUnsafe(BAG_VALUE);
  writeI64(value, count, writeValueHeader(value, 0, EntryKind.bag, 0, version, offset));
  return value;
}

/** A window on the value of one entry. Spans are positions in `bytes`. */
export class ValueView {
  bytes: Buffer = Buffer.alloc(0);
  kind: number = 0;
  flags = 0;
  version = 0;
  offset: Offset = 0;
  /** Of kind bag. */
  count = 0;
  imageStart = 0;
  imageEnd = 0;

  /** @throws TidemarkError `LOG_CORRUPT` for a value that no version of this format writes */
  read(bytes: Buffer, start: number, end: number): this {
    const kind = end - start < VALUE_HEADER ? 0 : (bytes[start] as number);
    const known = kind === EntryKind.bag ? end - start === BAG_VALUE : kind >= EntryKind.row && kind <= EntryKind.emptied;
    if (!known) throw corruptRun('an entry has a value that is not one', '');
    this.bytes = bytes;
    this.kind = kind;
    this.flags = bytes[start + 1] as number;
    this.version = readU32(bytes, start + 4);
    this.offset = readU64(bytes, start + 8);
    this.count = kind === EntryKind.bag ? readI64(bytes, start + VALUE_HEADER) : 0;
    this.imageStart = start + VALUE_HEADER;
    this.imageEnd = end;
    return this;
  }
}
