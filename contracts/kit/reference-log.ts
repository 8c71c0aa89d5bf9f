import { Catalog } from '../catalog.ts';
import type { ChangeBatch } from '../change-batch.ts';
import { TidemarkError } from '../errors/error.ts';
import { BEFORE_ALL, type Offset } from '../offset.ts';
import { Flag, isRowOp, Op } from '../op.ts';
import { RecordView } from '../record.ts';
import type { TransactionKind } from '../transaction.ts';

/** A record as a value. Keys and images are hex, so that two can be compared with `toEqual`. */
export interface ReferenceRecord {
  readonly offset: Offset;
  readonly op: number;
  readonly flags: number;
  readonly tableId: number;
  readonly schemaVersion: number;
  readonly key: string;
  readonly before: string;
  readonly after: string;
}

export interface ReferenceTransaction {
  readonly kind: TransactionKind;
  readonly xid: number;
  readonly commitTime: number;
  readonly origin: string;
  /** Its records are (after, last]; `last` equals `after` when it has none. */
  readonly after: Offset;
  readonly last: Offset;
  /** Hex. */
  readonly position: string;
}

interface OpenTransaction {
  readonly kind: TransactionKind;
  readonly xid: number;
  readonly commitTime: number;
  readonly origin: string;
  readonly after: Offset;
}

/**
 * The log as a few arrays: what every engine must be equal to. Transactions, the high watermark, rollback, the horizon
 * and the fold; no files, no durability. For tests: everything is kept in memory.
 */
export class ReferenceLog {
  readonly records: ReferenceRecord[] = [];
  /** Committed ones, in order. */
  readonly transactions: ReferenceTransaction[] = [];
  /** The last committed offset. */
  highWatermark: Offset = BEFORE_ALL;
  /** Hex of the newest source position at the high watermark; null: none yet. */
  position: string | null = null;
  horizon: Offset = BEFORE_ALL;
  #open: OpenTransaction | null = null;

  get lastOffset(): Offset {
    return this.records.length;
  }

  get inTransaction(): boolean {
    return this.#open !== null;
  }

  append(batch: ChangeBatch): { baseOffset: Offset; lastOffset: Offset } {
    const baseOffset = this.lastOffset + 1;
    for (const record of recordsOf(batch.placedAt(baseOffset))) this.records.push(record);
    for (const entry of batch.transactions) {
      if (entry.begins !== (this.#open === null)) throw new TidemarkError('INTERNAL', 'transactions do not follow each other');
      const { kind, xid, commitTime, origin } = entry;
      this.#open ??= { kind, xid, commitTime, origin, after: baseOffset + entry.first - 1 };
      if (!entry.commits) continue;
      const last = baseOffset + entry.first + entry.count - 1;
      const position = hex(entry.position);
      this.transactions.push({ ...this.#open, origin, last, position });
      if (kind === 'source' && position !== '') this.position = position;
      this.#open = null;
      this.highWatermark = last;
    }
    const last = batch.transactions.at(-1);
    const progress = batch.progress === null ? '' : hex(batch.progress);
    // A hub transaction repeats a position of before it: that is no progress.
    if (progress !== '' && !(last?.kind === 'hub' && hex(last.position) === progress)) this.position = progress;
    return { baseOffset, lastOffset: this.lastOffset };
  }

  rollback(): Offset {
    this.records.length = this.highWatermark;
    this.#open = null;
    return this.highWatermark;
  }

  /** The log as it was when `transactions` of its transactions had been committed, without anything open. */
  prefix(transactions: number): ReferenceLog {
    const log = new ReferenceLog();
    log.transactions.push(...this.transactions.slice(0, transactions));
    log.highWatermark = log.transactions.at(-1)?.last ?? BEFORE_ALL;
    log.records.push(...this.records.slice(0, log.highWatermark));
    log.position = log.transactions.findLast((transaction) => transaction.kind === 'source' && transaction.position !== '')?.position ?? null;
    return log;
  }

  /** Committed records of (after, to]. */
  read(after: Offset, to: Offset = this.highWatermark): ReferenceRecord[] {
    return this.records.slice(after, Math.min(to, this.highWatermark));
  }

  /**
   * The rows of a table as of offset `at`, of what came after `after`: key to after image, both hex. In a keyless table the row itself is the key and
   * the value is how often it stands there, in decimal.
   */
  fold(tableId: number, at: Offset = this.highWatermark, after: Offset = BEFORE_ALL): Map<string, string> {
    const rows = new Map<string, string>();
    for (const record of this.records.slice(after, at)) {
      if (record.tableId !== tableId || (record.flags & (Flag.notApplied | Flag.incomplete)) !== 0) continue;
      if (record.op === Op.truncate) rows.clear();
      else if (!isRowOp(record.op)) continue;
      else if (record.key === '') foldBag(rows, record);
      else if (record.op === Op.delete) rows.delete(record.key);
      else if (record.after !== '') rows.set(record.key, record.after);
    }
    return rows;
  }

  /** The catalog as of offset `at`. */
  catalog(at: Offset = this.highWatermark): Catalog {
    const catalog = new Catalog();
    const view = new RecordView();
    for (const record of this.records.slice(0, at)) {
      if (record.op === Op.schema || record.op === Op.control) catalog.apply(view.seek(encodeRecord(record), 0), record.offset);
    }
    return catalog;
  }
}

function foldBag(rows: Map<string, string>, record: ReferenceRecord): void {
  const change = (row: string, by: number): void => {
    const count = Number(rows.get(row) ?? '0') + by;
    if (count === 0) rows.delete(row);
    else rows.set(row, String(count));
  };
  if (record.op === Op.delete || record.op === Op.update) change(record.before, -1);
  if (record.op !== Op.delete && record.after !== '') change(record.after, 1);
}

/** The records of a placed batch as values. */
export function recordsOf(batch: ChangeBatch): ReferenceRecord[] {
  const view = new RecordView().reset(batch.records);
  const records: ReferenceRecord[] = [];
  while (view.next()) {
    records.push({
      offset: batch.baseOffset + view.index,
      op: view.op,
      flags: view.flags,
      tableId: view.tableId,
      schemaVersion: view.schemaVersion,
      key: hex(view.key()),
      before: hex(view.before()),
      after: hex(view.after()),
    });
  }
  return records;
}

function encodeRecord(record: ReferenceRecord): Buffer {
  const parts = [record.key, record.before, record.after].map((part) => Buffer.from(part, 'hex'));
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(28);
  head.writeUInt32BE(24 + body.length, 0);
  head[4] = record.op;
  head[5] = record.flags;
  head.writeUInt32BE(record.tableId, 8);
  head.writeUInt32BE(record.schemaVersion, 12);
  for (const [index, part] of parts.entries()) head.writeUInt32BE(part.length, 16 + index * 4);
  return Buffer.concat([head, body]);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
