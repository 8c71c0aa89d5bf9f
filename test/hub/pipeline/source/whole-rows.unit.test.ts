import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import { encodeControl } from '../../../../contracts/control.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { buildImage, PLACEHOLDER, readImage } from '../../../../contracts/row-image.ts';
import { encodeSchema, type TableSchema } from '../../../../contracts/schema.ts';
import { IndexStore } from '../../../../hub/pipeline/source/whole-rows/index-store.ts';
import { rowId } from '../../../../hub/pipeline/source/whole-rows/row-id.ts';
import { keyOf, MODEL_SCHEMA } from './copy-model.ts';
import { positionOf } from './numbered-positions.ts';
import { Rig } from './whole-rows-rig.ts';

const NONE = Buffer.alloc(0);
const BIG = 'large '.repeat(600);

function whole(builder: BatchBuilder, key: number, note: string, big: string, version = 1): void {
  builder.record(Op.create, Flag.wide, 1, version, keyOf(key), NONE, buildImage([String(key), note, big]));
}

function partial(builder: BatchBuilder, key: number, note: string): void {
  builder.record(Op.update, Flag.incomplete | Flag.wide, 1, 1, keyOf(key), NONE, buildImage([String(key), note, PLACEHOLDER]));
}

function move(builder: BatchBuilder, from: number, to: number, note: string): void {
  builder.record(Op.delete, Flag.keyChange, 1, 1, keyOf(from), NONE, NONE);
  builder.record(Op.create, Flag.keyChange | Flag.incomplete | Flag.wide, 1, 1, keyOf(to), NONE, buildImage([String(to), note, PLACEHOLDER]));
}

function last(batch: ChangeBatch): { flags: number; cells: unknown[] } {
  const view = new RecordView();
  let found: { flags: number; cells: unknown[] } = { flags: 0, cells: [] };
  for (view.reset(batch.records); view.next(); ) if (isRowOp(view.op)) found = { flags: view.flags, cells: view.hasAfter ? readImage(view.after()) : [] };
  return found;
}

/** A line for each record: its transaction, op, and what keeps it from being applied. */
function shapeOf(batch: ChangeBatch): string[] {
  const view = new RecordView().reset(batch.records);
  const lines: string[] = [];
  for (const { kind, xid, first, count } of batch.transactions) {
    for (let index = first; index < first + count && view.next(); index++) {
      expect(view.index).toBe(index);
      const flags = [(view.flags & Flag.notApplied) !== 0 ? ' not-applied' : '', (view.flags & Flag.incomplete) !== 0 ? ' incomplete' : ''];
      lines.push(`${kind} ${xid}: ${String.fromCharCode(view.op)}${flags.join('')}`);
    }
  }
  expect(view.next()).toBe(false);
  return lines;
}

const COMPLETE = (key: number, note: string, big = BIG) => ({ flags: expect.any(Number) as number, cells: [String(key), note, big] });

