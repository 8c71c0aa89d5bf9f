import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Catalog } from '../../../../contracts/catalog.ts';
import { BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import { encodeControl, type Control } from '../../../../contracts/control.ts';
import { buildKey } from '../../../../contracts/key.ts';
import { Flag, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { buildImage, readImage } from '../../../../contracts/row-image.ts';
import { encodeSchema, type Column, type TableSchema } from '../../../../contracts/schema.ts';
import type { RecordRef, SinkBatch, SinkStep } from '../../../../contracts/sink.ts';
import { Fold, type FoldLimits } from '../../../../hub/pipeline/sink/fold.ts';
import { MirroredTables } from '../../../../hub/pipeline/sink/mirrored-tables.ts';

const NONE = new Uint8Array(0);
const POSITION = Buffer.from('p');
const WIDE: FoldLimits = { wholeTransactions: true, maxKeys: 1000, maxBytes: 1 << 30 };

function column(number: number, fill: string | null = null): Column {
  return {
    number, name: `c${number}`, type: { kind: 'int32' }, nativeType: 'integer', nullable: true,
    constantDefault: null, fill, generated: 'no', identity: 'no',
  };
}

function schema(tableId: number, version = 1, keyless = false, columns = [column(1), column(2)]): TableSchema {
  return {
    tableId, version, sourceTableId: `oid${tableId}`, namespace: 'public', name: `t${tableId}`, columns,
    keyKind: keyless ? 'none' : 'primary', key: keyless ? [] : [0],
  };
}

interface Change {
  op: 'c' | 'u' | 'd' | 't';
  table: number;
  key: number;
  value: number;
  flags?: number;
}

const OPS = { c: Op.create, u: Op.update, d: Op.delete, t: Op.truncate };

/** A log of tables 1 and 2 (keyed) and 3 (keyless), whose schemas and `copied` controls are its first records. */
function begun(): { builder: BatchBuilder; catalog: Catalog; offset: number } {
  const builder = new BatchBuilder();
  const catalog = new Catalog();
  const view = new RecordView();
  builder.begin('hub', 0, 0);
  for (const table of [schema(1), schema(2), schema(3, 1, true)]) addSchema(builder, table);
  for (const id of [1, 2, 3]) addControl(builder, id, { type: 'copied', rows: 0 });
  builder.commit(POSITION);
  const batch = builder.take();
  view.reset(batch.records);
  while (view.next()) catalog.apply(view, view.index + 1);
  return { builder, catalog, offset: batch.count };
}

function addSchema(builder: BatchBuilder, table: TableSchema): void {
  builder.record(Op.schema, 0, table.tableId, table.version, NONE, NONE, encodeSchema(table));
}

function addControl(builder: BatchBuilder, tableId: number, control: Control): void {
  builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl(control));
}

function addChange(builder: BatchBuilder, { op, table, key, value, flags = 0 }: Change, version = 1, before: Uint8Array = NONE): void {
  const keyless = table === 3;
  const after = op === 'c' || op === 'u' ? buildImage([String(key), String(value)]) : NONE;
  const oldImage = keyless && op !== 'c' && op !== 't' ? before : NONE;
  builder.record(OPS[op], flags, table, version, keyless || op === 't' ? NONE : buildKey([String(key)]), oldImage, after);
}

function foldOf(catalog: Catalog, after: number, limits = WIDE, mirrored = [1, 2, 3]): Fold {
  const tables = new MirroredTables(catalog, after, (table) => mirrored.some((id) => table.name === `t${id}`));
  return new Fold(tables, limits, { after, position: POSITION, commitTime: 0 });
}

function take(fold: Fold): SinkBatch {
  return fold.take(() => 'e'.repeat(32));
}

function rows(step: SinkStep | undefined) {
  if (step?.kind !== 'rows') throw new Error(`a rows step was expected, not ${step?.kind}`);
  return step.tables.map((table) => ({
    table: table.schema.tableId,
    truncate: table.truncate,
    copying: table.copying,
    deletes: table.deletes.map(removed),
    upserts: table.upserts.map(text),
    inserts: table.inserts.map(text),
  }));
}

function text({ batch, at }: RecordRef): string {
  return readImage(new RecordView().seek(batch.records, at).after()).map(String).join('=');
}

/** Of a keyless table the row (which an update may have removed), else the key. */
function removed({ batch, at }: RecordRef): string {
  const view = new RecordView().seek(batch.records, at);
  return view.hasBefore ? readImage(view.before()).map(String).join('=') : view.key().subarray(4).toString();
}

function folded(changes: readonly Change[], limits = WIDE): SinkBatch {
  const { builder, catalog, offset } = begun();
  builder.begin('source', 9, 5);
  for (const change of changes) addChange(builder, change);
  builder.commit(Buffer.from('q'));
  const fold = foldOf(catalog, offset, limits);
  fold.feed(builder.take().placedAt(offset + 1));
  expect(fold.run()).toBe(true);
  return take(fold);
}

describe('Fold', () => {
  it('keeps the last write of a key and says which keys are new', () => {
    const batch = folded([
      { op: 'c', table: 1, key: 1, value: 1 },
      { op: 'u', table: 1, key: 1, value: 2 },
      { op: 'u', table: 1, key: 2, value: 1 },
      { op: 'd', table: 1, key: 3, value: 0 },
      { op: 'c', table: 1, key: 3, value: 7 },
      { op: 'u', table: 2, key: 1, value: 1 },
      { op: 'd', table: 2, key: 1, value: 0 },
    ]);
    expect(rows(batch.steps[0])).toEqual([
      { table: 1, truncate: false, copying: false, deletes: [], upserts: ['2=1', '3=7'], inserts: ['1=2'] },
      { table: 2, truncate: false, copying: false, deletes: ['1'], upserts: [], inserts: [] },
    ]);
    expect([batch.records, batch.commitTime, Buffer.from(batch.position).toString(), batch.endsOpen]).toEqual([7, 5, 'q', false]);
  });

  it('removes a key that came and went: an earlier try may have left it at the sink', () => {
    const batch = folded([{ op: 'c', table: 1, key: 1, value: 1 }, { op: 'd', table: 1, key: 1, value: 0 }]);
    expect(rows(batch.steps[0])[0]).toMatchObject({ deletes: ['1'], inserts: [], upserts: [] });
  });

  it('forgets what stood before a truncate, and deletes nothing after it', () => {
    const batch = folded([
      { op: 'c', table: 1, key: 1, value: 1 },
      { op: 'u', table: 2, key: 1, value: 1 },
      { op: 't', table: 1, key: 0, value: 0 },
      { op: 'c', table: 1, key: 1, value: 2 },
      { op: 'c', table: 1, key: 2, value: 2 },
      { op: 'd', table: 1, key: 2, value: 0 },
    ]);
    expect(rows(batch.steps[0])).toEqual([
      { table: 1, truncate: true, copying: false, deletes: [], upserts: [], inserts: ['1=2'] },
      { table: 2, truncate: false, copying: false, deletes: [], upserts: ['1=1'], inserts: [] },
    ]);
  });

  it('leaves out records that are incomplete or not to be applied', () => {
    const batch = folded([
      { op: 'c', table: 1, key: 1, value: 1, flags: Flag.incomplete },
      { op: 'u', table: 1, key: 2, value: 1, flags: Flag.notApplied },
      { op: 'u', table: 1, key: 3, value: 1, flags: Flag.replayed | Flag.wide },
    ]);
    expect(rows(batch.steps[0])[0]).toMatchObject({ deletes: [], upserts: ['3=1'], inserts: [] });
    expect(batch.records).toBe(1);
  });

  it('keeps schema changes and table states in their place', () => {
    const { builder, catalog, offset } = begun();
    const wider = schema(1, 2, false, [column(1), column(2), column(3, '0')]);
    builder.begin('source', 9, 5);
    addChange(builder, { op: 'c', table: 1, key: 1, value: 1 });
    addSchema(builder, wider);
    builder.record(Op.update, 0, 1, 1, buildKey(['1']), NONE, buildImage(['1', '2']));
    addControl(builder, 1, { type: 'copying', reason: 'recopy', copyState: '' });
    builder.record(Op.create, 0, 1, 2, buildKey(['5']), NONE, buildImage(['5', '5', '5']));
    addControl(builder, 1, { type: 'chunk', range: 'a', rows: 1 });
    builder.record(Op.read, 0, 1, 2, buildKey(['6']), NONE, buildImage(['6', '6', '6']));
    addControl(builder, 1, { type: 'copied', rows: 1 });
    builder.commit(POSITION);
    const fold = foldOf(catalog, offset);
    fold.feed(builder.take().placedAt(offset + 1));
    fold.run();
    const { steps } = take(fold);
    expect(steps.map((step) => (step.kind === 'table-state' ? step.state : step.kind))).toEqual(['rows', 'schema', 'rows', 'copying', 'rows', 'copied']);
    expect(rows(steps[0])[0]).toMatchObject({ inserts: ['1=1'] });
    expect(steps[1]).toMatchObject({ before: { version: 1 }, after: { version: 2 } });
    expect(rows(steps[2])[0]).toMatchObject({ upserts: ['1=2=0'], copying: false });
    expect(rows(steps[4])[0]).toMatchObject({ upserts: ['5=5=5', '6=6=6'], inserts: [], copying: true });
  });

  it('follows tables into and out of what the sink mirrors', () => {
    const { builder, catalog, offset } = begun();
    builder.begin('source', 9, 5);
    addChange(builder, { op: 'c', table: 2, key: 1, value: 1 });
    addSchema(builder, { ...schema(2, 2), name: 't1' });
    addChange(builder, { op: 'u', table: 2, key: 1, value: 2 }, 2);
    addSchema(builder, { ...schema(1, 2), name: 'old' });
    addSchema(builder, schema(4));
    addControl(builder, 3, { type: 'removed' });
    builder.commit(POSITION);
    const tables = new MirroredTables(catalog, offset, (table) => table.name === 't1');
    const fold = new Fold(tables, WIDE, { after: offset, position: POSITION, commitTime: 0 });
    fold.feed(builder.take().placedAt(offset + 1));
    fold.run();
    const { steps } = take(fold);
    expect(steps.map((step) => step.kind)).toEqual(['table-state', 'schema', 'rows']);
    expect(steps[0]).toMatchObject({ state: 'removed', table: { tableId: 1 } });
    expect(steps[1]).toMatchObject({ before: null, after: { tableId: 2, name: 't1' } });
    expect(rows(steps[2])).toMatchObject([{ table: 2, copying: true, upserts: ['1=2'] }]);
    expect(tables.takeJoined().map((table) => table.tableId)).toEqual([2]);
    expect(tables.takeJoined()).toEqual([]);
  });

  it.each([true, false])('lets names change hands where the sink does (%s); elsewhere who had it leaves, and joins with its new name', (handsNamesOn) => {
    const { builder, catalog, offset } = begun();
    const view = new RecordView();
    const fed = (tables: MirroredTables, after: number, ...schemas: TableSchema[]): readonly SinkStep[] => {
      builder.begin('source', 9, 5);
      for (const one of schemas) addSchema(builder, one);
      builder.commit(POSITION);
      const fold = new Fold(tables, WIDE, { after, position: POSITION, commitTime: 0 });
      const batch = builder.take().placedAt(after + 1);
      fold.feed(batch);
      fold.run();
      for (view.reset(batch.records); view.next(); ) catalog.apply(view, batch.baseOffset + view.index);
      return take(fold).steps;
    };
    const mirrored = (after: number) => new MirroredTables(catalog, after, (table) => table.name.startsWith('t'), handsNamesOn);
    const tables = mirrored(offset);
    const first = fed(tables, offset, { ...schema(2, 2), name: 't1' });
    expect(first.map((step) => step.kind)).toEqual(handsNamesOn ? ['schema'] : ['table-state', 'schema']);
    expect(first.at(-1)).toMatchObject({ before: { tableId: 2, name: 't2' }, after: { name: 't1' } });
    // Who begins in between knows the same.
    const later = mirrored(offset + 1);
    for (const known of [tables, later]) expect(new Set(known.schemas().map(({ tableId }) => tableId))).toEqual(new Set(handsNamesOn ? [1, 2, 3] : [2, 3]));
    const second = fed(later, offset + 1, { ...schema(1, 2), name: 't2' });
    expect(second).toMatchObject([{ kind: 'schema', before: handsNamesOn ? { name: 't1' } : null, after: { tableId: 1, name: 't2' } }]);
    expect(later.takeJoined().map(({ tableId }) => tableId)).toEqual(handsNamesOn ? [] : [1]);
    // A new table that takes the name of one that has not said that it is gone.
    const third = fed(later, offset + 2, { ...schema(4), name: 't1' });
    expect(third).toMatchObject([{ kind: 'table-state', table: { tableId: 2 }, state: 'removed' }, { kind: 'schema', before: null, after: { tableId: 4 } }]);
  });

  it('is idle over tables of others, and goes on from there', () => {
    const { builder, catalog, offset } = begun();
    builder.begin('source', 9, 5);
    addChange(builder, { op: 'c', table: 2, key: 1, value: 1 });
    builder.commit(Buffer.from('z'));
    const fold = foldOf(catalog, offset, WIDE, [1]);
    fold.feed(builder.take().placedAt(offset + 1));
    fold.run();
    expect([fold.isIdle, fold.isEmpty, fold.bytes, fold.to]).toEqual([true, false, 0, offset + 1]);
    expect(take(fold)).toMatchObject({ after: offset, to: offset + 1, steps: [], records: 0 });
    expect(fold.isEmpty).toBe(true);
  });

  it('stops at a transaction\'s end when full, or inside one that is too large by itself', () => {
    const { builder, catalog, offset } = begun();
    for (let xid = 1; xid <= 3; xid++) {
      builder.begin('source', xid, xid);
      for (let n = 0; n < 2; n++) addChange(builder, { op: 'c', table: 1, key: xid * 10 + n, value: 0 });
      builder.commit(Buffer.from(`p${xid}`));
    }
    builder.begin('source', 4, 4);
    for (let n = 0; n < 5; n++) addChange(builder, { op: 'c', table: 1, key: 100 + n, value: 0 });
    const first = builder.take().placedAt(offset + 1);
    addChange(builder, { op: 'c', table: 1, key: 200, value: 0 });
    builder.commit(Buffer.from('p4'));
    const second = builder.take().placedAt(first.lastOffset + 1);
    const fold = foldOf(catalog, offset, { wholeTransactions: true, maxKeys: 3, maxBytes: 1 << 30 });
    fold.feed(first);
    expect(fold.run()).toBe(false);
    expect(take(fold)).toMatchObject({ after: offset, to: offset + 4, endsOpen: false, commitTime: 2 });
    expect(fold.run()).toBe(true);
    expect(fold.mayEnd).toBe(true);
    expect(take(fold)).toMatchObject({ after: offset + 4, to: offset + 11, endsOpen: true, commitTime: 3 });
    fold.feed(second);
    expect(fold.run()).toBe(true);
    expect(take(fold)).toMatchObject({ after: offset + 11, to: offset + 12, endsOpen: false, commitTime: 4 });
  });

  it('ends a batch of very many tables with a transaction, and never within one for their number', () => {
    const { builder, catalog, offset } = begun();
    const ids = Array.from({ length: 2000 }, (_, index) => 10 + index);
    for (let from = 0; from < 1000; from += 100) {
      builder.begin('hub', 0, 1);
      for (const id of ids.slice(from, from + 100)) addSchema(builder, schema(id));
      builder.commit(POSITION);
    }
    builder.begin('source', 1, 2);
    for (const id of ids.slice(0, 1000)) addChange(builder, { op: 'c', table: id, key: 1, value: 1 });
    builder.commit(POSITION);
    builder.begin('source', 2, 3);
    addChange(builder, { op: 'c', table: 1, key: 1, value: 1 });
    builder.commit(POSITION);
    const fold = foldOf(catalog, offset, { ...WIDE, maxKeys: 50_000 }, [1, ...ids]);
    fold.feed(builder.take().placedAt(offset + 1));
    const batches: SinkBatch[] = [];
    while (!fold.run()) batches.push(take(fold));
    batches.push(take(fold));
    expect(batches.map(({ to, after, endsOpen }) => [to - after, endsOpen])).toEqual([[400, false], [400, false], [1200, false], [1, false]]);
  });

  it('ends a transaction for the sink although its end holds no record, or is not seen at all', () => {
    const limits = { wholeTransactions: true, maxKeys: 1, maxBytes: 1 << 30 };
    for (const end of ['entry', 'next begins', 'high watermark'] as const) {
      const { builder, catalog, offset } = begun();
      const fold = foldOf(catalog, offset, limits);
      builder.begin('source', 1, 1);
      addChange(builder, { op: 'c', table: 1, key: 1, value: 1 });
      fold.feed(builder.take().placedAt(offset + 1));
      fold.run();
      expect(take(fold)).toMatchObject({ to: offset + 1, endsOpen: true });
      expect([fold.isEmpty, fold.isIdle]).toEqual([true, true]);
      builder.commit(POSITION);
      const rest = builder.take();
      if (end === 'entry') fold.feed(rest.placedAt(offset + 2));
      if (end === 'high watermark') fold.reached(offset + 1);
      if (end === 'next begins') {
        builder.begin('source', 2, 2);
        addChange(builder, { op: 'c', table: 1, key: 2, value: 1 });
        builder.commit(POSITION);
        fold.feed(builder.take().placedAt(offset + 2));
      }
      fold.run();
      expect([fold.isEmpty, fold.isIdle, fold.endsOpen]).toEqual([false, false, false]);
      expect(take(fold)).toMatchObject({ after: offset + 1, to: end === 'next begins' ? offset + 2 : offset + 1, endsOpen: false });
      expect(fold.isEmpty).toBe(true);
    }
  });

  it('folds as the naive model does, whatever the transactions, batches and limits', () => {
    const change = fc.record({
      op: fc.constantFrom('put', 'put', 'put', 'delete', 'delete', 'truncate'),
      table: fc.constantFrom(1, 2, 3),
      key: fc.nat(5),
      value: fc.nat(2),
      ends: fc.boolean(),
      cut: fc.boolean(),
    });
    const limits = fc.record({ wholeTransactions: fc.boolean(), maxKeys: fc.integer({ min: 1, max: 8 }), maxBytes: fc.constantFrom(60, 400, 1 << 30) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 60 }), limits, (changes, bounds) => {
        const { builder, catalog, offset } = begun();
        const source = new Model();
        const states = new Map<number, string>([[offset, source.text()]]);
        const batches: ChangeBatch[] = [];
        let at = offset;
        const flush = (): void => {
          const batch = builder.take();
          const base = (batches.at(-1)?.lastOffset ?? offset) + 1;
          if (batch.count > 0 || batch.transactions.length > 0) batches.push(batch.placedAt(base));
        };
        builder.begin('source', 1, 1);
        for (const { op, table, key, value, ends, cut } of changes) {
          if (source.change(builder, op, table, key, value)) states.set(++at, source.text());
          if (ends) {
            builder.commit(POSITION);
            if (cut) flush();
            builder.begin('source', 1, 1);
          } else if (cut) flush();
        }
        builder.commit(POSITION);
        flush();
        const sink = new Model();
        const fold = foldOf(catalog, offset, bounds);
        const applyAll = (): void => {
          const batch = take(fold);
          sink.apply(batch);
          expect(sink.text()).toBe(states.get(batch.to));
        };
        for (const batch of batches) {
          fold.feed(batch);
          while (!fold.run()) applyAll();
        }
        applyAll();
        expect(fold.to).toBe(at);
      }),
      { numRuns: 400 },
    );
  });
});

