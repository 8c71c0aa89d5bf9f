import { describe, expect, it } from 'vitest';
import { Catalog } from '../../contracts/catalog.ts';
import { BatchBuilder } from '../../contracts/change-batch.ts';
import { encodeControl, type Control } from '../../contracts/control.ts';
import { Op } from '../../contracts/op.ts';
import { RecordView } from '../../contracts/record.ts';
import { encodeSchema, type TableSchema } from '../../contracts/schema.ts';

const NOTHING = Buffer.alloc(0);

function table(tableId: number, version = 1, name = 'orders'): TableSchema {
  return { tableId, version, sourceTableId: '16384', namespace: 'public', name, columns: [], keyKind: 'none', key: [] };
}

/** Applies one record to the catalog at an offset. */
function apply(catalog: Catalog, offset: number, op: number, tableId: number, payload: Buffer): boolean {
  const builder = new BatchBuilder(256);
  builder.begin('hub', 0, 0);
  builder.record(op, 0, tableId, 1, NOTHING, NOTHING, payload);
  const view = new RecordView().reset(builder.take().records);
  view.next();
  return catalog.apply(view, offset);
}

function control(catalog: Catalog, offset: number, tableId: number, value: Control): void {
  apply(catalog, offset, Op.control, tableId, encodeControl(value));
}

function withTable(): Catalog {
  const catalog = new Catalog();
  apply(catalog, 1, Op.schema, 1, encodeSchema(table(1)));
  return catalog;
}

describe('the catalog', () => {
  it('knows every version of a table by the number that a record names', () => {
    const catalog = withTable();
    apply(catalog, 9, Op.schema, 1, encodeSchema(table(1, 2, 'sales')));
    expect(catalog.schemaOf(1, 1).name).toBe('orders');
    expect(catalog.schemaOf(1, 2).name).toBe('sales');
    expect(catalog.schema(1)?.name).toBe('sales');
    expect(catalog.byName('public.sales')?.tableId).toBe(1);
    expect(catalog.byName('public.orders')).toBeUndefined();
    expect(() => catalog.schemaOf(1, 3)).toThrow(/no version 3/);
  });

  it('refuses a version that does not follow the one before', () => {
    const catalog = withTable();
    expect(() => apply(catalog, 2, Op.schema, 1, encodeSchema(table(1, 3)))).toThrow(/does not follow/);
  });

  it('leaves row records alone', () => {
    expect(apply(withTable(), 2, Op.create, 1, NOTHING)).toBe(false);
  });

  it('follows a table from its copy to consistency', () => {
    const catalog = withTable();
    expect(catalog.table(1)?.state).toEqual({ state: 'new' });
    control(catalog, 2, 1, { type: 'copying', reason: 'first', copyState: 'x' });
    control(catalog, 10, 1, { type: 'chunk', range: 'a', rows: 3 });
    control(catalog, 20, 1, { type: 'chunk', range: 'b', rows: 4 });
    expect(catalog.table(1)?.state).toEqual({
      state: 'copying', since: 2, reason: 'first', copyState: 'x', ranges: ['a', 'b'], rows: 7,
    });
    control(catalog, 21, 1, { type: 'copied', rows: 7 });
    expect(catalog.table(1)?.state).toEqual({ state: 'consistent', since: 21 });
    expect(catalog.table(1)?.consistent).toEqual([{ from: 21, to: null }]);
  });

  it('forgets the ranges of a copy that became void', () => {
    const catalog = withTable();
    control(catalog, 2, 1, { type: 'copying', reason: 'first', copyState: 'x' });
    control(catalog, 3, 1, { type: 'chunk', range: 'a', rows: 3 });
    control(catalog, 4, 1, { type: 'chunks-void', why: 'rewritten', copyState: 'y' });
    expect(catalog.table(1)?.state).toMatchObject({ copyState: 'y', ranges: [], rows: 0 });
  });

  it('ends the consistent range where a re-copy, a stop or a gap says', () => {
    const catalog = withTable();
    control(catalog, 5, 1, { type: 'copied', rows: 0 });
    control(catalog, 9, 1, { type: 'copying', reason: 'recopy', copyState: '' });
    control(catalog, 12, 1, { type: 'copied', rows: 0 });
    control(catalog, 20, 1, { type: 'stopped', code: 'X', why: 'rewritten', consistentUntil: 15, recopy: true });
    expect(catalog.table(1)?.consistent).toEqual([{ from: 5, to: 8 }, { from: 12, to: 15 }]);
    control(catalog, 30, 1, { type: 'copied', rows: 0 });
    control(catalog, 40, 0, { type: 'gap', why: 'restored' });
    expect(catalog.table(1)?.state).toEqual({ state: 'new' });
    expect(catalog.table(1)?.consistent.at(-1)).toEqual({ from: 30, to: 39 });
  });

  it('drops a range that a stop takes back altogether', () => {
    const catalog = withTable();
    control(catalog, 5, 1, { type: 'copied', rows: 0 });
    control(catalog, 20, 1, { type: 'stopped', code: 'X', why: 'rewritten', consistentUntil: 3, recopy: true });
    expect(catalog.table(1)?.consistent).toEqual([]);
  });

  it('finds the newest generation of a table, and none that was removed', () => {
    const catalog = withTable();
    apply(catalog, 2, Op.schema, 2, encodeSchema(table(2)));
    expect(catalog.bySourceId('16384')?.tableId).toBe(2);
    expect(catalog.nextTableId()).toBe(3);
    control(catalog, 3, 2, { type: 'removed' });
    expect(catalog.bySourceId('16384')?.tableId).toBe(1);
    expect(catalog.nextTableId()).toBe(3);
  });

  it('is unchanged by what happens to its clone', () => {
    const catalog = withTable();
    const clone = catalog.clone();
    control(clone, 2, 1, { type: 'copied', rows: 0 });
    expect(catalog.table(1)?.state).toEqual({ state: 'new' });
  });
});
