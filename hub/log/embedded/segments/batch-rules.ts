/** What the log does to a batch before it takes it, and to one that it gives: checks, the split, the trim. No I/O. */
import { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Op } from '../../../../contracts/op.ts';
import { PackedTransactions, TransactionWalk } from '../../../../contracts/packed-transactions.ts';
import type { Position } from '../../../../contracts/position.ts';
import { RECORD_HEADER, readU32 } from '../../../../contracts/record.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';

const EMPTY = Buffer.alloc(0);

/** What a walk over the record headers of a batch has found. */
export interface RecordSurvey {
  /** Byte position of the record with index `splitAt` (the end when it is the count). */
  readonly splitByte: number;
  /** Indexes and byte positions of the `s` and `h` records, in order. */
  readonly controls: readonly { readonly index: number; readonly at: number }[];
}

/**
 * Walks the lengths of the records, and tells each table id to `onTable` (repeats in a row once).
 * @throws TidemarkError `LOG_BATCH_INVALID` when the bytes are not exactly `count` records
 */
export function surveyRecords(batch: ChangeBatch, splitAt: number, onTable: (tableId: number) => void): RecordSurvey {
  const { records, count } = batch;
  const controls: { index: number; at: number }[] = [];
  let at = 0;
  let splitByte = splitAt === 0 ? 0 : -1;
  let table = -1;
  for (let index = 0; index < count; index++) {
    if (at + RECORD_HEADER > records.length) throw invalid(`record ${index} of ${count} ends behind the batch`);
    const length = readU32(records, at);
    if (length < RECORD_HEADER - 4) throw invalid(`record ${index} has a length of ${length}`);
    const op = records[at + 4];
    if (op === Op.schema || op === Op.control) controls.push({ index, at });
    const tableId = readU32(records, at + 8);
    if (tableId !== table) onTable((table = tableId));
    at += 4 + length;
    if (index + 1 === splitAt) splitByte = at;
  }
  if (at !== records.length) throw invalid(`${count} records take ${at} of ${records.length} bytes`);
  return { splitByte, controls };
}

/**
 * Checks that a batch's transactions follow an open (or no) transaction and cover its records.
 * @returns true when a transaction is open after it
 * @throws TidemarkError `LOG_BATCH_INVALID`
 */
export function checkTransactions(batch: ChangeBatch, open: boolean): boolean {
  let isOpen = open;
  let first = 0;
  const entry = new TransactionWalk(batch.packed);
  while (entry.next()) {
    if (entry.begins === isOpen) throw invalid(isOpen ? 'a transaction begins inside another' : 'a transaction goes on that is not open');
    if (entry.first !== first) throw invalid(`a transaction starts at record ${entry.first} instead of ${first}`);
    first += entry.count;
    isOpen = !entry.commits;
    if (isOpen && !entry.isLast) throw invalid('a transaction is followed by another before it commits');
  }
  if (first !== batch.count) throw invalid(`${batch.count} records, ${first} of them in transactions`);
  if (isOpen && batch.progress !== null) throw invalid('progress inside a transaction');
  return isOpen;
}

/**
 * The source position that a batch brings the log to; null when it brings none. A hub transaction carries a position
 * of before it, which may lie behind a keepalive that is durable already: it is not progress.
 */
export function progressOf(batch: ChangeBatch): Position | null {
  const progress = batch.progress;
  if (progress === null || progress.length === 0) return null;
  const { last, lastSourceCommit } = batch.packed;
  if (last === null || last.kind === 'source' || !Buffer.from(progress).equals(last.position)) return progress;
  return lastSourceCommit?.position ?? null;
}

/** The end of the last source transaction that commits in `entries`. */
function lastSourcePosition(entries: readonly TransactionEntry[]): Position | null {
  for (let i = entries.length - 1; i >= 0; i--) {
    const entry = entries[i];
    if (entry?.commits === true && entry.kind === 'source' && entry.position.length > 0) return entry.position;
  }
  return null;
}

/**
 * Records before which a batch must be split, so that nothing that is committed stands in one batch with an open
 * transaction: the first record of an open tail behind a commit. Null: it stays whole.
 */
export function splitIndex(batch: ChangeBatch): number | null {
  const { last, length } = batch.packed;
  return last === null || last.commits || length === 1 ? null : last.first;
}

