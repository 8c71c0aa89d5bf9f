/** Cases about the filling of a sink from a log's base: the checkpoint stands still, its cursor moves. */
import { ok, strictEqual } from 'node:assert/strict';
import { type LoadCursor, sameCursor } from '../load-cursor.ts';
import type { SinkBatch } from '../sink.ts';
import type { ModelChanges } from './sink-kit-changes.ts';
import { failAfterWork } from './sink-faults.ts';
import { refused, type Stand, takesParts } from './sink-kit-stand.ts';

/** The n-th cursor of a load: of other length each time, and not text. */
function cursorAt(n: number): LoadCursor {
  const cursor = Buffer.alloc(24 + 3 * n, 0xe0 + n);
  cursor.fill(0xab, 0, 16);
  cursor.writeBigUInt64BE(BigInt(n), 16);
  return cursor;
}

/** What the model has gathered, at the log's start. */
function standing(stand: Stand, cursor: LoadCursor): SinkBatch {
  return { ...stand.model.batch(), after: 0, to: 0, cursor };
}

async function expectCursor(stand: Stand, expected: LoadCursor | null, at = expected === null ? stand.model.offset : 0): Promise<void> {
  stand.sink = stand.another();
  const checkpoint = await stand.open();
  ok(checkpoint !== null, 'there is a checkpoint');
  strictEqual(checkpoint.offset, at);
  ok(sameCursor(checkpoint.cursor, expected), 'the cursor is the one of the last batch');
}

/** Tables join others that stand somewhere: the base of each, then what its history changes. */
export async function joinKept(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 20; id++) things.insert(id, 'there');
  await stand.apply();
  const at = stand.model.offset;
  const joining = (cursor: LoadCursor | null): SinkBatch => ({ ...stand.model.batch(), after: at, to: at, cursor });
  const others = stand.standardTable('others');
  for (let id = 1; id <= 40; id++) others.insert(id, 'base');
  await stand.applyBatch(joining(cursorAt(1)));
  await expectCursor(stand, cursorAt(1), at);
  for (let id = 41; id <= 50; id++) others.insert(id, 'base');
  stand.model.tableState(others.table, 'loaded');
  await stand.applyBatch(joining(cursorAt(2)));
  await expectCursor(stand, cursorAt(2), at);
  others.update(1, 'changed');
  others.remove(2);
  others.insert(60, 'new');
  const faulty = failAfterWork(stand.sink, () => true);
  await refused(stand, faulty, joining(cursorAt(3)), 'SINK_UNREACHABLE');
  await expectCursor(stand, cursorAt(3), at);
  others.update(60, 'newer');
  others.remove(41);
  await stand.applyBatch(joining(null));
  await expectCursor(stand, null, at);
  await stand.compare('the others have joined');
  things.update(1, 'later');
  others.update(3, 'later');
  await stand.applyBatch({ ...stand.model.batch(), after: at, to: stand.model.offset, cursor: null });
  await stand.compare('gone on from there');
  await expectCursor(stand, null);
}

async function rowsOf(stand: Stand, things: ModelChanges): Promise<number> {
  return (await stand.place.rows(things.table.schema))?.length ?? 0;
}

export async function cursorKept(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 40; id++) things.insert(id, 'first');
  await stand.applyBatch(standing(stand, cursorAt(1)));
  await stand.compare('the first rows');
  await expectCursor(stand, cursorAt(1));
  for (let id = 41; id <= 60; id++) things.insert(id, 'second');
  const others = stand.standardTable('others');
  for (let id = 1; id <= 5; id++) others.insert(id, 'other');
  stand.model.tableState(others.table, 'loaded');
  await stand.applyBatch(standing(stand, cursorAt(2)));
  await expectCursor(stand, cursorAt(2));
  await stand.compare('opened again in the middle');
  const faulty = failAfterWork(stand.sink, () => true);
  for (let id = 61; id <= 70; id++) things.insert(id, 'third');
  await refused(stand, faulty, standing(stand, cursorAt(3)), 'SINK_UNREACHABLE');
  await expectCursor(stand, cursorAt(3));
  stand.model.tableState(things.table, 'loaded');
  await stand.applyBatch({ ...stand.model.batch(), after: 0, to: stand.model.offset, cursor: null });
  await expectCursor(stand, null);
  things.update(1, 'changed');
  things.remove(41);
  others.insert(6, 'new');
  await stand.apply();
  await stand.compare('filled, and gone on from there');
  strictEqual((await stand.open())?.cursor, null);
}

export async function loadSeveral(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  const batches: SinkBatch[] = [];
  for (let n = 0; n < 6; n++) {
    for (let id = 1; id <= 30; id++) things.insert(100 * n + id, `batch ${n}`);
    batches.push(standing(stand, cursorAt(n)));
  }
  const settled: number[] = [];
  const waits: Promise<void>[] = [];
  for (const [index, batch] of batches.entries()) {
    const { accepted, durable } = stand.sink.apply(batch, stand.signal);
    waits.push(durable.then((offset) => {
      strictEqual(offset, 0);
      settled.push(index);
    }));
    await accepted;
  }
  await Promise.all(waits);
  strictEqual(settled.join(), '0,1,2,3,4,5');
  await stand.compare('six batches');
  await expectCursor(stand, cursorAt(5));
  stand.model.tableState(things.table, 'loaded');
  await stand.applyBatch(standing(stand, cursorAt(6)));
  things.update(101, 'changed');
  await stand.applyBatch({ ...stand.model.batch(), after: 0, to: stand.model.offset, cursor: null });
  await stand.compare('a change after the load');
}

export async function loadCutOff(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 10; id++) things.insert(id, 'before');
  await stand.applyBatch(standing(stand, cursorAt(1)));
  for (let id = 11; id <= 400; id++) things.insert(id, 'x'.repeat(50));
  const batch = standing(stand, cursorAt(2));
  const { accepted, durable } = stand.sink.apply(batch, stand.signal);
  const settled = Promise.allSettled([accepted, durable]);
  await stand.sink[Symbol.asyncDispose]();
  await settled;
  stand.sink = stand.another();
  const cursor = (await stand.open())?.cursor ?? null;
  const isDone = sameCursor(cursor, cursorAt(2));
  ok(isDone || sameCursor(cursor, cursorAt(1)), 'the cursor is of one of the two batches');
  const rows = await rowsOf(stand, things);
  if (isDone) strictEqual(rows, 400);
  else if (takesParts(stand.sink)) strictEqual(rows, 10);
  if (!isDone) await stand.applyBatch(batch);
  stand.model.tableState(things.table, 'loaded');
  await stand.applyBatch(standing(stand, cursorAt(3)));
  things.remove(11);
  await stand.applyBatch({ ...stand.model.batch(), after: 0, to: stand.model.offset, cursor: null });
  await stand.compare('in the end');
}
