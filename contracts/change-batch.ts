import { TidemarkError } from './errors/error.ts';
import { BEFORE_ALL, type Offset } from './offset.ts';
import { PackedTransactions, TransactionPacker, type PackedHead } from './packed-transactions.ts';
import type { Position } from './position.ts';
import { MAX_RECORD_BYTES, RECORD_HEADER, writeU32 } from './record.ts';
import type { TransactionEntry, TransactionKind } from './transaction.ts';

/** A batch is closed at this size (a larger single record makes a larger batch). */
export const BATCH_BYTES = 1 << 20;

/**
 * Records in log order with the transactions they belong to. What a connector produces, the log keeps and a reader
 * gets back. Immutable: its bytes are never reused, so a consumer may keep it; what bounds memory is that each
 * pipeline holds a bounded number of batches.
 *
 * An empty batch with `progress` is a keepalive: the source has come that far without a change.
 */
export class ChangeBatch {
  /** Offset of the first record; 0 in a batch that the log has not taken yet. */
  readonly baseOffset: Offset;
  readonly count: number;
  readonly records: Buffer;
  /** Its transactions; what the hot path reads. */
  readonly packed: PackedTransactions;
  #transactions: readonly TransactionEntry[] | null = null;
  /**
   * The source position reached when all of this batch is applied: where to resume after it. Null when the batch ends
   * inside a transaction.
   */
  readonly progress: Position | null;

  constructor(parts: {
    baseOffset?: Offset;
    count: number;
    records: Buffer;
    transactions: PackedTransactions | readonly TransactionEntry[];
    progress: Position | null;
  }) {
    this.baseOffset = parts.baseOffset ?? BEFORE_ALL;
    this.count = parts.count;
    this.records = parts.records;
    this.packed = parts.transactions instanceof PackedTransactions ? parts.transactions : PackedTransactions.of(parts.transactions);
    this.progress = parts.progress;
  }

  /** Offset of the last record; of the record before the batch when it is empty. */
  get lastOffset(): Offset {
    return this.baseOffset + this.count - 1;
  }

  /** True when the batch ends inside a transaction. */
  get endsOpen(): boolean {
    return this.packed.endsOpen;
  }

  /** Its transactions as an object each, made when first asked for. */
  get transactions(): readonly TransactionEntry[] {
    return (this.#transactions ??= this.packed.entries());
  }

  /** The same records with their place in the log. Shares the bytes. */
  placedAt(baseOffset: Offset): ChangeBatch {
    const { count, records, packed, progress } = this;
    return new ChangeBatch({ baseOffset, count, records, transactions: packed, progress });
  }
}

interface OpenTransaction extends PackedHead {
  readonly first: number;
}

const NO_POSITION: Position = new Uint8Array(0);

/** A place among the records that are being built. Of no use once `take` was called. */
export interface BatchMark {
  readonly length: number;
  readonly count: number;
}

/**
 * Builds batches: the only writer of record bytes. Owned by one producer. `take` hands the bytes over and starts a new
 * buffer; an open transaction goes on in the next batch.
 */
export class BatchBuilder {
  #buffer: Buffer;
  #length = 0;
  #count = 0;
  readonly #packer = new TransactionPacker();
  #open: OpenTransaction | null = null;
  #progress: Position | null = null;
  /** Bytes that the record which is open was given room for. */
  #most = 0;
  readonly #initial: number;

  /** @param initialBytes size of a fresh buffer; it grows for larger records. */
  constructor(initialBytes: number = BATCH_BYTES + (BATCH_BYTES >> 2)) {
    this.#initial = initialBytes;
    this.#buffer = Buffer.allocUnsafeSlow(initialBytes);
  }

  /** Bytes of records so far. */
  get length(): number {
    return this.#length;
  }

  get count(): number {
    return this.#count;
  }

  /** True while a transaction is open. */
  get inTransaction(): boolean {
    return this.#open !== null;
  }

  /** True when `take` would give nothing: no record, no transaction entry, no progress. */
  get isEmpty(): boolean {
    return this.#count === 0 && this.#packer.isEmpty && this.#open === null && this.#progress === null;
  }

