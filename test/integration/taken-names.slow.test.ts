import { afterAll, beforeAll, describe, it } from 'vitest';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { type RedisServer, startRedis } from '../fixtures/redis.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource } from '../fixtures/test-hub.ts';

/** Each list of statements is run by itself, and the replica is compared after each. */
const CASES: readonly (readonly [string, readonly string[]])[] = [
  ['two tables change names in one transaction', [
    `BEGIN; ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b; INSERT INTO a VALUES (10, 'was b'); INSERT INTO b VALUES (10, 'was a'); COMMIT`,
    `UPDATE a SET v = v || '!'; DELETE FROM b WHERE id = 1`,
  ]],
  ['two tables change names, and only one is written', [
    `BEGIN; ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b; INSERT INTO a VALUES (10, 'was b'); COMMIT`,
    `INSERT INTO b VALUES (11, 'was a')`,
  ]],
  ['three tables go round', [
    `BEGIN; ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b; ALTER TABLE x RENAME TO c;
     INSERT INTO a VALUES (10, 'was b'); INSERT INTO b VALUES (10, 'was c'); INSERT INTO c VALUES (10, 'was a'); COMMIT`,
  ]],
  ['a table is put aside, and a new one takes its name', [
    `BEGIN; ALTER TABLE a RENAME TO a_old; CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'new'); COMMIT`,
    `INSERT INTO a_old VALUES (12, 'old')`,
    `INSERT INTO a VALUES (2, 'new')`,
  ]],
  ['a table is dropped, and another takes its name', [
    `BEGIN; DROP TABLE a; ALTER TABLE b RENAME TO a; INSERT INTO a VALUES (10, 'was b'); COMMIT`,
    `INSERT INTO a VALUES (11, 'was b')`,
  ]],
  ['a rebuilt table takes the place of the old one, which is dropped', [
    `CREATE TABLE a_new (id int PRIMARY KEY, v text); INSERT INTO a_new SELECT id, v || ' rebuilt' FROM a`,
    `BEGIN; ALTER TABLE a RENAME TO a_old; ALTER TABLE a_new RENAME TO a; INSERT INTO a VALUES (10, 'rebuilt'); COMMIT`,
    `DROP TABLE a_old; INSERT INTO a VALUES (11, 'rebuilt')`,
  ]],
];

describe('at a replica and in a cache, where names change hands', () => {
  let server: PostgresServer;
  let redis: RedisServer;
  let databases = 0;

  beforeAll(async () => {
    [server, redis] = await Promise.all([startPostgres(), startRedis()]);
  });

  afterAll(async () => {
    await redis?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  /** The cache has the table's rows under its name, and no others. */
  async function cacheEquals(source: string, database: number, table: string): Promise<boolean> {
    await using client = redis.client();
    await client.select(database);
    const rows = await server.query<{ id: string; v: string }>(`SELECT id::text, v FROM ${table}`, [], source);
    const keys = await client.keys(`${table}:*`);
    const cached = await Promise.all(rows.map(({ id }) => client.hget(`${table}:${id}`, 'v')));
    return keys.length === rows.length && rows.every(({ v }, index) => cached[index] === v);
  }

  it.concurrent.for(CASES)('%s', async ([, lists], { expect }) => {
    const id = ++databases;
    const [source, replica] = [`source_${id}`, `replica_${id}`];
    for (const name of [source, replica]) await server.query(`CREATE DATABASE ${name}`);
    await server.query(`
      CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text); CREATE TABLE c (id int PRIMARY KEY, v text);
      INSERT INTO a VALUES (1, 'a1'), (2, 'a2'); INSERT INTO b VALUES (1, 'b1'); INSERT INTO c VALUES (1, 'c1')`, [], source);
    await using directory = await temporaryDirectory('names');
    const config = testConfig(directory.path, testSource(server.url(source), { options: { slot: `slot_${id}` } }), [
      testSink('replica', 'postgres', server.url(replica)), testSink('cache', 'redis', `${redis.url}/${id}`),
    ]);
    await using test = await startTestHub(config);
    await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    for (const list of lists) {
      await server.query(list, [], source);
      await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
      // A table that is not written after its change of name has it in the log once the catalog was looked at again.
      await expect.poll(async () => {
        const tables = await compareDatabases(server.url(source), server.url(replica));
        const cached = await Promise.all(tables.map(async ({ table }) => ((await cacheEquals(source, id, table)) ? [] : [`${table} in the cache`])));
        return [...tables.filter(({ equal }) => !equal).map(({ table }) => table), ...cached.flat()];
      }, { timeout: 40_000, interval: 300 }).toEqual([]);
      expect((await test.hub.status()).sinks.map(({ error }) => error)).toEqual([null, null]);
    }
  });
});
