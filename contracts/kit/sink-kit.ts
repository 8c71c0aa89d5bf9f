/**
 * What every sink that holds state must do, as cases that any test runner can run. Each case gets an empty place of its
 * own and fails by throwing.
 *
 *     for (const { name, run } of sinkKit(target)) test(name, run);
 */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict';
import type { Checkpoint } from '../checkpoint.ts';
import { describeError, TidemarkError } from '../errors/error.ts';
import type { ErrorCode } from '../errors/catalogue.ts';
import type { TableSchema } from '../schema.ts';
import { DEFAULT_LIMITS, type Sink, type SinkBatch } from '../sink.ts';
import { failAfterWork, holdWork } from './sink-faults.ts';
import { ModelChanges } from './sink-kit-changes.ts';
import { type ModelRow, SinkModel } from './sink-model.ts';
import { KIT_COLUMNS, randomRow } from './sink-kit-rows.ts';

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

/** The cases for a target. */
export function sinkKit(target: SinkKitTarget): KitCase[] {
  const cases: [string, (stand: Stand) => Promise<void>][] = [
    ['an empty place has no checkpoint, and check finds no error', emptyPlace],
    ['rows are inserted, changed and deleted; the checkpoint says where', plainChanges],
    ['an empty batch moves the checkpoint', emptyBatch],
    ['several batches are taken before the first is durable, and become durable in order', severalInFlight],
    ['a batch that does not follow the checkpoint is refused and changes nothing', gapRefused],
    ['a batch that was applied already is refused or changes nothing', replayRefused],
    ['a second owner fences the first', secondOwner],
    ['the checkpoint of another log is refused', foreignLog],
    ['failed after the work was done: the checkpoint says so at the next opening', failedAfterWork],
    ['closed while a batch is under way: all of it or nothing', closedInFlight],
    ['a batch is not begun once its signal has aborted', abortedBefore],
    ['a table is emptied', truncated],
    ['keys are swapped, and go round in a ring', swappedKeys],
    ['columns are added with a fill, renamed and dropped', alteredColumns],
    ['a new generation of a table replaces the old one', newGeneration],
    ['a table is copied over rows that are there already', copied],
    ['random changes in random batches', randomChanges],
  ];
  if (target.keyless) cases.push(['a table without a key is a bag of rows', bag]);
  return [...cases.map(([name, run]): KitCase => ({ name, run: () => onStand(target, run) })), ...conditionalCases(target)];
}

/** Cases that need what only some places and sinks have; they look first and say nothing where it is not there. */
function conditionalCases(target: SinkKitTarget): KitCase[] {
  return [
    {
      name: 'unique values are swapped (where the place has unique constraints)',
      run: () => onStand(target, async (stand) => (stand.place.addUnique === undefined ? undefined : swappedUnique(stand))),
    },
    {
      name: 'parts of one transaction become visible together (where the sink takes whole transactions)',
      run: () => onStand(target, async (stand) => (takesParts(stand.sink) ? parts(stand) : undefined)),
    },
  ];
}

/** One case: a place, a model and the sink under test, opened. */
class Stand implements AsyncDisposable {
  readonly target: SinkKitTarget;
  readonly place: SinkPlace;
  readonly model = new SinkModel();
  readonly signal = new AbortController().signal;
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
    const batch = this.model.batch();
    await this.applyBatch(batch, sink);
    return batch;
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

async function onStand(target: SinkKitTarget, run: (stand: Stand) => Promise<void>): Promise<void> {
  await using stand = new Stand(target, await target.place());
  await run(stand);
}

async function emptyPlace(stand: Stand): Promise<void> {
  const findings = await stand.sink.check([], stand.signal);
  deepStrictEqual(findings.filter((finding) => finding.severity === 'error'), []);
  strictEqual(await stand.open(), null);
}

async function plainChanges(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 60; id++) things.insert(id, `name ${id}`);
  await stand.apply();
  await stand.compare('after inserts');
  for (let id = 1; id <= 20; id++) things.update(id, `other ${id}`);
  for (let id = 21; id <= 40; id++) things.remove(id);
  things.insert(61, 'late');
  const batch = await stand.apply();
  await stand.compare('after changes');
  const checkpoint = await stand.open(stand.another());
  ok(checkpoint !== null);
  const { logId, epoch, offset } = checkpoint;
  deepStrictEqual({ logId, epoch, offset }, { logId: stand.model.logId, epoch: batch.epoch, offset: batch.to });
  deepStrictEqual(Buffer.from(checkpoint.position), Buffer.from(batch.position));
}

