import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';

/**
 * The end of the longest prefix of the log whose source transactions are all seen, given that everything up to `from`
 * (which ends a transaction) is; not beyond `to`. Hub transactions are nobody's to see.
 * @throws TidemarkError what reading the log throws
 */
export async function visiblePrefix(
  log: SourceLog,
  from: Offset,
  to: Offset,
  sees: (transaction: TransactionEntry) => boolean,
  signal: AbortSignal,
): Promise<Offset> {
  let prefix = from;
  if (to <= from) return prefix;
  for await (const batch of log.read({ after: from, to, follow: false, signal })) {
    for (const transaction of batch.transactions) {
      if (!transaction.commits) continue;
      if (transaction.kind === 'source' && !sees(transaction)) return prefix;
      prefix = batch.baseOffset + transaction.first + transaction.count - 1;
    }
  }
  return prefix;
}

/**
 * Calls `found` for each record of the table (rows and truncates) that a source transaction wrote, in order, with the part of
 * that transaction which stands in the batch; the view is valid during the call. Records that the hub wrote (rows of copies,
 * and what they replayed) are left out.
 */
export function forOwnRecords(batch: ChangeBatch, tableId: number, view: RecordView, found: (view: RecordView, transaction: TransactionEntry) => void): void {
  let entry = 0;
  for (view.reset(batch.records); view.next(); ) {
    while (view.index >= entryEnd(batch, entry)) entry++;
    const transaction = batch.transactions[entry];
    if (view.tableId !== tableId || transaction?.kind !== 'source') continue;
    if (isRowOp(view.op) || view.op === Op.truncate) found(view, transaction);
  }
}

function entryEnd(batch: ChangeBatch, entry: number): number {
  const transaction = batch.transactions[entry];
  return transaction === undefined ? Infinity : transaction.first + transaction.count;
}

/** Of a record. */
const FLAGS_AT = 5;

/** Bytes of a window that are kept in memory; the rest is read from the log again when it is replayed. */
const KEPT_BYTES = 16 << 20;
const PIECE_BYTES = 256 << 10;

/**
 * The table's own records of (after, upTo] of the log: what is replayed over a chunk. `extend` reads ahead while the
 * stream goes on, so that the turn has little left to read; memory is bounded, whatever the window's length.
 */
export class Window {
  readonly #log: SourceLog;
  readonly #tableId: number;
  readonly #view = new RecordView();
  readonly #pieces: Buffer[] = [];
  #piece: Buffer[] = [];
  #pieceBytes = 0;
  #bytes = 0;
  readonly #lacks: (transaction: TransactionEntry) => boolean;
  #upTo: Offset;
  #full = false;

  /** @param lacks true of a transaction that the chunk's snapshot certainly does not see */
  constructor(log: SourceLog, tableId: number, after: Offset, lacks: (transaction: TransactionEntry) => boolean) {
    this.#log = log;
    this.#tableId = tableId;
    this.#upTo = after;
    this.#lacks = lacks;
  }

  /** How far the window has been read. */
  get upTo(): Offset {
    return this.#upTo;
  }

  /** Reads on to `to`, which must be readable (durable); does nothing once the memory that it may take is used up. */
  async extend(to: Offset, signal: AbortSignal): Promise<void> {
    if (this.#full || to <= this.#upTo) return;
    for await (const batch of this.#log.read({ after: this.#upTo, to, follow: false, signal })) {
      forOwnRecords(batch, this.#tableId, this.#view, (view, transaction) => {
        const record = Buffer.from(view.record());
        record[FLAGS_AT] = this.#flags(view, transaction);
        this.#keep(record);
      });
      this.#upTo = batch.lastOffset;
      if (this.#bytes > KEPT_BYTES) {
        this.#full = true;
        return;
      }
    }
    this.#upTo = to;
  }

  /**
   * Every record of the window up to `to` in order, one view at a time, with the flags that it is to have; `to` must be
   * readable. Incomplete ones that the chunk's snapshot certainly does not see have `Flag.unseen`.
   */
  async replay(to: Offset, each: (view: RecordView, flags: number) => Promise<void> | void, signal: AbortSignal): Promise<void> {
    this.#endPiece();
    const view = new RecordView();
    for (const piece of this.#pieces) {
      for (view.reset(piece); view.next(); ) {
        const wait = each(view, view.flags);
        if (wait !== undefined) await wait;
      }
    }
    if (to <= this.#upTo) return;
    for await (const batch of this.#log.read({ after: this.#upTo, to, follow: false, signal })) {
      const own: { readonly at: number; readonly flags: number }[] = [];
      forOwnRecords(batch, this.#tableId, this.#view, (found, transaction) => own.push({ at: found.at, flags: this.#flags(found, transaction) }));
      for (const { at, flags } of own) {
        const wait = each(view.seek(batch.records, at), flags);
        if (wait !== undefined) await wait;
      }
    }
  }

  #flags({ flags }: RecordView, transaction: TransactionEntry): number {
    const isUnseen = (flags & Flag.incomplete) !== 0 && this.#lacks(transaction);
    return isUnseen ? flags | Flag.unseen : flags;
  }

  #keep(record: Buffer): void {
    this.#piece.push(record);
    this.#pieceBytes += record.length;
    this.#bytes += record.length;
    if (this.#pieceBytes >= PIECE_BYTES) this.#endPiece();
  }

  #endPiece(): void {
    if (this.#piece.length > 0) this.#pieces.push(Buffer.concat(this.#piece));
    this.#piece = [];
    this.#pieceBytes = 0;
  }
}
