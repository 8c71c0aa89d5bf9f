import { afterAll, beforeAll, describe, test } from 'vitest';
import { sinkKit } from '../../../contracts/kit/sink-kit.ts';
import type { TableOptions } from '../../../sinks/redis/options.ts';
import { type RedisServer, startRedis } from '../../fixtures/redis.ts';
import { cachePlace, type KeyReader } from './cache-place.ts';

const KINDS: readonly (readonly [string, TableOptions])[] = [
  ['hash', {}],
  ['json', { value: 'json' }],
  ['hash with an index', { index: true, publish: 'changes' }],
];

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});

afterAll(() => server?.[Symbol.asyncDispose]());

for (const [kind, table] of KINDS) {
  describe(`the Redis sink, ${kind}`, () => {
    for (const seed of [1, Date.now() % 1_000_000]) {
      const cases = sinkKit({ place: () => place(table), keyless: false, reshapes: true, seed });
      for (const { name, run } of cases) if (seed === 1 || name.startsWith('random')) test(`${name} (seed ${seed})`, run);
    }
  });
}

async function place(table: TableOptions) {
  const client = server.client();
  await client.flushall();
  const reader: KeyReader = {
    keys: () => client.keysBuffer('*'),
    call: (command, key) => client.callBuffer(command, key),
  };
  return cachePlace({ options: { url: server.url }, table }, reader, async () => client[Symbol.asyncDispose]());
}
