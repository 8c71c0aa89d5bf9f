/** Cases about reading a sink back: what its snapshot shows is what the model had at the checkpoint. */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict';
import { BatchBuilder, ChangeBatch } from '../change-batch.ts';
import { describeError } from '../errors/error.ts';
import { Op } from '../op.ts';
import { RecordView } from '../record.ts';
import { buildImage } from '../row-image.ts';
import type { Sink } from '../sink.ts';
import type { SinkSnapshot } from '../verify.ts';
import { sumsAreOfRows } from './row-sums.ts';
import { KIT_COLUMNS, randomRow } from './sink-kit-rows.ts';
import { isError, randomNumbers, type Stand } from './sink-kit-stand.ts';
import { type ModelTable, SinkModel } from './sink-model.ts';

/** Rows by their keys (where there are none by themselves), each with its images and how often it is there. */
type Found = ReadonlyMap<string, number>;

export async function snapshotBeforeAll(stand: Stand): Promise<void> {
  await using empty = await snapshotOf(stand);
  strictEqual(empty.checkpoint, null, 'before anything was written');
}

export async function snapshotShowsRows(stand: Stand): Promise<void> {
  const { seed } = stand.target;
  const next = randomNumbers(seed + 1);
  try {
    await stand.open();
    const tables = ['things', 'Other "things"'].map((name) => stand.standardTable(name));
    for (let round = 0; round < 6; round++) {
      for (let n = 0; n < 120; n++) tables[n % 2]?.random(next, (id) => randomRow(id, next));
      const { to, epoch } = await stand.apply();
      await using snapshot = await snapshotOf(stand);
      const { checkpoint: shown } = snapshot;
      ok(shown !== null, 'the snapshot has no checkpoint');
      deepStrictEqual([shown.logId, shown.epoch, shown.offset], [stand.model.logId, epoch, to]);
      for (const { table } of tables) await sameRows(stand, snapshot, table, `round ${round}`);
    }
  } catch (error) {
    throw new Error(`seed ${seed}: ${describeError(error)}`, { cause: error });
  }
}

/** Where the place has snapshots. */
export async function snapshotStays(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 200; id++) things.insert(id, `row ${id}`);
  const { to } = await stand.apply();
  await using snapshot = await snapshotOf(stand);
  if (!snapshot.isExact) return;
  const before = await expectedRows(stand, snapshot, things.table);
  for (let id = 1; id <= 100; id++) things.update(id, 'changed');
  for (let id = 101; id <= 150; id++) things.remove(id);
  for (let id = 201; id <= 300; id++) things.insert(id, 'came later');
  await stand.apply();
  strictEqual(snapshot.checkpoint?.offset, to);
  deepStrictEqual(await rowsOf(stand, snapshot, things.table), before, 'the snapshot shows what was applied after it');
  await using later = await snapshotOf(stand);
  await sameRows(stand, later, things.table, 'a later snapshot');
}

export async function snapshotFinds(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 60; id++) things.insert(id, `row ${id}`);
  await stand.apply();
  await using snapshot = await snapshotOf(stand);
  const all = keysOf(await snapshot.expected(things.table.schema, logRows(things.table), stand.signal));
  strictEqual(all.length, 60);
  if (snapshot.logKey !== undefined) deepStrictEqual(all.map((key) => snapshot.logKey?.(things.table.schema, key)), keysOf(logRows(things.table)), 'whose the keys are');
  for (let id = 1; id <= 60; id += 2) things.remove(id);
  await stand.apply();
  await using later = await snapshotOf(stand);
  const left = await expectedRows(stand, later, things.table);
  deepStrictEqual(await gathered(later.find(things.table.schema, all, stand.signal)), left, 'those that are there of all keys');
  deepStrictEqual(await gathered(later.find(things.table.schema, [], stand.signal)), new Map(), 'of no keys');
}

/** A loop that is left early leaves the snapshot usable, and the sink. */
export async function snapshotLeftEarly(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 3_000; id++) things.insert(id, 'wide '.repeat(500));
  await stand.apply();
  await using snapshot = await snapshotOf(stand);
  let seen = 0;
  for await (const batch of snapshot.rows(things.table.schema, stand.signal)) {
    seen += batch.count;
    break;
  }
  ok(seen > 0 && seen <= 3_000);
  await sameRows(stand, snapshot, things.table, 'after a loop that was left early');
  things.insert(3_001, 'after it');
  await stand.apply();
}

