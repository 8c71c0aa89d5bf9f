/** Batches as bytes: the header and the body of segment.ts's diagram. Pure functions. */
import { crc32 } from 'node:zlib';
import { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { EpochId, LogId } from '../../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { PackedTransactions } from '../../../../contracts/packed-transactions.ts';
import { MAX_RECORD_BYTES, RECORD_HEADER } from '../../../../contracts/record.ts';
import { readU64, writeU64 } from '../bytes.ts';
import { FORMAT_VERSION } from './segment.ts';

export const BATCH_HEADER = 96;
export const BATCH_MAGIC = Buffer.from('TMBH', 'latin1');

/** Limits of one batch, checked before anything is allocated for it. */
export const MAX_ENTRIES = 1 << 22;
const MAX_META_BYTES = 1 << 28;
export const MAX_BATCH_RECORDS_BYTES = MAX_RECORD_BYTES + RECORD_HEADER + (1 << 26);

/** The least that an entry takes (packed-transactions.ts). */
const ENTRY_HEADER = 28;
const OPEN_AFTER = 1;

export interface BatchHeader {
  readonly logId: LogId;
  readonly epoch: EpochId;
  readonly base: Offset;
  readonly count: number;
  readonly entries: number;
  /** A transaction is open after the batch. */
  readonly openAfter: boolean;
  readonly metaBytes: number;
  readonly recordBytes: number;
  readonly progressBytes: number;
  readonly bodyCrc: number;
  /** The highest offset known to be durable when the batch was written. */
  readonly durableOffset: Offset;
  /** Bytes of the segment known to be durable when the batch was written. */
  readonly durableBytes: number;
}

/** Bytes of the whole batch in the file. */
export function batchBytes(header: Pick<BatchHeader, 'metaBytes' | 'recordBytes'>): number {
  return BATCH_HEADER + header.metaBytes + header.recordBytes;
}

export interface BatchStamp {
  readonly logId: LogId;
  readonly epoch: EpochId;
  readonly openAfter: boolean;
  readonly durableOffset: Offset;
  readonly durableBytes: number;
}

/** Bytes that `encodeBatch` gives before the records. */
export function encodedHeadBytes(batch: ChangeBatch): number {
  return BATCH_HEADER + (batch.progress?.length ?? 0) + batch.packed.bytes.length;
}

/**
 * Header, progress and entries of a placed batch, to be written before `batch.records`, which are not copied.
 * @param head a buffer of exactly `encodedHeadBytes(batch)`
 */
export function encodeBatchHead(batch: ChangeBatch, stamp: BatchStamp, head: Buffer): void {
  let at = BATCH_HEADER;
  if (batch.progress !== null) {
    head.set(batch.progress, at);
    at += batch.progress.length;
  }
  at += batch.packed.bytes.copy(head, at);
  if (at !== head.length) throw new TidemarkError('INTERNAL', 'the head of a batch has another length than was announced');
  head.set(BATCH_MAGIC, 0);
  head.writeUInt16BE(FORMAT_VERSION, 4);
  head.writeUInt16BE(stamp.openAfter ? OPEN_AFTER : 0, 6);
  head.write(stamp.logId, 8, 'hex');
  head.write(stamp.epoch, 24, 'hex');
  writeU64(head, batch.baseOffset, 40);
  head.writeUInt32BE(batch.count, 48);
  head.writeUInt32BE(batch.packed.length, 52);
  head.writeUInt32BE(head.length - BATCH_HEADER, 56);
  head.writeUInt32BE(batch.records.length, 60);
  head.writeUInt32BE(batch.progress?.length ?? 0, 64);
  head.writeUInt32BE(crc32(batch.records, crc32(head.subarray(BATCH_HEADER))), 68);
  writeU64(head, stamp.durableOffset, 72);
  writeU64(head, stamp.durableBytes, 80);
  head.writeUInt32BE(0, 88);
  head.writeUInt32BE(crc32(head.subarray(0, 92)), 92);
}

/**
 * The header that stands at `at`; null when the bytes there are not a whole, undamaged header.
 * @throws TidemarkError `LOG_FORMAT` for a header of a newer version
 */
export function decodeBatchHeader(bytes: Buffer, at: number): BatchHeader | null {
  if (at + BATCH_HEADER > bytes.length || bytes.compare(BATCH_MAGIC, 0, 4, at, at + 4) !== 0) return null;
  if (crc32(bytes.subarray(at, at + 92)) !== bytes.readUInt32BE(at + 92)) return null;
  const version = bytes.readUInt16BE(at + 4);
  if (version !== FORMAT_VERSION) throw new TidemarkError('LOG_FORMAT', `a batch has format version ${version}`);
  const header: BatchHeader = {
    logId: bytes.toString('hex', at + 8, at + 24),
    epoch: bytes.toString('hex', at + 24, at + 40),
    base: readU64(bytes, at + 40),
    count: bytes.readUInt32BE(at + 48),
    entries: bytes.readUInt32BE(at + 52),
    openAfter: (bytes.readUInt16BE(at + 6) & OPEN_AFTER) !== 0,
    metaBytes: bytes.readUInt32BE(at + 56),
    recordBytes: bytes.readUInt32BE(at + 60),
    progressBytes: bytes.readUInt32BE(at + 64),
    bodyCrc: bytes.readUInt32BE(at + 68),
    durableOffset: readU64(bytes, at + 72),
    durableBytes: readU64(bytes, at + 80),
  };
  return withinLimits(header) ? header : null;
}

function withinLimits(header: BatchHeader): boolean {
  return (
    header.base >= 1 &&
    header.entries <= MAX_ENTRIES &&
    header.metaBytes <= MAX_META_BYTES &&
    header.recordBytes <= MAX_BATCH_RECORDS_BYTES &&
    header.metaBytes >= header.progressBytes + header.entries * ENTRY_HEADER &&
    header.recordBytes >= header.count * RECORD_HEADER &&
    Number.isSafeInteger(header.base + header.count)
  );
}

/**
 * The batch behind a header. Shares the bytes of `body`.
 * @returns null when the body is damaged: checksum or structure
 */
export function decodeBody(header: BatchHeader, body: Buffer): ChangeBatch | null {
  if (body.length !== header.metaBytes + header.recordBytes || crc32(body) !== header.bodyCrc) return null;
  const transactions = PackedTransactions.over(body.subarray(header.progressBytes, header.metaBytes));
  if (transactions === null || transactions.length !== header.entries || transactions.records !== header.count) return null;
  return new ChangeBatch({
    baseOffset: header.base,
    count: header.count,
    records: body.subarray(header.metaBytes),
    transactions,
    progress: header.progressBytes === 0 ? null : body.subarray(0, header.progressBytes),
  });
}
