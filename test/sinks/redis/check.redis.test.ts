import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Catalog } from '../../../contracts/catalog.ts';
import { modelColumn } from '../../../contracts/kit/sink-model.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { TableOptions } from '../../../sinks/redis/options.ts';
import { type RedisServer, startRedis } from '../../fixtures/redis.ts';
import { cacheSink } from './cache-place.ts';
import { CacheStand, never } from './stand.ts';

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});

afterAll(() => server?.[Symbol.asyncDispose]());

function schema(name: string, keyed = true, nullable = false): TableSchema {
  const column = modelColumn({ name: 'id', type: { kind: 'text', length: null, fixed: false }, nativeType: 'text', nullable }, 1);
  return { tableId: 1, version: 1, sourceTableId: '1', namespace: 'public', name, columns: [column], keyKind: keyed ? 'primary' : 'none', key: keyed ? [0] : [] };
}

/** Codes of what a check finds, with their severity. */
async function found(options: Readonly<Record<string, unknown>>, tables: readonly TableSchema[] = [], table: TableOptions = {}): Promise<string[]> {
  await using sink = cacheSink({ options: { url: server.url, ...options }, table });
  const findings = await sink.check(tables, never);
  for (const { severity, what, remedy } of findings) {
    expect(what).not.toBe('');
    expect(remedy === '').toBe(severity === 'ok');
  }
  return findings.map(({ severity, code }) => `${severity} ${code}`);
}

describe('check', () => {
  test('a server without persistence is worth knowing, and nothing is changed', async () => {
    expect(await found({})).toEqual(['warning redis-persistence']);
    await using client = server.client();
    expect(await client.dbsize()).toBe(0);
  });

  test('all is well', async () => {
    await using client = server.client();
    await client.config('SET', 'appendonly', 'yes');
    try {
      expect(await found({}, [schema('a')])).toEqual(['ok redis-server']);
    } finally {
      await client.config('SET', 'appendonly', 'no');
    }
  });

  test('a server that evicts keys is refused unless that is accepted', async () => {
    await using evicting = await startRedis({ settings: { maxmemory: '50mb', 'maxmemory-policy': 'allkeys-lru' } });
    expect(await found({ url: evicting.url })).toContain('error redis-eviction');
    expect(await found({ url: evicting.url, accept_eviction: true })).toContain('warning redis-eviction');
    await using client = evicting.client();
    await client.config('SET', 'maxmemory-policy', 'volatile-ttl');
    expect(await found({ url: evicting.url })).toContain('warning redis-eviction');
    await client.config('SET', 'maxmemory-policy', 'noeviction');
    expect(await found({ url: evicting.url })).toEqual(['warning redis-persistence']);
  });

  test('tables that cannot be mirrored are named', async () => {
    expect(await found({}, [schema('bag', false)])).toContain('error redis-table');
    expect(await found({}, [schema('a'), schema('b')], { key: 'x:{id}' })).toContain('error redis-key-overlap');
    expect(await found({}, [schema('a')], { key: '{id}' })).toContain('error redis-table');
    expect(await found({}, [schema('a')], { key: 'tide{id}' })).toContain('error redis-key-overlap');
    expect(await found({}, [schema('a')], { columns: ['nothing'] })).toContain('error redis-table');
    expect(await found({}, [schema('a', true, true)])).toContain('warning redis-empty-hash');
    expect(await found({}, [schema('a')], { ttl: 5000 })).toContain('warning redis-ttl');
    expect(await found({}, [schema('a')], { value: 'redisjson' })).toContain('error redis-json');
  });

  test('a server that is not there, a wrong address, contradicting settings, a key in the way', async () => {
    expect(await found({ url: 'redis://127.0.0.1:1' })).toEqual(['error redis-connection']);
    expect(await found({ url: 'http://127.0.0.1' })).toEqual(['error redis-connection']);
    expect(await found({ cluster: 'plain' })).toEqual(['error redis-connection']);
    expect(await found({ cluster: 'plain', primary: 'x' })).toEqual(['error redis-config']);
    await using client = server.client();
    await client.set('tidemark:{cache}:checkpoint', 'x');
    expect(await found({})).toContain('error redis-checkpoint');
    await client.del('tidemark:{cache}:checkpoint');
  });
});

