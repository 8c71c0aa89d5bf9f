import { describe, expect, test } from 'vitest';
import { Catalog, type CatalogTable } from '../../../contracts/catalog.ts';
import { modelColumn } from '../../../contracts/kit/sink-model.ts';
import type { Column, TableSchema } from '../../../contracts/schema.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import { COMPARED, verdictOn } from '../../../sinks/redis/checkpoint.ts';
import type { TableOptions } from '../../../sinks/redis/options.ts';
import { editHash, editJson, walksOf, type Walk } from '../../../sinks/redis/reshape.ts';
import { changeBetween, layoutOf, type TableLayout } from '../../../sinks/redis/table-layout.ts';
import { parseStoredTable, storedTable, TableSet, whyOutdated } from '../../../sinks/redis/table-set.ts';
import { cacheConfig } from './cache-place.ts';

const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };
const OWN = 'tidemark:{cache}:';

function column(number: number, name: string, fill: string | null = null, type: LogicalType = TEXT): Column {
  return modelColumn({ name, type, nativeType: 'text', fill }, number);
}

function schema(version: number, columns: readonly Column[], name = 'things', tableId = 1): TableSchema {
  return { tableId, version, sourceTableId: String(tableId), namespace: 'public', name, columns, keyKind: 'primary', key: [0] };
}

const ONE = schema(1, [column(1, 'id'), column(2, 'a'), column(3, 'b')]);

function layout(of: TableSchema, options: TableOptions = {}, versions: readonly TableSchema[] = [of]): TableLayout {
  return layoutOf(of, versions, options, OWN);
}

describe('columns', () => {
  test('a list keeps some, under their names; a map renames', () => {
    expect(layout(ONE, { columns: ['id', 'b'] }).fields.map(({ name, index }) => [name, index])).toEqual([['id', 0], ['b', 2]]);
    expect(layout(ONE, { columns: { b: 'x', id: 'key' } }).fields.map(({ name }) => name)).toEqual(['key', 'x']);
  });

  test('a column that is not there, and a name given twice, are refused', () => {
    expect(() => layout(ONE, { columns: ['c'] })).toThrow(expect.objectContaining({ code: 'REDIS_COLUMNS' }));
    expect(() => layout(ONE, { columns: { a: 'x', b: 'x' } })).toThrow(expect.objectContaining({ code: 'REDIS_COLUMNS' }));
  });

  test('a name in the configuration stands for its column also before and after a rename', () => {
    const two = schema(2, [column(1, 'key'), column(2, 'title'), column(3, 'b')]);
    const versions = [ONE, two];
    for (const options of [{ key: 'x:{id}', columns: ['a'] }, { key: 'x:{key}', columns: ['title'] }]) {
      const [before, after] = [layout(ONE, options, versions), layout(two, options, versions)];
      expect(before.fields.map(({ name }) => name)).toEqual(['a']);
      expect(after.fields.map(({ name }) => name)).toEqual(['title']);
      expect(before.fingerprint).toBe(after.fingerprint);
    }
  });
});

describe('a schema change', () => {
  const change = (after: TableSchema, options: TableOptions = {}) => changeBetween(layout(ONE, options, [ONE, after]), layout(after, options, [ONE, after]));

  test('that rows do not see needs no walk', () => {
    expect(change(schema(2, [...ONE.columns, column(4, 'c')]))).toBeNull();
    expect(change(schema(2, [column(1, 'id'), column(2, 'a'), column(3, 'other')]), { columns: ['id', 'a'] })).toBeNull();
    expect(change(schema(2, ONE.columns, 'renamed'), { key: 'x:{id}' })).toBeNull();
  });

  test('drops, renames, fills and moves are found by column number', () => {
    const found = change(schema(2, [column(1, 'id'), column(2, 'z'), column(4, 'c', 'filled')], 'renamed'));
    expect(found).toMatchObject({ dropped: ['b'], renamed: [['a', 'z']], moves: true });
    expect(found?.filled.map(({ name }) => name)).toEqual(['c']);
  });

  test('one walk where no name is taken away and given', () => {
    const found = change(schema(2, [column(1, 'id'), column(2, 'z')]));
    expect(found === null ? [] : walksOf(found)).toHaveLength(1);
  });
});

