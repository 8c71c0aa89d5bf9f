/** What a server changes without writing it into its binlog is refused, or stops its table. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Catalog } from '../../../contracts/catalog.ts';
import { isError } from '../../../contracts/kit/sink-kit-stand.ts';
import { startMysql, type MysqlServer } from '../../fixtures/mysql.ts';
import { replicaOf } from '../../fixtures/mysql-replica.ts';
import { MysqlKitSource } from './kit-source.ts';
import { Following } from './schema/following.ts';
import { never } from './mysql-source.ts';

const FRESH = { position: null, catalog: Catalog.from([]) };

async function prepared(source: MysqlKitSource): Promise<void> {
  await using connector = source.connector();
  await connector.prepare(FRESH, never);
}

let server: MysqlServer;
beforeAll(async () => {
  server = await startMysql({ version: 'mysql-8.0', settings: { binlog_ignore_db: 'hidden' }, databases: ['shop', 'hidden'] });
});
afterAll(() => server[Symbol.asyncDispose]());

test('databases that are left out of the binlog, engines without rows in it', async () => {
  const source = await MysqlKitSource.make(server);
  await source.createTable('fine');
  await prepared(source);
  await source.query('CREATE TABLE hole (id int PRIMARY KEY) ENGINE=BLACKHOLE');
  await expect(prepared(source)).rejects.toSatisfy(isError('MYSQL_ENGINE'));
  await source.forget();
  await server.query('CREATE TABLE hidden.t (id int PRIMARY KEY)');
  Object.assign(source.config, { tables: ({ namespace }: { namespace: string }) => namespace === 'hidden' });
  await expect(prepared(source)).rejects.toSatisfy(isError('MYSQL_BINLOG_OFF'));
});

test('a foreign key that is added later, and changes rows', async () => {
  await using following = await Following.begin(server, { logsCascades: false });
  await following.settled('CREATE TABLE p (id int PRIMARY KEY)', 'CREATE TABLE c (id int PRIMARY KEY, p int)');
  await following.run('INSERT INTO p VALUES (1)', 'INSERT INTO c VALUES (1, 1)', 'ALTER TABLE c ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE', 'DELETE FROM p');
  expect(await server.query('SELECT * FROM shop.c')).toEqual([]);
  expect(following.table('c')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_CASCADE', recopy: false });
  await following.settle();
  expect(following.table('c')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_CASCADE', recopy: false });
  await following.run('ALTER TABLE c DROP FOREIGN KEY f');
  await following.settle();
  expect(following.table('c')?.state).toMatchObject({ state: 'stopped', recopy: true });
});

test('a replica that does not write on what it gets', async () => {
  await using replica = await replicaOf(server, { settings: { log_replica_updates: false } });
  const source = await MysqlKitSource.make(server);
  await source.createTable('t');
  await prepared(source);
  Object.assign(source.config.options, { url: replica.server.url() });
  await expect(prepared(source)).rejects.toSatisfy(isError('MYSQL_BINLOG_OFF'));
});
