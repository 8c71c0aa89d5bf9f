import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ModelChanges } from '../../../contracts/kit/sink-kit-changes.ts';
import { KIT_COLUMNS } from '../../../contracts/kit/sink-kit-rows.ts';
import type { SinkSnapshot } from '../../../contracts/verify.ts';
import type { TableOptions } from '../../../sinks/redis/options.ts';
import { type RedisServer, startRedis } from '../../fixtures/redis.ts';
import { cellsOf, keysOf, logRows } from '../postgres/snapshot-rows.ts';
import type { CacheSettings } from './cache-place.ts';
import { CacheStand, never } from './stand.ts';

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});

afterAll(() => server?.[Symbol.asyncDispose]());

beforeEach(async () => {
  await using client = server.client();
  await client.flushall();
});

function settings(table: TableOptions = {}, options: Readonly<Record<string, unknown>> = {}): CacheSettings {
  return { options: { url: server.url, ...options }, table };
}

async function filled(with_: CacheSettings, rows = 10): Promise<{ cache: CacheStand; things: ModelChanges } & AsyncDisposable> {
  const cache = await CacheStand.at(with_, [server.port]);
  await cache.open();
  const things = cache.table();
  for (let id = 1; id <= rows; id++) things.insert(id, `name ${id}`);
  await cache.apply();
  return { cache, things, [Symbol.asyncDispose]: () => cache[Symbol.asyncDispose]() };
}

function snapshotOf(cache: CacheStand, sink = cache.another()): Promise<SinkSnapshot> {
  if (sink.snapshot === undefined) throw new Error('the sink has no snapshots');
  return sink.snapshot(cache.model.start(), never);
}

/** Keys (as text) of rows that are not as expected. */
async function differing(snapshot: SinkSnapshot, { table }: ModelChanges): Promise<Map<string, unknown>> {
  const found = await cellsOf(snapshot.rows(table.schema, never));
  const expected = await cellsOf([await snapshot.expected(table.schema, logRows(table), never)]);
  const keys = [...new Set([...found.keys(), ...expected.keys()])].filter((key) => JSON.stringify(found.get(key)) !== JSON.stringify(expected.get(key)));
  return new Map(keys.map((key) => [Buffer.from(key, 'hex').toString('utf8'), found.get(key) ?? null]));
}

describe.each(['hash', 'json'] as const)('rows as %s', (value) => {
  test('that were changed, removed or added in Redis are seen', async () => {
    await using it = await filled(settings({ value, key: 'thing:{id}' }));
    const { redis } = it.cache.client;
    if (value === 'hash') {
      await redis.hset('thing:1', 'name', 'other');
      await redis.hset('thing:2', 'unknown', 'field');
      await redis.hdel('thing:3', 'name');
    } else {
      const text = await redis.get('thing:1') ?? '';
      await redis.set('thing:1', text.replace('name 1', 'other'));
      await redis.set('thing:2', (await redis.get('thing:2') ?? '').replace('{', '{"unknown":"field",'));
      await redis.set('thing:3', (await redis.get('thing:3') ?? '').replace(/"name":"name 3",/, ''));
    }
    await redis.del('thing:4');
    await redis.del('thing:5');
    await redis.lpush('thing:5', 'a list');
    await redis.copy('thing:6', 'thing:99');
    await using snapshot = await snapshotOf(it.cache);
    const found = await differing(snapshot, it.things);
    expect([...found.keys()].toSorted()).toEqual(['thing:1', 'thing:2', 'thing:3', 'thing:4', 'thing:5', 'thing:99']);
    const quoted = value === 'hash' ? 'other' : '"other"';
    expect(found.get('thing:1')).toMatchObject([expect.anything(), quoted, ...Array.from({ length: 3 }, (): unknown => expect.toSatisfy(() => true))]);
    expect((found.get('thing:2') as unknown[]).at(-1)).toBe(value === 'hash' ? 'field unknown' : 'member unknown');
    expect((found.get('thing:5') as unknown[]).at(-1)).toBe('another kind of value');
    expect(found.get('thing:4')).toBeNull();
  });

  test('of chosen columns, under other names, with a set of their keys', async () => {
    await using it = await filled(settings({ value, columns: { name: 'n', data: 'raw' }, index: 'all', key: 'x:{id}:y' }));
    await using snapshot = await snapshotOf(it.cache);
    expect(await differing(snapshot, it.things)).toEqual(new Map());
    expect((await cellsOf(snapshot.rows(it.things.table.schema, never))).size).toBe(10);
    const keys = keysOf(await snapshot.expected(it.things.table.schema, logRows(it.things.table), never));
    expect(keys.map(String)).toContain('x:3:y');
    await it.cache.client.redis.del('x:3:y');
    expect((await cellsOf(snapshot.find(it.things.table.schema, keys, never))).size).toBe(9);
  });

  test('that expire are not wrong when they are gone, and said to be such', async () => {
    await using it = await filled(settings({ value, ttl: 1_000, key: 'thing:{id}' }));
    await using snapshot = await snapshotOf(it.cache);
    expect(snapshot.mayLack(it.things.table.schema)).toBe(true);
    await delay(1_300);
    expect((await cellsOf(snapshot.rows(it.things.table.schema, never))).size).toBe(0);
  });
});

