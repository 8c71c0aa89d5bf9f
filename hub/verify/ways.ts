/**
 * How a place is summed: by the hub, which reads its rows, or by the place itself, whose rows then travel only where sums
 * differ. Each way has its hash, which is the log's as well.
 */
import { RowTextHash, type HashSeed } from '../../contracts/row-text-hash.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { RowsSnapshot, SumsRequest } from '../../contracts/verify.ts';
import { Buckets } from './buckets.ts';
import type { ReadRate } from './pace.ts';
import { RowHash, type RowHasher } from './row-hash.ts';

export type Way = 'hub' | 'place';

/** Buckets of a place that sums by itself, whose rows differ. A server sums into one at three quarters of the cost. */
export const PLACE_BUCKETS = 1 << 12;

/** The hashes of a run. */
export class Hashes {
  readonly #seed: HashSeed;
  readonly #of: Readonly<Record<Way, RowHasher>>;

  constructor(seed: HashSeed) {
    this.#seed = seed;
    this.#of = { hub: new RowHash(seed), place: new RowTextHash(seed) };
  }

  of(way: Way): RowHasher {
    return this.#of[way];
  }

  request(buckets: number): SumsRequest {
    return { seed: this.#seed, buckets };
  }
}

/** @param rate a place cannot be kept to one while it sums */
export function wayOf(snapshot: RowsSnapshot | null, rate: ReadRate | null): Way {
  return rate === null && snapshot?.sums !== undefined ? 'place' : 'hub';
}

/** What a place sums by itself; null: it cannot. @throws TidemarkError as `RowsSnapshot.sums` */
export async function sumAtPlace(snapshot: RowsSnapshot, schema: TableSchema, request: SumsRequest, onRows: (rows: number) => void, signal: AbortSignal): Promise<Buckets | null> {
  const there = new Buckets(request.buckets);
  for await (const some of snapshot.sums?.(schema, request, signal) ?? [null]) {
    if (some === null) return null;
    there.addSums(some.rows, some.sums);
    onRows(some.rows);
  }
  return there;
}
