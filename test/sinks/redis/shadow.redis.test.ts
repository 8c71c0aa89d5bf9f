import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RedisServer, startRedis, startRedisCluster } from '../../fixtures/redis.ts';
import { cacheSink } from './cache-place.ts';
import { CHECKPOINT, exchange, fill, held, request, shadowClient, shadowOf, shadowSettings, spoiltCache } from './shadow-stand.ts';
import { never } from './stand.ts';

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});

afterAll(() => server?.[Symbol.asyncDispose]());

/** Rows with their keys, as one text. */
async function keysIn(client: Redis): Promise<string[]> {
  return (await client.keys('*')).toSorted();
}

describe.each([['hashes', {}], ['JSON', { value: 'json' }], ['an index', { index: true }]] as const)('a rebuild beside what is served, %s', (_, table) => {
  test('puts the rows of the log and their checkpoint in the place of the others, and leaves nothing in its database', async () => {
    await using stand = await spoiltCache(server, table);
    using shadow = shadowClient(server.port);
    const swap = await request(stand);
    const { redis } = stand.client;
    expect(await redis.exists('kit.things:1500')).toBe(0);
    const fence = Number(await redis.hget(CHECKPOINT, 'fence'));
    await shadowOf(stand.sink).finish(swap.tables, () => undefined, never);
    await exchange(shadowOf(stand.sink), swap);
    await stand.compare();
    expect(await keysIn(shadow)).toEqual([]);
    expect(await redis.hexists(CHECKPOINT, 'role')).toBe(0);
    expect(await stand.open()).toMatchObject({ offset: swap.to.offset, epoch: swap.to.epoch, fence: fence + 2 });
    expect(await stand.sink.inPlace?.pending(never)).toBe(false);
    stand.tables.get('things')?.update(300, 'later');
    await stand.apply();
    await stand.compare();
    // The same request again is done already, wherever the sink is by now.
    await exchange(shadowOf(stand.sink), swap);
    await stand.compare();
  });
});

