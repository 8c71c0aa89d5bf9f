import { Redis } from 'ioredis';
import pg from 'pg';
import { expect, test } from 'vitest';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { startPostgresContainer, startRedisContainer } from '../fixtures/containers.ts';
import { startHubProcess } from '../fixtures/hub-process.ts';
import { SMALL_SHOP, createShop, tornTransactions } from '../fixtures/shop/schema.ts';
import { startShopWorkload } from '../fixtures/shop/workload.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';

test('postgres in a container has logical decoding on, and takes settings', async () => {
  await using server = await startPostgresContainer(['-c', 'max_replication_slots=7']);
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  try {
    const { rows } = await client.query<{ wal: string; slots: string }>(
      "SELECT current_setting('wal_level') AS wal, current_setting('max_replication_slots') AS slots",
    );
    expect(rows).toEqual([{ wal: 'logical', slots: '7' }]);
    await client.query("SELECT pg_create_logical_replication_slot('probe', 'pgoutput')");
  } finally {
    await client.end();
  }
});

test('redis in a container answers and takes settings', async () => {
  await using server = await startRedisContainer(['--maxmemory', '64mb']);
  const client = new Redis(server.url, { retryStrategy: () => null });
  try {
    expect(await client.set('key', 'value')).toBe('OK');
    expect(await client.get('key')).toBe('value');
    expect(await client.config('GET', 'maxmemory')).toEqual(['maxmemory', String(64 * 1024 * 1024)]);
  } finally {
    client.disconnect();
  }
});

test('the shop in one container reaches a replica in another and a cache in a third', async () => {
  await using source = await startPostgresContainer();
  await using target = await startPostgresContainer();
  await using redis = await startRedisContainer();
  await createShop(source.url, SMALL_SHOP);
  await using folder = await temporaryDirectory('hub');
  await using hub = await startHubProcess({
    directory: folder.path,
    config: {
      sources: { shop: { type: 'postgres', url: source.url, tables: ['public.*'] } },
      sinks: {
        replica: { type: 'postgres', from: 'shop', url: target.url, tables: ['public.*'] },
        cache: { type: 'redis', from: 'shop', url: redis.url, tables: { 'public.products': { key: 'product:{id}', columns: ['sku', 'price', 'version'] } } },
      },
    },
  });
  await using workload = startShopWorkload({ url: source.url, transactionsPerSecond: null });
  await hub.until('every table is copied under load', ({ sources }) => sources[0]?.tables.length === 5 && sources[0].tables.every(({ state }) => state === 'consistent'));
  const copiedAt = workload.counts.transactions;
  await hub.until('changes after the copy', () => workload.counts.transactions > copiedAt + 200);
  await workload.stop();

  const client = new pg.Client({ connectionString: source.url });
  await client.connect();
  try {
    const { rows } = await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
    for (const sink of ['replica', 'cache']) await hub.api.wait(sink, `lsn:${rows[0]?.lsn}`, 60_000, AbortSignal.timeout(90_000));
    const comparisons = await compareDatabases(source.url, target.url);
    expect(comparisons).toHaveLength(5);
    expect(comparisons.filter(({ equal }) => !equal)).toEqual([]);
    expect(await tornTransactions(client)).toEqual([]);
    const products = await client.query<{ id: string; sku: string; price: string; version: string }>('SELECT id::text, sku, price::text, version::text FROM products');
    expect(products.rows.length).toBeGreaterThanOrEqual(SMALL_SHOP.products);
    const cache = new Redis(redis.url, { retryStrategy: () => null });
    try {
      for (const { id, ...fields } of products.rows) expect(await cache.hgetall(`product:${id}`)).toEqual(fields);
      expect(await cache.keys('product:*')).toHaveLength(products.rows.length);
    } finally {
      cache.disconnect();
    }
  } finally {
    await client.end();
  }
  await hub.stop();
});