async function emptyBatch(stand: Stand): Promise<void> {
  await stand.open();
  stand.model.skip(7);
  const batch = await stand.apply();
  strictEqual((await stand.open())?.offset, batch.to);
}

async function severalInFlight(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  const told: number[] = [];
  const waits: Promise<void>[] = [];
  const due: number[] = [];
  for (let round = 0; round < 12; round++) {
    for (let id = 1; id <= 10; id++) things.put(id, `round ${round}`);
    const batch = stand.model.batch();
    const { accepted, durable } = stand.sink.apply(batch, stand.signal);
    waits.push(durable.then((offset) => void told.push(offset)));
    due.push(batch.to);
    await accepted;
  }
  await Promise.all(waits);
  deepStrictEqual(told, due);
  await stand.compare('at the end');
}

async function gapRefused(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  things.insert(1, 'one');
  await stand.apply();
  const expected = sorted(things.table.expected());
  things.insert(2, 'two');
  const skipped = stand.model.batch();
  things.insert(3, 'three');
  await refused(stand, stand.sink, stand.model.batch(), null);
  deepStrictEqual(sorted((await stand.place.rows(things.table.schema)) ?? []), expected);
  strictEqual((await stand.open())?.offset, skipped.after);
}

async function replayRefused(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  things.insert(1, 'one');
  await stand.apply();
  things.update(1, 'two');
  const batch = await stand.apply();
  things.update(1, 'three');
  const last = await stand.apply();
  await stand.open();
  const { accepted, durable } = stand.sink.apply(batch, stand.signal);
  await Promise.allSettled([accepted, durable]);
  await stand.compare('after the repetition');
  strictEqual((await stand.open())?.offset, last.to);
}

async function secondOwner(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  things.insert(1, 'one');
  await stand.apply();
  const other = stand.another();
  const taken = await stand.open(other);
  strictEqual(taken?.offset, stand.model.offset);
  things.insert(2, 'two');
  const batch = stand.model.batch();
  await refused(stand, stand.sink, batch, 'SINK_FENCED');
  strictEqual((await stand.place.rows(things.table.schema))?.length, 1);
  await stand.applyBatch(batch, other);
  await stand.compare('written by the second owner');
}

async function foreignLog(stand: Stand): Promise<void> {
  await stand.open();
  stand.model.skip(1);
  await stand.apply();
  const foreign = new SinkModel('b');
  await rejects(stand.another().open(foreign.start(), stand.signal), isError('SINK_FOREIGN'));
  strictEqual((await stand.open())?.offset, 1);
}

async function failedAfterWork(stand: Stand): Promise<void> {
  const faulty = failAfterWork(stand.sink, (batch) => batch.to > 2);
  await stand.open(faulty);
  const things = stand.standardTable();
  things.insert(1, 'one');
  await stand.apply(faulty);
  things.update(1, 'two');
  const batch = stand.model.batch();
  await refused(stand, faulty, batch, 'SINK_UNREACHABLE');
  strictEqual((await stand.open())?.offset, batch.to, 'the work had been done');
  things.insert(2, 'next');
  await stand.apply();
  await stand.compare('after the failure');
}

async function closedInFlight(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  await stand.apply();
  const before = stand.model.offset;
  for (let id = 1; id <= 400; id++) things.insert(id, 'x'.repeat(50));
  const batch = stand.model.batch();
  const { accepted, durable } = stand.sink.apply(batch, stand.signal);
  const settled = Promise.allSettled([accepted, durable]);
  await stand.sink[Symbol.asyncDispose]();
  await settled;
  const next = stand.another();
  const offset = (await stand.open(next))?.offset ?? 0;
  const rows = await stand.place.rows(things.table.schema);
  if (takesParts(next)) {
    ok(offset === before || offset === batch.to, `the checkpoint is at ${offset}`);
    strictEqual(rows?.length, offset === before ? 0 : 400);
  }
  if (offset === before) await stand.applyBatch(batch, next);
  if (offset === before || offset === batch.to) await stand.compare('in the end');
}