export async function snapshotAborted(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 3_000; id++) things.insert(id, 'wide '.repeat(500));
  await stand.apply();
  const abort = new AbortController();
  await using snapshot = await snapshotOf(stand);
  await rejects(async () => {
    for await (const batch of snapshot.rows(things.table.schema, abort.signal)) if (batch.count > 0) abort.abort();
  }, isError('ABORTED'));
  await sameRows(stand, snapshot, things.table, 'after an aborted reading');
}

export async function snapshotOfAnotherShape(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  things.insert(1, 'row');
  await stand.apply();
  await using snapshot = await snapshotOf(stand);
  const { schema } = things.table;
  const newer = { ...schema, version: schema.version + 1, columns: schema.columns.filter((column) => column.name !== 'flag') };
  await rejects(gathered(snapshot.rows(newer, stand.signal)), isError('VERIFY_TABLE'));
  await rejects(gathered(snapshot.rows({ ...schema, name: 'absent', tableId: schema.tableId + 1 }, stand.signal)), isError('VERIFY_TABLE'));
  await sameRows(stand, snapshot, things.table, 'after shapes that are not there');
}

export async function snapshotOfAnotherLog(stand: Stand): Promise<void> {
  await stand.open();
  stand.standardTable().insert(1, 'row');
  await stand.apply();
  const start = { ...stand.model.start(), logId: new SinkModel('b').logId };
  await rejects(async () => requireSnapshot(stand.sink)(start, stand.signal), isError('SINK_FOREIGN'));
}

export async function bagSnapshot(stand: Stand): Promise<void> {
  await stand.open();
  const table = stand.model.createTable('kit', 'bag', KIT_COLUMNS, []);
  for (const id of [1, 1, 1, 2, 2, 3]) stand.model.insert(table, [String(id), `row ${id}`, null, null, 't']);
  await stand.apply();
  await using snapshot = await snapshotOf(stand);
  await sameRows(stand, snapshot, table, 'a bag of rows');
}

/** By another hub than the one that applies: nothing is taken over. */
function snapshotOf(stand: Stand): Promise<SinkSnapshot> {
  return requireSnapshot(stand.another())(stand.model.start(), stand.signal);
}

function requireSnapshot(sink: Sink): NonNullable<Sink['snapshot']> {
  return (start, signal) => {
    if (sink.snapshot === undefined) throw new Error('the sink has no snapshots');
    return sink.snapshot(start, signal);
  };
}

async function sameRows(stand: Stand, snapshot: SinkSnapshot, table: ModelTable, when: string): Promise<void> {
  const rows = await rowsOf(stand, snapshot, table);
  // Where nothing is exact a row may come twice.
  const found = snapshot.isExact ? rows : new Map([...rows.keys()].map((row) => [row, 1]));
  deepStrictEqual(found, await expectedRows(stand, snapshot, table), `${when}: ${table.schema.name}`);
  await sumsAreOfRows(snapshot, table.schema, stand.signal);
}

function rowsOf(stand: Stand, snapshot: SinkSnapshot, table: ModelTable): Promise<Found> {
  return gathered(snapshot.rows(table.schema, stand.signal));
}

async function expectedRows(stand: Stand, snapshot: SinkSnapshot, table: ModelTable): Promise<Found> {
  return countedRows([await snapshot.expected(table.schema, logRows(table), stand.signal)]);
}

/** The model's rows as the log would give them. */
function logRows(table: ModelTable): ChangeBatch {
  const builder = new BatchBuilder(1 << 12);
  builder.begin('hub', 0, 0);
  for (const row of table.expected()) builder.record(Op.read, 0, 0, 0, table.keyOf(row), Buffer.alloc(0), buildImage(row));
  const { count, records } = builder.take();
  return new ChangeBatch({ count, records, transactions: [], progress: null });
}

function keysOf({ records }: ChangeBatch): Buffer[] {
  const keys: Buffer[] = [];
  const view = new RecordView();
  for (view.reset(records); view.next(); ) keys.push(Buffer.from(view.key()));
  return keys;
}

async function gathered(batches: AsyncIterable<ChangeBatch>): Promise<Found> {
  const all: ChangeBatch[] = [];
  for await (const batch of batches) all.push(batch);
  return countedRows(all);
}

/** In an order of its own, so that two can be compared. */
function countedRows(batches: readonly ChangeBatch[]): Found {
  const counts = new Map<string, number>();
  const view = new RecordView();
  for (const { records } of batches) {
    for (view.reset(records); view.next(); ) {
      strictEqual(view.op, Op.read);
      ok(!view.hasBefore && view.hasAfter, 'a row has one image, that of after');
      const row = `${view.key().toString('hex')} ${view.after().toString('hex')}`;
      counts.set(row, (counts.get(row) ?? 0) + 1);
    }
  }
  return new Map([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
