import { join } from 'node:path';
import { asyncProperty, array, assert as check, constantFrom, integer, oneof, record, constant, type Arbitrary } from 'fast-check';
import { describe, it, expect } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import { encodeControl } from '../../../../contracts/control.ts';
import { Flag, Op } from '../../../../contracts/op.ts';
import { buildImage } from '../../../../contracts/row-image.ts';
import { Generation, watchedNone } from '../../../../hub/pipeline/source/whole-rows/generation.ts';
import { IndexStore } from '../../../../hub/pipeline/source/whole-rows/index-store.ts';
import { rowIdOfName } from '../../../../hub/pipeline/source/whole-rows/row-id.ts';
import { Spill } from '../../../../hub/pipeline/source/whole-rows/spill.ts';
import { SpilledImages } from '../../../../hub/pipeline/source/whole-rows/spilled-images.ts';
import { nodeFiles } from '../../../../hub/runtime/node-files.ts';
import { temporaryDirectory } from '../../../fixtures/temp.ts';
import { keyOf } from './copy-model.ts';

const NONE = Buffer.alloc(0);

type Event =
  | { readonly what: 'whole' | 'incomplete' | 'narrow' | 'delete'; readonly table: number; readonly key: number }
  | { readonly what: 'truncate' | 'copying' | 'copied' | 'gap'; readonly table: number };

const table = integer({ min: 1, max: 2 });
const event: Arbitrary<Event> = oneof(
  { weight: 5, arbitrary: record({ what: constantFrom('whole' as const, 'incomplete' as const, 'narrow' as const, 'delete' as const), table, key: integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: record({ what: constantFrom('truncate' as const, 'copying' as const, 'copied' as const), table }) },
  { weight: 1, arbitrary: record({ what: constant('gap' as const), table }) },
);

function batchOf(events: readonly Event[], baseOffset: number): ChangeBatch {
  const builder = new BatchBuilder(1 << 12);
  builder.begin('source', 1, 0);
  for (const each of events) add(builder, each);
  builder.commit(Buffer.from([1]));
  return builder.take().placedAt(baseOffset);
}

function add(builder: BatchBuilder, each: Event): void {
  const control = (tableId: number, payload: Buffer): void => builder.record(Op.control, 0, tableId, 0, NONE, NONE, payload);
  switch (each.what) {
    case 'whole':
      return builder.record(Op.update, Flag.wide, each.table, 1, keyOf(each.key), NONE, buildImage([String(each.key), 'w']));
    case 'incomplete':
      return builder.record(Op.update, Flag.wide | Flag.incomplete | Flag.notApplied, each.table, 1, keyOf(each.key), NONE, buildImage([String(each.key), 'i']));
    case 'narrow':
      return builder.record(Op.update, 0, each.table, 1, keyOf(each.key), NONE, buildImage([String(each.key), 'n']));
    case 'delete':
      return builder.record(Op.delete, 0, each.table, 1, keyOf(each.key), NONE, NONE);
    case 'truncate':
      return builder.record(Op.truncate, 0, each.table, 1, NONE, NONE, NONE);
    case 'copying':
      return control(each.table, encodeControl({ type: 'copying', reason: 'recopy', copyState: '' }));
    case 'copied':
      return control(each.table, encodeControl({ type: 'copied', rows: 0 }));
    case 'gap':
      return control(0, encodeControl({ type: 'gap', why: 'scripted' }));
  }
}

/** What the index should hold after the events: offsets of whole images, and incomplete rows. */
function modelOf(batches: readonly ChangeBatch[], events: readonly (readonly Event[])[]): { e: Map<string, number>; i: Set<string> } {
  const e = new Map<string, number>();
  const i = new Set<string>();
  const clear = (tableId: number | null): void => {
    for (const each of [e, i]) for (const name of each.keys()) if (tableId === null || name.startsWith(`${tableId}/`)) each.delete(name);
  };
  events.forEach((list, batch) => {
    let offset = batches[batch]?.baseOffset ?? 0;
    for (const each of list) {
      const name = 'key' in each ? `${each.table}/${keyOf(each.key).toString('hex')}` : '';
      if (name !== '') {
        e.delete(name);
        i.delete(name);
      }
      if (each.what === 'whole') e.set(name, offset);
      else if (each.what === 'incomplete') i.add(name);
      else if (each.what === 'truncate' || each.what === 'copying') clear(each.table);
      else if (each.what === 'gap') clear(null);
      else if (each.what === 'copied') for (const row of i) if (row.startsWith(`${each.table}/`)) i.delete(row);
      offset++;
    }
  });
  return { e, i };
}

async function indexed(store: IndexStore): Promise<{ e: Map<string, number>; i: Set<string> }> {
  const name = (id: Buffer): string => `${id.readUInt32BE(0)}/${id.subarray(4).toString('hex')}`;
  const e = new Map<string, number>();
  const i = new Set<string>();
  for await (const [id, bytes] of store.entries('e')) e.set(name(id), Number(bytes.readBigUInt64BE(0)));
  for await (const [id] of store.entries('i')) i.add(name(id));
  return { e, i };
}

describe('the spill of large transactions', () => {
  it('leaves the index as if each generation had gone into it by itself', async () => {
    await using directory = await temporaryDirectory('spill');
    let run = 0;
    await check(
      asyncProperty(array(array(event, { maxLength: 6 }), { minLength: 1, maxLength: 6 }), integer({ min: 0, max: 6 }), async (events, moveAfter) => {
        await using store = await IndexStore.open(join(directory.path, String(++run)));
        const spill = new Spill(store, new SpilledImages(nodeFiles, join(directory.path, `${run}.spill`)));
        await spill.clear();
        const watched = watchedNone();
        const batches: ChangeBatch[] = [];
        let offset = 1;
        for (const [index, list] of events.entries()) {
          const batch = batchOf(list, offset);
          offset += batch.count;
          batches.push(batch);
          const generation = new Generation(batch, watched, new Set());
          if (!generation.isEmpty) await spill.add(generation);
          if (index + 1 === moveAfter) await spill.moveToIndex(() => false);
        }
        const expected = modelOf(batches, events);
        const narrow = new Set(narrowNow(events));
        const before = await spill.get([...expected.e.keys()].filter((name) => !narrow.has(name)).map((name) => rowIdOfName(latin1Of(name))));
        expect(before.every((image) => image !== null)).toBe(true);
        await spill.moveToIndex(() => false);
        const found = await indexed(store);
        // An entry of a row that has become narrow may stay: nothing will ask for it.
        for (const name of narrow) for (const each of [found.e, expected.e]) each.delete(name);
        expect(found).toEqual(expected);
      }),
      { numRuns: 150, examples: [[[[{ what: 'incomplete', table: 1, key: 1 }], [{ what: 'copied', table: 1 }], [{ what: 'incomplete', table: 1, key: 2 }]], 0]] },
    );
  }, 60_000);
});

/** Rows whose newest record is narrow. */
function narrowNow(events: readonly (readonly Event[])[]): string[] {
  const newest = new Map<string, string>();
  for (const each of events.flat()) if ('key' in each) newest.set(`${each.table}/${keyOf(each.key).toString('hex')}`, each.what);
  return [...newest].filter(([, what]) => what === 'narrow').map(([name]) => name);
}

function latin1Of(name: string): string {
  const [tableId, key] = name.split('/');
  const id = Buffer.alloc(4);
  id.writeUInt32BE(Number(tableId), 0);
  return Buffer.concat([id, Buffer.from(key ?? '', 'hex')]).toString('latin1');
}
