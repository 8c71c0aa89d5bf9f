import { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { topologyOf } from '../../../sinks/redis/discovery.ts';
import { parseAddress, parseEndpoint, printAddress } from '../../../sinks/redis/endpoint.ts';
import { redisSink } from '../../../sinks/redis/index.ts';
import { readOptions } from '../../../sinks/redis/options.ts';
import { serverError } from '../../../sinks/redis/server-error.ts';

describe('addresses', () => {
  test.each([
    ['redis://host', { address: { host: 'host', port: 6379 }, username: null, password: null, database: 0, tls: false }],
    ['rediss://u%3A:p%40@host:7000/12', { address: { host: 'host', port: 7000 }, username: 'u:', password: 'p@', database: 12, tls: true }],
    ['redis://:pw@[::1]:7000/', { address: { host: '::1', port: 7000 }, username: null, password: 'pw', database: 0, tls: false }],
  ])('%s', (text, expected) => {
    expect(parseEndpoint(text)).toEqual(expected);
  });

  test.each(['', 'host:6379', 'http://host', 'redis://', 'redis://host/x', 'redis://:secret@host:port/'])('%j is refused, and nothing of it repeated', (text) => {
    expect(() => parseEndpoint(text)).toThrow(expect.objectContaining({ code: 'REDIS_SERVER' }));
    expect(() => parseEndpoint(text)).not.toThrow('secret');
  });

  test('of nodes', () => {
    expect(parseAddress('host', 26379)).toEqual({ host: 'host', port: 26379 });
    expect(parseAddress('[::1]:7', 1)).toEqual({ host: '::1', port: 7 });
    expect(printAddress({ host: '::1', port: 7 })).toBe('[::1]:7');
    expect(() => parseAddress('a/b', 1)).toThrow(expect.objectContaining({ code: 'REDIS_SERVER' }));
  });
});

describe('options', () => {
  test('have defaults, and units as people write them', () => {
    expect(readOptions('cache', { url: 'redis://x' })).toMatchObject({ prefix: 'tidemark:{cache}:', transactionCommands: 10_000, transactionBytes: 8 << 20, timeoutMs: 30_000, cluster: null, primary: null });
    expect(readOptions('cache', { url: 'redis://x', timeout: '2s', transaction_size: '1MiB' })).toMatchObject({ timeoutMs: 2000, transactionBytes: 1 << 20 });
    expect(readOptions('cache', { url: 'redis://x', timeout: 2000 })).toMatchObject({ timeoutMs: 2000 });
  });

  test('are described by a schema that is plain JSON', () => {
    const { options, tableOptions } = redisSink;
    const ajv = new Ajv({ strict: false });
    const of = (schema: object | null) => ajv.compile(JSON.parse(JSON.stringify(schema)) as object);
    const [sink, table] = [of(options), of(tableOptions)];
    expect(sink({ cluster: 'tagged', nodes: ['a:1'], transaction_commands: 100, timeout: '5s' })).toBe(true);
    for (const wrong of [{ cluster: 'yes' }, { transaction_commands: 20_000 }, { unknown: 1 }, { tls: { verify: false } }]) expect(sink(wrong), JSON.stringify(wrong)).toBe(false);
    expect(table({ key: 'p:{id}', value: 'json', columns: { a: 'b' }, ttl: '1h', index: 'all', publish: 'x' })).toBe(true);
    for (const wrong of [{ value: 'xml' }, { columns: [] }, { columns: { a: 1 } }, { index: 1 }, { ttl: 'soon' }]) expect(table(wrong), JSON.stringify(wrong)).toBe(false);
  });
});

describe('answers of servers', () => {
  test.each([
    ["OOM command not allowed when used memory > 'maxmemory'.", 'REDIS_FULL', 'auto'],
    ["READONLY You can't write against a read only replica.", 'REDIS_UNAVAILABLE', 'auto'],
    ['LOADING Redis is loading the dataset in memory', 'REDIS_UNAVAILABLE', 'auto'],
    ['MOVED 1 127.0.0.1:1', 'REDIS_UNAVAILABLE', 'auto'],
    ['NOAUTH Authentication required.', 'REDIS_DENIED', 'operator'],
    ["NOPERM User x has no permissions to run the 'hset' command", 'REDIS_DENIED', 'operator'],
    ['WRONGTYPE Operation against a key holding the wrong kind of value', 'REDIS_KEY_TYPE', 'operator'],
    ["ERR unknown command 'JSON.SET', with args beginning with:", 'REDIS_SERVER', 'operator'],
    ['ERR max number of clients reached', 'REDIS_UNAVAILABLE', 'auto'],
    ['ERR expected value at line 1 column 1', 'SINK_DATA', 'never'],
  ])('%s: %s', (text, code, retry) => {
    expect(serverError(text, 'here')).toMatchObject({ code, retry });
  });

  test('the slots of a cluster', () => {
    const slots = Array.from({ length: 16_384 }, (_, slot) => (slot < 8000 ? ['::1:7000', 'replica:1'] : ['b:7001']));
    const { primaries, ownerOf } = topologyOf(slots);
    expect(primaries).toEqual([{ host: '::1', port: 7000 }, { host: 'b', port: 7001 }]);
    expect([ownerOf[0], ownerOf[7999], ownerOf[8000]]).toEqual([0, 0, 1]);
    expect(() => topologyOf(slots.slice(0, 100))).toThrow(expect.objectContaining({ code: 'REDIS_UNAVAILABLE' }));
  });
});
