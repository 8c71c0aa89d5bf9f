/** One table in a round: compared, its differing rows looked at again until they are settled, and told. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { DeadLetter } from '../dead-letters/dead-letters.ts';
import { idOf } from '../pipeline/sink/pieces.ts';
import { compareTable, wrongRows, type Compared, type RoundParts, type Sides } from './compare.ts';
import { describeRow, kindOf } from './describe.ts';
import type { WrongRow } from './gather.ts';
import { Sight } from './log-side.ts';
import type { VerifyParts } from './places.ts';
import { againAtSink, againAtSource, type Looked, type Suspect } from './recheck.ts';
import type { Comparison, Difference } from './report.ts';
import { seenOf, sinkMoment, sourceMoment, type Round } from './round.ts';

/** Rows that are looked at again together. */
const CHUNK_ROWS = 2000;
/** Rows that are kept with their values: to be told, and to be repaired. Others are counted. */
const MOST_KEPT = 10_000;
const MOST_KEPT_BYTES = 32 << 20;
/** Of a sink without snapshots: how often rows are looked at while it is written to, before it has to stand still. */
const MOST_LOOKS = 4;
/** How long it stands still for rows at once. */
const STILL_MS = 5000;
const MOST_TOLD = 100;

/** What is known of two sides of one table. */
export interface SidesFound {
  readonly sides: Sides;
  readonly schema: TableSchema | null;
  /** At which it was compared. */
  readonly offset: Offset;
  readonly position: string | null;
  readonly skipped: string | null;
  /** Another moment will do. */
  readonly mayTryAgain: boolean;
  /** False: a row that differs at one moment only is none. */
  readonly isExact: boolean;
  readonly compared: Compared | null;
  /** Rows that differ and are kept. */
  readonly rows: readonly Suspect[];
  /** Rows that differ and are only counted. */
  readonly counted: number;
  readonly deadLetters: number;
  readonly expired: number;
  readonly outside: number;
}

export interface TableFound {
  readonly tableId: number;
  readonly table: string;
  readonly found: readonly SidesFound[];
}

/** Rows found so far, on two sides. */
interface Tally {
  kept: Suspect[];
  keptBytes: number;
  counted: number;
  deadLetters: number;
  expired: number;
  outside: number;
}

export class TableCheck {
  readonly #parts: VerifyParts;
  readonly #round: Round;
  readonly #reading: RoundParts;
  readonly #letters: ReadonlySet<string>;

  /** @param letters open when the round was opened */
  constructor(parts: VerifyParts, round: Round, reading: RoundParts, letters: readonly DeadLetter[]) {
    this.#parts = parts;
    this.#round = round;
    this.#reading = reading;
    this.#letters = new Set([...letters, ...parts.letters()].map((letter) => idOf(letter)));
  }

