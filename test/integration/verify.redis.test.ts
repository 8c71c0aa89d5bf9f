import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Hub } from '../../hub/hub.ts';
import type { VerifyReport, VerifyRequest } from '../../hub/verify/report.ts';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { startRedis, type RedisServer } from '../fixtures/redis.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { startShopWorkload } from '../fixtures/shop/workload.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource } from '../fixtures/test-hub.ts';

const LOG: VerifyRequest = { tables: [], against: 'log', repair: false, rate: null };

async function verify(hub: Hub, request: Partial<VerifyRequest> = {}): Promise<VerifyReport> {
  for await (const event of hub.verify('cache', { ...LOG, ...request }, AbortSignal.timeout(60_000))) if ('report' in event) return event.report;
  throw new Error('there was no report');
}

function found(report: VerifyReport): string[] {
  return report.tables.flatMap(({ table, comparisons }) =>
    comparisons.flatMap(({ first }) => first.map(({ kind, key, columns }) => [table, kind, key, ...columns.map(({ column, expected, found: there }) => `${column}=${expected}/${there}`)].join(' '))),
  ).toSorted();
}

describe('verify of a cache', () => {
  let server: PostgresServer;
  let redis: RedisServer;
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    server = await startPostgres({ databases: ['source'] });
    redis = await startRedis();
    directory = await temporaryDirectory('verify-cache');
    await createShop(server.url('source'), { customers: 400, products: 50, orders: 200 });
  });

  afterAll(async () => {
    await redis?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  it('finds what is wrong while rows are written all the time, nothing else, and repairs it', { timeout: 120_000 }, async () => {
    const settings = new Map([['public.customers', { key: 'customer:{id}' }], ['public.stock', { key: 'stock:{product_id}', value: 'json' }], ['public.orders', {}]]);
    const cache = testSink('cache', 'redis', redis.url, {
      tables: (table) => settings.has(`public.${table.name}`), tablePatterns: [...settings.keys()], tableOptions: settings,
      optionsOf: (table) => settings.get(`public.${table.name}`) ?? {},
    });
    await using test = await startTestHub(testConfig(directory.path, testSource(server.url('source')), [cache]));
    await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    await using workload = startShopWorkload({ url: server.url('source'), transactionsPerSecond: 400 });
    for (let round = 0; round < 5; round++) {
      const report = await verify(test.hub, round === 4 ? { against: 'source' } : {});
      expect(found(report)).toEqual([]);
      expect(report.outcome).toBe('equal');
      expect(report.tables.flatMap(({ comparisons }) => comparisons.map(({ skipped }) => skipped)).filter((why) => why !== null)).toEqual([]);
    }
    await workload.stop();
    await test.hub.untilCaughtUp(AbortSignal.timeout(20_000));
    await using client = redis.client();
    await client.hset('customer:5', 'name', 'somebody else');
    await client.del('customer:6');
    await client.hset('customer:900000', 'id', '900000', 'name', 'nobody');
    await client.set('stock:7', '{"product_id":"7"}');
    const report = await verify(test.hub);
    expect(report.outcome).toBe('different');
    const lines = found(report);
    expect(lines.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual(['public.customers changed', 'public.customers extra', 'public.customers missing', 'public.stock changed']);
    expect(lines[0]).toMatch(/^public\.customers changed id=5 name=.*\/somebody else/);
    expect(lines[2]).toMatch(/^public\.customers missing id=6/);
    expect(lines[3]).toMatch(/^public\.stock changed product_id=7 /);
    await using busy = startShopWorkload({ url: server.url('source'), transactionsPerSecond: 200, seed: 2 });
    const repaired = await verify(test.hub, { repair: true });
    expect(repaired.outcome).toBe('equal');
    await busy.stop();
    expect(await client.exists('customer:900000')).toBe(0);
    expect(await client.hget('customer:5', 'name')).not.toBe('somebody else');
    await test.hub.untilCaughtUp(AbortSignal.timeout(20_000));
    expect((await verify(test.hub)).outcome).toBe('equal');
  });
});
