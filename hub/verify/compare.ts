/** One table, compared at the moments of a round: sums by bucket first, then the rows of the buckets that differ. */
import { join } from 'node:path';
import type { Catalog } from '../../contracts/catalog.ts';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock, FileSystem } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { RowsSnapshot, SinkSnapshot, SourceSnapshot } from '../../contracts/verify.ts';
import { Buckets, bucketsFor, type BucketSet } from './buckets.ts';
import { expectedOf } from './expected.ts';
import { Gather, type WrongRow } from './gather.ts';
import { logRows, type Shapes } from './log-rows.ts';
import { Part, type LogSide } from './log-side.ts';
import { Pace, type ReadRate } from './pace.ts';
import type { RowHash } from './row-hash.ts';

/** Which two places are compared; the first has what is expected of the second. */
export type Sides = 'source-log' | 'log-sink';

/** What a round reads from and works with. */
export interface RoundParts {
  readonly side: LogSide;
  readonly sink: SinkSnapshot | null;
  readonly source: SourceSnapshot | null;
  /** Knows every shape of every table. */
  readonly catalog: Catalog;
  readonly hash: RowHash;
  readonly scratch: SumScratch;
  readonly clock: Clock;
  readonly files: FileSystem;
  /** A folder for rows that differ. */
  readonly directory: string;
  readonly memoryBytes: number;
  readonly rate: ReadRate | null;
  readonly onRead: (place: 'log' | 'source' | 'sink', rows: number) => void;
  /** The log has so many rows. */
  readonly onLogRead: (rows: number) => void;
  /** Sums differ: the table is read again. */
  readonly onDiffering: () => void;
  readonly signal: AbortSignal;
}

/** Two sides of one table, and the buckets in which they differ. */
export interface Compared {
  readonly expectedRows: number;
  readonly foundRows: number;
  readonly buckets: number;
  readonly differing: BucketSet;
}

/** What came of a comparison: it, or why there was none. */
export type Outcome = { readonly compared: Compared } | { readonly failure: TidemarkError } | null;

/** The sums of a round's tables, one table after the other. */
export class SumScratch {
  readonly shared = new Buckets();
  readonly sink = new Buckets();
  readonly source = new Buckets();

  clear(): void {
    for (const sums of [this.shared, this.sink, this.source]) sums.clear();
  }
}

/**
 * Reads the table once at each place. What one place cannot give says nothing of the other.
 * @throws TidemarkError what the log throws; of a place what another reading will not do away with
 */
export async function compareTable(parts: RoundParts, tableId: number, shapes: Shapes): Promise<Readonly<Record<Sides, Outcome>>> {
  const failures: { sink: TidemarkError | null } = { sink: null };
  const sums = await sumLog(parts, tableId, shapes, failures);
  const stop = new AbortController();
  const reading = { ...parts, signal: AbortSignal.any([parts.signal, stop.signal]) };
  const of = (place: 'sink' | 'source', own: Buckets): Promise<Outcome> => comparePlace(reading, place, shapes[place], sums.shared, own);
  const runs = [failures.sink === null ? of('sink', sums.sink) : Promise.resolve({ failure: failures.sink }), of('source', sums.source)] as const;
  // What fails for more than this table ends the other reading, too.
  for (const run of runs) run.catch((failure: unknown) => stop.abort(failure));
  await Promise.allSettled(runs);
  if (stop.signal.aborted) throw reasonOf(stop.signal);
  const [sink, source] = await Promise.all(runs);
  return { 'log-sink': sink, 'source-log': source };
}

