import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { startPostgres } from '../fixtures/embedded-postgres.ts';
import { type HubProcess, startHubProcess } from '../fixtures/hub-process.ts';
import { startRedis } from '../fixtures/redis.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';

const ROWS = 250_000;
const DEATHS = 2;
const CHECKPOINT = 'tidemark:{cache}:checkpoint';

it('a cache whose hub is killed while it is filled from the base goes on, and loses what the log does not have', async () => {
  await using folder = await temporaryDirectory('load-kill-redis');
  await using source = await startPostgres({ databases: ['source'], settings: { max_wal_size: '4GB' } });
  await using redis = await startRedis();
  await source.query(`CREATE TABLE rows (id int PRIMARY KEY, body text NOT NULL); INSERT INTO rows SELECT i, md5(i::text) FROM generate_series(1, ${ROWS}) AS i`, [], 'source');
  const sources = { shop: { type: 'postgres', url: source.url('source'), tables: ['public.*'] } };
  const cache = { type: 'redis', from: 'shop', url: redis.url, tables: { 'public.rows': { key: 'row:{id}' } } };
  const start = (sinks: object): Promise<HubProcess> => startHubProcess({ directory: folder.path, config: { sources, sinks } });
  {
    await using hub = await start({});
    await hub.until('the table is copied', ({ sources: [shop] }) => shop?.tables[0]?.state === 'consistent', 120_000);
    await hub.stop();
  }
  let end = 0;
  {
    await using engine = await EmbeddedLogEngine.create(join(folder.path, 'data'), createTestRuntime());
    const log = await engine.open('shop', { create: false });
    end = log.state().highWatermark;
    expect(await log.compact(end, { memoryBytes: 64 << 20, share: 1 }, AbortSignal.timeout(60_000))).toBeGreaterThan(0);
  }
  await source.stop();

  await using client = redis.client();
  // Rows of before that the log does not have, one that it has in another state.
  for (const id of [0, ROWS + 1, ROWS + 2]) await client.hset(`row:${id}`, { id: String(id), body: 'of before' });
  await client.hset('row:7', { id: '7', body: 'of before', other: 'field' });
  for (let death = 0; death < DEATHS; death++) {
    await using hub = await start({ cache });
    await hub.until('some more rows are there', ({ sinks: [sink] }) => (sink?.load?.rows ?? 0) > 0, 60_000);
    expect(await client.hmget(CHECKPOINT, 'offset', 'rebuild')).toEqual(['0', 'replaying']);
    await hub.kill();
    expect(await client.hget('row:0', 'body')).toBe('of before');
  }
  await using hub = await start({ cache });
  expect(await hub.api.wait('cache', String(end), 120_000, AbortSignal.timeout(130_000))).toBe(end);
  expect(await client.dbsize()).toBe(ROWS + (await client.keys('tidemark:*')).length);
  expect(await client.hgetall('row:7')).toEqual({ id: '7', body: '8f14e45fceea167a5a36dedd4bea2543' });
  expect(await client.hget(CHECKPOINT, 'cursor')).toBe('');
  const loads = (await hub.output()).split('\n').flatMap((line) => (line.includes('"event":"sink.loading"') ? [JSON.parse(line) as { rows: number }] : []));
  expect(loads.map(({ rows }) => rows > 0)).toEqual([false, true, true]);
}, 240_000);
