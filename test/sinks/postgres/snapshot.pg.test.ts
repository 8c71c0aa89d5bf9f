import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildKey } from '../../../contracts/key.ts';
import { sumsAreOfRows } from '../../../contracts/kit/row-sums.ts';
import type { ModelColumn, ModelTable } from '../../../contracts/kit/sink-model.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import type { ReplicaSnapshot } from '../../../sinks/postgres/snapshot.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { columnsOf, ReplicaStand } from './replica-stand.ts';
import { cellsOf, keysOf, logRows } from './snapshot-rows.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };

function snapshotOf(stand: ReplicaStand): Promise<ReplicaSnapshot> {
  return stand.sink.snapshot(stand.model.start(), stand.signal);
}

/** What the snapshot shows beside what it expects. */
async function compare(stand: ReplicaStand, table: ModelTable, snapshot: ReplicaSnapshot) {
  const found = await cellsOf(snapshot.rows(table.schema, stand.signal));
  const expected = await cellsOf([await snapshot.expected(table.schema, logRows(table), stand.signal)]);
  return { found, expected };
}

async function expectSame(stand: ReplicaStand, table: ModelTable, isSummed = true): Promise<void> {
  await using snapshot = await snapshotOf(stand);
  const { found, expected } = await compare(stand, table, snapshot);
  expect(found).toEqual(expected);
  expect(found.size).toBe(table.expected().length);
  expect(await sumsAreOfRows(snapshot, table.schema, stand.signal)).toBe(isSummed);
  const keys = keysOf(await snapshot.expected(table.schema, logRows(table), stand.signal));
  if (table.schema.keyKind !== 'none') expect(await cellsOf(snapshot.find(table.schema, keys, stand.signal))).toEqual(expected);
}

function fill(stand: ReplicaStand, table: ModelTable, rows: readonly (readonly (string | Buffer | null)[])[]): Promise<unknown> {
  for (const row of rows) stand.model.insert(table, row);
  return stand.apply();
}

async function things(stand: ReplicaStand, rows = 20): Promise<ModelTable> {
  const table = stand.model.createTable('public', 'things', columnsOf({ id: 'integer', name: 'text', amount: 'numeric' }), ['id']);
  await fill(stand, table, Array.from({ length: rows }, (_, index) => [String(index + 1), `name ${index + 1}`, index % 2 === 0 ? null : '1.50']));
  return table;
}

describe('differences', () => {
  test('a row that was changed, removed or added at the replica is seen, byte for byte', async () => {
    await using stand = await ReplicaStand.open(server);
    const table = await things(stand);
    await stand.sql(`UPDATE public.things SET amount = 1.5 WHERE id = 2; UPDATE public.things SET name = 'other' WHERE id = 3;
      DELETE FROM public.things WHERE id = 4; INSERT INTO public.things VALUES (99, 'added')`);
    await using snapshot = await snapshotOf(stand);
    const { found, expected } = await compare(stand, table, snapshot);
    const differing = [...new Set([...found.keys(), ...expected.keys()])].filter((key) => JSON.stringify(found.get(key)) !== JSON.stringify(expected.get(key)));
    expect(differing.toSorted()).toEqual(['2', '3', '4', '99'].map((id) => buildKey([id]).toString('hex')).toSorted());
    expect(found.get(buildKey(['2']).toString('hex'))).toEqual(['2', 'name 2', '1.5']);
  });
});