/** Rows as names and values; a walk that is cut short runs again over some rows that it has done. */
function runHash(row: Record<string, string>, walks: readonly Walk[], repeats: readonly number[]): Record<string, string> {
  let now = row;
  walks.forEach((walk, i) => {
    for (let n = 0; n < (repeats[i] ?? 1); n++) {
      const edit = editHash(Object.entries(now).flat().map((word) => Buffer.from(word)), walk);
      const next = new Map(Object.entries(now).filter(([name]) => !edit.removed.includes(name)));
      for (const [name, value] of edit.changed) next.set(name, value.toString());
      expect(Object.fromEntries(next)).toEqual(Object.fromEntries(edit.all.map(([name, value]) => [name, value.toString()])));
      now = Object.fromEntries(next);
    }
  });
  return now;
}

function runJson(row: Record<string, string>, walks: readonly Walk[], repeats: readonly number[]): unknown {
  let now = Buffer.from(JSON.stringify(row));
  walks.forEach((walk, i) => {
    for (let n = 0; n < (repeats[i] ?? 1); n++) now = Buffer.from(editJson(now, walk) ?? '');
  });
  return JSON.parse(now.toString('utf8'));
}

describe('walks', () => {
  const cases: readonly (readonly [string, readonly Column[], Record<string, string>])[] = [
    ['a dropped', [column(1, 'id'), column(3, 'b')], { id: '1', b: 'B' }],
    ['a renamed', [column(1, 'id'), column(2, 'z'), column(3, 'b')], { id: '1', z: 'A', b: 'B' }],
    ['a dropped, b renamed to a', [column(1, 'id'), column(3, 'a')], { id: '1', a: 'B' }],
    ['a and b swapped', [column(1, 'id'), column(2, 'b'), column(3, 'a')], { id: '1', a: 'B', b: 'A' }],
    ['a dropped and added again', [column(1, 'id'), column(3, 'b'), column(4, 'a', 'new')], { id: '1', b: 'B', a: 'new' }],
    ['a renamed to b, b to c', [column(1, 'id'), column(2, 'b'), column(3, 'c')], { id: '1', b: 'A', c: 'B' }],
    ['a column with a fill', [...ONE.columns, column(4, 'c', 'x"y')], { id: '1', a: 'A', b: 'B', c: 'x"y' }],
  ];

  test.each(cases)('%s: as it should be, also when walks are repeated', (_, columns, expected) => {
    const after = schema(2, columns);
    for (const value of ['hash', 'json'] as const) {
      const found = changeBetween(layout(ONE, { value }, [ONE, after]), layout(after, { value }, [ONE, after]));
      const walks = found === null ? [] : walksOf(found);
      for (const repeats of [[1, 1], [2, 1], [1, 2], [3, 3]]) {
        const run = value === 'hash' ? runHash : runJson;
        expect(run({ id: '1', a: 'A', b: 'B' }, walks, repeats)).toEqual(expected);
        expect(run({ b: 'B' }, walks, repeats)).toEqual(Object.fromEntries(Object.entries(expected).filter(([, cell]) => cell !== 'A' && cell !== '1')));
      }
    }
  });

  test('text that is no object is not touched', () => {
    const found = changeBetween(layout(ONE, { value: 'json' }), layout(schema(2, [column(1, 'id')]), { value: 'json' }));
    expect(found === null ? '' : editJson(Buffer.from('[1]'), walksOf(found)[0] as Walk)).toBeNull();
  });
});

