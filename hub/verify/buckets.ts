import type { ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { Op } from '../../contracts/op.ts';
import { RECORD_HEADER } from '../../contracts/record.ts';
import type { RowHash } from './row-hash.ts';

/** Buckets while nobody knows how many rows there are: 3 MiB of sums. */
export const MOST_BUCKETS = 1 << 18;
const FEWEST_BUCKETS = 1 << 8;
const ROWS_OF_BUCKET = 32;

/** How many buckets a table of so many rows gets: a power of two. */
export function bucketsFor(rows: number): number {
  let size = FEWEST_BUCKETS;
  while (size < MOST_BUCKETS && size * ROWS_OF_BUCKET < rows) size *= 2;
  return size;
}

/** Calls `each` for every row of a batch of `r` records, with where its key and its image stand. @throws TidemarkError `RECORD_CORRUPT` */
export function forRows({ records }: ChangeBatch, each: (view: DataView, keyStart: number, keyEnd: number, end: number) => void): void {
  const view = new DataView(records.buffer, records.byteOffset, records.length);
  for (let at = 0; at < records.length; ) {
    if (at + RECORD_HEADER > records.length) throw corrupt(at);
    const end = at + 4 + view.getUint32(at);
    const keyStart = at + RECORD_HEADER;
    const keyEnd = keyStart + view.getUint32(at + 16);
    if (records[at + 4] !== Op.read || view.getUint32(at + 20) !== 0 || keyEnd + view.getUint32(at + 24) !== end || end > records.length) throw corrupt(at);
    each(view, keyStart, keyEnd, end);
    at = end;
  }
}

function corrupt(at: number): TidemarkError {
  return new TidemarkError('RECORD_CORRUPT', `a row to be compared is no row (byte ${at})`);
}

/**
 * Sums over the rows of a table, by bucket of key: how many, and the sum of their hashes. They do not depend on the order
 * of the rows. A row can be taken back. Memory: 12 bytes a bucket.
 */
export class Buckets {
  readonly size: number;
  rows = 0;
  #isEmpty = true;
  readonly #counts: Int32Array;
  readonly #a: Int32Array;
  readonly #b: Int32Array;

  /** @param size a power of two */
  constructor(size: number = MOST_BUCKETS) {
    this.size = size;
    this.#counts = new Int32Array(size);
    this.#a = new Int32Array(size);
    this.#b = new Int32Array(size);
  }

  /** Adds the rows of a batch; -1 takes them back. @throws TidemarkError `RECORD_CORRUPT` */
  add(batch: ChangeBatch, hash: RowHash, sign: 1 | -1 = 1): void {
    const counts = this.#counts;
    const sumsA = this.#a;
    const sumsB = this.#b;
    const mask = this.size - 1;
    let rows = 0;
    forRows(batch, (view, keyStart, keyEnd, end) => {
      hash.row(view, keyStart, keyEnd, end);
      const bucket = hash.place & mask;
      counts[bucket] = (counts[bucket] as number) + sign;
      sumsA[bucket] = (sumsA[bucket] as number) + sign * hash.a;
      sumsB[bucket] = (sumsB[bucket] as number) + sign * hash.b;
      rows += sign;
    });
    this.rows += rows;
    this.#isEmpty = false;
  }

  /** Nothing added, for another table. */
  clear(): void {
    if (this.#isEmpty) return;
    this.#isEmpty = true;
    this.#counts.fill(0);
    this.#a.fill(0);
    this.#b.fill(0);
    this.rows = 0;
  }

  /** The same sums in fewer buckets, or with those of another. @param size at most the size of both */
  folded(size: number, other: Buckets | null = null): Buckets {
    const folded = new Buckets(size);
    for (const one of other === null ? [this] : [this, other]) folded.#take(one);
    return folded;
  }

  #take(one: Buckets): void {
    const mask = this.size - 1;
    for (let from = 0; from < one.size; from++) {
      const bucket = from & mask;
      this.#counts[bucket] = (this.#counts[bucket] as number) + (one.#counts[from] as number);
      this.#a[bucket] = (this.#a[bucket] as number) + (one.#a[from] as number);
      this.#b[bucket] = (this.#b[bucket] as number) + (one.#b[from] as number);
    }
    this.rows += one.rows;
  }

  /** The buckets whose sums are not those of another of the same size. */
  differing(other: Buckets): BucketSet {
    const marked = new Uint8Array(this.size);
    let count = 0;
    for (let bucket = 0; bucket < this.size; bucket++) {
      if (this.#counts[bucket] === other.#counts[bucket] && this.#a[bucket] === other.#a[bucket] && this.#b[bucket] === other.#b[bucket]) continue;
      marked[bucket] = 1;
      count++;
    }
    return { marked, count, mask: this.size - 1 };
  }
}

/** Some of the buckets. */
export interface BucketSet {
  readonly marked: Uint8Array;
  readonly count: number;
  readonly mask: number;
}