  begin(kind: TransactionKind, xid: number, commitTime: number, origin = ''): void {
    if (this.#open !== null) throw new TidemarkError('INTERNAL', 'a transaction begins inside another');
    this.#open = { kind, first: this.#count, begins: true, xid, commitTime, origin };
    this.#progress = null;
  }

  /** Sets the origin of the open transaction (it may be known only after the begin). */
  setOrigin(origin: string): void {
    if (this.#open === null) throw new TidemarkError('INTERNAL', 'an origin outside a transaction');
    this.#open = { ...this.#open, origin };
  }

  mark(): BatchMark {
    return { length: this.#length, count: this.#count };
  }

  /** Drops what the open transaction has added since `mark`, which was set within it and since the last `take`. */
  rewind({ length, count }: BatchMark): void {
    const open = this.#open;
    if (open === null || count < open.first || count > this.#count) throw new TidemarkError('INTERNAL', 'a transaction is taken back to where it was not');
    this.#length = length;
    this.#count = count;
  }

  /**
   * Undoes `begin`: the open transaction is none. `mark` was set before it, and since the last `take`. The progress is to be
   * told anew.
   */
  abandon(mark: BatchMark): void {
    const open = this.#open;
    if (open === null || !open.begins || open.first !== mark.count) throw new TidemarkError('INTERNAL', 'a transaction is given up that has begun elsewhere');
    this.rewind(mark);
    this.#open = null;
  }

  /** @param position the transaction's end; also where to resume. */
  commit(position: Position): void {
    const open = this.#open;
    if (open === null) throw new TidemarkError('INTERNAL', 'a commit outside a transaction');
    this.#packer.add(open, this.#count - open.first, true, position);
    this.#open = null;
    this.#progress = position;
  }

  /** The source has come to `position` with no transaction open. */
  keepalive(position: Position): void {
    if (this.#open !== null) throw new TidemarkError('INTERNAL', 'a keepalive inside a transaction');
    this.#progress = position;
  }

  /**
   * Starts a record and answers the byte position at which its key, before image and after image (in that order,
   * without gaps) must be written into `buffer` before anything else is called on the builder.
   * @throws TidemarkError `RECORD_CORRUPT` above the record limit
   */
  reserve(
    op: number,
    flags: number,
    tableId: number,
    schemaVersion: number,
    keyLength: number,
    beforeLength: number,
    afterLength: number,
  ): number {
    if (this.#open === null) throw new TidemarkError('INTERNAL', 'a record outside a transaction');
    const body = keyLength + beforeLength + afterLength;
    if (body > MAX_RECORD_BYTES) throw new TidemarkError('RECORD_CORRUPT', `a record of ${body} bytes is above the limit`);
    const at = this.#length;
    const size = RECORD_HEADER + body;
    if (at + size > this.#buffer.length) this.#grow(at + size);
    const buffer = this.#buffer;
    writeU32(buffer, at, size - 4);
    buffer[at + 4] = op;
    buffer[at + 5] = flags;
    buffer[at + 6] = 0;
    buffer[at + 7] = 0;
    writeU32(buffer, at + 8, tableId);
    writeU32(buffer, at + 12, schemaVersion);
    writeU32(buffer, at + 16, keyLength);
    writeU32(buffer, at + 20, beforeLength);
    writeU32(buffer, at + 24, afterLength);
    this.#length = at + size;
    this.#count++;
    return at + RECORD_HEADER;
  }

  /**
   * Begins a record whose lengths are not known yet, and answers the byte position at which its key, before image and after
   * image go into `buffer`, up to `most` bytes. There is no record before `close`: whoever gives it up just begins another.
   */
  open(most: number): number {
    if (this.#open === null) throw new TidemarkError('INTERNAL', 'a record outside a transaction');
    const at = this.#length + RECORD_HEADER;
    this.#most = most;
    if (at + most > this.#buffer.length) this.#grow(at + most);
    return at;
  }

  /** The record that was opened stands up to byte `at`: from there on it has the room that `open` was asked for, and `more`. */
  extend(at: number, more: number): void {
    const needed = at + more + this.#most;
    if (needed <= this.#buffer.length) return;
    const length = this.#length;
    this.#length = at;
    this.#grow(needed);
    this.#length = length;
  }

  /** Ends the record that was opened; its parts stand one behind the other. @throws TidemarkError `RECORD_CORRUPT` above the record limit */
  close(op: number, flags: number, tableId: number, schemaVersion: number, keyLength: number, beforeLength: number, afterLength: number): void {
    const body = keyLength + beforeLength + afterLength;
    if (this.#length + RECORD_HEADER + body > this.#buffer.length) throw new TidemarkError('INTERNAL', 'a record is longer than the room for it');
    this.reserve(op, flags, tableId, schemaVersion, keyLength, beforeLength, afterLength);
  }

  /** The buffer that `reserve`'s positions refer to; changes when `reserve` grows it. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  /** A whole record from its parts. */
  record(
    op: number,
    flags: number,
    tableId: number,
    schemaVersion: number,
    key: Uint8Array,
    before: Uint8Array,
    after: Uint8Array,
  ): void {
    let at = this.reserve(op, flags, tableId, schemaVersion, key.length, before.length, after.length);
    this.#buffer.set(key, at);
    at += key.length;
    this.#buffer.set(before, at);
    at += before.length;
    this.#buffer.set(after, at);
  }

  /** Appends a record as it stands elsewhere, with other flags if given. */
  copy(record: Uint8Array, flags = record[5] as number): void {
    if (this.#open === null) throw new TidemarkError('INTERNAL', 'a record outside a transaction');
    const at = this.#length;
    if (at + record.length > this.#buffer.length) this.#grow(at + record.length);
    this.#buffer.set(record, at);
    this.#buffer[at + 5] = flags;
    this.#length = at + record.length;
    this.#count++;
  }

  /** What has been built so far; an open transaction goes on in the next batch. */
  take(): ChangeBatch {
    const open = this.#open;
    if (open !== null && (this.#count > open.first || open.begins)) {
      this.#packer.add(open, this.#count - open.first, false, NO_POSITION);
    }
    const batch = new ChangeBatch({
      count: this.#count,
      records: this.#handOver(),
      transactions: this.#packer.take(),
      progress: open === null ? this.#progress : null,
    });
    this.#length = 0;
    this.#count = 0;
    this.#progress = null;
    if (open !== null) this.#open = { ...open, first: 0, begins: false };
    return batch;
  }

  /**
   * The records as bytes of their own. A buffer that is mostly empty is kept and its content copied: small batches would
   * otherwise each cost a buffer of full size, and the collection of it.
   */
  #handOver(): Buffer {
    const used = this.#length;
    const buffer = this.#buffer;
    if (used * 2 > buffer.length) {
      this.#buffer = Buffer.allocUnsafeSlow(this.#initial);
      return buffer.subarray(0, used);
    }
    const records = Buffer.allocUnsafeSlow(used);
    buffer.copy(records, 0, 0, used);
    if (buffer.length > this.#initial) this.#buffer = Buffer.allocUnsafeSlow(this.#initial);
    return records;
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(this.#buffer.length * 2, this.#buffer.length + (64 << 20))));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