test('a row of nothing but nulls is no hash, and is not expected', async () => {
  await using cache = await CacheStand.at(settings({ columns: ['name', 'amount'] }), [server.port]);
  await cache.open();
  const table = cache.model.createTable('kit', 'things', KIT_COLUMNS, ['id']);
  cache.model.insert(table, ['1', null, null, null, 't']);
  cache.model.insert(table, ['2', '', null, null, 't']);
  await cache.apply();
  await using snapshot = await snapshotOf(cache);
  const expected = await snapshot.expected(table.schema, logRows(table), never);
  expect(expected.count).toBe(1);
  expect(await cellsOf(snapshot.rows(table.schema, never))).toEqual(await cellsOf([expected]));
});

test('rows may be missing where eviction is accepted, and otherwise not', async () => {
  await using it = await filled(settings());
  await using strict = await snapshotOf(it.cache);
  expect(strict.mayLack(it.things.table.schema)).toBe(false);
  await using lax = await snapshotOf(it.cache, it.cache.another(settings({}, { accept_eviction: true })));
  expect(lax.mayLack(it.things.table.schema)).toBe(true);
});

test('rows that others apply meanwhile are read as they come: nothing is exact, and nothing fails', async () => {
  await using it = await filled(settings(), 3_000);
  await using snapshot = await snapshotOf(it.cache);
  expect(snapshot.isExact).toBe(false);
  const reading = cellsOf(snapshot.rows(it.things.table.schema, never));
  for (let round = 0; round < 5; round++) {
    for (let id = 1; id <= 300; id++) it.things.update(id, `round ${round}`);
    await it.cache.apply();
  }
  expect((await reading).size).toBe(3_000);
});

test('while the sink is rebuilt, rows of before are in the way: to be tried again', async () => {
  await using it = await filled(settings());
  const { sink, model } = it.cache;
  await sink.inPlace?.begin(model.start(), never);
  await using during = await snapshotOf(it.cache);
  await expect(cellsOf(during.rows(it.things.table.schema, never))).rejects.toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
  for (const batch of it.cache.log) await it.cache.apply(batch);
  await sink.inPlace?.sweep(never);
  await using after = await snapshotOf(it.cache);
  expect(await differing(after, it.things)).toEqual(new Map());
});

test('rows that were written under another configuration: somebody must see to it', async () => {
  await using it = await filled(settings({ value: 'hash' }));
  await using snapshot = await snapshotOf(it.cache, it.cache.another(settings({ value: 'json' })));
  await expect(cellsOf(snapshot.rows(it.things.table.schema, never))).rejects.toMatchObject({ code: 'VERIFY_TABLE', retry: 'operator' });
});

test('the server goes away: the reading fails as one to be tried again', async () => {
  await using own = await startRedis();
  await using cache = await CacheStand.at({ options: { url: own.url } }, [own.port]);
  await cache.open();
  const things = cache.table();
  for (let id = 1; id <= 5_000; id++) things.insert(id, 'x'.repeat(500));
  await cache.apply();
  await using snapshot = await snapshotOf(cache);
  const reading = snapshot.rows(things.table.schema, never)[Symbol.asyncIterator]();
  await reading.next();
  await own.stop('kill');
  const rest = (async () => {
    for (let next = await reading.next(); next.done !== true; next = await reading.next());
  })();
  await expect(rest).rejects.toMatchObject({ code: 'SINK_UNREACHABLE', retry: 'auto' });
});