describe('what users do to the tables of a replica', () => {
  test('columns and indexes of their own, triggers, views: no difference', async () => {
    await using stand = await ReplicaStand.open(server);
    const table = await things(stand);
    await stand.sql(`ALTER TABLE public.things ADD own text DEFAULT 'x', ADD total numeric GENERATED ALWAYS AS (amount * 2) STORED; CREATE INDEX ON public.things (name);
      CREATE VIEW public.shown AS SELECT * FROM public.things`);
    await expectSame(stand, table);
  });

  test('a column that the replica computes is left out of the comparison', async () => {
    await using stand = await ReplicaStand.open(server, [
      `CREATE TABLE public.things (id integer PRIMARY KEY, name text, amount numeric GENERATED ALWAYS AS (id * 2) STORED)`,
    ]);
    await expectSame(stand, await things(stand), false);
  });

  test('types of their own: what the replica makes of the value of the log is expected', async () => {
    const columns: ModelColumn[] = [
      { name: 'id', type: { kind: 'int32' }, nativeType: 'integer', nullable: false },
      { name: 'doc', type: { kind: 'json' }, nativeType: 'json' },
      { name: 'at', type: { kind: 'timestamptz', digits: 6 }, nativeType: 'timestamp with time zone' },
      { name: 'code', type: { kind: 'text', length: 20, fixed: false }, nativeType: 'character varying(20)' },
      { name: 'data', type: { kind: 'bytes' }, nativeType: 'bytea' },
      { name: 'amount', type: { kind: 'decimal', precision: 10, scale: 2 }, nativeType: 'numeric(10,2)' },
    ];
    await using stand = await ReplicaStand.open(server, [
      `CREATE TABLE public.typed (id bigint PRIMARY KEY, doc jsonb, at timestamptz(0), code text, data text, amount numeric)`,
    ]);
    const table = stand.model.createTable('public', 'typed', columns, ['id']);
    await fill(stand, table, [
      ['1', '{"b": 1,   "a": 1.000, "a": 2}', '2026-01-01 00:00:00.123456+00', 'a b', Buffer.from([0, 255, 92]), '1.10'],
      ['2', null, null, null, null, null],
      ['3', '"x"', 'infinity', '', Buffer.alloc(0), 'NaN'],
    ]);
    await expectSame(stand, table, false);
    await stand.sql(`UPDATE public.typed SET doc = '{"a": 3}' WHERE id = 1`);
    await using snapshot = await snapshotOf(stand);
    const { found, expected } = await compare(stand, table, snapshot);
    expect(found).not.toEqual(expected);
  });

  test('partitions at the replica, and a table that inherits', async () => {
    await using stand = await ReplicaStand.open(server, [
      `CREATE TABLE public.things (id integer PRIMARY KEY, name text, amount numeric) PARTITION BY RANGE (id)`,
      `CREATE TABLE public.things_1 PARTITION OF public.things FOR VALUES FROM (0) TO (10)`, `CREATE TABLE public.things_2 PARTITION OF public.things DEFAULT`,
    ]);
    const parted = await things(stand);
    await expectSame(stand, parted);
    await using snapshot = await snapshotOf(stand);
    await stand.sql('TRUNCATE public.things_2');
    await expect(cellsOf(snapshot.rows(parted.schema, stand.signal))).rejects.toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
    await using plain = await ReplicaStand.open(server);
    const table = await things(plain);
    await plain.sql('CREATE TABLE public.heir (extra int) INHERITS (public.things); INSERT INTO public.heir VALUES (99, \'not ours\')');
    await expectSame(plain, table);
  });
});

describe('names and keys', () => {
  test('tables that stand under another name', async () => {
    await using stand = await ReplicaStand.open(server, [], { options: { schemas: { public: 'mirror "1"' } }, optionsOf: () => ({ as: '{table}_copy' }) });
    await expectSame(stand, await things(stand));
  });

  test('keys of several columns and types', async () => {
    await using stand = await ReplicaStand.open(server, ['CREATE EXTENSION citext']);
    const columns: ModelColumn[] = [
      { name: 'b', type: { kind: 'bytes' }, nativeType: 'bytea', nullable: false },
      { name: 'c', type: TEXT, nativeType: 'public.citext', nullable: false },
      { name: 'd', type: { kind: 'timestamp', digits: 6 }, nativeType: 'timestamp without time zone', nullable: false },
      { name: 'v', type: TEXT, nativeType: 'text' },
    ];
    const table = stand.model.createTable('public', 'keyed', columns, ['c', 'd', 'b']);
    await fill(stand, table, [
      [Buffer.from([0, 1]), "It's", '0044-03-15 12:00:00 BC', 'x'],
      [Buffer.alloc(0), '\\', 'infinity', null],
      [Buffer.from([92]), '{"a",b}', '2026-01-01 00:00:00.000001', ''],
    ]);
    await expectSame(stand, table);
  });

  test('a table without a key', async () => {
    await using stand = await ReplicaStand.open(server);
    const table = stand.model.createTable('public', 'bag', columnsOf({ id: 'integer', name: 'text' }), []);
    await fill(stand, table, [['1', 'a'], ['1', 'a'], ['2', null]]);
    await using snapshot = await snapshotOf(stand);
    let rows = 0;
    for await (const batch of snapshot.rows(table.schema, stand.signal)) rows += batch.count;
    expect(rows).toBe(3);
  });
});

