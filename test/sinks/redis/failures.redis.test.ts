import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { randomRow } from '../../../contracts/kit/sink-kit-rows.ts';
import { randomNumbers } from '../../../contracts/kit/sink-kit-stand.ts';
import { type RedisServer, startRedis } from '../../fixtures/redis.ts';
import { startTcpProxy } from '../../fixtures/tcp-proxy.ts';
import { CacheStand, never } from './stand.ts';

const CHECKPOINT = 'tidemark:{cache}:checkpoint';
let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});

afterAll(() => server?.[Symbol.asyncDispose]());

beforeEach(async () => {
  await using client = server.client();
  await client.flushall();
});

function stand(options: Readonly<Record<string, unknown>> = {}): Promise<CacheStand> {
  return CacheStand.at({ options: { url: server.url, ...options } }, [server.port]);
}

describe('the checkpoint', () => {
  test('emptied in the middle: the next batch says so, the next opening has nothing, a rebuild brings all back', async () => {
    await using cache = await stand();
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 50; id++) things.insert(id, 'one');
    await cache.apply();
    await cache.client.redis.flushall();
    things.update(1, 'two');
    expect(await cache.refusal()).toEqual({ code: 'SINK_CHECKPOINT_MOVED', retry: 'auto' });
    expect(await cache.client.redis.dbsize()).toBe(0);
    expect(await cache.open()).toBeNull();
    await cache.rebuild();
    await cache.compare();
    expect((await cache.open())?.offset).toBe(cache.model.offset);
  });

  test('put back to an older state: the next opening goes on from there', async () => {
    await using cache = await stand();
    await cache.open();
    const things = cache.table();
    things.insert(1, 'one');
    await cache.apply();
    const older = await cache.client.redis.dumpBuffer(CHECKPOINT);
    things.update(1, 'two');
    things.insert(2, 'two');
    await cache.apply();
    await cache.client.redis.restore(CHECKPOINT, 0, older, 'REPLACE');
    things.remove(1);
    expect(await cache.refusal()).toEqual({ code: 'SINK_CHECKPOINT_MOVED', retry: 'auto' });
    await cache.catchUp();
    await cache.compare();
  });

  test('taken over while a transaction is on its way: EXEC executes nothing', async () => {
    await using proxy = await startTcpProxy(server.port);
    const options = { transaction_commands: 100, transaction_size: '64KiB' };
    await using cache = await stand(options);
    const slow = cache.another({ options: { ...options, url: `redis://127.0.0.1:${proxy.port}` } });
    await cache.open(slow);
    const things = cache.table();
    await cache.apply(cache.batch(), slow);
    for (let id = 1; id <= 8000; id++) things.insert(id, 'x'.repeat(200));
    proxy.slow(1_000_000);
    const { accepted, durable } = slow.apply(cache.batch(), never);
    const outcomes = Promise.allSettled([accepted, durable]);
    const other = cache.another();
    while ((await cache.client.redis.dbsize()) < 500) await setImmediate();
    expect((await cache.open(other))?.offset).toBe(1);
    const there = await cache.client.redis.dbsize();
    proxy.resume();
    const [, outcome] = await outcomes;
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'SINK_FENCED', retry: 'operator' } });
    expect(await cache.client.redis.dbsize()).toBe(there);
    expect(there).toBeLessThan(8000);
    await cache.catchUp(other);
    await cache.compare();
  });
});

