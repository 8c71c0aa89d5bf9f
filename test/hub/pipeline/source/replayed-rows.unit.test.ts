/** Rows that are completed while a chunk is joined to the log: what of them the chunk's snapshot has seen already. */
import { describe, expect, it } from 'vitest';
import type { BatchBuilder, ChangeBatch } from '../../../../contracts/change-batch.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { buildImage, PLACEHOLDER, readImage, type CellValue } from '../../../../contracts/row-image.ts';
import { encodeJsonPart, JsonOperation } from '../../../../contracts/types/json-part.ts';
import { isBefore, OF_SNAPSHOT, partOver, ReplayedRows } from '../../../../hub/pipeline/source/whole-rows/replayed-rows.ts';
import { JSON_SCHEMA, keyOf, partialImage } from './copy-model.ts';
import { Rig } from './whole-rows-rig.ts';

const NONE = Buffer.alloc(0);
/** One more item at the beginning: done twice it shows. */
const APPEND = encodeJsonPart([{ operation: JsonOperation.insert, path: [{ index: 0, fromEnd: false }], value: Buffer.from('9') }]);
const REPLAYED = Flag.replayed;
const LATER = Flag.replayed | Flag.unseen;
const KEY_CHANGE = Flag.keyChange;

const read = (builder: BatchBuilder, key: number, note: string, list: string): void => builder.record(Op.read, Flag.wide, 1, 1, keyOf(key), NONE, buildImage([String(key), note, list]));
const whole = (builder: BatchBuilder, key: number, note: string, list: string, flags = 0): void => builder.record(Op.create, flags, 1, 1, keyOf(key), NONE, buildImage([String(key), note, list]));
/** `part` absent: the list stays as it is. */
const update = (builder: BatchBuilder, key: number, note: string, flags: number, part?: Buffer): void =>
  builder.record(Op.update, flags | Flag.incomplete | Flag.wide, 1, 1, keyOf(key), NONE, partialImage(key, { note, big: null }, part));
/** The list is sent whole, the note is left out. */
const listed = (builder: BatchBuilder, key: number, list: string, flags: number): void =>
  builder.record(Op.update, flags | Flag.incomplete | Flag.wide, 1, 1, keyOf(key), NONE, buildImage([String(key), PLACEHOLDER, list]));
const moved = (builder: BatchBuilder, from: number, to: number, note: string, flags: number, part?: Buffer): void => {
  builder.record(Op.delete, (flags & Flag.replayed) | KEY_CHANGE, 1, 1, keyOf(from), NONE, NONE);
  builder.record(Op.create, flags | KEY_CHANGE | Flag.incomplete | Flag.wide, 1, 1, keyOf(to), NONE, partialImage(to, { note, big: null }, part));
};

/** The last row of a key that counts. */
function rowOf(batch: ChangeBatch, key: number): CellValue[] | 'held' | null {
  const view = new RecordView();
  let row: CellValue[] | 'held' | null = null;
  for (view.reset(batch.records); view.next(); ) {
    if (!isRowOp(view.op) || !view.key().equals(keyOf(key))) continue;
    expect(view.flags & Flag.unseen).toBe(0);
    row = view.op === Op.delete ? null : (view.flags & Flag.notApplied) !== 0 ? 'held' : readImage(view.after());
  }
  return row;
}

const join = (rig: Rig, build: (builder: BatchBuilder) => void): Promise<ChangeBatch> => rig.append(build, 'hub');

