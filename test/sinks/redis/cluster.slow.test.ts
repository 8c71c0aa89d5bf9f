import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { randomRow } from '../../../contracts/kit/sink-kit-rows.ts';
import { randomNumbers } from '../../../contracts/kit/sink-kit-stand.ts';
import { sinkKit } from '../../../contracts/kit/sink-kit.ts';
import type { TableOptions } from '../../../sinks/redis/options.ts';
import { slotOf } from '../../../sinks/redis/resp/slot.ts';
import { type RedisCluster, startRedisCluster } from '../../fixtures/redis.ts';
import { cellsOf, keysOf, logRows } from '../postgres/snapshot-rows.ts';
import { cachePlace, type CacheSettings } from './cache-place.ts';
import { openReader } from './readers.ts';
import { CacheStand, never } from './stand.ts';

let cluster: RedisCluster;

beforeAll(async () => {
  cluster = await startRedisCluster();
});

afterAll(() => cluster?.[Symbol.asyncDispose]());

beforeEach(flush);

async function flush(): Promise<void> {
  for (const node of cluster.nodes) {
    await using client = node.client();
    await client.flushall();
  }
}

type Mode = 'plain' | 'tagged';
const MODES: readonly Mode[] = ['plain', 'tagged'];

function settings(mode: Mode, table: TableOptions = {}): CacheSettings {
  const [first, ...others] = cluster.addresses.map(({ host, port }) => `${host}:${port}`);
  return { options: { url: `redis://${first}`, nodes: others, cluster: mode, timeout: '5s' }, table };
}

function ports(): number[] {
  return cluster.nodes.map(({ port }) => port);
}

/** Moves a slot with its keys, in the way of redis-cli; `halfway` runs while part of the keys have moved. */
async function moveSlot(slot: number, halfway: () => Promise<void> = () => Promise.resolve()): Promise<void> {
  const clients = cluster.nodes.map((node) => node.client());
  try {
    const ids = await Promise.all(clients.map(async (client) => String(await client.call('CLUSTER', 'MYID'))));
    const from = Math.floor((slot * 3) / 16_384.0001);
    const to = (from + 1) % 3;
    const [source, target] = [clients[from], clients[to]];
    if (source === undefined || target === undefined) throw new Error('a cluster of three');
    await target.call('CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', String(ids[from]));
    await source.call('CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', String(ids[to]));
    const move = async (count: number): Promise<number> => {
      const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', String(slot), String(count))) as string[];
      for (const key of keys) await source.call('MIGRATE', '127.0.0.1', String(target.options.port), key, '0', '5000', 'REPLACE');
      return keys.length;
    };
    await move(1);
    await halfway();
    while ((await move(100)) > 0);
    for (const client of [target, source, ...clients]) await client.call('CLUSTER', 'SETSLOT', String(slot), 'NODE', String(ids[to]));
  } finally {
    for (const client of clients) client.disconnect();
  }
}

