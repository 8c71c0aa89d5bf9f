/** One table, compared at the moments of a round: sums by bucket first, then the rows of the buckets that differ. */
import { join } from 'node:path';
import type { Catalog } from '../../contracts/catalog.ts';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock, FileSystem } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { ChosenBuckets, SinkSnapshot, SourceSnapshot } from '../../contracts/verify.ts';
import { Buckets, bucketsFor, bucketsOf, type BucketSet } from './buckets.ts';
import { expectedOf } from './expected.ts';
import { Gather, type WrongRow } from './gather.ts';
import { logRows, type Shapes } from './log-rows.ts';
import { Part, type LogSide } from './log-side.ts';
import { Pace, type ReadRate } from './pace.ts';
import type { RowHasher } from './row-hash.ts';
import { PLACE_BUCKETS, sumAtPlace, wayOf, type Hashes, type Way } from './ways.ts';

/** Which two places are compared; the first has what is expected of the second. */
export type Sides = 'source-log' | 'log-sink';

/** Where more buckets differ, a place is read from end to end: choosing would cost more than it spares. */
const MOST_CHOSEN = 1024;

type Place = 'source' | 'sink';

/** What a round reads from and works with. */
export interface RoundParts {
  readonly side: LogSide;
  readonly sink: SinkSnapshot | null;
  readonly source: SourceSnapshot | null;
  /** Knows every shape of every table. */
  readonly catalog: Catalog;
  readonly hashes: Hashes;
  readonly scratch: SumScratch;
  readonly clock: Clock;
  readonly files: FileSystem;
  /** A folder for rows that differ. */
  readonly directory: string;
  readonly memoryBytes: number;
  readonly rate: ReadRate | null;
  readonly onRead: (place: 'log' | Place, rows: number) => void;
  /** The log has so many rows; places that sum by themselves have come so far meanwhile, together. */
  readonly onLogRead: (rows: number, there: number) => void;
  /** Sums differ: the table is read again. */
  readonly onDiffering: () => void;
  readonly signal: AbortSignal;
}