describe('changes of parts of values', () => {
  it('apply to what the stream had before, wherever that stands', async () => {
    await using rig = await Rig.start(JSON_SCHEMA);
    const first = await rig.append((builder) => {
      whole(builder, 1, 'a', '[1]');
      update(builder, 1, 'b', 0, APPEND);
    });
    expect(rowOf(first, 1)).toEqual(['1', 'b', '[9, 1]']);
    expect(rowOf(await rig.append((builder) => update(builder, 1, 'c', 0, APPEND)), 1)).toEqual(['1', 'c', '[9, 9, 1]']);
    await rig.flush();
    await rig.close();
    await rig.open();
    expect(rowOf(await rig.append((builder) => moved(builder, 1, 2, 'd', 0, APPEND)), 2)).toEqual(['2', 'd', '[9, 9, 9, 1]']);
  });

  it('that do not fit stop their table', async () => {
    await using rig = await Rig.start(JSON_SCHEMA);
    await rig.append((builder) => whole(builder, 1, 'a', '{"b": 1}'));
    expect(rowOf(await rig.append((builder) => update(builder, 1, 'b', 0, APPEND)), 1)).toBe('held');
    expect(rig.catalog.table(1)?.state).toMatchObject({ state: 'stopped', code: 'WHOLE_ROW_PART', recopy: false });
  });

  it('apply to a row of the chunk only where its snapshot certainly lacks them', async () => {
    await using rig = await Rig.start(JSON_SCHEMA, 'copying');
    const joined = await join(rig, (builder) => {
      for (const key of [1, 2, 3]) read(builder, key, 'a', '[1]');
      update(builder, 1, 'b', LATER, APPEND);
      update(builder, 2, 'b', REPLAYED, APPEND);
      update(builder, 3, 'b', REPLAYED);
      update(builder, 3, 'c', LATER, APPEND);
      update(builder, 3, 'd', LATER, APPEND);
    });
    expect(rowOf(joined, 1)).toEqual(['1', 'b', '[9, 1]']);
    expect(rowOf(joined, 2)).toBe('held');
    expect(rowOf(joined, 3)).toEqual(['3', 'd', '[9, 9, 1]']);
    await rig.flush();
    expect(await rig.rows.repairKeys(1, 10)).toEqual([keyOf(2)]);
  });

  it('are in what the log has from before the chunk', async () => {
    await using rig = await Rig.start(JSON_SCHEMA, 'copying');
    await join(rig, (builder) => {
      read(builder, 1, 'a', '[9, 1]');
      read(builder, 2, 'a', '[9, 1]');
    });
    const joined = await join(rig, (builder) => {
      read(builder, 5, 'a', '[]');
      update(builder, 1, 'b', LATER, APPEND);
      update(builder, 1, 'c', LATER, APPEND);
      listed(builder, 2, '[1]', REPLAYED);
      update(builder, 2, 'b', REPLAYED, APPEND);
    });
    expect(rowOf(joined, 1)).toEqual(['1', 'c', '[9, 1]']);
    expect(rowOf(joined, 2)).toEqual(['2', 'b', '[9, 1]']);
  });

  it('apply to a value that was repeated before them, also in another batch', async () => {
    for (const cut of [false, true]) {
      await using rig = await Rig.start(JSON_SCHEMA, 'copying');
      const joined = await joinInPieces(rig, cut, [
        (builder) => read(builder, 1, 'a', '[9, 7]'),
        (builder) => listed(builder, 1, '[7]', REPLAYED),
        (builder) => update(builder, 1, 'b', REPLAYED, APPEND),
        (builder) => whole(builder, 1, 'c', '[5]', REPLAYED),
        (builder) => update(builder, 1, 'd', REPLAYED, APPEND),
        (builder) => update(builder, 1, 'e', REPLAYED),
      ]);
      expect(joined.map((batch) => rowOf(batch, 1)).at(-1)).toEqual(['1', 'e', '[9, 5]']);
    }
  });
});

/** One hub transaction, in one batch or in a batch each. */
async function joinInPieces(rig: Rig, cut: boolean, builds: readonly ((builder: BatchBuilder) => void)[]): Promise<ChangeBatch[]> {
  if (!cut) return [await join(rig, (builder) => builds.forEach((build) => build(builder)))];
  return rig.appendInPieces(builds, 'hub');
}

describe('a change of key that is repeated', () => {
  it('is not completed from another row that has come to the old key', async () => {
    await using rig = await Rig.start(JSON_SCHEMA, 'copying');
    // The snapshot has seen all of it: the row moved from 1 to 2, and another came to 1.
    const joined = await join(rig, (builder) => {
      read(builder, 1, 'new', '[5]');
      read(builder, 2, 'moved', '[1]');
      moved(builder, 1, 2, 'moved', REPLAYED);
      whole(builder, 1, 'new', '[5]', REPLAYED);
    });
    expect(rowOf(joined, 2)).toEqual(['2', 'moved', '[1]']);
    // The row under the new key is in no chunk yet.
    const other = await join(rig, (builder) => {
      read(builder, 3, 'new', '[5]');
      moved(builder, 3, 4, 'moved', REPLAYED);
      whole(builder, 3, 'new', '[5]', REPLAYED);
    });
    expect(rowOf(other, 4)).toBe('held');
    // The snapshot has not seen the move.
    const before = await join(rig, (builder) => {
      read(builder, 5, 'old', '[1]');
      moved(builder, 5, 6, 'moved', LATER, APPEND);
      whole(builder, 5, 'new', '[5]', REPLAYED);
    });
    expect(rowOf(before, 6)).toEqual(['6', 'moved', '[9, 1]']);
  });
});

it('rows beyond what is noted are unsure', () => {
  expect(partOver(undefined, 0, false)).toBe('apply');
  expect(partOver(OF_SNAPSHOT, 0, true)).toBe('apply');
  expect(partOver({ of: 'unsure', given: [2] }, 2, false)).toBe('apply');
  expect(partOver({ of: 'unsure', given: [2] }, 1, true)).toBe(null);
  expect(isBefore({ of: 'log', given: [] }, true)).toBe(false);
  const rows = new ReplayedRows(1);
  const image = (offset: number) => ({ bytes: NONE, start: 0, end: 0, schemaVersion: 1, offset });
  const batch = { records: NONE, count: 0 };
  rows.enter(batch, { last: 10, committed: 5 });
  rows.note('a', 0, OF_SNAPSHOT);
  expect(rows.seen('b', image(11))?.origin).toBeUndefined();
  rows.note('b', 1, OF_SNAPSHOT);
  expect(rows.seen('a', image(11))?.origin).toEqual(OF_SNAPSHOT);
  expect(rows.seen('b', image(12))?.origin?.of).toBe('unsure');
  expect(rows.seen('c', image(5))?.origin?.of).toBe('log');
  expect(rows.seen('c', image(6))?.origin?.of).toBe('snapshot');
});
