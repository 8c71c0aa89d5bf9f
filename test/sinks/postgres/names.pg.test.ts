import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Column, TableSchema } from '../../../contracts/schema.ts';
import type { SinkStep } from '../../../contracts/sink.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { columnsOf, ReplicaStand } from './replica-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

test('two tables that would be one are refused with both names, and nothing of the first is lost', async () => {
  await using stand = await ReplicaStand.open(server, [], { options: { schemas: { a: 'shop', b: 'shop' } } });
  const first = stand.model.createTable('a', 'orders', columnsOf({ id: 'integer' }), ['id']);
  stand.model.insert(first, ['1']);
  await stand.apply();
  stand.model.createTable('b', 'orders', columnsOf({ id: 'integer' }), ['id']);
  const batch = stand.model.batch();
  const message = 'a.orders and b.orders would both be shop.orders at the replica';
  await expect(stand.send(batch)).rejects.toMatchObject({ code: 'REPLICA_NAMES', message, where: { table: 'b.orders' } });
  await stand.reopen();
  await expect(stand.send(batch)).rejects.toMatchObject({ code: 'REPLICA_NAMES' });
  expect(await stand.sql('SELECT id::text FROM shop.orders')).toEqual([['1']]);
});

test('names of MySQL that are too long for Postgres are cut, and stay two', async () => {
  await using stand = await ReplicaStand.open(server);
  const long = 'ö'.repeat(60);
  const column = (number: number, name: string): Column => ({ number, name, type: { kind: 'int32' }, nativeType: 'int', nullable: number > 1, constantDefault: null, fill: null, generated: 'no', identity: 'no' });
  for (const name of [`${long}1`, `${long}2`]) stand.model.createTable('shop', name, [column(1, 'id'), column(2, `${long}a`), column(3, `${long}b`)], ['id']);
  for (const table of stand.model.tables) stand.model.insert(table, [table.schema.name.slice(-1), '7', '8']);
  const fitted = (schema: TableSchema): TableSchema => ({ ...schema, dialect: 'mysql' });
  const batch = stand.model.batch();
  const steps = batch.steps.map((step): SinkStep => {
    if (step.kind === 'rows') return { ...step, tables: step.tables.map((table) => ({ ...table, schema: fitted(table.schema) })) };
    return step.kind === 'schema' ? { ...step, after: fitted(step.after) } : step;
  });
  await stand.send({ ...batch, steps });
  const names = await stand.sql("SELECT relname FROM pg_class WHERE relnamespace = 'shop'::regnamespace AND relkind = 'r' ORDER BY relname");
  expect(names).toHaveLength(2);
  for (const [name] of names) {
    expect(name).toMatch(/^ö+_[0-9a-f]{8}$/);
    const [row] = await stand.sql(`SELECT to_jsonb(t)::text FROM shop."${name}" AS t`);
    expect(row?.[0]).toMatch(/^\{"id": [12], "ö+_[0-9a-f]{8}": [78], "ö+_[0-9a-f]{8}": [78]\}$/);
  }
});
