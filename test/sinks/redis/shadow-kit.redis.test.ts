import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type SinkPlace, sinkKit } from '../../../contracts/kit/sink-kit.ts';
import { type RedisServer, startRedis } from '../../fixtures/redis.ts';
import { cachePlace, cacheSink, type CacheSettings } from './cache-place.ts';

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});

afterAll(() => server?.[Symbol.asyncDispose]());

/** What is applied to a shadow, read from the shadow's database. */
async function shadowPlace(): Promise<SinkPlace> {
  const settings: CacheSettings = { options: { url: server.url, shadow_db: 1 } };
  const client = new Redis({ host: server.host, port: server.port, db: 1, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  await client.flushall();
  const reader = { keys: () => client.keysBuffer('*'), call: (command: string, key: Buffer) => client.callBuffer(command, key) };
  const dispose = (): Promise<void> => {
    client.disconnect();
    return Promise.resolve();
  };
  const place = cachePlace(settings, reader, dispose);
  const sink = () => {
    const { shadow } = cacheSink(settings);
    if (shadow === undefined) throw new Error('the sink has no shadow');
    return shadow.open(() => true);
  };
  return { sink, rows: (schema) => place.rows(schema), [Symbol.asyncDispose]: dispose };
}

describe('the shadow of a Redis sink', () => {
  // A shadow of another log is removed instead.
  const others = new Set(['the checkpoint of another log is refused']);
  const cases = sinkKit({ place: shadowPlace, keyless: false, reshapes: true, seed: 2 }).filter(({ name }) => !others.has(name));
  for (const { name, run } of cases) test(name, run);
});
