import type { LogState, SourceLog } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { isRowOp } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';

/** What is asked of a log here. */
export type ReadableLog = Pick<SourceLog, 'read'> & { state(): Pick<LogState, 'horizon'> };

/**
 * Where the first row of each table stands in a stretch of the log, which is read once for all tables: after each of
 * thousands of first copies it is asked whether the table had rows before, and each would read the log again. What was
 * read stays true, since offsets that were readable are never given again. Memory: a number for each table.
 */
export class FirstRows {
  readonly #view = new RecordView();
  readonly #first = new Map<number, Offset>();
  /** The stretch is (after, upTo]. */
  #after: Offset = 0;
  #upTo: Offset = 0;
  #reading: Promise<unknown> = Promise.resolve();

  /**
   * False: the table, whose first record of any kind is at `first`, certainly has no row below `before`.
   * @param before all below it is readable
   */
  async mayPrecede(before: Offset, log: ReadableLog, table: { readonly tableId: number; readonly first: Offset }, signal: AbortSignal): Promise<boolean> {
    const read = this.#reading.then(() => this.#readTo(before - 1, log, table.first, signal));
    this.#reading = read.catch(() => undefined);
    await read;
    if (table.first <= this.#after) return true;
    return (this.#first.get(table.tableId) ?? Infinity) < before;
  }

  async #readTo(to: Offset, log: ReadableLog, first: Offset, signal: AbortSignal): Promise<void> {
    // A table that came late, after much that nobody asked about.
    if (first - 1 > this.#upTo) {
      this.#first.clear();
      this.#after = this.#upTo = first - 1;
    }
    // What is in the base has rows, for all that is known here.
    const { horizon } = log.state();
    if (horizon > this.#upTo) this.#after = this.#upTo = horizon;
    if (to <= this.#upTo || first <= this.#after) return;
    const view = this.#view;
    for await (const batch of log.read({ after: this.#upTo, to, follow: false, signal })) {
      for (view.reset(batch.records); view.next(); ) {
        if (isRowOp(view.op) && !this.#first.has(view.tableId)) this.#first.set(view.tableId, batch.baseOffset + view.index);
      }
      this.#upTo = batch.lastOffset;
    }
    this.#upTo = to;
  }
}
