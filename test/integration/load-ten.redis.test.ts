import { afterAll, beforeAll, expect, it } from 'vitest';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { type PostgresServer, startPostgres } from '../fixtures/embedded-postgres.ts';
import { type RedisServer, startRedis } from '../fixtures/redis.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { startShopWorkload } from '../fixtures/shop/workload.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource } from '../fixtures/test-hub.ts';

const REPLICAS = ['one', 'two', 'three'];
const CACHES = [0, 1, 2, 3, 4, 5, 6];

let source: PostgresServer;
let replicas: PostgresServer;
let redis: RedisServer;
let directory: TemporaryDirectory;

beforeAll(async () => {
  source = await startPostgres({ databases: ['source'], settings: { log_connections: 'on' } });
  replicas = await startPostgres({ databases: REPLICAS });
  redis = await startRedis();
  directory = await temporaryDirectory('ten');
  await createShop(source.url('source'));
});

afterAll(async () => {
  await redis?.[Symbol.asyncDispose]();
  await replicas?.[Symbol.asyncDispose]();
  await source?.[Symbol.asyncDispose]();
  await directory?.[Symbol.asyncDispose]();
});

async function slot(): Promise<unknown> {
  return source.query('SELECT slot_name, active, restart_lsn::text, confirmed_flush_lsn::text FROM pg_replication_slots', [], 'source');
}

it('builds ten sinks from the log while the source is down, and touches neither its slot nor a connection of it', async () => {
  const database = testSource(source.url('source'));
  {
    await using test = await startTestHub(testConfig(directory.path, database, []));
    await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    await using workload = startShopWorkload({ url: source.url('source'), transactionsPerSecond: 300 });
    while (workload.counts.transactions < 300) await Promise.race([workload.failed, test.runtime.clock.sleep(20)]);
    await workload.stop();
    await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
  }
  {
    await using engine = await EmbeddedLogEngine.create(directory.path, createTestRuntime());
    const log = await engine.open('shop', { create: false });
    const half = Math.floor(log.state().highWatermark / 2);
    expect(await log.compact(half, { memoryBytes: 8 << 20, share: 1 }, AbortSignal.timeout(20_000))).toBeGreaterThanOrEqual(0);
    expect(await log.compact(log.state().highWatermark, { memoryBytes: 8 << 20, share: 1 }, AbortSignal.timeout(20_000))).toBeGreaterThan(0);
  }
  const customers = await source.query<Record<string, string>>('SELECT id::text, name, balance::text FROM customers', [], 'source');
  await expect.poll(slot).toMatchObject([{ active: false }]);
  const slotBefore = await slot();
  await source.stop();
  const linesBefore = (await source.log()).split('\n').length;

  const sinks = [
    ...REPLICAS.map((name) => testSink(name, 'postgres', replicas.url(name))),
    ...CACHES.map((number) => testSink(`cache${number}`, 'redis', `${redis.url}/${number}`, {
      tables: (table) => table.name === 'customers', tablePatterns: ['public.customers'],
      optionsOf: () => ({ key: 'customer:{id}' }), tableOptions: new Map([['public.customers', { key: 'customer:{id}' }]]),
    })),
  ];
  {
    await using test = await startTestHub(testConfig(directory.path, database, sinks));
    const { sources: [shop] } = await test.hub.status();
    const end = shop?.highWatermark ?? 0;
    expect(shop?.horizon).toBeGreaterThan(0);
    await Promise.all(sinks.map(({ name }) => test.hub.wait(name, { offset: end }, AbortSignal.timeout(60_000))));
    const status = await test.hub.status();
    expect(status.sinks.map(({ state, offset, load }) => ({ state, offset, load }))).toEqual(sinks.map(() => ({ state: 'caught-up', offset: end, load: null })));
    expect(status.sources[0]).toMatchObject({ state: expect.stringMatching(/retrying|starting/) as string });
    expect(test.runtime.lines.filter(({ event }) => event === 'sink.loaded').length).toBe(10);
  }
  expect((await source.log()).split('\n').length).toBe(linesBefore);

  await source.start();
  expect(await slot()).toEqual(slotBefore);
  for (const name of REPLICAS) {
    const compared = await compareDatabases(source.url('source'), replicas.url(name));
    expect(compared.filter(({ equal }) => !equal)).toEqual([]);
    expect(compared.length).toBe(5);
  }
  await using client = redis.client();
  for (const number of CACHES) {
    await client.select(number);
    expect((await client.keys('customer:*')).length).toBe(customers.length);
    for (const { id, ...rest } of customers) expect(await client.hgetall(`customer:${id}`)).toMatchObject(rest);
  }
}, 120_000);