describe('the server', () => {
  test('is killed and comes back with its append-only file: the sink goes on from the checkpoint in it', async () => {
    await using durable = await startRedis({ settings: { appendonly: 'yes', appendfsync: 'always' } });
    await using cache = await CacheStand.at({ options: { url: durable.url } }, [durable.port]);
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 100; id++) things.insert(id, 'one');
    await cache.apply();
    for (let id = 50; id <= 150; id++) things.put(id, 'two');
    const lost = cache.refusal();
    await durable.stop('kill');
    const { code, retry } = await lost.catch(() => ({ code: 'SINK_UNREACHABLE', retry: 'auto' }));
    expect({ code, retry }).toEqual({ code: 'SINK_UNREACHABLE', retry: 'auto' });
    await expect(cache.open()).rejects.toMatchObject({ code: 'SINK_UNREACHABLE' });
    await durable.start();
    await cache.catchUp();
    await cache.compare();
  });

  test('is full: nothing is applied in part, and the sink goes on when there is room', async () => {
    await using small = await startRedis({ settings: { maxmemory: '4mb', 'maxmemory-policy': 'noeviction' } });
    await using cache = await CacheStand.at({ options: { url: small.url } }, [small.port]);
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 100; id++) things.insert(id, 'one');
    await cache.apply();
    for (let id = 101; id <= 3000; id++) things.insert(id, 'x'.repeat(2000));
    expect(await cache.refusal()).toEqual({ code: 'REDIS_FULL', retry: 'auto' });
    await expect(cache.catchUp()).rejects.toMatchObject({ code: 'REDIS_FULL', retry: 'auto' });
    expect((await cache.rows(things.table))?.length).toBe(100);
    await cache.client.redis.config('SET', 'maxmemory', '100mb');
    await cache.catchUp();
    await cache.compare();
  });

  test('does not answer: it is given up after the timeout', async () => {
    await using frozen = await startRedis();
    await using cache = await CacheStand.at({ options: { url: frozen.url, timeout: '1s' } }, [frozen.port]);
    await cache.open();
    cache.table().insert(1, 'one');
    frozen.freeze();
    try {
      expect((await cache.refusal()).code).toBe('SINK_UNREACHABLE');
      await expect(cache.open()).rejects.toMatchObject({ code: 'SINK_UNREACHABLE' });
    } finally {
      frozen.thaw();
    }
  });

  test('becomes a replica: that is waited out', async () => {
    await using other = await startRedis();
    await using cache = await stand();
    await cache.open();
    cache.table().insert(1, 'one');
    const batch = cache.batch();
    await cache.client.redis.call('REPLICAOF', '127.0.0.1', String(other.port));
    try {
      expect(await cache.refusal(batch)).toMatchObject({ retry: 'auto' });
      await expect(cache.open()).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE', retry: 'auto' });
    } finally {
      await cache.client.redis.call('REPLICAOF', 'NO', 'ONE');
    }
  });

  test('a replica that is behind takes over: the sink goes back with it', async () => {
    await using primary = await startRedis();
    await using replica = await startRedis({ replicaOf: primary });
    await using proxy = await startTcpProxy(primary.port);
    await using cache = await CacheStand.at({ options: { url: `redis://127.0.0.1:${proxy.port}` } }, [replica.port]);
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 20; id++) things.insert(id, 'one');
    await cache.apply();
    await using ofPrimary = primary.client();
    expect(Number(await ofPrimary.call('WAIT', '1', '5000'))).toBe(1);
    const agreed = cache.model.offset;
    await cache.client.redis.call('REPLICAOF', 'NO', 'ONE');
    for (let id = 10; id <= 30; id++) things.put(id, 'two');
    things.remove(1);
    await cache.apply();
    proxy.retarget(replica.port);
    proxy.cut();
    things.remove(2);
    expect((await cache.refusal()).retry).toBe('auto');
    expect((await cache.open())?.offset).toBe(agreed);
    await cache.catchUp();
    await cache.compare();
  });
});

describe('the data', () => {
  test('a key that holds something else stops the sink, and the checkpoint has not passed it', async () => {
    await using cache = await stand();
    await cache.open();
    const things = cache.table();
    await cache.apply();
    await cache.client.redis.set('kit.things:5', 'somebody else');
    for (let id = 1; id <= 9; id++) things.insert(id, 'one');
    expect(await cache.refusal()).toEqual({ code: 'REDIS_KEY_TYPE', retry: 'operator' });
    expect((await cache.open())?.offset).toBe(1);
    await cache.client.redis.del('kit.things:5');
    await cache.catchUp();
    await cache.compare();
  });

  test('a new row that was written before its batch was confirmed is not taken for new when the log is folded otherwise', async () => {
    for (const value of ['hash', 'json'] as const) {
      await using cache = await CacheStand.at({ options: { url: server.url }, table: { value } }, [server.port]);
      await cache.open();
      const things = cache.table();
      await cache.apply();
      things.putRow(['1', 'one', '5', null, 't']);
      await cache.apply();
      // The data is there, the confirmation is not.
      await cache.client.redis.hset(CHECKPOINT, 'offset', '1');
      await using again = await CacheStand.at({ options: { url: server.url }, table: { value } }, [server.port]);
      const same = again.table();
      again.batch();
      same.putRow(['1', 'one', '5', null, 't']);
      same.putRow(['1', null, null, null, 'f']);
      const batch = again.batch();
      expect((await again.open())?.offset).toBe(1);
      await again.apply(batch);
      await again.compare();
      await cache.client.redis.flushall();
    }
  });

  test('a batch is cut into transactions of the size that was asked for', async () => {
    await using cache = await stand({ transaction_commands: 100 });
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 5000; id++) things.insert(id, 'x'.repeat(200));
    await cache.client.redis.config('RESETSTAT');
    await cache.apply();
    const stats = await cache.client.redis.info('commandstats');
    const calls = (name: string): number => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
    expect(calls('hset')).toBeGreaterThan(5000);
    // Between the chunks that are sent: a chunk of 256 KiB is about 1,000 commands.
    expect(calls('exec')).toBeGreaterThanOrEqual(5);
    await cache.compare();
  });
});

