/** What the cases of the sink kit stand on: the place, the model, the sink under test. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';
import type { Checkpoint } from '../checkpoint.ts';
import type { ErrorCode } from '../errors/catalogue.ts';
import { describeError, TidemarkError } from '../errors/error.ts';
import type { TableSchema } from '../schema.ts';
import { DEFAULT_LIMITS, type Sink, type SinkBatch } from '../sink.ts';
import { ModelChanges } from './sink-kit-changes.ts';
import { KIT_COLUMNS } from './sink-kit-rows.ts';
import { type ModelRow, SinkModel } from './sink-model.ts';

/** Something that a sink writes to, empty at first. Owned by one case. */
export interface SinkPlace extends AsyncDisposable {
  /** A sink that writes to the place, not opened yet; each call is another hub. The case disposes it. */
  sink(): Sink;
  /** What readers of the place see of a table, as canonical text (bytes as a Buffer); null: there is no such table. */
  rows(table: TableSchema): Promise<ModelRow[] | null>;
  /** Adds a unique constraint on a column at the place; absent: the place has none such. */
  readonly addUnique?: (table: TableSchema, column: string) => Promise<void>;
}

export interface SinkKitTarget {
  place(): Promise<SinkPlace>;
  /** The sink takes tables without a key. */
  readonly keyless: boolean;
  /** Rows that are there follow a change of the table's shape (false: they keep theirs until they change). */
  readonly reshapes: boolean;
  /** Seed of the random cases; they print it when they fail. */
  readonly seed: number;
  /** Batches in each random case. Default 25. */
  readonly batches?: number;
}

export interface KitCase {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** One case: a place, a model and the sink under test, opened. */
export class Stand implements AsyncDisposable {
  readonly target: SinkKitTarget;
  readonly place: SinkPlace;
  readonly model = new SinkModel();
  readonly signal: AbortSignal = new AbortController().signal;
  readonly #sinks: Sink[] = [];
  sink: Sink;

  constructor(target: SinkKitTarget, place: SinkPlace) {
    this.target = target;
    this.place = place;
    this.sink = this.another();
  }

  another(): Sink {
    const sink = this.place.sink();
    this.#sinks.push(sink);
    return sink;
  }

  open(sink: Sink = this.sink): Promise<Checkpoint | null> {
    return sink.open(this.model.start(), this.signal);
  }

  /** Applies what the model has gathered, and waits until it is durable. */
  async apply(sink: Sink = this.sink): Promise<SinkBatch> {
    const batches = this.model.batches(sink.limits ?? DEFAULT_LIMITS);
    for (const batch of batches) await this.applyBatch(batch, sink);
    return batches.at(-1) ?? this.model.batch();
  }

  async applyBatch(batch: SinkBatch, sink: Sink = this.sink): Promise<void> {
    const { accepted, durable } = sink.apply(batch, this.signal);
    await accepted;
    strictEqual(await durable, batch.to);
  }

  /** Every table at the place holds what the model says. */
  async compare(when: string): Promise<void> {
    for (const table of this.model.tables) {
      const found = await this.place.rows(table.schema);
      ok(found !== null, `${when}: ${table.schema.name} is missing`);
      deepStrictEqual(sorted(found), sorted(table.expected()), `${when}: ${table.schema.name}`);
    }
  }

  standardTable(name = 'things'): ModelChanges {
    const table = this.model.createTable('kit', name, KIT_COLUMNS, ['id']);
    return new ModelChanges(this.model, table);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sink of this.#sinks) await sink[Symbol.asyncDispose]();
    await this.place[Symbol.asyncDispose]();
  }
}

export async function onStand(target: SinkKitTarget, run: (stand: Stand) => Promise<void>): Promise<void> {
  await using stand = new Stand(target, await target.place());
  await run(stand);
}


export function takesParts(sink: Sink): boolean {
  return (sink.limits ?? DEFAULT_LIMITS).wholeTransactions;
}

/** The batch is refused, by `code` where one is named. */
export async function refused(stand: Stand, sink: Sink, batch: SinkBatch, code: ErrorCode | null): Promise<void> {
  const { accepted, durable } = sink.apply(batch, stand.signal);
  const [, outcome] = await Promise.allSettled([accepted, durable]);
  ok(outcome.status === 'rejected', 'the batch was not refused');
  if (code !== null) ok(isError(code)(outcome.reason), `refused by ${describeError(outcome.reason)} instead of ${code}`);
}

export function isError(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof TidemarkError && error.code === code;
}

/** In an order of its own, bytes as hexadecimal digits. */
export function sorted(rows: readonly ModelRow[]): string[] {
  return rows.map((row) => JSON.stringify(row.map((cell) => (Buffer.isBuffer(cell) ? { bytes: cell.toString('hex') } : cell)))).toSorted();
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
