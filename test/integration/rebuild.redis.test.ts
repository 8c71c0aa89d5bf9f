import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RebuildView } from '../../hub/service.ts';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { startRedis, type RedisServer } from '../fixtures/redis.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource, type TestHub } from '../fixtures/test-hub.ts';

const LIMIT_MS = 40_000;

describe.each([['in place', {}], ['beside what is served', { shadow_db: 1 }]] as const)('a rebuild of a cache, %s', (way, own) => {
  let server: PostgresServer;
  let redis: RedisServer;
  let directory: TemporaryDirectory;
  let test: TestHub;

  beforeAll(async () => {
    server = await startPostgres({ databases: ['source'] });
    redis = await startRedis();
    directory = await temporaryDirectory('rebuild-cache');
    await createShop(server.url('source'));
    await start();
  });
  afterAll(async () => {
    await test?.[Symbol.asyncDispose]();
    await redis?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  async function start(): Promise<void> {
    const cache = testSink('cache', 'redis', redis.url, {
      options: { url: redis.url, ...own },
      tables: (table) => table.name === 'customers', tablePatterns: ['public.customers'],
      optionsOf: () => ({ key: 'customer:{id}' }), tableOptions: new Map([['public.customers', { key: 'customer:{id}' }]]),
    });
    test = await startTestHub(testConfig(directory.path, testSource(server.url('source')), [cache]));
    await test.hub.untilCaughtUp(AbortSignal.timeout(LIMIT_MS));
  }

  async function source(): Promise<Map<string, Record<string, string>>> {
    const rows = await server.query<Record<string, string>>('SELECT id::text, name, balance::text FROM customers', [], 'source');
    return new Map(rows.map(({ id = '', ...rest }) => [`customer:${id}`, rest]));
  }

  async function expectCache(wanted: ReadonlyMap<string, Record<string, string>>): Promise<void> {
    await using client = redis.client();
    expect((await client.keys('customer:*')).toSorted()).toEqual([...wanted.keys()].toSorted());
    for (const [key, row] of wanted) expect(await client.hgetall(key)).toMatchObject(row);
  }

  async function rebuilt(id: string | null): Promise<RebuildView> {
    for (;;) {
      const rebuild = (await test.hub.status()).sinks[0]?.rebuild;
      if (rebuild?.id === id && rebuild?.endedAt !== null && rebuild !== undefined) return rebuild;
      if (rebuild?.state === 'failed') throw new Error(JSON.stringify(rebuild));
      await test.runtime.clock.sleep(20);
    }
  }

  async function expectNothingLeft(): Promise<void> {
    const other = new Redis({ host: redis.host, port: redis.port, db: 1 });
    try {
      expect(await other.dbsize()).toBe(0);
    } finally {
      other.disconnect();
    }
  }

  it('writes it anew: what was lost comes back, what nobody knows of goes', async () => {
    await using client = redis.client();
    await client.del('customer:1', 'customer:2');
    await client.hset('customer:3', 'name', 'wrong');
    await client.hset('customer:99999', 'name', 'nobody');
    const { id, findings } = await test.hub.rebuildSink('cache', { tables: null, to: null, fromScratch: false }, AbortSignal.timeout(LIMIT_MS));
    expect(findings.filter(({ severity }) => severity !== 'ok')).toEqual([]);
    expect(await rebuilt(id)).toMatchObject({ state: 'done', phase: way === 'in place' ? 'replaying' : 'clearing' });
    await expectNothingLeft();
    await expectCache(await source());
    await server.query("INSERT INTO customers (email, name) VALUES ('new@example.com', 'New')", [], 'source');
    await test.hub.untilCaughtUp(AbortSignal.timeout(LIMIT_MS));
    await expectCache(await source());
  });

  it('puts it to a moment of the past, where it rests over a restart of the hub until it is resumed', async () => {
    const then = await source();
    const [at] = await server.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], 'source');
    await server.query("UPDATE customers SET name = name || ' (later)', balance = balance + 1 WHERE id % 2 = 0; DELETE FROM customers WHERE id NOT IN (SELECT customer_id FROM orders)", [], 'source');
    await test.hub.untilCaughtUp(AbortSignal.timeout(LIMIT_MS));
    const { id, to } = await test.hub.rebuildSink('cache', { tables: null, to: `lsn:${at?.lsn}`, fromScratch: false }, AbortSignal.timeout(LIMIT_MS));
    expect(await rebuilt(id)).toMatchObject({ state: 'done', offset: to });
    await expectCache(then);
    await test[Symbol.asyncDispose]();
    await start();
    expect((await test.hub.status()).sinks[0]).toMatchObject({ state: 'paused', offset: to, pause: { by: 'rebuild', offset: to } });
    await expectCache(then);
    await test.hub.resumeSink('cache');
    await test.hub.untilCaughtUp(AbortSignal.timeout(LIMIT_MS));
    await expectCache(await source());
    await expect(test.hub.rebuildSink('cache', { tables: ['public.customers'], to: null, fromScratch: false }, AbortSignal.timeout(LIMIT_MS))).rejects.toMatchObject({ code: 'REBUILD_TABLES' });
  });

  if (way !== 'in place') {
    it('gets there while the source is written to, and readers go on reading whole rows that never go back', async () => {
      const stop = new AbortController();
      const writing = (async () => {
        for (let n = 0; !stop.signal.aborted; n++) await server.query(`UPDATE customers SET balance = balance + 1 WHERE id % 7 = ${n % 7} OR id = 1`, [], 'source');
      })();
      let reads = 0;
      const reading = (async () => {
        await using client = redis.client();
        for (let last = 0; !stop.signal.aborted; reads++) {
          const [balance, name] = await client.hmget('customer:1', 'balance', 'name');
          if (balance === null || name === null) throw new Error('the row was gone');
          if (Number(balance) < last) throw new Error(`it went back from ${last} to ${balance}`);
          last = Number(balance);
        }
      })();
      reading.catch(() => undefined);
      for (let round = 0; round < 3; round++) {
        const { id } = await test.hub.rebuildSink('cache', { tables: null, to: null, fromScratch: false }, AbortSignal.timeout(LIMIT_MS));
        expect(await rebuilt(id)).toMatchObject({ state: 'done' });
        await expectNothingLeft();
      }
      stop.abort();
      await Promise.all([writing, reading]);
      expect(reads).toBeGreaterThan(50);
      await test.hub.untilCaughtUp(AbortSignal.timeout(LIMIT_MS));
      await expectCache(await source());
    });

    it('is made in place where the database has keys of others, and says so', async () => {
      await using client = redis.client();
      await client.set('session:1', 'theirs');
      await client.del('customer:1');
      const { id, findings } = await test.hub.rebuildSink('cache', { tables: null, to: null, fromScratch: false }, AbortSignal.timeout(LIMIT_MS));
      expect(findings).toMatchObject([{ severity: 'warning', code: 'rebuild-in-place' }]);
      expect(findings[0]?.what).toContain('session:');
      expect(await rebuilt(id)).toMatchObject({ state: 'done', phase: 'replaying' });
      await expectCache(await source());
      expect(await client.get('session:1')).toBe('theirs');
      await client.del('session:1');
    });

    it('leaves nothing behind when it is cancelled', async () => {
      await using client = redis.client();
      await client.hset('customer:1', 'name', 'spoilt');
      const { id } = await test.hub.rebuildSink('cache', { tables: null, to: null, fromScratch: false }, AbortSignal.timeout(LIMIT_MS));
      // Too late, where it is in place already.
      await test.hub.cancelRebuild('cache', AbortSignal.timeout(LIMIT_MS)).catch((error: unknown) => expect(error).toMatchObject({ code: expect.stringMatching(/^REBUILD_(NONE|UNDER_WAY)$/) as string }));
      expect(['cancelled', 'done']).toContain((await rebuilt(id))?.state);
      await expectNothingLeft();
      await test.hub.untilCaughtUp(AbortSignal.timeout(LIMIT_MS));
    });
  }
});
