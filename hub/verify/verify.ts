/** Source = log = sink, row by row, while writes go on. */
import { join } from 'node:path';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { parseTablePattern } from '../config/table-patterns.ts';
import type { DeadLetter } from '../dead-letters/dead-letters.ts';
import { SumScratch, type RoundParts, type Sides } from './compare.ts';
import { Meter } from './meter.ts';
import type { VerifyParts } from './places.ts';
import type { Suspect } from './recheck.ts';
import { rewrite } from './repair.ts';
import type { TableReport, VerifyOutcome, VerifyProgress, VerifyReport, VerifyRequest } from './report.ts';
import { Round } from './round.ts';
import { TableCheck, told, type SidesFound, type TableFound } from './table-check.ts';
import { Hashes } from './ways.ts';

/** Tables that are compared at one moment: the history of all of them is read once. */
const ROUND_TABLES = 64;
/** How old a moment may get before the tables that are left are given a new one, milliseconds. */
const ROUND_MS = 120_000;
/** Bytes of rows that differ, in memory. */
const GATHER_BYTES = 32 << 20;
/** How often tables that could not be compared at a moment are given another. */
const MOST_MOMENTS = 5;
const RETRY_MS = 500;
/** How often rows that still differ after they were rewritten are rewritten again. */
const MOST_REPAIRS = 3;

/** The name of the lease that keeps the log from being folded past what is compared. */
function verifyLeaseOf(sink: string): string {
  return `verify:${sink}`;
}

interface TableState {
  readonly schema: TableSchema;
  found: TableFound | null;
  recopied: boolean;
  readonly repaired: Set<Suspect>;
  seconds: number;
}

/** One run. */
export class Verification {
  readonly #parts: VerifyParts;
  readonly #request: VerifyRequest;
  readonly #signal: AbortSignal;
  readonly #meter: Meter;
  readonly #hashes: Hashes;
  readonly #scratch = new SumScratch();
  readonly #states: readonly TableState[];
  #rounds = 0;

  /** @throws TidemarkError `TABLE_UNKNOWN` for a pattern that no table of the sink matches, `CONFIG_TABLE_PATTERN` */
  constructor(parts: VerifyParts, request: VerifyRequest, tell: (progress: VerifyProgress) => void, signal: AbortSignal) {
    this.#parts = parts;
    this.#request = request;
    this.#signal = signal;
    this.#states = tablesOf(parts, request.tables).map((schema) => ({ schema, found: null, recopied: false, repaired: new Set<Suspect>(), seconds: 0 }));
    this.#meter = new Meter(parts.runtime.clock, this.#states.length, tell);
    const seed = parts.runtime.random.bytes(8);
    this.#hashes = new Hashes([seed.readInt32LE(0), seed.readInt32LE(4)]);
  }