/** The two parts of a placed batch around an open tail that begins at record `index`, byte `at`. Shares the bytes. */
export function splitBatch(batch: ChangeBatch, index: number, at: number): [ChangeBatch, ChangeBatch] {
  const [committed, tail] = batch.packed.splitAtLast();
  return [
    new ChangeBatch({
      baseOffset: batch.baseOffset,
      count: index,
      records: batch.records.subarray(0, at),
      transactions: committed,
      progress: committed.lastSourceCommit?.position ?? null,
    }),
    new ChangeBatch({
      baseOffset: batch.baseOffset + index,
      count: batch.count - index,
      records: batch.records.subarray(at),
      transactions: tail,
      progress: null,
    }),
  ];
}

/**
 * The part of a placed batch that lies in (after, to], with the transaction entries that touch it; an entry that only
 * commits belongs to the record before it. Null when nothing is left. Shares the bytes.
 */
export function trimBatch(batch: ChangeBatch, after: Offset, to: Offset): ChangeBatch | null {
  const { baseOffset, count } = batch;
  if (baseOffset > after && baseOffset + count - 1 < to) return hasContent(batch) ? batch : null;
  const from = Math.min(Math.max(after + 1 - baseOffset, 0), count);
  const end = Math.max(Math.min(to + 1 - baseOffset, count), from);
  const transactions: TransactionEntry[] = [];
  for (const entry of batch.transactions) {
    if (entry.count > 0) {
      if (entry.first < end && entry.first + entry.count > from) transactions.push(trimEntry(entry, from, end));
    } else if (emptyEntryInRange(entry, baseOffset + entry.first - 1, after, to)) {
      transactions.push({ ...entry, first: entry.first - from });
    }
  }
  if (end === from && transactions.length === 0) return null;
  const [start, stop] = bytePositions(batch.records, count, from, end);
  return new ChangeBatch({
    baseOffset: baseOffset + from,
    count: end - from,
    records: batch.records.subarray(start, stop),
    transactions,
    progress: end === count ? batch.progress : transactions.at(-1)?.commits === true ? lastSourcePosition(transactions) : null,
  });
}

/** Batches that follow each other as one. Copies the records. @param batches at least one */
export function joinBatches(batches: readonly ChangeBatch[]): ChangeBatch {
  const [first] = batches;
  if (first === undefined) throw new TidemarkError('INTERNAL', 'no batches are joined');
  let count = 0;
  let progress: Position | null = null;
  for (const batch of batches) {
    count += batch.count;
    progress = batch.progress ?? progress;
  }
  const transactions = joinTransactions(batches);
  return new ChangeBatch({
    baseOffset: first.baseOffset,
    count,
    records: Buffer.concat(batches.map((batch) => batch.records)),
    transactions,
    progress: transactions.endsOpen ? null : progress,
  });
}

/** An entry that goes on in the next batch becomes one with its rest. */
function joinTransactions(batches: readonly ChangeBatch[]): PackedTransactions {
  if (batches.slice(0, -1).every((batch) => !batch.endsOpen)) return PackedTransactions.joined(batches.map(({ packed }) => packed));
  const joined: TransactionEntry[] = [];
  for (const entry of batches.flatMap(({ transactions }) => transactions)) {
    const open = joined.at(-1);
    if (open === undefined || open.commits) joined.push(entry);
    else joined[joined.length - 1] = { ...entry, count: open.count + entry.count, begins: open.begins };
  }
  return PackedTransactions.of(joined);
}

/** True when a batch has anything for a reader: a record or a transaction entry. */
export function hasContent(batch: ChangeBatch): boolean {
  return batch.count > 0 || batch.packed.length > 0;
}

/** An entry without records stands behind the record at `before`; one that only commits belongs to that record. */
function emptyEntryInRange(entry: TransactionEntry, before: Offset, after: Offset, to: Offset): boolean {
  return before >= after && (entry.begins ? before < to : before <= to);
}

function trimEntry(entry: TransactionEntry, from: number, end: number): TransactionEntry {
  const last = entry.first + entry.count;
  const commits = entry.commits && last <= end;
  return {
    ...entry,
    first: Math.max(entry.first, from) - from,
    count: Math.min(last, end) - Math.max(entry.first, from),
    begins: entry.begins && entry.first >= from,
    commits,
    position: commits ? entry.position : EMPTY,
  };
}

function bytePositions(records: Buffer, count: number, from: number, end: number): [number, number] {
  let at = 0;
  let start = 0;
  for (let index = 0; index < end && index < count; index++) {
    if (index === from) start = at;
    at += 4 + readU32(records, at);
  }
  return [from >= end ? at : start, at];
}

function invalid(what: string): TidemarkError {
  return new TidemarkError('LOG_BATCH_INVALID', what);
}
