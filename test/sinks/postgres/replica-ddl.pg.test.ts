import { afterAll, beforeAll, expect, test } from 'vitest';
import { modelColumn, type ModelTable } from '../../../contracts/kit/sink-model.ts';
import type { Column } from '../../../contracts/schema.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { columnsOf, ReplicaStand } from './replica-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };
const INT: LogicalType = { kind: 'int32' };

async function withRows(stand: ReplicaStand, count = 3): Promise<ModelTable> {
  const table = stand.model.createTable('public', 'things', columnsOf({ id: 'integer', a: 'text', b: 'text' }), ['id']);
  for (let id = 1; id <= count; id++) stand.model.insert(table, [String(id), `a ${id}`, String(id)]);
  await stand.apply();
  return table;
}

/** Name, type, not null, default of each column, in order. */
function shape(stand: ReplicaStand, table: string): Promise<(string | null)[][]> {
  return stand.sql(
    `SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text, pg_get_expr(d.adbin, d.adrelid)
       FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = '${table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
  );
}

function primaryKey(stand: ReplicaStand, table: string): Promise<(string | null)[][]> {
  return stand.sql(`SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '${table}'::regclass AND contype IN ('p', 'u') ORDER BY contype`);
}

function alter(stand: ReplicaStand, table: ModelTable, change: (columns: readonly Column[]) => Column[]): void {
  stand.model.alterTable(table, { columns: change(table.schema.columns) });
}

/** The n-th column with some things changed. */
function nth(columns: readonly Column[], n: number, change: Partial<Column> = {}): Column {
  const column = columns[n];
  if (column === undefined) throw new Error(`no column ${n}`);
  return { ...column, ...change };
}

test('a table is made with types, key, not null and constant defaults', async () => {
  await using stand = await ReplicaStand.open(server);
  const columns = columnsOf({ id: 'integer', name: 'text' });
  const table = stand.model.createTable('Shop', 'My "things"', columns, ['name', 'id']);
  stand.model.alterTable(table, { columns: table.schema.columns.map((column) => (column.name === 'name' ? { ...column, nullable: false, constantDefault: "it's \\ new" } : column)) });
  stand.model.insert(table, ['1', 'x']);
  await stand.apply();
  expect(await shape(stand, '"Shop"."My ""things"""')).toEqual([
    ['id', 'integer', 'true', null],
    ['name', 'text', 'true', "'it''s \\ new'::text"],
  ]);
  expect(await primaryKey(stand, '"Shop"."My ""things"""')).toEqual([['PRIMARY KEY (name, id)']]);
  await stand.expectEqual();
});

test('a key that is a replica identity, and a table without key', async () => {
  await using stand = await ReplicaStand.open(server);
  stand.model.createTable('public', 'identified', columnsOf({ id: 'integer', name: 'text' }), ['id'], 'identity');
  stand.model.createTable('public', 'bag', columnsOf({ id: 'integer' }), []);
  await stand.apply();
  expect(await primaryKey(stand, 'identified')).toEqual([['UNIQUE (id)']]);
  expect(await stand.sql("SELECT relreplident::text FROM pg_class WHERE oid = 'identified'::regclass")).toEqual([['i']]);
  expect(await primaryKey(stand, 'bag')).toEqual([]);
});

test('columns are added: with a fill, with a default that later rows get, not null', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await withRows(stand);
  alter(stand, table, (columns) => [
    ...columns,
    modelColumn({ name: 'filled', type: INT, nativeType: 'integer', fill: '7' }, 10),
    { ...modelColumn({ name: 'both', type: INT, nativeType: 'integer', fill: '1', nullable: false }, 11), constantDefault: '2' },
    { ...modelColumn({ name: 'later', type: TEXT, nativeType: 'text' }, 12), constantDefault: 'x' },
  ]);
  stand.model.insert(table, ['4', null, null, null, '5', null]);
  await stand.apply();
  await stand.expectEqual();
  expect((await shape(stand, 'things')).slice(3)).toEqual([
    ['filled', 'integer', 'false', null],
    ['both', 'integer', 'true', '2'],
    ['later', 'text', 'false', "'x'::text"],
  ]);
});

test('columns are dropped and renamed, two of them for each other, in one step', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await withRows(stand);
  await stand.sql('CREATE INDEX own_index ON things (a, b)');
  alter(stand, table, (columns) => [nth(columns, 0), nth(columns, 1, { name: 'b' }), nth(columns, 2, { name: 'a' })]);
  stand.model.update(table, ['1', 'a 1', '1'], ['1', 'now b', 'now a']);
  await stand.apply();
  await stand.expectEqual();
  alter(stand, table, (columns) => [nth(columns, 0), nth(columns, 2, { name: 'c' })]);
  await stand.apply();
  await stand.expectEqual();
  expect((await shape(stand, 'things')).map(([name]) => name)).toEqual(['id', 'c']);
});

test('a column that a view at the replica needs is not dropped: the message names the view', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await withRows(stand);
  await stand.sql('CREATE VIEW uses_b AS SELECT id, b FROM things');
  alter(stand, table, (columns) => [nth(columns, 0), nth(columns, 1)]);
  const batch = stand.model.batch();
  await expect(stand.send(batch)).rejects.toThrow(/uses_b/);
  await stand.sql('DROP VIEW uses_b');
  await stand.reopen();
  await stand.send(batch);
  await stand.expectEqual();
});

test('a composite type gets, loses and renames fields', async () => {
  await using stand = await ReplicaStand.open(server);
  const point = (...names: readonly string[]): LogicalType => ({ kind: 'composite', name: 'public.point3', fields: names.map((name) => ({ name, type: INT })) });
  const table = stand.model.createTable('public', 'points', [
    { name: 'id', type: INT, nativeType: 'integer', nullable: false },
    { name: 'p', type: point('x', 'y'), nativeType: 'public.point3' },
  ], ['id']);
  stand.model.insert(table, ['1', '(1,2)']);
  await stand.apply();
  const steps: [LogicalType, string, string][] = [[point('x', 'y', 'z'), '(1,2)', '(1,2,3)'], [point('y', 'z'), '(1,2,3)', '(5,6)'], [point('y', 'depth'), '(5,6)', '(7,8)']];
  for (const [type, old, now] of steps) {
    alter(stand, table, (columns) => [nth(columns, 0), nth(columns, 1, { type })]);
    stand.model.update(table, ['1', old], ['1', now]);
    await stand.apply();
    await stand.expectEqual();
  }
});

test('types change: without a rewrite, by the text of the values, and where the rows cannot follow', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await withRows(stand);
  alter(stand, table, (columns) => [
    nth(columns, 0, { nativeType: 'bigint', type: { kind: 'int64' } }), nth(columns, 1), nth(columns, 2, { nativeType: 'integer', type: INT, constantDefault: '9' }),
  ]);
  await stand.apply();
  await stand.expectEqual();
  expect(await shape(stand, 'things')).toEqual([['id', 'bigint', 'true', null], ['a', 'text', 'false', null], ['b', 'integer', 'false', '9']]);
  const changed = nth(table.schema.columns, 1, { nativeType: 'integer', type: INT });
  stand.model.alterTable(table, { columns: table.schema.columns.map((column) => (column.number === 2 ? changed : column)) });
  stand.model.tableState(table, 'copying');
  await stand.apply();
  expect(await stand.sql('SELECT count(*)::int FROM things'), 'the rows come again').toEqual([[0]]);
});

test('not null waits for rows that are copied', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await withRows(stand);
  alter(stand, table, (columns) => [...columns, modelColumn({ name: 'n', type: INT, nativeType: 'integer', nullable: false }, 10)]);
  stand.model.tableState(table, 'copying');
  await stand.apply();
  expect((await shape(stand, 'things'))[3]).toEqual(['n', 'integer', 'false', null]);
  for (let id = 1; id <= 3; id++) stand.model.update(table, [String(id), null, null, null], [String(id), null, null, '1']);
  stand.model.tableState(table, 'copied');
  await stand.apply();
  expect((await shape(stand, 'things'))[3]).toEqual(['n', 'integer', 'true', null]);
  await stand.expectEqual();
});

test('the key changes, and then is gone', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await withRows(stand);
  stand.model.alterTable(table, { key: [0, 2], columns: table.schema.columns.map((column) => ({ ...column, nullable: column.name === 'a' })) });
  stand.model.insert(table, ['1', null, 'another']);
  await stand.apply();
  await stand.expectEqual();
  expect(await primaryKey(stand, 'things')).toEqual([['PRIMARY KEY (id, b)']]);
  stand.model.alterTable(table, { key: [], keyKind: 'none' });
  stand.model.insert(table, ['1', null, 'another']);
  await stand.apply();
  await stand.expectEqual();
});

test('a table is renamed and moved to another schema; views and own columns follow', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await withRows(stand);
  await stand.sql("ALTER TABLE things ADD COLUMN mine text DEFAULT 'm'");
  await stand.sql('CREATE VIEW seen AS SELECT id, mine FROM things');
  stand.model.alterTable(table, { namespace: 'other', name: 'objects' });
  stand.model.insert(table, ['4', null, null]);
  await stand.apply();
  await stand.expectEqual();
  expect(await stand.sql('SELECT id, mine FROM seen ORDER BY id')).toEqual([[1, 'm'], [2, 'm'], [3, 'm'], [4, 'm']]);
  const again = stand.model.createTable('public', 'things', columnsOf({ id: 'integer' }), ['id']);
  stand.model.insert(again, ['1']);
  await stand.apply();
  await stand.expectEqual();
});

test('a name that somebody else has at the replica is not taken; a key that is no primary key goes with its table', async () => {
  await using stand = await ReplicaStand.open(server, ['CREATE TABLE theirs (id integer)']);
  const table = stand.model.createTable('public', 'things', columnsOf({ id: 'integer', a: 'text' }), ['id'], 'identity');
  stand.model.insert(table, ['1', 'x']);
  await stand.apply();
  stand.model.alterTable(table, { name: 'theirs' });
  const batch = stand.model.batch();
  await expect(stand.send(batch)).rejects.toMatchObject({ code: 'REPLICA_TABLE_TAKEN', where: { table: 'public.theirs' }, remedy: expect.stringContaining('"public"."theirs"') as string });
  await stand.sql('ALTER TABLE theirs RENAME TO mine');
  await stand.reopen();
  await stand.send(batch);
  const again = stand.model.createTable('public', 'things', columnsOf({ id: 'integer' }), ['id'], 'identity');
  stand.model.insert(again, ['1']);
  stand.model.alterTable(table, { keyKind: 'none', key: [] });
  await stand.apply();
  await stand.expectEqual();
  expect(await primaryKey(stand, 'theirs')).toEqual([]);
});

test('a new generation empties and reshapes the table; own columns and indexes stay', async () => {
  await using stand = await ReplicaStand.open(server);
  const old = await withRows(stand);
  await stand.sql("ALTER TABLE things ADD COLUMN mine text DEFAULT 'm'");
  await stand.sql('CREATE INDEX own_index ON things (a)');
  stand.model.forget(old);
  const table = stand.model.createTable('public', 'things', columnsOf({ id: 'text', a: 'text', c: 'integer' }), ['id']);
  stand.model.insert(table, ['x', 'y', '3']);
  await stand.apply();
  await stand.expectEqual();
  expect(await shape(stand, 'things')).toEqual([
    ['id', 'text', 'true', null], ['a', 'text', 'false', null], ['mine', 'text', 'false', "'m'::text"], ['c', 'integer', 'false', null],
  ]);
  expect(await stand.sql("SELECT count(*)::int FROM pg_indexes WHERE indexname = 'own_index'")).toEqual([[1]]);
});

test('a table that somebody filled is not taken; an empty one is, and completed', async () => {
  await using stand = await ReplicaStand.open(server, ['CREATE TABLE things (id integer PRIMARY KEY, a text)', "INSERT INTO things VALUES (9, 'precious')"]);
  const table = stand.model.createTable('public', 'things', columnsOf({ id: 'integer', a: 'text', b: 'text' }), ['id']);
  stand.model.insert(table, ['1', 'a', 'b']);
  const batch = stand.model.batch();
  await expect(stand.send(batch)).rejects.toMatchObject({ code: 'REPLICA_TABLE_TAKEN', retry: 'operator', where: { table: 'public.things' } });
  expect(await stand.sql('SELECT * FROM things')).toEqual([[9, 'precious']]);
  await stand.sql('DELETE FROM things');
  await stand.reopen();
  await stand.send(batch);
  await stand.expectEqual();
});

test('a table that another sink fills is not taken', async () => {
  await using stand = await ReplicaStand.open(server);
  await withRows(stand, 0);
  await using other = stand.place.sink({ name: 'second' });
  await other.open(stand.model.start(), stand.signal);
  const { durable } = other.apply({ ...(await replayOf(stand)), after: 0 }, stand.signal);
  await expect(durable).rejects.toMatchObject({ code: 'REPLICA_TABLE_TAKEN' });
});

/** The batch that made the table, once more. */
async function replayOf(stand: ReplicaStand) {
  const [table] = stand.model.tables;
  if (table === undefined) throw new Error('no table');
  stand.model.skip(1);
  const batch = stand.model.batch();
  await stand.send(batch);
  return { ...batch, steps: [{ kind: 'schema', before: null, after: table.schema } as const] };
}

test('enums, domains, composites and ranges are made, nested in each other', async () => {
  await using stand = await ReplicaStand.open(server);
  const mood: LogicalType = { kind: 'enum', name: 'Shop.mood', labels: ['sad', "o'k", 'happy'] };
  const size: LogicalType = { kind: 'domain', name: 'Shop.size', base: { kind: 'decimal', precision: 6, scale: 2 } };
  const place: LogicalType = { kind: 'composite', name: 'Shop.place', fields: [{ name: 'x y', type: size }, { name: 'm', type: mood }] };
  const span: LogicalType = { kind: 'range', name: 'Shop.span', element: { kind: 'float64' } };
  const table = stand.model.createTable('Shop', 'typed', [
    { name: 'id', type: INT, nativeType: 'integer', nullable: false },
    { name: 'm', type: mood, nativeType: '"Shop".mood' },
    { name: 'ms', type: { kind: 'array', element: mood }, nativeType: '"Shop".mood[]' },
    { name: 's', type: size, nativeType: '"Shop".size' },
    { name: 'p', type: place, nativeType: '"Shop".place' },
    { name: 'r', type: span, nativeType: '"Shop".span' },
  ], ['id']);
  stand.model.insert(table, ['1', "o'k", '{sad,happy}', '12.50', '(1.00,happy)', '[1.5,2)']);
  for (let id = 2; id < 40; id++) stand.model.insert(table, [String(id), null, '{}', null, '(,)', 'empty']);
  await stand.apply();
  stand.model.update(table, ['1', "o'k", '{sad,happy}', '12.50', '(1.00,happy)', '[1.5,2)'], ['1', 'sad', null, '0.00', '(,sad)', '(,)']);
  await stand.apply();
  await stand.expectEqual();
});

test('labels are added to an enum in their places and used in the same batch; one is renamed', async () => {
  await using stand = await ReplicaStand.open(server);
  const mood = (labels: readonly string[]): LogicalType => ({ kind: 'enum', name: 'public.mood', labels });
  const table = stand.model.createTable('public', 'moods', [
    { name: 'id', type: INT, nativeType: 'integer', nullable: false },
    { name: 'm', type: mood(['b', 'd']), nativeType: 'public.mood' },
  ], ['id']);
  stand.model.insert(table, ['1', 'b']);
  await stand.apply();
  const withLabels = (labels: readonly string[]): void => alter(stand, table, (columns) => [nth(columns, 0), nth(columns, 1, { type: mood(labels) })]);
  withLabels(['a', 'b', 'c', 'd', 'e']);
  stand.model.insert(table, ['2', 'a']);
  stand.model.insert(table, ['3', 'c']);
  await stand.apply();
  await stand.expectEqual();
  expect(await stand.sql("SELECT enum_range(NULL::mood)::text")).toEqual([['{a,b,c,d,e}']]);
  withLabels(['a', 'b', 'middle', 'd', 'e']);
  stand.model.insert(table, ['4', 'middle']);
  await stand.apply();
  expect(await stand.sql('SELECT id, m::text FROM moods ORDER BY m, id')).toEqual([[2, 'a'], [1, 'b'], [3, 'middle'], [4, 'middle']]);
});

test('a type that the replica lacks and that cannot be made says what to do', async () => {
  await using stand = await ReplicaStand.open(server);
  stand.model.createTable('public', 'tagged', [
    { name: 'id', type: INT, nativeType: 'integer', nullable: false },
    { name: 'tags', type: { kind: 'hstore' }, nativeType: 'public.hstore' },
  ], ['id']);
  const batch = stand.model.batch();
  await expect(stand.send(batch)).rejects.toMatchObject({ code: 'REPLICA_TYPE', retry: 'operator', where: { table: 'public.tagged' } });
  await stand.sql('CREATE EXTENSION hstore SCHEMA public');
  await stand.reopen();
  await stand.send(batch);
});

test('tables and schemas have other names at the replica', async () => {
  await using stand = await ReplicaStand.open(server, [], {
    options: { schemas: { crm: 'mirror' } },
    optionsOf: (table) => (table.name === 'special' ? { as: 'elsewhere.{schema}_{table}' } : {}),
  });
  for (const name of ['plain', 'special']) {
    const table = stand.model.createTable('crm', name, columnsOf({ id: 'integer' }), ['id']);
    stand.model.insert(table, ['1']);
  }
  await stand.apply();
  expect(await stand.sql('SELECT id FROM mirror.plain UNION ALL SELECT id FROM elsewhere.crm_special')).toEqual([[1], [1]]);
});

test('a change of shape that finds the table locked is tried again by the hub, and nothing of its batch stays', async () => {
  await using stand = await ReplicaStand.open(server, [], { options: { lock_timeout: '100ms' } });
  const table = await withRows(stand);
  await stand.sql('BEGIN');
  await stand.sql('LOCK TABLE things IN ACCESS SHARE MODE');
  stand.model.insert(table, ['4', null, null]);
  alter(stand, table, (columns) => [...columns, modelColumn({ name: 'n', type: INT, nativeType: 'integer' }, 10)]);
  const batch = stand.model.batch();
  await expect(stand.send(batch)).rejects.toMatchObject({ code: 'REPLICA_BUSY', retry: 'auto' });
  await stand.sql('COMMIT');
  expect((await stand.reopen())?.offset).toBe(batch.after);
  await stand.send(batch);
  await stand.expectEqual();
});
