/** What a place that sums its rows by itself has to answer: the sums over the rows that it gives. */
import { deepStrictEqual, ok } from 'node:assert/strict';
import type { ChangeBatch } from '../change-batch.ts';
import { RecordView } from '../record.ts';
import { type HashSeed, RowTextHash } from '../row-text-hash.ts';
import type { TableSchema } from '../schema.ts';
import type { BucketSum, RowSums, RowsSnapshot, SumsRequest } from '../verify.ts';

const HALF = 32n;

/** The sums over some rows, worked out one by one. */
export function sumsOfRows(batches: readonly ChangeBatch[], { seed, buckets }: SumsRequest): BucketSum[] {
  const hash = new RowTextHash(seed);
  const sums: BucketSum[] = [];
  const view = new RecordView();
  for (const { records } of batches) {
    const bytes = new DataView(records.buffer, records.byteOffset, records.length);
    for (view.reset(records); view.next(); ) {
      hash.row(bytes, view.keyStart, view.afterStart, view.afterEnd);
      sums.push({ bucket: hash.low & (buckets - 1), rows: 1, low: hash.low, high: hash.high });
    }
  }
  return sums;
}

/** By bucket, in order: how many rows, and the sum of their hashes. */
export function addedUp(sums: readonly BucketSum[]): Map<number, string> {
  const all = new Map<number, { rows: number; sum: bigint }>();
  for (const { bucket, rows, low, high } of sums) {
    const known = all.get(bucket) ?? { rows: 0, sum: 0n };
    all.set(bucket, { rows: known.rows + rows, sum: BigInt.asUintN(64, known.sum + (BigInt(high) << HALF) + BigInt.asUintN(32, BigInt(low))) });
  }
  return new Map([...all].toSorted(([a], [b]) => a - b).map(([bucket, { rows, sum }]) => [bucket, `${rows} rows, ${sum}`]));
}

/** What the place sums by itself, by bucket; null: it does not. */
export async function sumsByPlace(snapshot: RowsSnapshot, schema: TableSchema, request: SumsRequest, signal: AbortSignal): Promise<Map<number, string> | null> {
  const found: RowSums[] = [];
  for await (const some of snapshot.sums?.(schema, request, signal) ?? [null]) {
    if (some === null) return null;
    found.push(some);
  }
  const sums = found.flatMap((some) => some.sums);
  deepStrictEqual(found.reduce((all, { rows }) => all + rows, 0), sums.reduce((all, { rows }) => all + rows, 0));
  return addedUp(sums.filter(({ rows }) => rows > 0));
}

const REQUESTS: readonly (readonly [HashSeed, number])[] = [[[0x12345678, -0x1edcba99], 16], [[-1, -1], 1]];

/**
 * The place's own sums over a table are those over the rows that it gives, and of the rows of some buckets none is left
 * out. False: it does not sum this table.
 * @throws AssertionError
 */
export async function sumsAreOfRows(snapshot: RowsSnapshot, schema: TableSchema, signal: AbortSignal): Promise<boolean> {
  for (const [seed, buckets] of REQUESTS) {
    const request: SumsRequest = { seed, buckets };
    const found = await sumsByPlace(snapshot, schema, request, signal);
    if (found === null) return false;
    const sums = addedUp(sumsOfRows(await gathered(snapshot.rows(schema, signal)), request));
    deepStrictEqual(found, sums, `sums over ${schema.name}`);
    const chosen = [...sums.keys()].filter((_, index) => index % 2 === 0);
    const some = addedUp(sumsOfRows(await gathered(snapshot.rows(schema, signal, { ...request, chosen })), request));
    for (const bucket of chosen) ok(some.get(bucket) === sums.get(bucket), `rows of bucket ${bucket} of ${schema.name} are left out`);
  }
  return true;
}

async function gathered(batches: AsyncIterable<ChangeBatch>): Promise<ChangeBatch[]> {
  const all: ChangeBatch[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}