describe('a swap', () => {
  test('fences whoever applies to what is served, and whoever applies to the shadow', async () => {
    await using stand = await spoiltCache(server);
    const swap = await request(stand);
    const other = stand.another();
    await using shadow = shadowOf(stand.another()).open(() => true);
    await stand.open(other);
    await shadow.open(stand.model.start(), never);
    await exchange(shadowOf(stand.sink), swap);
    stand.tables.get('things')?.update(300, 'later');
    const batch = stand.batch();
    expect(await stand.refusal(batch, other)).toMatchObject({ code: 'SINK_FENCED' });
    const moved = await stand.refusal(batch, shadow);
    expect(['SINK_FENCED', 'SINK_CHECKPOINT_MOVED']).toContain(moved.code);
    await stand.catchUp();
    await stand.compare();
    using client = shadowClient(server.port);
    expect(await keysIn(client)).toEqual([]);
  });

  test('is refused when a checkpoint is elsewhere, and nothing has changed', async () => {
    await using stand = await spoiltCache(server);
    const swap = await request(stand);
    const { redis } = stand.client;
    const shadow = shadowOf(stand.sink);
    stand.tables.get('things')?.update(300, 'later');
    await stand.catchUp();
    await stand.apply();
    await expect(shadow.swap(swap, never)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await expect(shadow.swap({ ...swap, from: null }, never)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    const from = await held(stand);
    await expect(shadow.swap({ ...swap, from, to: { ...swap.to, offset: swap.to.offset - 1 } }, never)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    expect(await redis.exists('kit.things:1500')).toBe(0);
    await exchange(shadow, { ...swap, from, to: await fill(stand) });
    await stand.compare();
  });

  test('is refused when somebody has emptied the shadow, also where both stood at the same offset', async () => {
    await using stand = await spoiltCache(server);
    const swap = await request(stand);
    using client = shadowClient(server.port);
    await client.flushdb();
    await expect(shadowOf(stand.sink).swap(swap, never)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await exchange(shadowOf(stand.sink), await request(stand));
    await stand.compare();
  });

  test('takes the place of a sink that has no checkpoint, or one that cannot be gone on from', async () => {
    await using stand = await spoiltCache(server);
    await stand.client.redis.del(CHECKPOINT);
    const swap = await request(stand);
    expect(swap.from).toBeNull();
    await exchange(shadowOf(stand.sink), swap);
    await stand.compare();
    const other = stand.another(shadowSettings(server.port, { columns: ['id', 'name'] }));
    const reshaped = await request(stand, other);
    expect(reshaped.from).toBeNull();
    await exchange(shadowOf(other), reshaped);
    expect(Object.keys(await stand.client.redis.hgetall('kit.things:300')).toSorted()).toEqual(['id', 'name']);
  });

  test('is followed by replicas', async () => {
    await using replica = await startRedis({ replicaOf: server });
    await using stand = await spoiltCache(server);
    await exchange(shadowOf(stand.sink), await request(stand));
    await using primary = server.client();
    await primary.wait(1, 10_000);
    await using client = replica.client();
    for (const limit = performance.now() + 10_000; (await client.exists('kit.things:1500')) === 0 && performance.now() < limit; ) await delay(20);
    expect(await keysIn(client)).toEqual(await keysIn(stand.client.redis));
    await client.select(1);
    expect(await keysIn(client)).toEqual([]);
    await primary.call('REPLICAOF', 'NO', 'ONE');
  });
});

describe('readers of what is served', () => {
  test('see all of the old or all of the new, at every moment of many rebuilds', async () => {
    await using stand = await spoiltCache(server);
    const stop = new AbortController();
    const keys = Array.from({ length: 200 }, (_, at) => `kit.things:${51 + 7 * at}`);
    const seen = { old: 0, new: 0, single: 0 };
    const hammer = async (): Promise<void> => {
      await using client = server.client();
      while (!stop.signal.aborted) {
        // One transaction of Redis is one moment.
        const results = await client.multi(keys.map((key) => ['hget', key, 'name'])).exec();
        const names = new Set((results ?? []).map(([error, name]) => String(error ?? name)));
        const isNew = [...names].every((name) => name === 'one' || name === 'two');
        if (!isNew && (names.size !== 1 || !/^spoilt \d$/.test([...names][0] ?? ''))) throw new Error(`a mixture: ${[...names].join()}`);
        seen[isNew ? 'new' : 'old']++;
        const row = await client.hgetall(keys[seen.single % keys.length] ?? '');
        if (row['id'] === undefined || row['name'] === undefined) throw new Error('half a row');
        seen.single++;
      }
    };
    const readers = Promise.all([hammer(), hammer()]).finally(() => stop.abort());
    readers.catch(() => undefined);
    for (let round = 0; round < 6 && !stop.signal.aborted; round++) {
      const spoil = stand.client.redis.multi();
      for (const key of keys) spoil.hset(key, 'name', `spoilt ${round}`);
      await spoil.exec();
      const sink = cacheSink(shadowSettings(server.port));
      await exchange(shadowOf(sink), await request(stand, sink));
    }
    stop.abort();
    await readers;
    expect(seen.old).toBeGreaterThan(5);
    expect(seen.new).toBeGreaterThan(5);
    await stand.compare();
  });
});

describe('keys of somebody else', () => {
  test('in what is served: the rebuild is made in place, and a swap is refused', async () => {
    await using stand = await spoiltCache(server);
    const { redis } = stand.client;
    const shadow = shadowOf(stand.sink);
    expect(await shadow.unfit?.([], never)).toBeNull();
    const swap = await request(stand);
    await redis.set('session:secret', 'theirs');
    expect(await shadow.unfit?.([], never)).toBe("database 0 holds keys that are not the sink's, 'session:...' among them");
    await expect(shadow.finish(swap.tables, () => undefined, never)).rejects.toMatchObject({ code: 'REBUILD_IN_THE_WAY' });
    await expect(shadow.swap(swap, never)).rejects.toMatchObject({ code: 'REBUILD_IN_THE_WAY' });
    await shadow.discard(never);
    using client = shadowClient(server.port);
    expect(await keysIn(client)).toEqual([]);
    expect(await redis.get('session:secret')).toBe('theirs');
  });

  test('in the database of the shadow: nothing is written there, nothing is removed, nothing is swapped', async () => {
    await using stand = await spoiltCache(server);
    using client = shadowClient(server.port);
    await client.set('theirs', '1');
    const shadow = shadowOf(stand.sink);
    expect(await shadow.unfit?.([], never)).toMatch(/shadow_db.*holds keys/);
    await expect(fill(stand)).rejects.toMatchObject({ code: 'REBUILD_IN_THE_WAY' });
    await shadow.discard(never);
    expect(await keysIn(client)).toEqual(['theirs']);
    await client.del('theirs');
    const swap = await request(stand);
    await client.set('theirs', '1');
    await expect(shadow.swap(swap, never)).rejects.toMatchObject({ code: 'REBUILD_IN_THE_WAY' });
    await shadow.discard(never);
    expect(await keysIn(client)).toEqual(['theirs']);
  });

  test('what a sink of this name serves from there is not taken for a shadow', async () => {
    await using stand = await spoiltCache(server);
    const served = cacheSink({ options: { url: `redis://127.0.0.1:${server.port}/1` } });
    await served.open(stand.model.start(), never);
    await served[Symbol.asyncDispose]();
    expect(await shadowOf(stand.sink).unfit?.([], never)).toMatch(/serves or has served/);
    await expect(fill(stand)).rejects.toMatchObject({ code: 'REBUILD_IN_THE_WAY' });
    const other = cacheSink({ options: { url: `redis://127.0.0.1:${server.port}/1`, shadow_db: 2 } });
    await fill(stand, other);
    const wrong = cacheSink({ options: { url: `redis://127.0.0.1:${server.port}/2` } });
    await expect(wrong.open(stand.model.start(), never)).rejects.toMatchObject({ code: 'SINK_FOREIGN' });
  });

  test('that came between the last look and the swap are back in what is served', async () => {
    await using stand = await spoiltCache(server);
    const swap = await request(stand);
    using client = shadowClient(server.port);
    await using watcher = server.client();
    await shadowOf(stand.sink).swap(swap, never);
    await client.set('late', 'theirs');
    await client.set('again', 'old');
    await watcher.set('again', 'new');
    // The sink goes on meanwhile, and another process does the rest.
    stand.tables.get('things')?.update(300, 'later');
    await stand.open();
    await stand.apply();
    const progress: number[] = [];
    const other = shadowOf(cacheSink(shadowSettings(server.port)));
    await other.clear?.(({ step, done, of }) => progress.push(step === 'keys' ? done / of : Number.NaN), never);
    expect(progress.at(-1)).toBeGreaterThan(0.9);
    expect(progress.toSorted((a, b) => a - b)).toEqual(progress);
    expect(await watcher.mget('late', 'again')).toEqual(['theirs', 'new']);
    expect(await client.get('again')).toBe('old');
    expect(await keysIn(client)).toEqual(['again']);
    await stand.compare();
    // There is nothing of the sink's left.
    await other.clear?.(() => undefined, never);
    expect(await keysIn(client)).toEqual(['again']);
  });

  test('the sink is not held for another look at all keys right after the last one', async () => {
    await using stand = await spoiltCache(server);
    const { redis } = stand.client;
    const scans = async (): Promise<number> => Number(/cmdstat_scan:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0);
    const swap = await request(stand);
    await shadowOf(stand.sink).finish(swap.tables, () => undefined, never);
    const before = await scans();
    await shadowOf(stand.sink).swap(swap, never);
    expect(await scans()).toBe(before);
    await shadowOf(stand.sink).clear?.(() => undefined, never);
    // By a process that has not seen them they are looked at.
    const again = await request(stand);
    const then = await scans();
    await exchange(shadowOf(cacheSink(shadowSettings(server.port))), again);
    expect(await scans()).toBeGreaterThan(then);
    await stand.compare();
  });
});

describe('what the start of a rebuild says', () => {
  test('of memory that does not suffice, of what may be evicted, of rows that expire', async () => {
    await using small = await startRedis();
    await using stand = await spoiltCache(small, { ttl: '1h' as unknown as number });
    const shadow = shadowOf(stand.sink);
    const tables = stand.model.tables.map(({ schema }) => schema);
    expect(await shadow.check(tables, never)).toMatchObject([{ severity: 'ok', code: 'rebuild-memory' }, { severity: 'warning', code: 'rebuild-ttl' }]);
    const { redis } = stand.client;
    const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);
    await redis.config('SET', 'maxmemory', used + 20_000);
    expect(await shadow.check(tables, never)).toMatchObject([{ severity: 'error', code: 'rebuild-memory' }, {}]);
    await redis.config('SET', 'maxmemory', used * 4);
    await redis.config('SET', 'maxmemory-policy', 'volatile-lru');
    expect(await shadow.check(tables, never)).toMatchObject([{ severity: 'warning', code: 'rebuild-memory' }, {}]);
    await redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
    expect(await shadow.unfit?.(tables, never)).toMatch(/evicts keys/);
  });

  test('of servers that do not swap', async () => {
    await using few = await startRedis({ settings: { databases: 1 } });
    expect(await shadowOf(cacheSink(shadowSettings(few.port))).unfit?.([], never)).toMatch(/database 1/);
    await using renamed = await startRedis({ settings: { 'rename-command': 'SWAPDB ""' } });
    expect(await shadowOf(cacheSink(shadowSettings(renamed.port))).unfit?.([], never)).toMatch(/refuses SWAPDB/);
    await using cluster = await startRedisCluster();
    const settings = { options: { url: `redis://127.0.0.1:${cluster.nodes[0]?.port}`, cluster: 'plain', shadow_db: 1 } };
    expect(await shadowOf(cacheSink(settings)).unfit?.([], never)).toMatch(/cluster/);
    const same = cacheSink({ options: { url: server.url, shadow_db: 0 } });
    await expect(shadowOf(same).unfit?.([], never)).rejects.toMatchObject({ code: 'REDIS_SERVER' });
  });
});

describe('messages', () => {
  test('come when rows can be seen, not while they are written beside what is served', async () => {
    await using stand = await spoiltCache(server, { publish: 'changes' });
    await using listener = server.client();
    const heard = new Set<string>();
    listener.on('message', (_, key: string) => heard.add(key));
    await stand.client.redis.hset('kit.things:77777', 'name', 'nobody');
    await listener.subscribe('changes');
    const swap = await request(stand);
    await delay(100);
    expect(heard.size).toBe(0);
    await exchange(shadowOf(stand.sink), swap);
    for (const limit = performance.now() + 10_000; heard.size < 1451 && performance.now() < limit; ) await delay(20);
    expect(heard.size).toBe(1451);
    expect(heard.has('kit.things:77777') && heard.has('kit.things:1500')).toBe(true);
  });
});
