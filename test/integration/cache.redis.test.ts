import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { startRedis, type RedisServer } from '../fixtures/redis.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { startShopWorkload } from '../fixtures/shop/workload.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource } from '../fixtures/test-hub.ts';

describe('a replica and a cache from one log', () => {
  let server: PostgresServer;
  let redis: RedisServer;
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    server = await startPostgres({ databases: ['source', 'replica'] });
    redis = await startRedis();
    directory = await temporaryDirectory('cache');
    await createShop(server.url('source'));
  });

  afterAll(async () => {
    await redis?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  function config() {
    const cache = testSink('cache', 'redis', redis.url, {
      tables: (table) => table.name === 'customers' || table.name === 'stock',
      tablePatterns: ['public.customers', 'public.stock'],
      optionsOf: (table) => ({ key: table.name === 'customers' ? 'customer:{id}' : 'stock:{product_id}' }),
      tableOptions: new Map([['public.customers', { key: 'customer:{id}' }], ['public.stock', { key: 'stock:{product_id}' }]]),
    });
    return testConfig(directory.path, testSource(server.url('source')), [testSink('replica', 'postgres', server.url('replica')), cache]);
  }

  async function expectCacheEqual(): Promise<void> {
    await using client = redis.client();
    const rows = await server.query<Record<string, string>>('SELECT id::text, name, balance::text FROM customers', [], 'source');
    const stock = await server.query<Record<string, string>>('SELECT product_id::text, quantity::text, sold::text FROM stock', [], 'source');
    expect((await client.keys('customer:*')).length).toBe(rows.length);
    expect((await client.keys('stock:*')).length).toBe(stock.length);
    for (const { id, ...rest } of rows) expect(await client.hgetall(`customer:${id}`)).toMatchObject(rest);
    for (const { product_id: id, ...rest } of stock) expect(await client.hgetall(`stock:${id}`)).toMatchObject(rest);
  }

  it('equals the source after a busy while, in which the cache was frozen and the replica went on', async () => {
    await using test = await startTestHub(config());
    await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    await using workload = startShopWorkload({ url: server.url('source'), transactionsPerSecond: 300 });
    redis.freeze();
    while (workload.counts.transactions < 300) await Promise.race([workload.failed, test.runtime.clock.sleep(20)]);
    const [lsn] = await server.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn() AS lsn', [], 'source');
    const offset = await test.hub.wait('replica', { position: `lsn:${lsn?.lsn}` }, AbortSignal.timeout(20_000));
    const { sinks } = await test.hub.status();
    expect(sinks.find((sink) => sink.name === 'cache')?.offset).toBeLessThan(offset);
    redis.thaw();
    await workload.stop();
    await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    const compared = await compareDatabases(server.url('source'), server.url('replica'));
    expect(compared.filter((table) => !table.equal)).toEqual([]);
    await expectCacheEqual();
  });

  it('is rebuilt in place when it was emptied, and loses what should not be there', async () => {
    await using test = await startTestHub(config());
    await test.hub.untilCaughtUp(AbortSignal.timeout(20_000));
    {
      await using client = redis.client();
      await client.flushall();
      await client.hset('customer:999999', { name: 'nobody' });
    }
    await server.query('DELETE FROM customers WHERE id IN (SELECT id FROM customers EXCEPT SELECT customer_id FROM orders LIMIT 3)', [], 'source');
    await server.query('UPDATE customers SET balance = balance + 1 WHERE id < 50', [], 'source');
    await test.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    await expectCacheEqual();
    expect(test.runtime.lines.map((line) => line.event)).toContain('sink.rebuilt');
  });
});
