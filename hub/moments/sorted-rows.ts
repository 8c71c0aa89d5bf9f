import type { BaseRows } from '../../contracts/base.ts';
import type { Offset } from '../../contracts/offset.ts';
import { RecordView } from '../../contracts/record.ts';

/** Walks rows that come sorted: by key, or by image where there is no key. Fields, no object per row. */
export class SortedRows {
  readonly view = new RecordView();
  readonly #rows: AsyncIterator<BaseRows>;
  #offsets: readonly Offset[] = [];
  #ended = false;

  constructor(rows: AsyncIterable<BaseRows>) {
    this.#rows = rows[Symbol.asyncIterator]();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** What the rows are sorted by: a window on the batch. */
  get key(): Buffer {
    return this.view.keyEnd > this.view.keyStart ? this.view.key() : this.view.after();
  }

  get offset(): Offset {
    return this.#offsets[this.view.index] ?? 0;
  }

  /** The next row; false at the end. A promise only where rows must be read. */
  next(): boolean | Promise<boolean> {
    return this.view.next() ? true : this.#more();
  }

  /** Ends the reading. */
  async close(): Promise<void> {
    await this.#rows.return?.();
  }

  async #more(): Promise<boolean> {
    for (;;) {
      const step = this.#ended ? null : await this.#rows.next();
      if (step === null || step.done === true) {
        this.#ended = true;
        return false;
      }
      this.#offsets = step.value.offsets;
      if (this.view.reset(step.value.batch.records).next()) return true;
    }
  }
}
