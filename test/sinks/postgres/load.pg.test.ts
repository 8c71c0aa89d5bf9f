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
