import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Catalog } from '../../../contracts/catalog.ts';
import { randomRow } from '../../../contracts/kit/sink-kit-rows.ts';
import { randomNumbers } from '../../../contracts/kit/sink-kit-stand.ts';
import type { TableOptions } from '../../../sinks/redis/options.ts';
import { type RedisServer, startRedis } from '../../fixtures/redis.ts';
import { startTcpProxy } from '../../fixtures/tcp-proxy.ts';
import type { CacheSettings } from './cache-place.ts';
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

function settings(table: TableOptions = {}, port = server.port): CacheSettings {
  return { options: { url: `redis://127.0.0.1:${port}` }, table };
}

async function filled(table: TableOptions = {}): Promise<CacheStand> {
  const cache = await CacheStand.at(settings(table), [server.port]);
  await cache.open();
  const things = cache.table();
  for (let id = 1; id <= 1500; id++) things.insert(id, 'one');
  await cache.apply();
  for (let id = 100; id <= 200; id++) things.update(id, 'two');
  for (let id = 1; id <= 50; id++) things.remove(id);
  await cache.apply();
  return cache;
}

describe.each([['by name', {}], ['by an index', { index: 'kit:index' }]] as const)('a rebuild in place, keys found %s', (_, table) => {
  test('removes what the log does not have, and nothing of others; readers keep their rows', async () => {
    await using cache = await filled(table);
    const { redis } = cache.client;
    const foreign = ['kit.things:views', 'kit.things:12:views', 'kit.thingsmore:5', 'kit.thing:5', 'other'];
    for (const key of foreign) await redis.set(key, 'not ours');
    for (let id = 9001; id <= 9700; id++) {
      await redis.hset(`kit.things:${id}`, 'id', id);
      if ('index' in table) await redis.sadd(table.index, `kit.things:${id}`);
    }
    await redis.del(CHECKPOINT);
    expect(await cache.open()).toBeNull();
    const begun = await cache.sink.inPlace?.begin(cache.model.start(), never);
    expect(begun?.offset).toBe(0);
    expect(await redis.exists('kit.things:1500', 'kit.things:9001')).toBe(2);
    for (const batch of cache.log) await cache.apply(batch);
    expect(await cache.sink.inPlace?.pending(never)).toBe(true);
    expect(await redis.exists('kit.things:9001')).toBe(1);
    await cache.sink.inPlace?.sweep(never);
    await cache.compare();
    for (const key of foreign) expect(await redis.get(key), key).toBe('not ours');
    if ('index' in table) expect((await redis.smembers(table.index)).length).toBe(1450);
    expect(await redis.exists('tidemark:{cache}:stale')).toBe(0);
    expect(await cache.sink.inPlace?.pending(never)).toBe(false);
    expect((await cache.open())?.offset).toBe(cache.model.offset);
    expect(await cache.sink.inPlace?.pending(never)).toBe(false);
  });
});

describe('a rebuild that is cut short', () => {
  test('while keys are listed: the next opening has no checkpoint, and it is begun again', async () => {
    await using cache = await filled();
    await cache.client.redis.hset('kit.things:9999', 'id', '9999');
    await using proxy = await startTcpProxy(server.port);
    const sink = cache.another(settings({}, proxy.port));
    await cache.client.redis.del(CHECKPOINT);
    await cache.open(sink);
    proxy.cutAfter(3000);
    await expect(sink.inPlace?.begin(cache.model.start(), never)).rejects.toMatchObject({ code: 'SINK_UNREACHABLE' });
    proxy.resume();
    expect(await sink.inPlace?.pending(never)).toBe(true);
    expect(await cache.open(sink)).toBeNull();
    await cache.rebuild(sink);
    await cache.compare();
  });

  test('while it replays and sweeps: it goes on where it was', async () => {
    for (let seed = 1; seed <= 6; seed++) {
      await using cache = await filled();
      for (let id = 5000; id <= 6000; id++) await cache.client.redis.hset(`kit.things:${id}`, 'id', id, 'gone', 'x');
      await cache.client.redis.hset('kit.things:700', 'gone', 'x', 'amount', '5');
      await using proxy = await startTcpProxy(server.port);
      const sink = cache.another(settings({}, proxy.port));
      await cache.client.redis.del(CHECKPOINT);
      await cache.open(sink);
      await sink.inPlace?.begin(cache.model.start(), never);
      let cuts = 0;
      const next = randomNumbers(seed);
      for (let swept = false; !swept; ) {
        if (cuts < 4) proxy.cutAfter(Math.floor(next() * 30_000));
        try {
          await cache.catchUp(sink);
          expect(await sink.inPlace?.pending(never)).toBe(true);
          await sink.inPlace?.sweep(never);
          swept = true;
        } catch {
          cuts++;
        }
        proxy.resume();
      }
      await cache.compare();
      expect(cuts).toBeGreaterThan(0);
      await cache.client.redis.flushall();
    }
  });
});