  /** @throws TidemarkError `VERIFY_SINK`, `VERIFY_SOURCE`, `ABORTED`; what the log, the source and the sink throw */
  async run(): Promise<VerifyReport> {
    const { log, runtime, config, directory } = this.#parts;
    const began = runtime.clock.monotonic();
    const lease = verifyLeaseOf(config.name);
    using _ticking = this.#meter;
    await runtime.files.remove(directory);
    await runtime.files.makeDirectory(directory);
    try {
      await this.#compareAll(this.#states);
      if (this.#request.repair) await this.#repairAll();
    } finally {
      if (this.#parts.leases) await log.release(lease);
      await runtime.files.remove(directory);
    }
    const tables = this.#states.map((state) => reportOf(state));
    return {
      sink: config.name, source: config.from, against: this.#request.against,
      outcome: outcomeOf(tables),
      seconds: seconds(runtime.clock.monotonic() - began),
      tables,
    };
  }

  /** Every table at some moment; those without a key that differ at two. */
  async #compareAll(states: readonly TableState[]): Promise<void> {
    await this.#compareSome(states);
    const bags = states.filter(({ schema, found }) => schema.keyKind === 'none' && found !== null && rowsOf(found) > 0);
    const before = new Map(bags.map(({ found }) => [found?.tableId, found]));
    if (bags.length === 0) return;
    await this.#compareSome(bags);
    for (const state of bags) state.found = twice(before.get(state.found?.tableId) ?? null, state.found);
  }

  async #compareSome(states: readonly TableState[]): Promise<void> {
    let open = [...states];
    for (let moment = 1; open.length > 0; moment++) {
      for (let left = open; left.length > 0; ) left = left.slice(await this.#round(left.slice(0, ROUND_TABLES)));
      const again = open.filter(({ found }) => found?.found.some(({ mayTryAgain }) => mayTryAgain) === true);
      if (moment === MOST_MOMENTS) return;
      open = again;
      if (open.length > 0) await this.#parts.runtime.clock.sleep(RETRY_MS * moment, this.#signal);
    }
  }

  /** Some tables at one moment; answers how many of them there was time for: at least one. */
  async #round(states: readonly TableState[]): Promise<number> {
    const { runtime } = this.#parts;
    const letters = this.#parts.letters();
    await this.#lease();
    this.#meter.phase('opening');
    const directory = join(this.#parts.directory, String(++this.#rounds));
    const began = runtime.clock.monotonic();
    await using round = await Round.open(this.#parts, { tables: states.map(({ schema }) => schema), against: this.#request.against, directory }, this.#signal);
    let done = 0;
    for (const state of states) {
      await this.#check(round, state, letters, directory);
      done++;
      if (runtime.clock.monotonic() - began > ROUND_MS) break;
    }
    return done;
  }

  async #check(round: Round, state: TableState, letters: readonly DeadLetter[], directory: string): Promise<void> {
    const { clock, files } = this.#parts.runtime;
    const { tableId } = state.schema;
    const table = tableName(state.schema);
    const began = clock.monotonic();
    this.#meter.table(table);
    const { against, rate } = this.#request;
    const reading: RoundParts = {
      side: round.side, sink: round.sink.snapshot, source: round.source?.snapshot ?? null, catalog: round.catalog,
      hashes: this.#hashes, scratch: this.#scratch, clock, files, rate, memoryBytes: GATHER_BYTES,
      directory: join(directory, 'differences'),
      onRead: (_place, rows) => this.#meter.read(rows),
      onLogRead: (rows, there) => this.#meter.phase('rows', rows * (against === 'source' ? 2 : 1), there),
      onDiffering: () => this.#meter.phase('differences'),
      signal: this.#signal,
    };
    const sides: readonly Sides[] = against === 'source' ? ['source-log', 'log-sink'] : ['log-sink'];
    state.found = await new TableCheck(this.#parts, round, reading, letters).run(tableId, table, sides);
    state.seconds += (clock.monotonic() - began) / 1000;
  }

  /** The horizon does not pass what is compared from here on. */
  async #lease(): Promise<void> {
    const { log, config, leases } = this.#parts;
    if (leases) await log.leaseHorizon(verifyLeaseOf(config.name));
  }

  async #repairAll(): Promise<void> {
    const { worker, source } = this.#parts;
    for (const state of this.#states) {
      if (!differs(state.found, 'source-log') || source === null || worker === null) continue;
      this.#meter.table(tableName(state.schema));
      this.#meter.phase('copy');
      const at: Offset = await source.recopied(state.schema.tableId, this.#signal);
      await worker.reached(at, this.#signal);
      state.recopied = true;
      await this.#compareAll([state]);
    }
    for (const state of this.#states) {
      for (let time = 0; time < MOST_REPAIRS && differs(state.found, 'log-sink'); time++) {
        if (await this.#repair(state)) break;
      }
    }
  }

  /** Rewrites what differs at the sink, and compares the table once more. True: that is all. */
  async #repair(state: TableState): Promise<boolean> {
    const before = state.found;
    const found = before?.found.find(({ sides }) => sides === 'log-sink');
    if (before === null || found?.schema === undefined || found.schema === null) return true;
    this.#meter.phase('repair');
    await rewrite(this.#parts, found.schema, found.rows.filter((suspect) => !state.repaired.has(suspect)), this.#signal);
    await this.#compareAll([state]);
    const left = state.found?.found.find(({ sides }) => sides === 'log-sink');
    if (left === undefined || left.skipped !== null) return true;
    const wrong = new Set(left.rows.map(({ row }) => nameOf(row)));
    for (const suspect of found.rows) if (!wrong.has(nameOf(suspect.row))) state.repaired.add(suspect);
    // What was wrong is told with what is.
    const rows = [...found.rows.filter((suspect) => state.repaired.has(suspect)), ...left.rows];
    state.found = { ...before, found: (state.found ?? before).found.map((one) => (one.sides === 'log-sink' ? { ...left, rows } : one)) };
    return left.rows.length + left.counted === 0;
  }
}

function outcomeOf(tables: readonly TableReport[]): VerifyOutcome {
  const comparisons = tables.flatMap((table) => table.comparisons);
  if (comparisons.some(({ differences, repaired }) => differences > repaired)) return 'different';
  return comparisons.some(({ skipped }) => skipped !== null) ? 'incomplete' : 'equal';
}

function differs(found: TableFound | null, sides: Sides): boolean {
  return found?.found.some((one) => one.sides === sides && one.rows.length + one.counted > 0) === true;
}

function rowsOf(found: TableFound): number {
  return found.found.reduce((sum, { rows, counted }) => sum + rows.length + counted, 0);
}

/** Rows of a keyless table at two moments: what differed at both differs still. */
function twice(before: TableFound | null, now: TableFound | null): TableFound | null {
  if (before === null || now === null) return now ?? before;
  const found = now.found.map((one): SidesFound => {
    const known = new Set(before.found.find(({ sides }) => sides === one.sides)?.rows.map(({ row }) => nameOf(row)));
    const rows = one.rows.map((suspect): Suspect => (known.has(nameOf(suspect.row)) ? { ...suspect, seen: 'still' } : suspect));
    return { ...one, rows: one.isExact ? rows : rows.filter(({ seen }) => seen === 'still') };
  });
  return { ...now, found };
}

/** What tells a row from the others of its table. */
function nameOf({ key, left, right }: Suspect['row']): string {
  return (key.length > 0 ? key : (left ?? right ?? key)).toString('latin1');
}

function reportOf({ schema, found, recopied, repaired, seconds: spent }: TableState): TableReport {
  const comparisons = (found?.found ?? []).map((one) => told(one, repaired));
  return { table: tableName(schema), tableId: schema.tableId, comparisons, recopied, seconds: seconds(spent * 1000) };
}

function seconds(ms: number): number {
  return Math.round(ms) / 1000;
}

/** The tables that the sink mirrors now and that the patterns name, by their newest shape. */
function tablesOf({ log, config }: VerifyParts, patterns: readonly string[]): TableSchema[] {
  const mirrored = log.catalog().tables().flatMap(({ versions, state }) => {
    const schema = versions.at(-1)?.schema;
    return schema === undefined || state.state === 'removed' || !config.tables(schema) ? [] : [schema];
  });
  const parsed = patterns.map(parseTablePattern);
  const unknown = parsed.find((pattern) => !mirrored.some((schema) => pattern.matches(schema)));
  if (unknown !== undefined) {
    throw new TidemarkError('TABLE_UNKNOWN', `sink ${config.name} mirrors no table ${unknown.text}`, { where: { sink: config.name, table: unknown.text } });
  }
  const wanted = parsed.filter(({ leavesOut }) => !leavesOut);
  const unwanted = parsed.filter(({ leavesOut }) => leavesOut);
  return mirrored.filter((schema) => (wanted.length === 0 || wanted.some((pattern) => pattern.matches(schema))) && !unwanted.some((pattern) => pattern.matches(schema)));
}
