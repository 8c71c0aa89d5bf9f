import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSentinels, type SentinelSet } from '../../fixtures/redis.ts';
import { cellsOf, logRows } from '../postgres/snapshot-rows.ts';
import { CacheStand } from './stand.ts';

let set: SentinelSet;

beforeAll(async () => {
  set = await startSentinels();
});

afterAll(() => set?.[Symbol.asyncDispose]());

describe('behind sentinels', () => {
  const settings = (primary = set.name) => {
    const [first, ...others] = set.addresses.map(({ host, port }) => `${host}:${port}`);
    return { options: { url: `redis://${first}`, nodes: others, primary, timeout: '5s' } };
  };

  test('an unknown name is said to be unknown', async () => {
    await using cache = await CacheStand.at(settings('nobody'), [set.primary.port]);
    await expect(cache.open()).rejects.toMatchObject({ code: 'SINK_UNREACHABLE', message: expect.stringContaining('nobody') as string });
  });

  test('the sink finds the primary, and after a failover the new one, with nothing lost of what that one has', async () => {
    await using cache = await CacheStand.at(settings(), set.replicas.map(({ port }) => port));
    expect((await cache.sink.check([], AbortSignal.timeout(5000))).filter(({ severity }) => severity === 'error')).toEqual([]);
    await cache.open();
    const things = cache.table();
    for (let id = 1; id <= 200; id++) things.insert(id, 'one');
    await cache.apply();
    await using client = set.primary.client();
    expect(Number(await client.call('WAIT', '1', '5000'))).toBe(1);
    await set.primary.stop('kill');
    for (let id = 100; id <= 300; id++) things.put(id, 'two');
    expect((await cache.refusal()).retry).toBe('auto');
    await cache.retried(() => cache.catchUp());
    await cache.compare();
    expect((await cache.open())?.offset).toBe(cache.model.offset);
    const { sink, model } = cache;
    if (sink.snapshot === undefined) throw new Error('the sink has no snapshots');
    await using snapshot = await sink.snapshot(model.start(), AbortSignal.timeout(5_000));
    expect(snapshot.checkpoint?.offset).toBe(model.offset);
    const batch = await snapshot.expected(things.table.schema, logRows(things.table), AbortSignal.timeout(5_000));
    expect(await cellsOf(snapshot.rows(things.table.schema, AbortSignal.timeout(5_000)))).toEqual(await cellsOf([batch]));
  });
});