/** What the hub applies while the checkpoint stands still: rows that are tried, and the past of a table that joins. */
describe('a batch that ends where it begins', () => {
  test('is applied and durable, also where data may be there in part; what it wrote is not taken for new later', async () => {
    await using cache = await stand();
    await cache.open();
    const things = cache.table();
    await cache.apply();
    things.putRow(['1', 'one', '5', null, 't']);
    const batch = cache.batch();
    for (const reopen of [false, true]) {
      if (reopen) expect((await cache.open())?.offset).toBe(batch.after);
      await cache.apply({ ...batch, to: batch.after });
      expect(await cache.client.redis.hget('kit.things:1', 'amount'), `opened again: ${reopen}`).toBe('5');
      await cache.client.redis.hdel('kit.things:1', 'amount');
    }
    await cache.apply({ ...batch, to: batch.after });
    await cache.sink[Symbol.asyncDispose]();
    await using again = await stand();
    const same = again.table();
    again.batch();
    same.putRow(['1', 'one', '5', null, 't']);
    same.putRow(['1', null, null, null, 'f']);
    const other = again.batch();
    expect((await again.open())?.offset).toBe(other.after);
    await again.apply(other);
    await again.compare();
  });

  test('a table joins, is cut short and joins again: rows of its older shapes are there', async () => {
    await using cache = await stand();
    await cache.open();
    cache.model.skip(1000);
    await cache.apply();
    const at = cache.model.offset;
    const joining = cache.table('joins');
    for (let id = 1; id <= 50; id++) joining.insert(id, 'first shape');
    const first = cache.batch();
    const [id, name, amount, ...rest] = joining.table.schema.columns;
    if (id === undefined || name === undefined || amount === undefined) throw new Error('the table of the kit has other columns');
    cache.model.alterTable(joining.table, { name: 'joined', columns: [id, { ...name, name: 'amount' }, { ...amount, name: 'name' }, ...rest] });
    for (let n = 40; n <= 60; n++) joining.put(n, 'second shape');
    const second = cache.batch();
    for (let round = 0; round < 2; round++) {
      for (const batch of [first, second]) await cache.apply({ ...batch, after: at, to: at });
      await cache.compare();
      expect((await cache.client.redis.keys('kit.*')).length).toBe(60);
    }
    expect((await cache.open())?.offset).toBe(at);
  });

  test('is refused by what cannot be applied, and the checkpoint stays', async () => {
    await using cache = await stand();
    await cache.open();
    const things = cache.table();
    await cache.apply();
    await cache.client.redis.set('kit.things:1', 'somebody else');
    things.insert(1, 'one');
    const batch = cache.batch();
    expect(await cache.refusal({ ...batch, to: batch.after })).toMatchObject({ code: 'REDIS_KEY_TYPE' });
    expect((await cache.open())?.offset).toBe(batch.after);
  });
});

describe('cut in the middle, again and again', () => {
  test.each([1, 2, Date.now() % 1_000_000])('random changes, seed %i', async (seed) => {
    const next = randomNumbers(seed);
    await using proxy = await startTcpProxy(server.port);
    await using cache = await CacheStand.at(
      { options: { url: `redis://127.0.0.1:${proxy.port}`, transaction_commands: 100, transaction_size: '64KiB' } }, [server.port],
    );
    await cache.open();
    const tables = ['one', 'two'].map((name) => cache.table(name));
    await cache.apply();
    let failures = 0;
    for (let round = 0; round < 40; round++) {
      for (let n = Math.floor(next() * 400); n > 0; n--) tables[Math.floor(next() * 2)]?.random(next, (id) => randomRow(id, next));
      cache.batch();
      if (next() < 0.5) proxy.cutAfter(Math.floor(next() * 4000));
      try {
        await cache.catchUp();
      } catch {
        failures++;
      }
      proxy.resume();
    }
    await cache.catchUp();
    await cache.compare();
    expect(failures, `seed ${seed}`).toBeGreaterThan(0);
  });
});