async function abortedBefore(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  await stand.apply();
  things.insert(1, 'one');
  const { accepted, durable } = stand.sink.apply(stand.model.batch(), AbortSignal.abort());
  const outcomes = await Promise.allSettled([accepted, durable]);
  strictEqual(outcomes[1].status, 'rejected');
  deepStrictEqual(await stand.place.rows(things.table.schema), []);
}

async function truncated(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 30; id++) things.insert(id, 'before');
  await stand.apply();
  stand.model.truncate(things.table);
  await stand.apply();
  await stand.compare('emptied');
  for (let id = 10; id <= 20; id++) things.insert(id, 'between');
  await stand.apply();
  stand.model.truncate(things.table);
  for (let id = 15; id <= 25; id++) things.insert(id, 'after');
  await stand.apply();
  await stand.compare('emptied and filled in one batch');
}

async function swappedKeys(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 9; id++) things.insert(id, `row ${id}`);
  await stand.apply();
  things.rekey([[1, 2], [2, 1]]);
  await stand.apply();
  await stand.compare('two keys swapped');
  things.rekey([1, 2, 3, 4, 5, 6, 7, 8, 9].map((id) => [id, (id % 9) + 1]));
  await stand.apply();
  await stand.compare('nine keys moved on by one');
  things.rekey([[9, 100]]);
  things.insert(9, 'taken again');
  await stand.apply();
  await stand.compare('a key moved, and given again');
}

async function swappedUnique(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 6; id++) things.insert(id, `code ${id}`);
  await stand.apply();
  await stand.place.addUnique?.(things.table.schema, 'name');
  await stand.open();
  things.update(1, 'aside');
  things.update(2, 'code 1');
  things.update(1, 'code 2');
  await stand.apply();
  await stand.compare('two unique values swapped');
  things.remove(3);
  things.insert(7, 'code 3');
  things.update(4, 'x');
  things.insert(8, 'code 4');
  await stand.apply();
  await stand.compare('unique values handed on');
}

async function alteredColumns(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 5; id++) things.insert(id, `row ${id}`);
  await stand.apply();
  const { columns } = things.table.schema;
  const added = { ...columns[1]!, number: 20, name: 'added', fill: 'filled' };
  stand.model.alterTable(things.table, { columns: [...columns, added] });
  things.updateRow(1, (row) => row.with(row.length - 1, 'own'));
  await stand.apply();
  if (stand.target.reshapes) await stand.compare('a column added');
  const renamed = things.table.schema.columns.map((column) => (column.number === 2 ? { ...column, name: 'renamed' } : column));
  stand.model.alterTable(things.table, { columns: renamed.filter((column) => column.number !== 3) });
  things.updateRow(2, (row) => row.with(1, 'changed'));
  await stand.apply();
  if (stand.target.reshapes) await stand.compare('a column renamed, another dropped');
}

async function newGeneration(stand: Stand): Promise<void> {
  await stand.open();
  const old = stand.standardTable();
  for (let id = 1; id <= 5; id++) old.insert(id, 'old');
  await stand.apply();
  stand.model.truncate(old.table);
  stand.model.tableState(old.table, 'removed');
  stand.model.forget(old.table);
  const things = stand.standardTable();
  for (let id = 3; id <= 8; id++) things.insert(id, 'new');
  await stand.apply();
  await stand.compare('the new generation');
}

async function copied(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  stand.model.tableState(things.table, 'copying');
  for (let id = 1; id <= 40; id++) things.insert(id, 'streamed before its chunk came');
  await stand.apply();
  for (let id = 1; id <= 80; id++) things.put(id, 'copied');
  await stand.apply();
  await stand.compare('while it is copied');
  for (let id = 70; id <= 120; id++) things.put(id, 'copied again');
  stand.model.tableState(things.table, 'copied');
  things.remove(5);
  await stand.apply();
  await stand.compare('when it is copied');
}

