import type { ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { Op } from '../../contracts/op.ts';
import { RECORD_HEADER } from '../../contracts/record.ts';
import type { RowHash } from './row-hash.ts';

/** Buckets while nobody knows how many rows there are: 256 KiB of sums, which the processor keeps near. */
export const MOST_BUCKETS = 1 << 14;
/** Numbers of a bucket, side by side: how many rows, the sums of both halves of their hashes, one unused. */
const WIDTH = 4;
const FEWEST_BUCKETS = 1 << 8;
const ROWS_OF_BUCKET = 32;

/** How many buckets a table of so many rows gets: a power of two. */
export function bucketsFor(rows: number): number {
  let size: number = FEWEST_BUCKETS;
  while (size < MOST_BUCKETS && size * ROWS_OF_BUCKET < rows) size *= 2;
  return size;
}

/** Calls `each` for every row of a batch of `r` records, with where its key and its image stand. @throws TidemarkError `RECORD_CORRUPT` */
export function forRows({ records }: ChangeBatch, each: (view: DataView, keyStart: number, keyEnd: number, end: number) => void): void {
  const view = new DataView(records.buffer, records.byteOffset, records.length);
  for (let at = 0; at < records.length; ) {
    const end = rowEnd(records, view, at);
    const keyStart = at + RECORD_HEADER;
    each(view, keyStart, keyStart + view.getUint32(at + 16), end);
    at = end;
  }
}

/** Where the row ends that begins at byte `at`. @throws TidemarkError `RECORD_CORRUPT` */
function rowEnd(records: Buffer, view: DataView, at: number): number {
  if (at + RECORD_HEADER > records.length) throw corrupt(at);
  const body = view.getUint32(at + 16) + view.getUint32(at + 24);
  const end = at + RECORD_HEADER + body;
  if (view.getUint32(at) !== RECORD_HEADER - 4 + body || end > records.length || records[at + 4] !== Op.read || view.getUint32(at + 20) !== 0) throw corrupt(at);
  return end;
}

function corrupt(at: number): TidemarkError {
  return new TidemarkError('RECORD_CORRUPT', `a row to be compared is no row (byte ${at})`);
}

/**
 * Sums over the rows of a table, by bucket of key: how many, and the sum of their hashes. They do not depend on the order
 * of the rows. A row can be taken back. Memory: 16 bytes a bucket.
 */
export class Buckets {
  readonly size: number;
  rows = 0;
  #isEmpty = true;
  readonly #sums: Int32Array;

  /** @param size a power of two */
  constructor(size: number = MOST_BUCKETS) {
    this.size = size;
    this.#sums = new Int32Array(size * WIDTH);
  }

  /** Adds the rows of a batch; -1 takes them back. @throws TidemarkError `RECORD_CORRUPT` */
  add(batch: ChangeBatch, hash: RowHash, sign: 1 | -1 = 1): void {
    const sums = this.#sums;
    const mask = this.size - 1;
    const { records } = batch;
    const view = new DataView(records.buffer, records.byteOffset, records.length);
    let rows = 0;
    for (let at = 0; at < records.length; rows++) {
      const end = rowEnd(records, view, at);
      const keyStart = at + RECORD_HEADER;
      hash.row(view, keyStart, keyStart + view.getUint32(at + 16), end);
      const bucket = (hash.place & mask) * WIDTH;
      sums[bucket] = (sums[bucket] as number) + sign;
      sums[bucket + 1] = (sums[bucket + 1] as number) + sign * hash.a;
      sums[bucket + 2] = (sums[bucket + 2] as number) + sign * hash.b;
      at = end;
    }
    this.rows += sign * rows;
    this.#isEmpty = false;
  }

  /** Nothing added, for another table. */
  clear(): void {
    if (this.#isEmpty) return;
    this.#isEmpty = true;
    this.#sums.fill(0);
    this.rows = 0;
  }

  /** The same sums in fewer buckets, or with those of another. @param size at most the size of both */
  folded(size: number, other: Buckets | null = null): Buckets {
    const folded = new Buckets(size);
    for (const one of other === null ? [this] : [this, other]) folded.#take(one);
    return folded;
  }

  #take(one: Buckets): void {
    const mask = this.size * WIDTH - 1;
    const sums = this.#sums;
    for (const [from, sum] of one.#sums.entries()) {
      const at = from & mask;
      sums[at] = (sums[at] as number) + sum;
    }
    this.rows += one.rows;
  }

  /** The buckets whose sums are not those of another of the same size. */
  differing(other: Buckets): BucketSet {
    const marked = new Uint8Array(this.size);
    let count = 0;
    for (let at = 0; at < this.#sums.length; at++) {
      const bucket = Math.floor(at / WIDTH);
      if (this.#sums[at] === other.#sums[at] || marked[bucket] === 1) continue;
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