test('begun anew before its end, it removes the rows of a table that was given up before it was first begun', async () => {
  await using cache = await filled();
  const start = { ...cache.model.start(), catalog: Catalog.from([]) };
  const { redis } = cache.client;
  await redis.del(CHECKPOINT);
  for (let time = 0; time < 2; time++) {
    await cache.sink.open(start, never);
    await cache.sink.inPlace?.begin(start, never);
    await cache.sink[Symbol.asyncDispose]();
    expect(await redis.exists('kit.things:1500')).toBe(1);
  }
  await cache.sink.open(start, never);
  await cache.sink.inPlace?.sweep(never);
  expect(await redis.keys('kit.things:*')).toEqual([]);
});

test('a replay over a table that was renamed and reshaped: stale rows of both names go, and do not become rows', async () => {
  for (const value of ['hash', 'json'] as const) {
    await using cache = await CacheStand.at(settings({ value }), [server.port]);
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 300; id++) things.insert(id, 'one');
    await cache.apply();
    const columns = things.table.schema.columns.map((column) => (column.number === 2 ? { ...column, name: 'title' } : column));
    cache.model.alterTable(things.table, { name: 'stuff', columns });
    things.updateRow(7, (row) => row.with(1, 'two'));
    await cache.apply();
    const { redis } = cache.client;
    for (const key of ['kit.things:5', 'kit.things:8000', 'kit.stuff:8', 'kit.stuff:8001']) {
      if (value === 'hash') await redis.hset(key, 'name', 'stale', 'more', 'x');
      else await redis.set(key, '{"name":"stale","more":"x"}');
    }
    await redis.del(CHECKPOINT);
    expect(await cache.open()).toBeNull();
    await cache.rebuild();
    await cache.compare();
    expect((await redis.keys('kit.*')).length).toBe(300);
    await redis.flushall();
  }
});

describe('a changed configuration', () => {
  const changes: readonly (readonly [string, TableOptions, TableOptions])[] = [
    ['another kind of value', {}, { value: 'json' }],
    ['a hash again', { value: 'json' }, {}],
    ['other keys', {}, { key: 'thing/{id}' }],
    ['fewer columns', {}, { columns: ['id', 'flag'] }],
    ['an index more', {}, { index: true }],
    ['an index less', { index: 'kit:index' }, {}],
  ];

  test.each(changes)('%s: the sink is rebuilt, and nothing of the old way is left', async (_, before, after) => {
    await using cache = await filled(before);
    const changed = cache.another(settings(after));
    expect(await cache.open(changed)).toBeNull();
    await cache.rebuild(changed);
    const keys = (await cache.client.redis.keys('*')).filter((key) => !key.startsWith('tidemark:{cache}:'));
    expect(keys.length).toBe(1450);
    expect(keys.every((key) => key.startsWith(after.key === undefined ? 'kit.things:' : 'thing/'))).toBe(true);
    const kinds = new Set(await Promise.all(keys.slice(0, 50).map((key) => cache.client.redis.type(key))));
    expect([...kinds]).toEqual([after.value === 'json' ? 'string' : 'hash']);
    if (after.columns !== undefined) expect(Object.keys(await cache.client.redis.hgetall('kit.things:150')).toSorted()).toEqual(['flag', 'id']);
    expect(await cache.client.redis.exists('kit:index', 'tidemark:{cache}:index:kit.things')).toBe(after.index === true ? 1 : 0);
    expect((await cache.open(changed))?.offset).toBe(cache.model.offset);
  });

  test('only what rows look like counts: a channel and a time to live change without a rebuild', async () => {
    await using cache = await filled();
    const changed = cache.another(settings({ ttl: 60_000, publish: 'x' }));
    expect((await cache.open(changed))?.offset).toBe(cache.model.offset);
  });
});