describe.each(MODES)('a cluster, %s', (mode) => {
  const cases = sinkKit({
    place: async () => {
      await flush();
      const reader = await openReader(ports());
      return cachePlace(settings(mode), reader, async () => reader[Symbol.asyncDispose]());
    },
    keyless: false, reshapes: true, seed: 1, batches: 12,
  });
  for (const { name, run } of cases) test(name, run);

  test('keys are spread over all primaries, and sets have them all', async () => {
    await using cache = await CacheStand.at(settings(mode, { index: true, publish: 'changes' }), ports());
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 600; id++) things.insert(id, 'one');
    await cache.apply();
    for (let id = 1; id <= 100; id++) things.remove(id);
    await cache.apply();
    await cache.compare();
    let members = 0;
    for (const key of await cache.client.keys()) {
      if (key.toString().endsWith('index:kit.things')) members += ((await cache.client.call('SMEMBERS', key)) as unknown[]).length;
    }
    expect(members).toBe(500);
    for (const node of cluster.nodes) {
      await using client = node.client();
      expect(await client.dbsize()).toBeGreaterThan(50);
    }
  });

  test('a node that was emptied: the sink has no checkpoint, and a rebuild brings all back and sweeps the rest', async () => {
    await using cache = await CacheStand.at(settings(mode), ports());
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 300; id++) things.insert(id, 'one');
    await cache.apply();
    await cache.sink[Symbol.asyncDispose]();
    await using client = (cluster.nodes[1] ?? cluster.nodes[0])?.client();
    await client?.flushall();
    for (let id = 1; id <= 50; id++) things.remove(id);
    cache.log = [];
    const again = cache.model;
    expect(again.offset).toBeGreaterThan(0);
    expect(await cache.open()).toBeNull();
    // The log as the hub would replay it: one table, the rows that are left.
    await using replay = await CacheStand.at(settings(mode), ports());
    const same = replay.table();
    for (let id = 51; id <= 300; id++) same.insert(id, 'one');
    replay.batch();
    expect(await replay.open()).toBeNull();
    await replay.rebuild();
    await replay.compare();
  });

  test.each([0, 1, 2])('node %i is emptied while the sink is at work: the next batch says so, and the sink has no checkpoint', async (node) => {
    await using cache = await CacheStand.at(settings(mode), ports());
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 300; id++) things.insert(id, 'one');
    await cache.apply();
    await using client = cluster.nodes[node]?.client();
    await client?.flushall();
    things.insert(301, 'two');
    await expect(cache.apply()).rejects.toMatchObject({ code: 'SINK_CHECKPOINT_MOVED', retry: 'auto' });
    expect(await cache.open()).toBeNull();
  });

  test('a table changes its shape, and is emptied', async () => {
    await using cache = await CacheStand.at(settings(mode, { value: 'json' }), ports());
    const next = randomNumbers(7);
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 400; id++) things.putRow(randomRow(id, next));
    await cache.apply();
    const [id, name, amount, ...rest] = things.table.schema.columns;
    if (id === undefined || name === undefined || amount === undefined) throw new Error('the table of the kit has other columns');
    cache.model.alterTable(things.table, { name: 'stuff', columns: [id, { ...name, name: 'amount' }, { ...amount, name: 'name' }, ...rest] });
    await cache.apply();
    await cache.compare();
    cache.model.truncate(things.table);
    things.insert(3, 'after');
    await cache.apply();
    await cache.compare();
  });
});

describe('slots that move', () => {
  test('plain: commands follow them, also while a slot is on its way', async () => {
    await using cache = await CacheStand.at(settings('plain', { key: 'p:{{kit}}:{id}' }), ports());
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 40; id++) things.insert(id, 'one');
    await cache.apply();
    const tagged = Buffer.from('p:{kit}:1');
    await moveSlot(slotOf(tagged, 0, tagged.length), async () => {
      for (let id = 1; id <= 60; id++) things.put(id, 'two');
      things.remove(7);
      await cache.apply();
    });
    for (let id = 1; id <= 60; id++) things.put(id, 'three');
    await cache.apply();
    await cache.compare();
    await cache.open();
    things.update(8, 'four');
    await cache.apply();
    await cache.compare();
  });

  test('tagged: the batch fails, and the sink finds the slot when it is opened again', async () => {
    await using cache = await CacheStand.at(settings('tagged'), ports());
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 400; id++) things.insert(id, 'one');
    await cache.apply();
    const tag = Buffer.from('{07}');
    await moveSlot(slotOf(tag, 0, tag.length));
    for (let id = 1; id <= 500; id++) things.put(id, 'two');
    expect(await cache.refusal()).toEqual({ code: 'REDIS_UNAVAILABLE', retry: 'auto' });
    await cache.catchUp();
    await cache.compare();
  });
});

describe.each(MODES)('reading back, %s', (mode) => {
  test('while a slot is on its way, and after it has moved: every row is there, as expected', async () => {
    await using cache = await CacheStand.at(settings(mode, { key: 'p:{{back}}:{id}' }), ports());
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 300; id++) things.insert(id, `name ${id}`);
    await cache.apply();
    const { schema } = things.table;
    const sink = cache.another();
    if (sink.snapshot === undefined) throw new Error('the sink has no snapshots');
    await using snapshot = await sink.snapshot(cache.model.start(), never);
    const batch = await snapshot.expected(schema, logRows(things.table), never);
    const [expected, keys] = [await cellsOf([batch]), keysOf(batch)];
    const [first] = keys;
    await moveSlot(first === undefined ? 0 : slotOf(first, 0, first.length), async () => {
      expect(await cellsOf(snapshot.find(schema, keys, never))).toEqual(expected);
    });
    expect(await cellsOf(snapshot.rows(schema, never))).toEqual(expected);
    expect(await cellsOf(snapshot.find(schema, keys, never))).toEqual(expected);
  });
});

