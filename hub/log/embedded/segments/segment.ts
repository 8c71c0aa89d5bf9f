/**
 * # The files of one source's log
 *
 *     <data>/log/<source>/manifest            what belongs to the log (manifest.ts); replaced atomically
 *     <data>/log/<source>/0000000001.segment  records
 *     <data>/log/<source>/0000000001.index    of a closed segment (segment-index.ts); can be made again from it
 *
 * A segment is a header and batches without gaps. All integers are big-endian; offsets are u64, at most 2^53 - 1.
 *
 *     segment header, 64 bytes              batch header, 96 bytes
 *      0 u32 magic "TMSG"                    0 u32 magic "TMBH"
 *      4 u16 format version (1)              4 u16 format version (1)
 *      6 u16 0                               6 u16 flags: 1 a transaction is open after it
 *      8 16  log id                          8 16  log id
 *     24 16  epoch                          24 16  epoch
 *     40 u64 base offset                    40 u64 base offset
 *     48 u64 segment number                 48 u32 records
 *     56 u32 0                              52 u32 transaction entries
 *     60 u32 CRC-32 of bytes 0..59          56 u32 bytes of progress and transaction entries
 *                                           60 u32 bytes of records
 *                                           64 u32 bytes of progress
 *                                           68 u32 CRC-32 of the body
 *                                           72 u64 highest durable offset known at writing
 *                                           80 u64 durable bytes of this segment known at writing
 *                                           88 u32 0
 *                                           92 u32 CRC-32 of bytes 0..91
 *     body of a batch: progress (a source position), transaction entries, records (contracts/record.ts)
 *
 *     transaction entry, 28 bytes and more (contracts/packed-transactions.ts)
 *      0 u8  flags: 1 begins, 2 commits, 4 of the hub
 *      1 u8  0
 *      2 u32 records of it in this batch
 *      6 u64 xid
 *     14 i64 commit time, microseconds since 1970
 *     22 u32 bytes of position
 *     26 u16 bytes of origin (UTF-8)
 *     28 position, origin
 *
 * A batch on disk never ends open when a transaction commits in it: the writer splits it there. So the high watermark,
 * and every cut, is the end of a batch.
 *
 * # Crash cases
 *
 * Each has a test of its number (test/hub/log/embedded/crash-cases.unit.test.ts, large-transaction.unit.test.ts).
 *
 *  1. Killed between batches: everything is there. The tail that nobody has named durable is written again in place
 *     and synced before anyone is told of it (a failed sync may have left it in memory only).
 *  2. Killed inside a write: the last batch is torn. It was never told durable, so it is cut.
 *  3. The machine stopped before a sync: the tail is missing, zeros, or partly there in any order. Batches after the
 *     first damaged one are lost with it: none of them was told durable.
 *  4. Killed inside a transaction: its batches are whole, its commit is missing. They are cut; the source sends the
 *     transaction again, and its offsets, which were never readable, are given again.
 *  5. A batch below the highest durable offset is damaged (named by a header before or after it, or by the manifest):
 *     not a crash but corruption. Reported, nothing is cut.
 *  6. Killed after a segment file was made and before the manifest names it: the file is removed.
 *  7. Killed after the manifest names a new segment and before its first batch: the segment is empty.
 *  8. Killed while a cut is made: before the manifest says so, the tail is cut again by case 4; after it, what stands
 *     behind the cut is ignored and truncated.
 *  9. Killed between the index and the manifest of a segment being sealed: it is sealed again.
 * 10. Killed while the manifest is replaced: the old or the new one is there, never a mixture.
 * 11. A sync failed: it is not tried again. The log is cut to what was durable, the rest is read from the source again.
 * 12. The disk is full: as 11. Opening again fails with the same error until there is room, and loses nothing.
 * 13. The file of a sealed segment, or the manifest, is missing or damaged: reported, nothing is cut.
 * 14. The index of a segment is missing, damaged, or tells of bytes that were cut since: made again from the segment.
 * 15. Killed while an index is written: the leftover is removed, the segment is scanned and sealed again.
 * 16. Killed in a transaction of many segments: the closed ones are known by their indexes and not read; cut as in 4,
 *     or, when the commit was written, there.
 */
import { crc32 } from 'node:zlib';
import type { EpochId, LogId } from '../../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { readU64, writeU64 } from '../bytes.ts';

export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER = 64;
export const ID_BYTES = 16;

const MAGIC = 0x544d5347;

export interface SegmentHeader {
  readonly logId: LogId;
  readonly epoch: EpochId;
  readonly base: Offset;
  readonly number: number;
}

export function segmentFile(number: number): string {
  return `${String(number).padStart(10, '0')}.segment`;
}

export function indexFile(number: number): string {
  return `${String(number).padStart(10, '0')}.index`;
}

/** The segment number of a segment or index file name; null for any other file. */
export function fileNumber(name: string): number | null {
  const digits = /^(\d{10,})\.(segment|index)$/.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt16BE(FORMAT_VERSION, 4);
  bytes.write(header.logId, 8, 'hex');
  bytes.write(header.epoch, 24, 'hex');
  writeU64(bytes, header.base, 40);
  writeU64(bytes, header.number, 48);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 60)), 60);
  return bytes;
}

/** Null when the bytes are not a whole header (torn or damaged). @throws TidemarkError `LOG_FORMAT` of a newer version */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | null {
  if (bytes.length < SEGMENT_HEADER || bytes.readUInt32BE(0) !== MAGIC) return null;
  if (crc32(bytes.subarray(0, 60)) !== bytes.readUInt32BE(60)) return null;
  const version = bytes.readUInt16BE(4);
  if (version !== FORMAT_VERSION) throw new TidemarkError('LOG_FORMAT', `a segment has format version ${version}`);
  return {
    logId: bytes.toString('hex', 8, 24),
    epoch: bytes.toString('hex', 24, 40),
    base: readU64(bytes, 40),
    number: readU64(bytes, 48),
  };
}