describe('logging in', () => {
  test('by password and by user; the wrong one, and one that may too little, are told apart from a server that is down', async () => {
    await using closed = await startRedis();
    await using client = closed.client();
    const at = (user: string): string => `redis://${user}@127.0.0.1:${closed.port}/3`;
    await client.call('ACL', 'SETUSER', 'hub', 'on', '>p@ss:w', '~*', '+@all');
    await client.call('ACL', 'SETUSER', 'reader', 'on', '>r', '~*', '+@read', '+@connection', '+info', '+watch', '+multi', '+exec');
    await client.call('ACL', 'SETUSER', 'default', 'off');
    await using cache = await CacheStand.at({ options: { url: at('hub:p%40ss%3Aw') } }, [closed.port]);
    await cache.open();
    cache.table().insert(1, 'one');
    await cache.apply();
    for (const user of ['hub:wrong', 'reader:r', '']) {
      await using other = cacheSink({ options: { url: user === '' ? closed.url : at(user) } });
      await expect(other.open(cache.model.start(), never), user).rejects.toMatchObject({ code: 'REDIS_DENIED', retry: 'operator' });
    }
  });

  test('the commands that the documentation lists are enough', async () => {
    const page = await readFile(join(import.meta.dirname, '../../../docs/sink-redis.md'), 'utf8');
    const listed = /The user needs: `([A-Z ]+)`/.exec(page)?.[1]?.split(' ') ?? [];
    expect(listed.length).toBeGreaterThan(20);
    await using closed = await startRedis();
    await using client = closed.client();
    const commands = [...listed, 'PUBLISH'].map((name) => `+${name.toLowerCase()}`);
    await client.call('ACL', 'SETUSER', 'hub', 'on', '>pw', '&*', '~kit.*', '~tidemark:*', '-@all', ...commands);
    for (const value of ['hash', 'json'] as const) {
      const settings = { options: { url: `redis://hub:pw@127.0.0.1:${closed.port}/1` }, table: { value, index: true, publish: 'x', ttl: 60_000 } };
      await using cache = await CacheStand.at(settings, [closed.port]);
      await cache.client.redis.select(1);
      expect((await cache.sink.check([], never)).filter(({ severity }) => severity === 'error')).toEqual([]);
      await cache.open();
      const things = cache.table();
      for (let id = 1; id <= 20; id++) things.insert(id, 'one');
      await cache.apply();
      cache.model.alterTable(things.table, { name: 'stuff', columns: things.table.schema.columns.map((column) => (column.number === 2 ? { ...column, name: 'title' } : column)) });
      await cache.apply();
      await cache.open();
      await cache.rebuild();
      await cache.compare();
      cache.model.truncate(things.table);
      await cache.apply();
      await cache.compare();
      await client.flushall();
    }
  });

  test('a password that was changed is found at the next opening', async () => {
    await using closed = await startRedis();
    await using admin = closed.client();
    await admin.config('SET', 'requirepass', 'old');
    let password = 'old';
    const url = (): string => `redis://:${password}@127.0.0.1:${closed.port}`;
    await using cache = await CacheStand.at({ options: { url: 'redis://127.0.0.1:1' }, fresh: () => Promise.resolve({ url: url() }) }, [closed.port]);
    await cache.open();
    await admin.config('SET', 'requirepass', 'new');
    await expect(cache.open()).rejects.toMatchObject({ code: 'REDIS_DENIED' });
    password = 'new';
    await cache.open();
  });

  test('a server that is no Redis', async () => {
    const other = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const address = other.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await using sink = cacheSink({ options: { url: `redis://127.0.0.1:${port}` } });
    await expect(sink.open({ logId: '00'.repeat(16), catalog: new Catalog() }, never)).rejects.toMatchObject({ code: 'REDIS_PROTOCOL' });
    other.close();
  });
});