function reasonOf({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/** Sums over what the log has: rows that are expected of the sink just so are summed once for both. */
async function sumLog(parts: RoundParts, tableId: number, shapes: Shapes, failures: { sink: TidemarkError | null }): Promise<SumScratch> {
  const { side, sink, source, hash, scratch, catalog } = parts;
  scratch.clear();
  let rows = 0;
  for await (const { batch, part, sign } of logRows(side, tableId, shapes, catalog)) {
    rows += sign * batch.count;
    parts.onRead('log', batch.count);
    const inSource = part !== Part.sink && shapes.source !== null && source !== null;
    if (part !== Part.source && shapes.sink !== null && sink !== null && failures.sink === null) {
      const isShared = await tableFailure(sumExpected(parts, sink, shapes.sink, batch, { sign, mayShare: inSource && part === Part.both }));
      if (isShared === true) continue;
      if (isShared !== false) failures.sink = isShared;
    }
    if (inSource) scratch.source.add(batch, hash, sign);
  }
  parts.onLogRead(rows);
  return scratch;
}

/** True when the rows count for both moments just so, and are summed for both. */
async function sumExpected({ hash, scratch, signal }: RoundParts, sink: SinkSnapshot, schema: TableSchema, batch: ChangeBatch, { sign, mayShare }: { readonly sign: 1 | -1; readonly mayShare: boolean }): Promise<boolean> {
  for await (const { expected } of expectedOf(sink, schema, batch, { aligned: false, signal })) {
    if (expected === batch && mayShare) {
      scratch.shared.add(batch, hash, sign);
      return true;
    }
    scratch.sink.add(expected, hash, sign);
  }
  return false;
}

async function comparePlace(parts: RoundParts, place: 'sink' | 'source', schema: TableSchema | null, shared: Buckets, own: Buckets): Promise<Outcome> {
  const snapshot = parts[place];
  if (snapshot === null || schema === null) return null;
  const size = bucketsFor(shared.rows + own.rows);
  const log = own.folded(size, shared);
  const there = new Buckets(size);
  const read = await tableFailure(readPlace(parts, place, snapshot, schema, (batch) => there.add(batch, parts.hash)));
  if (read instanceof TidemarkError) return { failure: read };
  const rows = { expectedRows: place === 'sink' ? log.rows : there.rows, foundRows: place === 'sink' ? there.rows : log.rows };
  return { compared: { ...rows, buckets: size, differing: log.differing(there) } };
}

async function readPlace(parts: RoundParts, place: 'sink' | 'source', snapshot: RowsSnapshot, schema: TableSchema, each: (batch: ChangeBatch) => void | Promise<void>): Promise<void> {
  const { clock, rate, signal } = parts;
  const pace = new Pace(clock, rate);
  for await (const batch of snapshot.rows(schema, signal)) {
    const taking = each(batch);
    if (taking !== undefined) await taking;
    parts.onRead(place, batch.count);
    await pace.took(batch.count, batch.records.length, signal);
  }
}

/** What is only this table's matter, as a value. @throws whatever else */
async function tableFailure<T>(work: Promise<T>): Promise<T | TidemarkError> {
  try {
    return await work;
  } catch (failure) {
    if (failure instanceof TidemarkError && failure.code === 'VERIFY_TABLE') return failure;
    throw failure;
  }
}

/**
 * The rows that differ: both sides are read again, and their rows in the differing buckets sorted, in bounded memory.
 * @throws TidemarkError as `compareTable`, and what writing of the sort throws
 */
export async function* wrongRows(parts: RoundParts, tableId: number, shapes: Shapes, sides: Sides, { differing }: Compared): AsyncGenerator<WrongRow, void, void> {
  const place = sides === 'log-sink' ? 'sink' : 'source';
  const snapshot = parts[place];
  const schema = shapes[place];
  if (snapshot === null || schema === null || differing.count === 0) return;
  parts.onDiffering();
  await using gather = await Gather.create({
    files: parts.files, directory: join(parts.directory, place), memoryBytes: parts.memoryBytes, buckets: differing, keyless: schema.keyKind === 'none',
  });
  await gatherLog(parts, gather, tableId, shapes, sides);
  const there = sides === 'log-sink' ? 'right' : 'left';
  await readPlace(parts, place, snapshot, schema, (batch) => gather.add(there, batch, parts.hash));
  yield* gather.wrong();
}

async function gatherLog(parts: RoundParts, gather: Gather, tableId: number, shapes: Shapes, sides: Sides): Promise<void> {
  const { side, sink, hash, catalog, signal } = parts;
  const only = sides === 'log-sink' ? { sink: shapes.sink, source: null } : { sink: null, source: shapes.source };
  for await (const { batch, sign } of logRows(side, tableId, only, catalog)) {
    if (only.sink === null || sink === null) await gather.add('right', batch, hash, { sign });
    else {
      for await (const { log, expected } of expectedOf(sink, only.sink, batch, { aligned: true, signal })) {
        await gather.add('left', expected, hash, { sign, logs: expected === log ? null : log });
      }
    }
  }
}
