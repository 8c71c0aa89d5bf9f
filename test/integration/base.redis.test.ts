import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { startRedis, type RedisServer } from '../fixtures/redis.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { startShopWorkload } from '../fixtures/shop/workload.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource, type TestHub } from '../fixtures/test-hub.ts';

describe('a log of which most has been folded into its base', () => {
  let server: PostgresServer;
  let redis: RedisServer;
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    server = await startPostgres({ databases: ['source', 'first', 'late'] });
    redis = await startRedis();
    directory = await temporaryDirectory('base');
    await createShop(server.url('source'));
    await server.query(
      `CREATE TABLE wide (id int PRIMARY KEY, n int, body text);
       INSERT INTO wide SELECT i, 0, (SELECT string_agg(md5((i * j)::text), '') FROM generate_series(1, 200) AS j) FROM generate_series(1, 40) AS i;
       CREATE TABLE bag (a int, b text); ALTER TABLE bag REPLICA IDENTITY FULL;
       INSERT INTO bag SELECT i % 5, 'x' FROM generate_series(1, 20) AS i`,
      [], 'source',
    );
  });

  afterAll(async () => {
    await redis?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  const replica = (database: string) => testSink(database, 'postgres', server.url(database));
  const cache = () => testSink('cache', 'redis', redis.url, {
    tables: (table) => table.name === 'customers', tablePatterns: ['public.customers'],
    optionsOf: () => ({ key: 'customer:{id}' }), tableOptions: new Map([['public.customers', { key: 'customer:{id}' }]]),
  });

  function start(...sinks: ReturnType<typeof replica>[]): Promise<TestHub> {
    return startTestHub(testConfig(directory.path, testSource(server.url('source')), sinks));
  }

  async function busy(test: TestHub): Promise<void> {
    await using workload = startShopWorkload({ url: server.url('source'), transactionsPerSecond: 300 });
    while (workload.counts.transactions < 200) await Promise.race([workload.failed, test.runtime.clock.sleep(20)]);
    await workload.stop();
    await server.query(`UPDATE wide SET n = n + 1 WHERE id % 3 = 0; DELETE FROM bag WHERE a = 2 AND ctid = (SELECT min(ctid) FROM bag WHERE a = 2); INSERT INTO bag VALUES (7, 'y')`, [], 'source');
    await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
  }

  /** With the hub stopped: folds all that has been sealed. */
  async function fold(): Promise<number> {
    await using engine = await EmbeddedLogEngine.create(directory.path, createTestRuntime());
    const log = await engine.open('shop', { create: false });
    return await log.compact(log.state().highWatermark, { memoryBytes: 8 << 20, share: 1 }, AbortSignal.timeout(20_000));
  }

  async function expectReplica(database: string): Promise<void> {
    const compared = await compareDatabases(server.url('source'), server.url(database));
    expect(compared.filter((table) => !table.equal)).toEqual([]);
    expect(compared.length).toBe(7);
  }

  async function expectCache(): Promise<void> {
    await using client = redis.client();
    const rows = await server.query<Record<string, string>>('SELECT id::text, name, balance::text FROM customers', [], 'source');
    expect((await client.keys('customer:*')).length).toBe(rows.length);
    for (const { id, ...rest } of rows) expect(await client.hgetall(`customer:${id}`)).toMatchObject(rest);
  }

  it('goes on for the sinks that it has, and fills new ones: a replica, a cache', async () => {
    {
      await using test = await start(replica('first'));
      await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
      await busy(test);
    }
    // An opening seals what the one before has written.
    expect(await fold()).toBeGreaterThan(0);
    {
      await using test = await start(replica('first'));
      await busy(test);
      await expectReplica('first');
    }
    const horizon = await fold();
    expect(horizon).toBeGreaterThan(0);
    {
      await using test = await start(replica('first'), replica('late'), cache());
      await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
      const { sources } = await test.hub.status();
      expect(sources[0]?.horizon).toBe(horizon);
      expect(test.runtime.lines.filter(({ event }) => event === 'sink.loading').length).toBe(2);
      await busy(test);
      for (const database of ['first', 'late']) await expectReplica(database);
      await expectCache();
      // A re-copy finds what is stale although the rows from before it are in the base.
      await server.query('SET session_replication_role = replica; DELETE FROM order_lines; DELETE FROM orders', [], 'source');
      await test.hub.recopy('shop', 'public.customers');
      await busy(test);
      for (const database of ['first', 'late']) await expectReplica(database);
    }
    // The cache loses all that it has: it is rebuilt in place from the base.
    expect(await fold()).toBeGreaterThan(horizon);
    {
      await using client = redis.client();
      await client.flushall();
    }
    {
      await using test = await start(replica('first'), replica('late'), cache());
      await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
      await busy(test);
      await expectCache();
      for (const database of ['first', 'late']) await expectReplica(database);
    }
  });
});