describe('whole rows', () => {
  it('leave a batch without large values as it is', async () => {
    await using rig = await Rig.start();
    const builder = new BatchBuilder(1 << 14);
    builder.begin('source', 1, 0);
    builder.record(Op.create, 0, 1, 1, keyOf(1), NONE, buildImage(['1', 'a', 'b']));
    builder.commit(positionOf(9));
    const batch = builder.take();
    expect(await rig.rows.complete(batch, rig.catalog)).toBe(batch);
  });

  it('are completed from the same batch, the batch before, and the log', async () => {
    await using rig = await Rig.start();
    const both = await rig.append((builder) => {
      whole(builder, 1, 'a', BIG);
      partial(builder, 1, 'b');
    });
    expect(last(both)).toEqual(COMPLETE(1, 'b'));
    const next = await rig.append((builder) => partial(builder, 1, 'c'));
    expect(last(next)).toEqual(COMPLETE(1, 'c'));
    expect(last(next).flags & (Flag.incomplete | Flag.notApplied)).toBe(0);
    await rig.flush();
    await rig.close();
    await rig.open();
    expect(last(await rig.append((builder) => partial(builder, 1, 'd')))).toEqual(COMPLETE(1, 'd'));
  });

  it('are completed across a change of key, also when a batch ends between its halves', async () => {
    await using rig = await Rig.start();
    await rig.append((builder) => whole(builder, 1, 'a', BIG));
    expect(last(await rig.append((builder) => move(builder, 1, 2, 'b')))).toEqual(COMPLETE(2, 'b'));
    const builder = new BatchBuilder(1 << 14);
    builder.begin('source', 1, 0);
    builder.record(Op.delete, Flag.keyChange, 1, 1, keyOf(2), NONE, NONE);
    await rig.write(builder.take());
    builder.record(Op.create, Flag.keyChange | Flag.incomplete | Flag.wide, 1, 1, keyOf(3), NONE, buildImage(['3', 'c', PLACEHOLDER]));
    builder.commit(positionOf(50));
    expect(last(await rig.write(builder.take()))).toEqual(COMPLETE(3, 'c'));
  });

  it('are completed across a change of key whose row is the first large one of all, in the same batch', async () => {
    for (const before of [0, 1]) {
      await using rig = await Rig.start();
      const builder = new BatchBuilder(1 << 14);
      builder.begin('source', 1, 0);
      whole(builder, 1, 'a', BIG);
      // An incomplete record before: the batch is walked for its sake.
      for (let n = 0; n < before; n++) partial(builder, 1, 'b');
      builder.record(Op.delete, Flag.keyChange, 1, 1, keyOf(1), NONE, NONE);
      await rig.write(builder.take());
      builder.record(Op.create, Flag.keyChange | Flag.incomplete | Flag.wide, 1, 1, keyOf(2), NONE, buildImage(['2', 'c', PLACEHOLDER]));
      builder.commit(positionOf(50));
      expect(last(await rig.write(builder.take()))).toEqual(COMPLETE(2, 'c'));
      expect(rig.catalog.table(1)?.state.state).toBe('consistent');
    }
  });

  it('that nothing is known of stop their table, in their own transaction and before the row', async () => {
    await using rig = await Rig.start();
    await rig.append((builder) => whole(builder, 1, 'a', BIG));
    await rig.flush();
    const before = rig.log.state().highWatermark;
    const builder = new BatchBuilder(1 << 14);
    for (const xid of [1, 2, 3]) {
      builder.begin('source', xid, 0);
      partial(builder, 1, `x${xid}`);
      if (xid === 2) {
        partial(builder, 7, 'a');
        partial(builder, 8, 'a');
      }
      builder.commit(positionOf(10 + xid));
    }
    const batch = await rig.write(builder.take());
    expect(shapeOf(batch)).toEqual([
      'source 1: u', 'source 2: u', 'source 2: h', 'source 2: u not-applied incomplete', 'source 2: u not-applied incomplete', 'source 3: u',
    ]);
    expect(batch.count).toBe(6);
    const table = rig.catalog.table(1);
    expect(table?.state).toMatchObject({ state: 'stopped', code: 'WHOLE_ROW_MISSING', at: before + 3, consistentUntil: before + 1, recopy: true });
    expect(table?.consistent.at(-1)).toEqual({ from: expect.any(Number) as number, to: before + 1 });
    // What follows is completed where it can be; nothing stops twice.
    expect(shapeOf(await rig.append((next) => partial(next, 9, 'b')))).toEqual(['source 1: u not-applied incomplete']);
    expect(last(await rig.append((next) => partial(next, 1, 'b')))).toEqual(COMPLETE(1, 'b'));
    await rig.flush();
    expect(rig.log.catalog().table(1)?.state.state).toBe('stopped');
  });

  it('stop a table as of the end of the transaction before, when theirs began in an earlier batch', async () => {
    await using rig = await Rig.start();
    await rig.append((builder) => whole(builder, 1, 'a', BIG));
    await rig.flush();
    const before = rig.log.state().highWatermark;
    const builder = new BatchBuilder(1 << 14);
    builder.begin('source', 1, 0);
    whole(builder, 2, 'a', BIG);
    await rig.write(builder.take());
    partial(builder, 7, 'a');
    builder.commit(positionOf(50));
    await rig.write(builder.take());
    expect(rig.catalog.table(1)?.state).toMatchObject({ state: 'stopped', at: before + 2, consistentUntil: before });
  });

  it('leave the word to the source when it stops the table itself in the same batch', async () => {
    await using rig = await Rig.start();
    const batch = await rig.append((builder) => {
      const control = { type: 'stopped', code: 'POSTGRES_TABLE_REWRITTEN', why: 'rewritten', consistentUntil: 1, recopy: true } as const;
      builder.record(Op.control, 0, 1, 0, NONE, NONE, encodeControl(control));
      partial(builder, 7, 'a');
    });
    expect(shapeOf(batch)).toEqual(['source 1: h', 'source 1: u not-applied incomplete']);
    expect(rig.catalog.table(1)?.state).toMatchObject({ code: 'POSTGRES_TABLE_REWRITTEN', recopy: true });
  });

  it('whose earlier image does not belong to them stop their table, not the source', async () => {
    await using rig = await Rig.start();
    await rig.append((builder) => whole(builder, 1, 'a', BIG));
    await rig.append((builder) => builder.record(Op.update, Flag.incomplete | Flag.wide, 1, 1, keyOf(1), NONE, buildImage(['1', PLACEHOLDER])));
    expect(rig.catalog.table(1)?.state).toMatchObject({ state: 'stopped', code: 'RECORD_CORRUPT' });
  });

  it('are found again where the index names another row: it is made anew', async () => {
    await using rig = await Rig.start();
    await rig.append((builder) => whole(builder, 1, 'a', BIG));
    await rig.append((builder) => whole(builder, 2, 'b', `${BIG}2`));
    await rig.flush();
    await rig.close();
    const store = await IndexStore.open(join(rig.directory.path, 'index'));
    const [entry] = (await store.getMany('e', [rowId(1, keyOf(2))])) as [Buffer];
    store.put('e', rowId(1, keyOf(1)), entry);
    await store.write();
    await store[Symbol.asyncDispose]();
    await rig.open();
    const builder = new BatchBuilder(1 << 14);
    builder.begin('source', 1, 0);
    partial(builder, 2, 'c');
    partial(builder, 1, 'd');
    builder.commit(positionOf(50));
    expect(last(await rig.write(builder.take()))).toEqual(COMPLETE(1, 'd'));
    expect(last(await rig.append((next) => partial(next, 2, 'e')))).toEqual(COMPLETE(2, 'e', `${BIG}2`));
    expect(rig.catalog.table(1)?.state.state).toBe('consistent');
  });

  it.each(['delete', 'truncate', 'copying'] as const)('are not completed from before a %s', async (what) => {
    await using rig = await Rig.start();
    await rig.append((builder) => whole(builder, 1, 'a', BIG));
    await rig.flush();
    if (what === 'delete') await rig.append((builder) => builder.record(Op.delete, 0, 1, 1, keyOf(1), NONE, NONE));
    if (what === 'truncate') await rig.append((builder) => builder.record(Op.truncate, 0, 1, 1, NONE, NONE, NONE));
    if (what === 'copying') await rig.control({ type: 'copying', reason: 'recopy', copyState: '' });
    const again = rig.append((builder) => partial(builder, 1, 'b'));
    expect(last(await again).flags & (Flag.incomplete | Flag.notApplied)).toBe(Flag.incomplete | Flag.notApplied);
    expect(rig.catalog.table(1)?.state.state).toBe(what === 'copying' ? 'copying' : 'stopped');
  });

  it('that nothing is known of are held back while the table is copied, until they are read again', async () => {
    await using rig = await Rig.start(MODEL_SCHEMA, 'copying');
    const held = last(await rig.append((builder) => partial(builder, 1, 'a')));
    expect(held.flags & (Flag.incomplete | Flag.notApplied)).toBe(Flag.incomplete | Flag.notApplied);
    await rig.append((builder) => partial(builder, 2, 'a'));
    await rig.flush();
    expect(await rig.rows.repairKeys(1, 10)).toEqual([keyOf(1), keyOf(2)]);
    expect(await rig.rows.repairKeys(1, 1)).toEqual([keyOf(1)]);
    // One comes again as a large row, the other as a narrow one.
    await rig.append((builder) => builder.record(Op.read, Flag.wide, 1, 1, keyOf(1), NONE, buildImage(['1', 'a', BIG])), 'hub');
    await rig.append((builder) => builder.record(Op.read, 0, 1, 1, keyOf(2), NONE, buildImage(['2', 'a', null])), 'hub');
    await rig.flush();
    expect(await rig.rows.repairKeys(1, 10)).toEqual([]);
    expect(last(await rig.append((builder) => partial(builder, 1, 'b')))).toEqual(COMPLETE(1, 'b'));
  });

  it('remember the repair set over a restart', async () => {
    await using rig = await Rig.start(MODEL_SCHEMA, 'copying');
    await rig.append((builder) => partial(builder, 5, 'a'));
    await rig.flush();
    await rig.close();
    await rig.open();
    expect(await rig.rows.repairKeys(1, 10)).toEqual([keyOf(5)]);
  });

  it('forget what was cut from the log', async () => {
    await using rig = await Rig.start();
    await rig.append((builder) => whole(builder, 1, 'a', BIG));
    await rig.flush();
    const builder = new BatchBuilder(1 << 14);
    builder.begin('source', 1, 0);
    whole(builder, 1, 'cut', 'cut '.repeat(600));
    await rig.write(builder.take());
    await rig.rollback();
    expect(last(await rig.append((next) => partial(next, 1, 'b')))).toEqual(COMPLETE(1, 'b'));
  });

  it('are completed in a transaction that is larger than memory, and after it', { timeout: 60_000 }, async () => {
    await using rig = await Rig.start();
    await rig.append((builder) => whole(builder, 1, 'before', BIG));
    const builder = new BatchBuilder(1 << 20);
    builder.begin('source', 1, 0);
    const huge = 'h'.repeat(1 << 20);
    for (let key = 10; key < 90; key++) {
      whole(builder, key, 'a', huge);
      await rig.write(builder.take());
    }
    partial(builder, 10, 'b');
    partial(builder, 1, 'c');
    builder.record(Op.delete, 0, 1, 1, keyOf(11), NONE, NONE);
    builder.commit(positionOf(1_000));
    expect(last(await rig.write(builder.take())).flags).toBe(0);
    await rig.flush();
    expect(last(await rig.append((next) => partial(next, 10, 'd')))).toEqual(COMPLETE(10, 'd', huge));
    expect(last(await rig.append((next) => partial(next, 1, 'e')))).toEqual(COMPLETE(1, 'e'));
    await rig.append((next) => partial(next, 11, 'f'));
    expect(rig.catalog.table(1)?.state).toMatchObject({ state: 'stopped', code: 'WHOLE_ROW_MISSING' });
  });

  it('are completed from an image of an older shape', async () => {
    await using rig = await Rig.start();
    await rig.append((builder) => whole(builder, 1, 'a', BIG));
    const [column] = MODEL_SCHEMA.columns;
    if (column === undefined) throw new Error('no column');
    const added = { ...column, number: 9, name: 'added', nullable: true, fill: 'filled' };
    const next: TableSchema = { ...MODEL_SCHEMA, version: 2, columns: [...MODEL_SCHEMA.columns, added] };
    const batch = await rig.append((builder) => {
      builder.record(Op.schema, 0, 1, 2, NONE, NONE, encodeSchema(next));
      builder.record(Op.update, Flag.incomplete | Flag.wide, 1, 2, keyOf(1), NONE, buildImage(['1', 'b', PLACEHOLDER, PLACEHOLDER]));
    });
    expect(last(batch).cells).toEqual(['1', 'b', BIG, 'filled']);
  });
});