/** Two keyed tables and one bag, changed one record at a time (the source) or by folded batches (the sink). */
class Model {
  readonly keyed = new Map<number, Map<string, string>>([[1, new Map()], [2, new Map()]]);
  readonly bag: string[] = [];

  text(): string {
    const tables = [...this.keyed.values()].map((rows) => [...rows.values()].toSorted().join());
    return [...tables, this.bag.toSorted().join()].join(' / ');
  }

  /** Does to the model what a source could have done, and records it; false when there is nothing to do. */
  change(builder: BatchBuilder, op: string, table: number, key: number, value: number): boolean {
    const row = `${key}=${value}`;
    const rowsOf = this.keyed.get(table);
    if (op === 'truncate') {
      if (value > 0) return false;
      addChange(builder, { op: 't', table, key, value });
      rowsOf?.clear();
      if (rowsOf === undefined) this.bag.length = 0;
    } else if (rowsOf !== undefined) {
      const known = rowsOf.has(String(key));
      if (op === 'delete' && !known) return false;
      addChange(builder, { op: op === 'delete' ? 'd' : known ? 'u' : 'c', table, key, value });
      if (op === 'delete') rowsOf.delete(String(key));
      else rowsOf.set(String(key), row);
    } else {
      const old = this.bag.indexOf(`${key}=0`);
      if (op === 'delete' && old < 0) return false;
      const kind = op === 'delete' ? 'd' : old >= 0 && value === 2 ? 'u' : 'c';
      addChange(builder, { op: kind, table, key, value }, 1, buildImage([String(key), '0']));
      if (kind !== 'c') this.bag.splice(old, 1);
      if (kind !== 'd') this.bag.push(row);
    }
    return true;
  }

