import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Op } from '../../../contracts/op.ts';
import { RecordView } from '../../../contracts/record.ts';
import type { RecordRef } from '../../../contracts/sink.ts';

interface Counted {
  /** Rows added minus rows removed. */
  net: number;
  /** A record whose after image is the row, and one whose before image is. */
  added: RecordRef | null;
  removed: RecordRef | null;
}

/** The net change of a keyless table: how many of each full row were added or removed. */
export class RowBag {
  readonly #rows = new Map<string, Counted>();
  readonly #view = new RecordView();

  clear(): void {
    this.#rows.clear();
  }

  /** Counts the row record at byte `at`; answers how many rows are new to the bag. @throws TidemarkError `RECORD_CORRUPT` */
  add(batch: ChangeBatch, at: number): number {
    const view = this.#view.seek(batch.records, at);
    const before = this.#rows.size;
    const ref = { batch, at };
    if (view.op === Op.delete || view.op === Op.update) {
      if (!view.hasBefore) throw new TidemarkError('RECORD_CORRUPT', `a change of a keyless table (id ${view.tableId}) lacks its before image`);
      const row = this.#row(view.bytes, view.beforeStart, view.beforeEnd);
      row.net--;
      row.removed = ref;
    }
    if (view.op !== Op.delete) {
      const row = this.#row(view.bytes, view.afterStart, view.afterEnd);
      row.net++;
      row.added = ref;
    }
    return this.#rows.size - before;
  }

  /** One reference for each row to remove or to add. */
  emit(deletes: RecordRef[], inserts: RecordRef[]): void {
    for (const { net, added, removed } of this.#rows.values()) {
      if (added !== null) for (let n = net; n > 0; n--) inserts.push(added);
      if (removed !== null) for (let n = net; n < 0; n++) deletes.push(removed);
    }
  }

  #row(bytes: Buffer, start: number, end: number): Counted {
    const image = bytes.toString('latin1', start, end);
    let row = this.#rows.get(image);
    if (row === undefined) {
      row = { net: 0, added: null, removed: null };
      this.#rows.set(image, row);
    }
    return row;
  }
}