describe('a table that is not as asked for', () => {
  test('gone, or without a column: somebody must see to it', async () => {
    await using stand = await ReplicaStand.open(server);
    const table = await things(stand);
    await stand.sql('ALTER TABLE public.things DROP name');
    await using without = await snapshotOf(stand);
    const refusal = { code: 'VERIFY_TABLE', retry: 'operator', where: { table: 'public.things', sink: 'replica' } };
    await expect(cellsOf(without.rows(table.schema, stand.signal))).rejects.toMatchObject(refusal);
    await stand.sql('DROP TABLE public.things');
    await using gone = await snapshotOf(stand);
    await expect(cellsOf(gone.rows(table.schema, stand.signal))).rejects.toMatchObject(refusal);
    await expect(gone.expected(table.schema, logRows(table), stand.signal)).rejects.toMatchObject(refusal);
    await stand.sql('CREATE VIEW public.things AS SELECT 1 AS id');
    await using view = await snapshotOf(stand);
    await expect(cellsOf(view.rows(table.schema, stand.signal))).rejects.toMatchObject(refusal);
  });

  test.each([
    ['rewritten', 'VACUUM FULL public.things'],
    ['emptied', 'TRUNCATE public.things'],
    ['renamed', 'ALTER TABLE public.things RENAME TO other'],
    ['made anew', 'DROP TABLE public.things; CREATE TABLE public.things (id int PRIMARY KEY, name text, amount numeric)'],
  ])('%s since the snapshot: tried again', async (_name, change) => {
    await using stand = await ReplicaStand.open(server);
    const table = await things(stand);
    await using snapshot = await snapshotOf(stand);
    for (const statement of change.split('; ')) await stand.sql(statement);
    await expect(cellsOf(snapshot.rows(table.schema, stand.signal))).rejects.toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
  });

  test('its shape was changed by the sink since the snapshot: rows in the old one, which is what was asked for, or another try', async () => {
    await using stand = await ReplicaStand.open(server);
    const table = await things(stand);
    const before = table.schema;
    const expected = await cellsOf([logRows(table)]);
    await using snapshot = await snapshotOf(stand);
    stand.model.alterTable(table, { columns: [...before.columns, { ...(before.columns[1] as (typeof before.columns)[number]), number: 9, name: 'more', fill: 'filled' }] });
    await stand.apply();
    expect(await cellsOf(snapshot.rows(before, stand.signal))).toEqual(expected);
    await expect(cellsOf(snapshot.rows(table.schema, stand.signal))).rejects.toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
    await expectSame(stand, table);
  });

  test('locked by somebody: tried again, and nobody is kept waiting by an open snapshot', async () => {
    await using stand = await ReplicaStand.open(server);
    const table = await things(stand);
    await using snapshot = await snapshotOf(stand);
    await stand.sql('BEGIN; LOCK TABLE public.things IN ACCESS EXCLUSIVE MODE');
    await expect(cellsOf(snapshot.rows(table.schema, stand.signal))).rejects.toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
    await stand.sql('ROLLBACK');
    expect((await cellsOf(snapshot.rows(table.schema, stand.signal))).size).toBe(20);
    stand.model.truncate(table);
    await stand.apply();
  });
});

describe('the sessions', () => {
  test('do not hold the sink up while rows are read slowly, and hold the server back', async () => {
    await using stand = await ReplicaStand.open(server);
    const table = stand.model.createTable('public', 'things', columnsOf({ id: 'integer', name: 'text', amount: 'numeric' }), ['id']);
    await fill(stand, table, Array.from({ length: 6_000 }, (_, index) => [String(index), 'x'.repeat(4_000), null]));
    await using snapshot = await snapshotOf(stand);
    const reading = snapshot.rows(table.schema, stand.signal);
    const first = await reading.next();
    const waits = async () => (await stand.sql(`SELECT wait_event FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() AND query ~ '^COPY' AND state = 'active'`))[0]?.[0];
    await expect.poll(waits).toBe('ClientWrite');
    stand.model.delete(table, ['1', 'x'.repeat(4_000), null]);
    await stand.apply();
    let rows = first.done === true ? 0 : first.value.count;
    for await (const batch of reading) rows += batch.count;
    expect(rows).toBe(6_000);
  });

  test('give way to the sink where it empties the table', async () => {
    await using stand = await ReplicaStand.open(server);
    const table = stand.model.createTable('public', 'things', columnsOf({ id: 'integer', name: 'text', amount: 'numeric' }), ['id']);
    await fill(stand, table, Array.from({ length: 6_000 }, (_, index) => [String(index), 'x'.repeat(4_000), null]));
    await using snapshot = await snapshotOf(stand);
    const reading = snapshot.rows(table.schema, stand.signal);
    await reading.next();
    stand.model.truncate(table);
    const emptied = stand.apply();
    await expect.poll(() => reading.next().then(() => null, (error: unknown) => error), { interval: 200 }).toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
    await emptied;
    await expectSame(stand, table);
  });

  test('lost: the snapshot is lost, and worth another try', async () => {
    await using stand = await ReplicaStand.open(server);
    const table = await things(stand);
    await using snapshot = await snapshotOf(stand);
    await stand.sql(`SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE application_name = 'tidemark replica (verify)'
      AND datname = pg_catalog.current_database() AND state = 'idle in transaction'`);
    await expect.poll(() => cellsOf(snapshot.rows(table.schema, stand.signal)).then(() => null, (error: unknown) => error)).toMatchObject({
      code: 'SINK_UNREACHABLE', retry: 'auto',
    });
  });

  test('end with the snapshot', async () => {
    await using stand = await ReplicaStand.open(server);
    const table = await things(stand);
    {
      await using snapshot = await snapshotOf(stand);
      expect((await cellsOf(snapshot.rows(table.schema, stand.signal))).size).toBe(20);
    }
    const left = () => stand.sql(`SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = 'tidemark replica (verify)' AND datname = pg_catalog.current_database()`);
    await expect.poll(left).toEqual([]);
  });
});