  apply(batch: SinkBatch): void {
    for (const step of batch.steps) {
      for (const { table, truncate, deletes, upserts, inserts } of rows(step)) {
        const rowsOf = this.keyed.get(table);
        if (rowsOf === undefined) this.#applyBag(truncate, deletes, inserts);
        else applyKeyed(rowsOf, truncate, deletes, upserts, inserts);
      }
    }
  }

  #applyBag(truncate: boolean, deletes: string[], inserts: string[]): void {
    if (truncate) this.bag.length = 0;
    for (const row of deletes) {
      const at = this.bag.indexOf(row);
      if (at < 0) throw new Error(`${row} is not in the bag`);
      this.bag.splice(at, 1);
    }
    this.bag.push(...inserts);
  }
}

function applyKeyed(rowsOf: Map<string, string>, truncate: boolean, deletes: string[], upserts: string[], inserts: string[]): void {
  const touched = [...deletes, ...upserts.map(keyOf), ...inserts.map(keyOf)];
  expect(new Set(touched).size).toBe(touched.length);
  if (truncate) rowsOf.clear();
  for (const key of deletes) rowsOf.delete(key);
  for (const row of upserts) rowsOf.set(keyOf(row), row);
  for (const row of inserts) {
    if (rowsOf.has(keyOf(row))) throw new Error(`${row} was not new`);
    rowsOf.set(keyOf(row), row);
  }
}

const keyOf = (row: string): string => row.split('=')[0] as string;
