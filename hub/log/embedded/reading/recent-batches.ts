import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { Offset } from '../../../../contracts/offset.ts';

/** A batch with its place in the files. */
export interface PlacedBatch {
  readonly segment: number;
  readonly position: number;
  /** Byte after it. */
  readonly end: number;
  readonly batch: ChangeBatch;
}

/**
 * The batches written last, in order, so that a reader at the end of the log does not read the disk. Bounded by the
 * bytes of their records. Batches that are not durable yet may stand here: a reader never asks behind the view's end.
 */
export class RecentBatches {
  readonly #limit: number;
  /** Dropped ones are undefined until the array is made shorter. */
  #batches: (PlacedBatch | undefined)[] = [];
  #first = 0;
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  push(placed: PlacedBatch): void {
    this.#batches.push(placed);
    this.#bytes += cost(placed);
    while (this.#bytes > this.#limit) this.#drop();
    if (this.#first > 1024 && this.#first * 2 > this.#batches.length) {
      this.#batches = this.#batches.slice(this.#first);
      this.#first = 0;
    }
  }

  /** The batch that begins at byte `position` of a segment. */
  find(segment: number, position: number): PlacedBatch | undefined {
    let low = this.#first;
    let high = this.#batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const placed = this.#batches[middle];
      if (placed === undefined) break;
      if (placed.segment < segment || (placed.segment === segment && placed.position < position)) low = middle + 1;
      else high = middle;
    }
    const found = this.#batches[low];
    return found?.segment === segment && found.position === position ? found : undefined;
  }

  /** The first batch that ends behind `offset`, or that begins behind it; undefined where one before it may be missing here. */
  firstAfter(offset: Offset): PlacedBatch | undefined {
    let low = this.#first;
    let high = this.#batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const batch = this.#batches[middle]?.batch;
      if (batch === undefined) break;
      if (Math.max(batch.lastOffset, batch.baseOffset) <= offset) low = middle + 1;
      else high = middle;
    }
    const found = this.#batches[low];
    if (found === undefined) return undefined;
    const { baseOffset } = found.batch;
    // Batches without a record begin where the next one does: some may have been dropped already.
    const isSure = baseOffset <= offset || (low > this.#first && baseOffset === offset + 1);
    return isSure ? found : undefined;
  }

  clear(): void {
    this.#batches = [];
    this.#first = 0;
    this.#bytes = 0;
  }

  get bytes(): number {
    return this.#bytes;
  }

  #drop(): void {
    const placed = this.#batches[this.#first];
    if (placed === undefined) return;
    this.#bytes -= cost(placed);
    this.#batches[this.#first++] = undefined;
  }
}

/** Bytes that a batch keeps in memory, about: its records and transactions, and the objects around them. */
function cost(placed: PlacedBatch): number {
  return placed.batch.records.length + placed.batch.packed.bytes.length + 1024;
}