describe('what Redis keeps of the tables', () => {
  const inLog = (tables: readonly TableSchema[]): Catalog =>
    Catalog.from(tables.map((one): CatalogTable => ({ tableId: one.tableId, versions: [{ offset: one.tableId * 10, schema: one }], state: { state: 'new' }, consistent: [] })));
  const config = (table: TableOptions = {}) => cacheConfig({ options: { url: 'redis://x' }, table });
  const stored = new Map([[1, parseStoredTable(Buffer.from(JSON.stringify(storedTable(layout(ONE)))))]]);
  const outdated = (catalog: Catalog, at: number, settings = config()) => whyOutdated(stored, catalog, settings, new TableSet(settings, catalog, at, OWN));

  test('fits while the configuration means the same', () => {
    expect(outdated(inLog([ONE]), 15)).toBeNull();
    expect(outdated(inLog([ONE]), 15, config({ ttl: 1000, publish: 'x' }))).toBeNull();
  });

  test('is outdated by another key, value, choice of columns or index', () => {
    for (const table of [{ key: 'x:{id}' }, { value: 'json' }, { columns: ['id'] }, { index: true }] as const) {
      expect(outdated(inLog([ONE]), 15, config(table))).toContain('public.things');
    }
  });

  test('is not outdated by a table that the sink mirrors newly: that one joins at the checkpoint', () => {
    expect(outdated(inLog([ONE, schema(1, ONE.columns, 'others', 2)]), 25)).toBeNull();
  });

  test('is outdated by a table that is not mirrored any more, but not by one that the log is about to remove', () => {
    expect(outdated(inLog([]), 15)).toBeNull();
    expect(outdated(inLog([]), 15, { ...config(), tables: ({ name }) => name !== 'things' })).toContain('not mirrored');
  });

  test('a table that the log removes is there up to its removal, whatever has its name later', () => {
    const old: CatalogTable = { tableId: 1, versions: [{ offset: 10, schema: ONE }], state: { state: 'removed', at: 20 }, consistent: [] };
    const anew: CatalogTable = { tableId: 2, versions: [{ offset: 21, schema: schema(1, ONE.columns, 'things', 2) }], state: { state: 'new' }, consistent: [] };
    const live = (at: number): number[] => new TableSet(config(), Catalog.from([old, anew]), at, OWN).live().map((one) => one.schema.tableId);
    expect([9, 15, 20, 25].map(live)).toEqual([[], [1], [], [2]]);
  });

  test('what it has not written itself is refused', () => {
    for (const text of ['', '{}', '[]', 'null']) expect(() => parseStoredTable(Buffer.from(text))).toThrow(expect.objectContaining({ code: 'REDIS_PROTOCOL' }));
  });

  test('tables that could share a key are refused, also with the sink\'s own', () => {
    const other = schema(1, ONE.columns, 'others', 2);
    expect(() => new TableSet(config({ key: 'x:{id}' }), inLog([ONE, other]), 25, OWN)).toThrow(expect.objectContaining({ code: 'REDIS_KEY_OVERLAP' }));
    expect(() => new TableSet(config({ key: 'tide{id}' }), inLog([ONE]), 15, OWN)).toThrow(expect.objectContaining({ code: 'REDIS_KEY_OVERLAP' }));
  });
});

describe('the checkpoint that is found', () => {
  const mine = { owner: 'me', fence: 5, offset: 100, reach: 120 };
  const found = (owner: string | null, fence: string | null, offset: string | null, reach: string | null) =>
    verdictOn([owner, fence, offset, reach].map((text) => (text === null ? null : Buffer.from(text))), mine, 'here')?.code ?? null;

  test('is compared by its owner, then by how far it is', () => {
    expect(COMPARED).toEqual(['owner', 'fence', 'offset', 'reach']);
    expect(found('me', '5', '100', '120')).toBeNull();
    expect(found('other', '6', '100', '120')).toBe('SINK_FENCED');
    expect(found('other', '5', '100', '120')).toBe('SINK_FENCED');
    expect(found('other', '4', '90', '90')).toBe('SINK_CHECKPOINT_MOVED');
    expect(found(null, null, null, null)).toBe('SINK_CHECKPOINT_MOVED');
    expect(found('me', '5', '90', '120')).toBe('SINK_CHECKPOINT_MOVED');
    expect(found('me', '5', '100', '100')).toBe('SINK_CHECKPOINT_MOVED');
    expect(found('me', '5', null, '0')).toBe('SINK_CHECKPOINT_MOVED');
  });
});
