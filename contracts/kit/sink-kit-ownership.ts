/** Cases about the checkpoint and who owns it, failures, and what becomes durable when. */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict';
import type { SinkBatch } from '../sink.ts';
import { failAfterWork } from './sink-faults.ts';
import { ModelChanges } from './sink-kit-changes.ts';
import { isError, refused, sorted, type Stand, takesParts } from './sink-kit-stand.ts';
import { SinkModel } from './sink-model.ts';

export async function emptyPlace(stand: Stand): Promise<void> {
  const findings = await stand.sink.check([], stand.signal);
  deepStrictEqual(findings.filter((finding) => finding.severity === 'error'), []);
  strictEqual(await stand.open(), null);
}

export async function plainChanges(stand: Stand): Promise<void> {
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

export async function emptyBatch(stand: Stand): Promise<void> {
  await stand.open();
  stand.model.skip(7);
  const batch = await stand.apply();
  strictEqual((await stand.open())?.offset, batch.to);
}

export async function severalInFlight(stand: Stand): Promise<void> {
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

export async function gapRefused(stand: Stand): Promise<void> {
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

export async function replayRefused(stand: Stand): Promise<void> {
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

export async function secondOwner(stand: Stand): Promise<void> {
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

export async function foreignLog(stand: Stand): Promise<void> {
  await stand.open();
  stand.model.skip(1);
  await stand.apply();
  const foreign = new SinkModel('b');
  await rejects(stand.another().open(foreign.start(), stand.signal), isError('SINK_FOREIGN'));
  strictEqual((await stand.open())?.offset, 1);
}

export async function failedAfterWork(stand: Stand): Promise<void> {
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

export async function closedInFlight(stand: Stand): Promise<void> {
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

export async function abortedBefore(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  await stand.apply();
  things.insert(1, 'one');
  const { accepted, durable } = stand.sink.apply(stand.model.batch(), AbortSignal.abort());
  const outcomes = await Promise.allSettled([accepted, durable]);
  strictEqual(outcomes[1].status, 'rejected');
  deepStrictEqual(await stand.place.rows(things.table.schema), []);
}

export async function parts(stand: Stand): Promise<void> {
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
  await endWithoutRecords(stand, things);
  await cutBetweenParts(stand, things, before);
}

/** The rest of a transaction does not come: its parts are given up when the signal aborts, and when the sink is closed. */
export async function partsGivenUp(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  await stand.apply();
  const { offset } = stand.model;
  const end = new AbortController();
  const { waits, model } = await openParts(stand, end.signal);
  end.abort(new Error('the rest does not come'));
  for (const each of await Promise.allSettled(waits)) strictEqual(each.status, 'rejected');
  strictEqual((await stand.open())?.offset, offset);
  const again = model.map((batch) => stand.sink.apply(batch, stand.signal));
  for (const { accepted } of again) await accepted;
  const settled = Promise.allSettled(again.map(({ durable }) => durable));
  await stand.sink[Symbol.asyncDispose]();
  for (const each of await settled) strictEqual(each.status, 'rejected');
  strictEqual((await stand.open(stand.another()))?.offset, offset);
  deepStrictEqual(await stand.place.rows(things.table.schema), []);
}

/** Two parts of a transaction, the first of which has been applied. */
async function openParts(stand: Stand, signal: AbortSignal): Promise<{ waits: Promise<number>[]; model: SinkBatch[] }> {
  const [table] = stand.model.tables;
  ok(table !== undefined);
  const waits: Promise<number>[] = [];
  const model: SinkBatch[] = [];
  for (let part = 0; part < 2; part++) {
    new ModelChanges(stand.model, table).put(part, 'never ends');
    const batch = stand.model.batch(true);
    const { accepted, durable } = stand.sink.apply(batch, signal);
    model.push(batch);
    waits.push(durable);
    await accepted;
  }
  return { waits, model };
}

/** The last part held the transaction's last record: what ends it holds nothing and stands at the same offset. */
async function endWithoutRecords(stand: Stand, things: ModelChanges): Promise<void> {
  things.put(2, 'all of it');
  const part = stand.model.batch(true);
  const first = stand.sink.apply(part, stand.signal);
  await first.accepted;
  const end = stand.sink.apply({ ...part, after: part.to, endsOpen: false, steps: [], records: 0, bytes: 0 }, stand.signal);
  deepStrictEqual(await Promise.all([first.durable, end.durable]), [part.to, part.to]);
  await stand.compare('a transaction whose end holds no record');
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

/** What is not committed is given up without an opening, and the sink goes on from its checkpoint, as long as nobody else has it. */
export async function rewound(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 10; id++) things.insert(id, `name ${id}`);
  await stand.apply();
  await stand.open();
  const rewind = (): Promise<boolean> => stand.sink.rewind?.(stand.model.start(), stand.signal) ?? Promise.resolve(false);
  ok(await rewind(), 'nothing was under way');
  const expected = sorted(things.table.expected());
  const rows = async (): Promise<string[]> => sorted((await stand.place.rows(things.table.schema)) ?? []);
  for (let id = 5; id <= 15; id++) things.put(id, 'changed');
  things.remove(1);
  const batch = stand.model.batch();
  for (let round = 0; round < 3; round++) {
    const parts = [{ ...batch, endsOpen: true }, { ...batch, after: batch.to, endsOpen: true, steps: [], records: 0 }].map((part) => stand.sink.apply(part, stand.signal));
    for (const { accepted } of parts) await accepted;
    ok(await rewind(), 'parts whose end does not come');
    for (const each of await Promise.allSettled(parts.map(({ durable }) => durable))) strictEqual(each.status, 'rejected');
    deepStrictEqual(await rows(), expected);
    await refused(stand, stand.sink, { ...batch, after: batch.to, to: batch.to + 1 }, null);
    ok(await rewind(), 'a batch that was refused');
    deepStrictEqual(await rows(), expected);
  }
  await stand.applyBatch(batch);
  await stand.compare('what was given up comes again');
  ok(await rewind(), 'what is committed stays');
  things.insert(20, 'next');
  await stand.apply();
  await stand.compare('it goes on');
  await stand.open(stand.another());
  strictEqual(await rewind(), false, 'somebody else has opened it');
  strictEqual(await stand.sink.rewind?.(stand.model.start(), AbortSignal.abort()).catch((error: unknown) => isError('ABORTED')(error)), true);
}