/** Two sides of one table, and the buckets in which they differ. */
export interface Compared {
  readonly expectedRows: number;
  readonly foundRows: number;
  readonly differing: BucketSet;
  readonly buckets: number;
  /** How the place was summed. */
  readonly way: Way;
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

/** How each place is summed. */
type Ways = Readonly<Record<Place, Way>>;

/**
 * Reads the table once at each place, and once more for more buckets where one that sums by itself differs. What one place
 * cannot give says nothing of the other.
 * @throws TidemarkError what the log throws; of a place what another reading will not do away with
 */
export async function compareTable(parts: RoundParts, tableId: number, shapes: Shapes): Promise<Readonly<Record<Sides, Outcome>>> {
  const whole = await compareInto(1, parts, tableId, shapes);
  const again: Shapes = { sink: differsAsWhole(whole['log-sink']) ? shapes.sink : null, source: differsAsWhole(whole['source-log']) ? shapes.source : null };
  if (again.sink === null && again.source === null) return whole;
  parts.onDiffering();
  const finer = await compareInto(PLACE_BUCKETS, { ...parts, onLogRead: () => undefined }, tableId, again);
  return { 'log-sink': finer['log-sink'] ?? whole['log-sink'], 'source-log': finer['source-log'] ?? whole['source-log'] };
}

function differsAsWhole(outcome: Outcome): boolean {
  return outcome !== null && 'compared' in outcome && outcome.compared.way === 'place' && outcome.compared.differing.count > 0;
}

/** @param buckets of places that sum by themselves */
async function compareInto(buckets: number, parts: RoundParts, tableId: number, shapes: Shapes): Promise<Readonly<Record<Sides, Outcome>>> {
  const { sink, source, rate } = parts;
  let ways: Ways = { sink: wayOf(shapes.sink === null ? null : sink, rate), source: wayOf(shapes.source === null ? null : source, rate) };
  for (;;) {
    const compared = await compareBy(parts, tableId, shapes, ways, buckets);
    if (!('unable' in compared)) return compared;
    ways = { ...ways, [compared.unable]: 'hub' };
  }
}

/** The log is read while places sum by themselves; then those that do not are read. */
async function compareBy(parts: RoundParts, tableId: number, shapes: Shapes, ways: Ways, buckets: number): Promise<Readonly<Record<Sides, Outcome>> | { readonly unable: Place }> {
  const stop = new AbortController();
  const reading = { ...parts, signal: AbortSignal.any([parts.signal, stop.signal]) };
  let unable: Place | null = null;
  let there = 0;
  const summed = (place: Place): Promise<Buckets | TidemarkError | null> => {
    const snapshot = parts[place];
    const schema = shapes[place];
    if (snapshot === null || schema === null || ways[place] === 'hub') return Promise.resolve(null);
    const onRows = (rows: number): void => {
      there += rows;
      parts.onRead(place, rows);
    };
    return tableFailure(sumAtPlace(snapshot, schema, parts.hashes.request(buckets), onRows, reading.signal)).then((sums) => {
      if (sums !== null) return sums;
      unable = place;
      throw new TidemarkError('ABORTED', 'the table is read in another way');
    });
  };
  const asked = { sink: summed('sink'), source: summed('source') };
  const sums = sumLog(reading, tableId, shapes, ways).then((log) => {
    parts.onLogRead(log.rows, there);
    return log;
  });
  const of = async (place: Place): Promise<Outcome> => comparePlace(reading, place, shapes[place], await sums, ways[place], await asked[place]);
  const runs = [of('sink'), of('source')] as const;
  // What fails for more than this table ends the other readings, too.
  for (const run of [asked.sink, asked.source, sums, ...runs]) run.catch((failure: unknown) => stop.abort(failure));
  await Promise.allSettled([asked.sink, asked.source, sums, ...runs]);
  if (unable !== null && !parts.signal.aborted) return { unable };
  if (stop.signal.aborted) throw reasonOf(stop.signal);
  const [sink, source] = await Promise.all(runs);
  return { 'log-sink': sink, 'source-log': source };
}

function reasonOf({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/** What the log has, by what it is compared with. */
interface LogSums {
  readonly scratch: SumScratch;
  readonly rows: number;
  /** Why rows of the log cannot be had as the sink has them. */
  readonly failure: TidemarkError | null;
}

/** Sums over what the log has: rows that are expected of the sink just so, and hashed just so, are summed once for both. */
async function sumLog(parts: RoundParts, tableId: number, shapes: Shapes, ways: Ways): Promise<LogSums> {
  const { side, sink, source, hashes, scratch, catalog, signal } = parts;
  scratch.clear();
  let rows = 0;
  let failure: TidemarkError | null = null;
  for await (const { batch, part, sign } of logRows(side, tableId, shapes, catalog)) {
    signal.throwIfAborted();
    rows += sign * batch.count;
    parts.onRead('log', batch.count);
    const inSource = part !== Part.sink && shapes.source !== null && source !== null;
    if (part !== Part.source && shapes.sink !== null && sink !== null && failure === null) {
      const mayShare = inSource && part === Part.both && ways.sink === ways.source;
      const summed = ways.sink === 'place' ? sumSame(parts, batch, sign, mayShare) : sumExpected(parts, sink, shapes.sink, batch, { sign, mayShare });
      const isShared = await tableFailure(Promise.resolve(summed));
      if (isShared === true) continue;
      if (isShared !== false) failure = isShared;
    }
    if (inSource) scratch.source.add(batch, hashes.of(ways.source), sign);
  }
  return { scratch, rows, failure };
}

/** True when the rows count for both moments just so, and are summed for both. */
function sumSame({ hashes, scratch }: RoundParts, batch: ChangeBatch, sign: 1 | -1, mayShare: boolean): boolean {
  (mayShare ? scratch.shared : scratch.sink).add(batch, hashes.of('place'), sign);
  return mayShare;
}

/** As `sumSame`, of what the sink makes of the rows. */
async function sumExpected({ hashes, scratch, signal }: RoundParts, sink: SinkSnapshot, schema: TableSchema, batch: ChangeBatch, { sign, mayShare }: { readonly sign: 1 | -1; readonly mayShare: boolean }): Promise<boolean> {
  for await (const { expected } of expectedOf(sink, schema, batch, { aligned: false, signal })) {
    if (expected === batch && mayShare) {
      scratch.shared.add(batch, hashes.of('hub'), sign);
      return true;
    }
    scratch.sink.add(expected, hashes.of('hub'), sign);
  }
  return false;
}

/** @param summed what the place has summed by itself, or why it did not; null: it is read */
async function comparePlace(parts: RoundParts, place: Place, schema: TableSchema | null, { scratch, failure }: LogSums, way: Way, summed: Buckets | TidemarkError | null): Promise<Outcome> {
  const snapshot = parts[place];
  if (snapshot === null || schema === null) return null;
  if (place === 'sink' && failure !== null) return { failure };
  if (summed instanceof TidemarkError) return { failure: summed };
  const { shared } = scratch;
  const own = scratch[place];
  const size = summed?.size ?? bucketsFor(shared.rows + own.rows);
  const log = own.folded(size, shared);
  const there = summed ?? new Buckets(size);
  if (summed === null) {
    const read = await tableFailure(readPlace(parts, place, snapshot.rows(schema, parts.signal), (batch) => there.add(batch, parts.hashes.of(way))));
    if (read instanceof TidemarkError) return { failure: read };
  }
  const rows = { expectedRows: place === 'sink' ? log.rows : there.rows, foundRows: place === 'sink' ? there.rows : log.rows };
  return { compared: { ...rows, buckets: size, differing: log.differing(there), way } };
}

async function readPlace(parts: RoundParts, place: Place, rows: AsyncIterable<ChangeBatch>, each: (batch: ChangeBatch) => void | Promise<void>): Promise<void> {
  const { clock, rate, signal } = parts;
  const pace = new Pace(clock, rate);
  for await (const batch of rows) {
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
export async function* wrongRows(parts: RoundParts, tableId: number, shapes: Shapes, sides: Sides, { differing, way, buckets }: Compared): AsyncGenerator<WrongRow, void, void> {
  const { sink } = parts;
  const place = sides === 'log-sink' ? 'sink' : 'source';
  const snapshot = parts[place];
  const schema = shapes[place];
  if (snapshot === null || schema === null || differing.count === 0) return;
  parts.onDiffering();
  await using gather = await Gather.create({
    files: parts.files, directory: join(parts.directory, place), memoryBytes: parts.memoryBytes, buckets: differing, keyless: schema.keyKind === 'none',
    ownKeys: sides === 'log-sink' && sink?.logKey !== undefined,
  });
  const hash = parts.hashes.of(way);
  await gatherLog(parts, gather, tableId, shapes, sides, hash);
  const there = sides === 'log-sink' ? 'right' : 'left';
  const only: ChosenBuckets | undefined = way === 'place' && differing.count <= MOST_CHOSEN ? { ...parts.hashes.request(buckets), chosen: bucketsOf(differing) } : undefined;
  await readPlace(parts, place, snapshot.rows(schema, parts.signal, only), (batch) => gather.add(there, batch, hash));
  yield* gather.wrong();
}

async function gatherLog(parts: RoundParts, gather: Gather, tableId: number, shapes: Shapes, sides: Sides, hash: RowHasher): Promise<void> {
  const { side, sink, catalog, signal } = parts;
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
