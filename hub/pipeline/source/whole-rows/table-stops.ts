import { BatchBuilder, ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { Catalog } from '../../../../contracts/catalog.ts';
import { decodeControl, encodeControl } from '../../../../contracts/control.ts';
import type { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Op } from '../../../../contracts/op.ts';
import type { RecordView } from '../../../../contracts/record.ts';

const NONE = Buffer.alloc(0);

/** True where a copy gives what was missing. Of an image that does not fit its record the cause is not known. */
export function isMendedByCopy({ code }: TidemarkError): boolean {
  return code === 'WHOLE_ROW_MISSING';
}

/** How far a log has come: its last offset, and the last one that ends a transaction. */
export interface LogEnd {
  readonly last: Offset;
  readonly committed: Offset;
}

/** Where the log ends once a batch stands in it. */
export function endAfter(end: LogEnd, batch: ChangeBatch): LogEnd {
  const entry = batch.packed.lastCommit;
  const last = batch.count > 0 ? batch.lastOffset : end.last;
  if (entry === null) return { last, committed: end.committed };
  return { last, committed: batch.count > 0 ? batch.baseOffset + entry.first + entry.count - 1 : last };
}

/**
 * Stops the tables of a batch of which a row cannot be made whole. The `stopped` record stands just before that row, in
 * its transaction, so that no reader sees the row while the table still counts as consistent; the table was last good at
 * the end of the transaction before.
 */
export class TableStops {
  readonly stopped = new Map<number, TidemarkError>();
  readonly #batch: ChangeBatch;
  readonly #catalog: Catalog;
  readonly #end: LogEnd;
  /** Indexes of the transactions into which a record was put, in order. */
  readonly #entries: number[] = [];
  /** Tables of which the batch itself says that they are not consistent any more. */
  readonly #unsettled = new Set<number>();
  #allUnsettled = false;

  constructor(batch: ChangeBatch, catalog: Catalog, end: LogEnd) {
    this.#batch = batch;
    this.#catalog = catalog;
    this.#end = end;
  }

  /** Records put into the batch so far. */
  get count(): number {
    return this.#entries.length;
  }

  /** True when the table is consistent at the place of the batch that is walked. */
  mustBeWhole(tableId: number): boolean {
    if (this.#allUnsettled || this.#unsettled.has(tableId)) return false;
    return this.#catalog.table(tableId)?.state.state === 'consistent';
  }

  /** Follows a control record of the batch. */
  follow(view: RecordView): void {
    const control = decodeControl(view.after());
    if (control.type === 'gap') this.#allUnsettled = true;
    else if (control.type !== 'chunk' && control.type !== 'chunks-void' && control.type !== 'copied') this.#unsettled.add(view.tableId);
  }

  /** The record that stops the table before a row of transaction `entry` of the batch. */
  stop(tableId: number, entry: number, error: TidemarkError): Buffer {
    const transaction = this.#batch.transactions[entry];
    const begins = transaction !== undefined && transaction.begins;
    const consistentUntil = begins ? this.#end.last + transaction.first + this.#before(entry) : this.#end.committed;
    this.#entries.push(entry);
    this.#unsettled.add(tableId);
    this.stopped.set(tableId, error);
    const builder = new BatchBuilder(512);
    builder.begin('hub', 0, 0);
    builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl({
      type: 'stopped', code: error.code, why: error.message, consistentUntil, recopy: isMendedByCopy(error),
    }));
    return builder.take().records;
  }

  /** The batch with the records that now stand in it. */
  counted(records: Buffer): ChangeBatch {
    const { baseOffset, count, packed, progress } = this.#batch;
    if (this.count === 0) return new ChangeBatch({ baseOffset, count, records, transactions: packed, progress });
    const { transactions } = this.#batch;
    return new ChangeBatch({
      baseOffset,
      count: count + this.count,
      records,
      transactions: transactions.map((transaction, entry) => ({
        ...transaction,
        first: transaction.first + this.#before(entry),
        count: transaction.count + this.#entries.filter((at) => at === entry).length,
      })),
      progress,
    });
  }

  #before(entry: number): number {
    return this.#entries.filter((at) => at < entry).length;
  }
}