/** Rows follow their table's shape, however often the walk over them is cut short. */
describe('a table that changes its shape', () => {
  const shapes = ['swap', 'drop and take the name', 'rename the table', 'fill'] as const;

  test.each(shapes.flatMap((shape) => [['hash', shape] as const, ['json', shape] as const]))('%s: %s', async (value, shape) => {
    await using proxy = await startTcpProxy(server.port);
    await using cache = await CacheStand.at(settings({ value }, proxy.port), [server.port]);
    const next = randomNumbers(shape.length);
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 900; id++) things.putRow(randomRow(id, next));
    await cache.apply();
    for (let id = 300; id <= 330; id++) things.putRow(randomRow(id, next));
    const { schema } = things.table;
    const [id, name, amount, ...rest] = schema.columns;
    if (id === undefined || name === undefined || amount === undefined) throw new Error('the table of the kit has other columns');
    if (shape === 'swap') cache.model.alterTable(things.table, { columns: [id, { ...name, name: 'amount' }, { ...amount, name: 'name' }, ...rest] });
    else if (shape === 'drop and take the name') cache.model.alterTable(things.table, { columns: [id, { ...amount, name: 'name' }, ...rest] });
    else if (shape === 'rename the table') cache.model.alterTable(things.table, { name: 'stuff' });
    else cache.model.alterTable(things.table, { columns: [...schema.columns, { ...name, number: 9, name: 'filled', fill: 'f"' }] });
    for (let n = 320; n <= 340; n++) things.updateRow(n, (row) => row.with(1, 'after'));
    cache.batch();
    things.remove(1);
    cache.batch();
    let failures = 0;
    for (let done = false; !done; ) {
      if (failures < 12) proxy.cutAfter(Math.floor(next() * 120_000));
      try {
        await cache.catchUp();
        done = true;
      } catch {
        failures++;
      }
      proxy.resume();
    }
    await cache.compare();
    expect(failures).toBeGreaterThan(0);
    // As if the rows had been written and the confirmation lost: the batch comes again over rows of the new shape.
    await cache.sink[Symbol.asyncDispose]();
    await cache.client.redis.hset(CHECKPOINT, 'offset', String(cache.log[0]?.to));
    await cache.catchUp();
    await cache.compare();
  });
});

describe('options of a table', () => {
  test('ttl, index, publish and columns', async () => {
    const table: TableOptions = { key: 'p:{id}', columns: { name: 'title', id: 'id' }, ttl: 60_000, index: 'ps', publish: 'changes' };
    await using cache = await CacheStand.at(settings(table), [server.port]);
    const listener = server.client();
    const heard: string[] = [];
    listener.on('message', (_, message) => void heard.push(message));
    await listener.subscribe('changes');
    await cache.open();
    const things = cache.table();
    things.insert(1, 'one');
    things.insert(2, 'two');
    await cache.apply();
    things.remove(1);
    things.update(2, 'three');
    await cache.apply();
    const { redis } = cache.client;
    expect(await redis.hgetall('p:2')).toEqual({ id: '2', title: 'three' });
    expect(await redis.pttl('p:2')).toBeGreaterThan(50_000);
    expect(await redis.smembers('ps')).toEqual(['p:2']);
    await expect.poll(() => heard.toSorted()).toEqual(['p:1', 'p:1', 'p:2', 'p:2']);
    await listener[Symbol.asyncDispose]();
  });

  test('a table that leaves takes its keys with it', async () => {
    await using cache = await filled();
    const [things] = cache.model.tables;
    if (things === undefined) throw new Error('no table');
    const other = cache.table('others');
    other.insert(1, 'stays');
    cache.model.tableState(things, 'removed');
    cache.model.forget(things);
    await cache.apply();
    expect(await cache.client.redis.keys('kit.*')).toEqual(['kit.others:1']);
    expect((await cache.open())?.offset).toBe(cache.model.offset);
  });
});