  /** @param wanted the sides to compare */
  async run(tableId: number, table: string, wanted: readonly Sides[]): Promise<TableFound> {
    const { shapes, skipped } = this.#round.shapesOf(tableId);
    const outcomes = await compareTable(this.#reading, tableId, shapes);
    const found: SidesFound[] = [];
    for (const sides of wanted) {
      const outcome = outcomes[sides];
      const schema = sides === 'log-sink' ? shapes.sink : shapes.source;
      if (outcome === null || schema === null) found.push(this.#skipped(sides, skipped[sides] ?? 'it was not read', null));
      else if ('failure' in outcome) found.push(this.#skipped(sides, outcome.failure.message, outcome.failure));
      else found.push(await this.#sides(tableId, sides, schema, outcome.compared).catch((failure: unknown) => this.#onlyThis(sides, failure)));
    }
    return { tableId, table, found };
  }

  /** What is only this table's matter. @throws whatever else */
  #onlyThis(sides: Sides, failure: unknown): SidesFound {
    if (!(failure instanceof TidemarkError) || failure.code !== 'VERIFY_TABLE') throw failure;
    return this.#skipped(sides, failure.message, failure);
  }

  async #sides(tableId: number, sides: Sides, schema: TableSchema, compared: Compared): Promise<SidesFound> {
    const tally: Tally = { kept: [], keptBytes: 0, counted: 0, deadLetters: 0, expired: 0, outside: 0 };
    const { shapes } = this.#round.shapesOf(tableId);
    let chunk: Suspect[] = [];
    for await (const found of wrongRows(this.#reading, tableId, shapes, sides, compared)) {
      const row = sides === 'log-sink' ? this.#named(schema, found) : found;
      if (!this.#isSuspect(tableId, sides, schema, row, tally)) continue;
      chunk.push({ row, offset: this.#offsetOf(sides), seen: 'once' });
      if (chunk.length < CHUNK_ROWS) continue;
      await this.#settle(sides, schema, chunk, tally);
      chunk = [];
    }
    if (chunk.length > 0) await this.#settle(sides, schema, chunk, tally);
    const why = this.#round.voided(this.#parts.log, tableId, sides);
    if (why !== null) return this.#skipped(sides, why, null);
    const { kept: rows, counted, deadLetters, expired, outside } = tally;
    return { ...this.#place(sides), schema, skipped: null, mayTryAgain: false, compared, rows, counted, deadLetters, expired, outside };
  }

  /** With the key that the log has for it, where the sink's own tells. */
  #named(schema: TableSchema, row: WrongRow): WrongRow {
    const { snapshot } = this.#round.sink;
    return row.logKey !== null || snapshot.logKey === undefined ? row : { ...row, logKey: snapshot.logKey(schema, row.key) };
  }

  /** False: the row is known to be so, and is counted. */
  #isSuspect(tableId: number, sides: Sides, schema: TableSchema, row: WrongRow, tally: Tally): boolean {
    // Of a table that the log keeps a window of, other places may have rows that it has dropped.
    const isWindow = this.#parts.log.extent(tableId).rowsAfter > 0;
    if (isWindow && kindOf(row) === (sides === 'log-sink' ? 'extra' : 'missing')) {
      tally.outside++;
      return false;
    }
    if (sides !== 'log-sink') return true;
    if (row.logKey !== null && schema.keyKind !== 'none' && this.#letters.has(idOf({ tableId, key: row.logKey }))) {
      tally.deadLetters++;
      return false;
    }
    if (kindOf(row) === 'missing' && this.#round.sink.snapshot.mayLack(schema)) {
      tally.expired++;
      return false;
    }
    return true;
  }

  /** Looks at rows again, and keeps or counts those that count. */
  async #settle(sides: Sides, schema: TableSchema, suspects: readonly Suspect[], tally: Tally): Promise<void> {
    const isExact = this.#isExact(sides);
    // Where there are very many, looking at each of them again tells nothing more.
    const isMuch = tally.kept.length >= MOST_KEPT || tally.keptBytes >= MOST_KEPT_BYTES;
    const looked = schema.keyKind === 'none' || (isExact && isMuch) ? null : await this.#again(sides, schema, suspects, isExact);
    const settled = looked === null ? suspects : isExact ? [...looked.still, ...looked.equal] : looked.still;
    for (const suspect of settled) {
      if (tally.kept.length >= MOST_KEPT || tally.keptBytes >= MOST_KEPT_BYTES) {
        tally.counted++;
        continue;
      }
      tally.kept.push(suspect);
      tally.keptBytes += suspect.row.key.length + (suspect.row.left?.length ?? 0) + (suspect.row.right?.length ?? 0);
    }
  }

  async #again(sides: Sides, schema: TableSchema, suspects: readonly Suspect[], isExact: boolean): Promise<Looked | null> {
    if (sides === 'source-log') return isExact ? this.#atSource(schema, suspects) : { still: await this.#stillAtSource(schema, suspects), equal: [] };
    if (isExact) return this.#atSink(schema, suspects, this.#reading.signal);
    let still = suspects;
    for (let look = 0; look < MOST_LOOKS && still.length > 0; look++) still = (await this.#atSinkSurely(schema, still, this.#reading.signal)).still;
    const { worker } = this.#parts;
    if (still.length === 0 || worker === null || !worker.isAtWork) return { still, equal: [] };
    let settled: readonly Suspect[] = still;
    await worker.visit(async () => void (settled = await this.#whileStill(schema, still)), this.#reading.signal);
    return { still: settled, equal: [] };
  }

  /** While nothing is applied, which must not last. */
  async #whileStill(schema: TableSchema, suspects: readonly Suspect[]): Promise<readonly Suspect[]> {
    const { signal } = this.#reading;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(STILL_MS)]);
    try {
      return (await this.#atSinkSurely(schema, suspects, limit)).still;
    } catch (failure) {
      if (signal.aborted || !limit.aborted) throw failure;
      throw new TidemarkError('VERIFY_TABLE', `the sink did not give ${suspects.length} rows within ${STILL_MS} ms`, {
        where: { sink: this.#parts.config.name, table: tableName(schema) }, retry: 'auto', cause: failure,
      });
    }
  }

  async #atSinkSurely(schema: TableSchema, suspects: readonly Suspect[], signal: AbortSignal): Promise<Looked> {
    const looked = await this.#atSink(schema, suspects, signal);
    if (looked === null) throw moved(schema, this.#parts.config.name);
    return looked;
  }

  /** Null: the table is not there any more as it was. */
  async #atSink(schema: TableSchema, suspects: readonly Suspect[], signal: AbortSignal): Promise<Looked | null> {
    const { log } = this.#parts;
    const after = suspects[0]?.offset ?? 0;
    const { snapshot, checkpoint, tables } = await sinkMoment(this.#parts, new Set([schema.tableId]), signal);
    await using _ = snapshot;
    const now = tables.get(schema.tableId);
    if (checkpoint.offset < after || now?.consistent !== true || now.schema.version !== schema.version) return null;
    return await againAtSink({ log, schema, stretch: { after, to: checkpoint.offset, sight: null }, signal }, snapshot, suspects);
  }

  /** Of a source whose snapshots are not exact: those that differ each time. */
  async #stillAtSource(schema: TableSchema, suspects: readonly Suspect[]): Promise<readonly Suspect[]> {
    let still = suspects;
    for (let look = 0; look < MOST_LOOKS && still.length > 0; look++) {
      const looked = await this.#atSource(schema, still);
      if (looked === null) throw moved(schema, this.#parts.config.name);
      still = looked.still;
    }
    return still;
  }

  async #atSource(schema: TableSchema, suspects: readonly Suspect[]): Promise<Looked | null> {
    const { log } = this.#parts;
    const { signal } = this.#reading;
    const after = this.#round.side.seenTo;
    const source = await sourceMoment(this.#parts, [schema], signal);
    const { snapshot, to, catalog } = source;
    await using _ = snapshot;
    const isWhole = catalog.table(schema.tableId)?.consistent.some((range) => range.from <= after && (range.to === null || range.to >= to));
    if (isWhole !== true || catalog.schema(schema.tableId)?.version !== schema.version) return null;
    const sight = new Sight(log, seenOf(source), to, signal);
    return await againAtSource({ log, schema, stretch: { after, to, sight }, signal }, snapshot, suspects);
  }

  #offsetOf(sides: Sides): Offset {
    return sides === 'log-sink' ? this.#round.sink.checkpoint.offset : (this.#round.source?.to ?? 0);
  }

  /** A standby may leave open whether it shows a transaction or two. */
  #isExact(sides: Sides): boolean {
    const { sink, source } = this.#round;
    return sides === 'log-sink' ? sink.snapshot.isExact : source?.snapshot.isExact !== false;
  }

  #place(sides: Sides): Pick<SidesFound, 'sides' | 'offset' | 'position' | 'isExact'> {
    const { sink, source } = this.#round;
    const position = sides === 'log-sink' ? this.#parts.printPosition(sink.checkpoint.position) : (source?.position ?? null);
    return { sides, offset: this.#offsetOf(sides), position, isExact: this.#isExact(sides) };
  }

  #skipped(sides: Sides, why: string, failure: TidemarkError | null): SidesFound {
    return { ...this.#place(sides), schema: null, skipped: why, mayTryAgain: failure?.retry === 'auto', compared: null, rows: [], counted: 0, deadLetters: 0, expired: 0, outside: 0 };
  }
}

function moved(schema: TableSchema, sink: string): TidemarkError {
  return new TidemarkError('VERIFY_TABLE', 'the table changed its shape, or was copied again, while it was compared', { where: { sink, table: tableName(schema) }, retry: 'auto' });
}

/** For the report. @param repaired keys of rows that were rewritten and are right since */
export function told(found: SidesFound, repaired: ReadonlySet<Suspect>): Comparison {
  const { sides, schema, offset, position, skipped, compared, rows, counted, deadLetters, expired, outside } = found;
  const first: Difference[] = schema === null ? [] : rows.slice(0, MOST_TOLD).map((suspect) => ({
    ...describeRow(schema, suspect.row, suspect.seen, suspect.offset), repaired: repaired.has(suspect),
  }));
  return {
    sides, skipped, offset, position, deadLetters, expired, outside, first,
    rows: { expected: compared?.expectedRows ?? 0, found: compared?.foundRows ?? 0 },
    buckets: compared?.buckets ?? 0,
    differingBuckets: compared?.differing.count ?? 0,
    differences: rows.length + counted,
    still: rows.filter(({ seen }) => seen === 'still').length,
    repaired: rows.filter((suspect) => repaired.has(suspect)).length,
  };
}
