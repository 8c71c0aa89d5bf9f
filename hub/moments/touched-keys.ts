import type { ChangeBatch } from '../../contracts/change-batch.ts';
import { isRowOp, Op } from '../../contracts/op.ts';
import { RecordView } from '../../contracts/record.ts';

/** Keys that are kept, and their bytes: of more it is quicker to sort everything. */
const MOST = 20_000;
const MOST_BYTES = 4 << 20;

/** Which rows of a table a stretch of history touches, as long as they are few. */
export class TouchedKeys {
  readonly #tableId: number;
  readonly #view = new RecordView();
  /** Null: there are too many. */
  #keys: Set<string> | null = new Set();
  #bytes = 0;

  constructor(tableId: number) {
    this.#tableId = tableId;
  }

  see(batch: ChangeBatch): void {
    const keys = this.#keys;
    if (keys === null) return;
    const view = this.#view.reset(batch.records);
    while (view.next()) {
      if (view.tableId !== this.#tableId || !isRowOp(view.op)) continue;
      const before = keys.size;
      keys.add(keyText(view));
      if (keys.size > before) this.#bytes += view.keyEnd - view.keyStart;
    }
    if (keys.size > MOST || this.#bytes > MOST_BYTES) this.#keys = null;
  }

  /**
   * Tells which records of a batch say something of these rows, asked for one after the other; null: all of them may.
   */
  filter(batch: ChangeBatch): (() => boolean) | null {
    const keys = this.#keys;
    if (keys === null) return null;
    const view = this.#view.reset(batch.records);
    return () => {
      if (!view.next() || view.tableId !== this.#tableId) return false;
      return view.op === Op.truncate || (isRowOp(view.op) && keys.has(keyText(view)));
    };
  }
}

function keyText({ bytes, keyStart, keyEnd }: RecordView): string {
  return bytes.toString('latin1', keyStart, keyEnd);
}