async function bag(stand: Stand): Promise<void> {
  await stand.open();
  const table = stand.model.createTable('kit', 'bag', KIT_COLUMNS, []);
  const row = (id: number): ModelRow => [String(id), `row ${id}`, null, null, 't'];
  for (const id of [1, 1, 1, 2, 2, 3]) stand.model.insert(table, row(id));
  await stand.apply();
  await stand.compare('filled');
  for (const id of [1, 1, 3]) stand.model.delete(table, row(id));
  stand.model.insert(table, row(2));
  await stand.apply();
  await stand.compare('one of each deleted goes');
}

async function parts(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  await stand.apply();
  const before = stand.model.offset;
  const waits: Promise<number>[] = [];
  for (let part = 0; part < 3; part++) {
    for (let id = 1; id <= 30; id++) things.put(part * 20 + id, `part ${part}`);
    const { accepted, durable } = stand.sink.apply(stand.model.batch(true), stand.signal);
    waits.push(durable);
    await accepted;
  }
  deepStrictEqual(await stand.place.rows(things.table.schema), [], 'nothing is visible before the end');
  things.put(1, 'the end');
  const last = await stand.apply();
  deepStrictEqual(await Promise.all(waits), waits.map(() => last.to));
  await stand.compare('the whole transaction');
  await cutBetweenParts(stand, things, before);
}

/** The hub goes away between two parts: nothing of the transaction stays. */
async function cutBetweenParts(stand: Stand, things: ModelChanges, before: number): Promise<void> {
  ok(stand.model.offset > before);
  const expected = sorted(things.table.expected());
  const offset = stand.model.offset;
  things.put(1, 'never ends');
  const { accepted, durable } = stand.sink.apply(stand.model.batch(true), stand.signal);
  const settled = Promise.allSettled([accepted, durable]);
  await accepted;
  await stand.sink[Symbol.asyncDispose]();
  await settled;
  strictEqual((await stand.open(stand.another()))?.offset, offset);
  deepStrictEqual(sorted((await stand.place.rows(things.table.schema)) ?? []), expected);
}

async function randomChanges(stand: Stand): Promise<void> {
  const { seed } = stand.target;
  const next = randomNumbers(seed);
  try {
    await stand.open();
    const tables = ['things', 'Other "things"', 'ünïcode'].map((name) => stand.standardTable(name));
    const held = holdWork(stand.sink);
    for (let round = 0; round < (stand.target.batches ?? 25); round++) {
      const changes = Math.floor(next() * (next() < 0.2 ? 300 : 30));
      for (let n = 0; n < changes; n++) {
        const things = tables[Math.floor(next() * tables.length)];
        things?.random(next, (id) => randomRow(id, next));
      }
      if (next() < 0.1) stand.model.skip(5);
      if (next() < 0.1) {
        await stand.open();
      }
      await stand.apply(held);
      if (round % 5 === 4) await stand.compare(`after batch ${round}`);
    }
    await stand.compare('at the end');
  } catch (error) {
    throw new Error(`seed ${seed}: ${describeError(error)}`, { cause: error });
  }
}

function takesParts(sink: Sink): boolean {
  return (sink.limits ?? DEFAULT_LIMITS).wholeTransactions;
}

/** The batch is refused, by `code` where one is named. */
async function refused(stand: Stand, sink: Sink, batch: SinkBatch, code: ErrorCode | null): Promise<void> {
  const { accepted, durable } = sink.apply(batch, stand.signal);
  const [, outcome] = await Promise.allSettled([accepted, durable]);
  ok(outcome.status === 'rejected', 'the batch was not refused');
  if (code !== null) ok(isError(code)(outcome.reason), `refused by ${describeError(outcome.reason)} instead of ${code}`);
}

function isError(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof TidemarkError && error.code === code;
}

/** In an order of its own, bytes as hexadecimal digits. */
function sorted(rows: readonly ModelRow[]): string[] {
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
