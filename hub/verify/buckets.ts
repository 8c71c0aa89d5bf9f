import type { ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { Op } from '../../contracts/op.ts';
import { RECORD_HEADER } from '../../contracts/record.ts';
import type { BucketSum } from '../../contracts/verify.ts';
import type { RowHasher } from './row-hash.ts';

/** Buckets while nobody knows how many rows there are: 256 KiB of sums, which the processor keeps near. */
export const MOST_BUCKETS = 1 << 14;
/** Numbers of a bucket, side by side: how many rows, both halves of the sum of their hashes, one unused. */
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
 * Sums over the rows of a table, by bucket: how many, and the sum of their hashes modulo 2^64. They do not depend on the
 * order of the rows. A row can be taken back. Memory: 16 bytes a bucket.
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
  add(batch: ChangeBatch, hash: RowHasher, sign: 1 | -1 = 1): void {
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
      const low = hash.low | 0;
      const before = sums[bucket + 1] as number;
      sums[bucket] = (sums[bucket] as number) + sign;
      if (sign === 1) {
        const after = (before + low) | 0;
        sums[bucket + 1] = after;
        sums[bucket + 2] = (sums[bucket + 2] as number) + hash.high + (after >>> 0 < low >>> 0 ? 1 : 0);
      } else {
        sums[bucket + 1] = before - low;
        sums[bucket + 2] = (sums[bucket + 2] as number) - hash.high - (before >>> 0 < low >>> 0 ? 1 : 0);
      }
      at = end;
    }
    this.rows += sign * rows;
    this.#isEmpty = false;
  }

  /** Adds what a place has summed. */
  addSums(rows: number, sums: Iterable<BucketSum>): void {
    for (const { bucket, rows: count, low, high } of sums) this.#plus((bucket & (this.size - 1)) * WIDTH, count, low | 0, high | 0);
    this.rows += rows;
    this.#isEmpty = false;
  }

  #plus(at: number, rows: number, low: number, high: number): void {
    const sums = this.#sums;
    const after = ((sums[at + 1] as number) + low) | 0;
    sums[at] = (sums[at] as number) + rows;
    sums[at + 1] = after;
    sums[at + 2] = (sums[at + 2] as number) + high + (after >>> 0 < low >>> 0 ? 1 : 0);
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
    const { length } = one.#sums;
    for (let from = 0; from < length; from += WIDTH) {
      this.#plus(from & mask, one.#sums[from] as number, one.#sums[from + 1] as number, one.#sums[from + 2] as number);
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

/** Their numbers. */
export function bucketsOf({ marked }: BucketSet): number[] {
  const numbers: number[] = [];
  for (const [bucket, mark] of marked.entries()) if (mark === 1) numbers.push(bucket);
  return numbers;
}