/** The replica has all that its primary has written. */
async function isReplicated(primary: Redis): Promise<boolean> {
  const info = await primary.info('replication');
  const offset = /^master_repl_offset:(\d+)/m.exec(info)?.[1];
  return offset !== undefined && /^slave0:.*offset=(\d+)/m.exec(info)?.[1] === offset;
}

/** A cluster with replicas, of which one hears nothing from `forget` on and then takes over: what was written is lost there. */
async function withFailover(mode: Mode, run: (cache: CacheStand, forget: () => Promise<void>, failover: () => Promise<void>) => Promise<void>): Promise<void> {
  await using replicated = await startRedisCluster({ replicasEach: 1 });
  const [first, ...others] = replicated.addresses.map(({ host, port }) => `${host}:${port}`);
  const primaries = replicated.nodes.slice(0, 3);
  const [victim, replica] = [replicated.nodes[1], replicated.nodes[4]];
  if (victim === undefined || replica === undefined) throw new Error('a cluster of six');
  const reading = [replica, ...primaries.filter((node) => node !== victim)].map(({ port }) => port);
  const options = { url: `redis://${first}`, nodes: others, cluster: mode, timeout: '5s' };
  await using cache = await CacheStand.at({ options }, reading);
  await using client = victim.client();
  const forget = async (): Promise<void> => {
    // WAIT speaks of what its own connection has written; the sink has written through others.
    await vi.waitFor(async () => expect(await isReplicated(client)).toBe(true), { timeout: 5000, interval: 10 });
    replica.freeze();
    await client.call('CLIENT', 'KILL', 'TYPE', 'replica');
  };
  const failover = async (): Promise<void> => {
    await victim.stop('kill');
    replica.thaw();
    await using promoted = replica.client();
    expect(await promoted.call('CLUSTER', 'FAILOVER', 'TAKEOVER')).toBe('OK');
  };
  await run(cache, forget, failover);
}

describe('a replica that is behind takes over one primary', () => {
  test.each(MODES)('%s: the sink goes back to what the new primary has', (mode) =>
    withFailover(mode, async (cache, forget, failover) => {
      await cache.open();
      const things = cache.table();
      for (let id = 1; id <= 500; id++) things.putRow([String(id), 'one', '5', null, null]);
      await cache.apply();
      const agreed = cache.model.offset;
      await forget();
      for (let id = 200; id <= 600; id++) things.put(id, 'two');
      for (let id = 1; id <= 50; id++) things.remove(id);
      await cache.apply();
      await failover();
      const opened = await cache.retried(() => cache.open());
      expect(opened?.offset).toBe(agreed);
      await cache.catchUp();
      await cache.compare();
    }));

  test.each(MODES)('%s: to before a table changed its shape', (mode) =>
    withFailover(mode, async (cache, forget, failover) => {
      await cache.open();
      const things = cache.table();
      for (let id = 1; id <= 300; id++) things.putRow([String(id), 'one', '5', null, null]);
      await cache.apply();
      const agreed = cache.model.offset;
      await forget();
      const [id, name, amount, ...rest] = things.table.schema.columns;
      if (id === undefined || name === undefined || amount === undefined) throw new Error('the table of the kit has other columns');
      cache.model.alterTable(things.table, { columns: [id, { ...name, name: 'amount' }, { ...amount, name: 'name' }, ...rest] });
      for (let n = 250; n <= 350; n++) things.put(n, 'two');
      await cache.apply();
      await failover();
      const opened = await cache.retried(() => cache.open());
      // Each partition of a tagged cluster has its rows' shape with it. In a plain one it is not known which rows went back.
      expect(opened?.offset ?? null).toBe(mode === 'tagged' ? agreed : null);
      if (mode === 'tagged') await cache.catchUp();
      else await cache.rebuild();
      await cache.compare();
    }));
});

describe('check', () => {
  test('tells a cluster from a server, and a prefix that is no hash tag', async () => {
    await using cache = await CacheStand.at({ options: { url: settings('plain').options['url'] } }, ports());
    expect((await cache.sink.check([], never)).map(({ code }) => code)).toContain('redis-cluster');
    await using bare = await CacheStand.at({ options: { ...settings('plain').options, prefix: 'mine:' } }, ports());
    await expect(bare.open()).rejects.toMatchObject({ code: 'REDIS_SERVER' });
  });
});
