import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SinkBatch } from '../../../contracts/sink.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { columnsOf, ReplicaStand } from './replica-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
});

const CURSOR = Buffer.alloc(40, 7);

/** What the model has gathered, as a part of a base. */
function loaded(stand: ReplicaStand, cursor: Uint8Array | null = CURSOR): SinkBatch {
  return { ...stand.model.batch(), after: 0, to: 0, cursor };
}

test('a table of checkpoints that an earlier version made gets the cursor, and keeps what it has', async () => {
  await using stand = await ReplicaStand.open(server);
  const things = stand.model.createTable('public', 'things', columnsOf({ id: 'integer', name: 'text' }), ['id']);
  stand.model.insert(things, ['1', 'one']);
  const { to } = await stand.apply();
  await stand.sql('ALTER TABLE tidemark.checkpoint DROP COLUMN load_cursor');
  expect(await stand.reopen()).toMatchObject({ offset: to, cursor: null });
  stand.model.insert(things, ['2', 'two']);
  await stand.apply();
  await stand.expectEqual();
});

test('rows of a base that break a rule which was added at the replica are refused: none goes for another', async () => {
  await using stand = await ReplicaStand.open(server);
  const things = stand.model.createTable('public', 'things', columnsOf({ id: 'integer', name: 'text' }), ['id']);
  await stand.send(loaded(stand));
  await stand.sql('CREATE UNIQUE INDEX ON things (name)');
  await stand.reopen();
  stand.model.insert(things, ['1', 'same']);
  stand.model.insert(things, ['2', 'same']);
  await expect(stand.send(loaded(stand, Buffer.alloc(41, 8)))).rejects.toMatchObject({ code: 'SINK_DATA' });
  expect(await stand.reopen()).toMatchObject({ offset: 0, cursor: CURSOR });
  expect(await stand.sql('SELECT count(*)::text FROM things')).toEqual([['0']]);
});

test('unique values in any order fill a table that has a rule for them', async () => {
  await using stand = await ReplicaStand.open(server);
  const things = stand.model.createTable('public', 'things', columnsOf({ id: 'integer', name: 'text' }), ['id']);
  await stand.send(loaded(stand));
  await stand.sql('CREATE UNIQUE INDEX ON things (name)');
  await stand.reopen();
  for (let id = 1; id <= 500; id++) stand.model.insert(things, [String(id), `name ${(id * 7919) % 500}`]);
  await stand.send(loaded(stand));
  await stand.expectEqual();
});

/** `primary` of the table and of the sink's record of it. */
async function keysOf(stand: ReplicaStand, table: string): Promise<(string | null)[]> {
  const [row] = await stand.sql(
    `SELECT (SELECT string_agg(conname, ',') FROM pg_constraint WHERE conrelid = '${table}'::regclass AND contype = 'p'),
            (SELECT shape ->> 'keyKind' FROM tidemark.mirrored_table WHERE table_name = '${table}')`);
  return row ?? [];
}

const cursorAt = (n: number): Buffer => Buffer.alloc(40, n);

test('a table that the load makes gets its key behind its last row, where these come in several batches', async () => {
  await using stand = await ReplicaStand.open(server);
  const columns = columnsOf({ id: 'integer', name: 'text' });
  const things = stand.model.createTable('public', 'things', columns, ['id']);
  const small = stand.model.createTable('public', 'small', columns, ['id']);
  for (let id = 1; id <= 100; id++) stand.model.insert(things, [String(id), 'first']);
  stand.model.insert(small, ['1', 'one']);
  stand.model.tableState(small, 'loaded');
  await stand.send(loaded(stand, cursorAt(1)));
  expect(await keysOf(stand, 'things')).toEqual([null, 'none']);
  expect(await keysOf(stand, 'small')).toEqual(['small_pkey', 'primary']);
  expect(await stand.reopen()).toMatchObject({ offset: 0, cursor: cursorAt(1) });
  for (let id = 101; id <= 200; id++) stand.model.insert(things, [String(id), 'second']);
  await stand.send(loaded(stand, cursorAt(2)));
  expect(await keysOf(stand, 'things')).toEqual([null, 'none']);
  stand.model.tableState(things, 'loaded');
  await stand.send(loaded(stand, cursorAt(3)));
  expect(await keysOf(stand, 'things')).toEqual(['things_pkey', 'primary']);
  await stand.send({ ...stand.model.batch(), after: 0 });
  stand.model.update(things, ['1', 'first'], ['1', 'changed']);
  stand.model.delete(things, ['150', 'second']);
  await stand.apply();
  await stand.expectEqual();
});

test('a key that somebody makes while the table is filled is kept; one that was there before is not taken away', async () => {
  await using stand = await ReplicaStand.open(server, ['CREATE TABLE there (id integer CONSTRAINT own PRIMARY KEY, name text)']);
  const columns = columnsOf({ id: 'integer', name: 'text' });
  const [things, there] = [stand.model.createTable('public', 'things', columns, ['id']), stand.model.createTable('public', 'there', columns, ['id'])];
  stand.model.insert(things, ['1', 'one']);
  stand.model.insert(there, ['1', 'one']);
  await stand.send(loaded(stand, cursorAt(1)));
  expect(await keysOf(stand, 'there')).toEqual(['own', 'primary']);
  await stand.sql('ALTER TABLE things ADD CONSTRAINT mine PRIMARY KEY (id)');
  for (const table of [things, there]) {
    stand.model.insert(table, ['2', 'two']);
    stand.model.tableState(table, 'loaded');
  }
  await stand.send(loaded(stand, cursorAt(2)));
  expect(await keysOf(stand, 'things')).toEqual(['mine', 'primary']);
  expect(await keysOf(stand, 'there')).toEqual(['own', 'primary']);
  await stand.send({ ...stand.model.batch(), after: 0 });
  stand.model.update(things, ['1', 'one'], ['1', 'changed']);
  await stand.apply();
  await stand.expectEqual();
});

test('a reader that leaves no room for the key has the last batch tried again, and loses nothing', async () => {
  await using stand = await ReplicaStand.open(server, [], { options: { lock_timeout: '100ms' } });
  const things = stand.model.createTable('public', 'things', columnsOf({ id: 'integer', name: 'text' }), ['id']);
  stand.model.insert(things, ['1', 'one']);
  await stand.send(loaded(stand, cursorAt(1)));
  await stand.sql('BEGIN');
  expect(await stand.sql('SELECT name FROM things')).toEqual([['one']]);
  stand.model.insert(things, ['2', 'two']);
  stand.model.tableState(things, 'loaded');
  const last = loaded(stand, cursorAt(2));
  await expect(stand.send(last)).rejects.toMatchObject({ code: 'REPLICA_BUSY', retry: 'auto' });
  await stand.sql('COMMIT');
  expect(await stand.reopen()).toMatchObject({ offset: 0, cursor: cursorAt(1) });
  await stand.send(last);
  expect(await keysOf(stand, 'things')).toEqual(['things_pkey', 'primary']);
  await stand.expectEqual();
});
