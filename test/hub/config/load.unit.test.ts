import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HubConfig } from '../../../contracts/config.ts';
import { describeError, type TidemarkError } from '../../../contracts/errors/error.ts';
import { loadConfig, readConfig, readHubPlace } from '../../../hub/config/load.ts';
import type { Environment } from '../../../hub/config/references.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { MODULES } from './modules.ts';

const SECRET = 'hunter2-do-not-print';
const ENV: Environment = { SHOP_URL: `postgres://tidemark:${SECRET}@db/shop`, EMPTY: '', WORKERS: '4', FAILOVER: 'true' };

const GOOD = `hub: { data: ./data, http: "127.0.0.1:7400" }
sources:
  shop:
    type: postgres
    url: \${SHOP_URL}
    tables: ["public.*"]            # globs, and ! to leave out
    columns: { "public.customers": { exclude: [password], hash: [email] } }
sinks:
  replica: { type: postgres, from: shop, url: \${REPLICA_URL:-postgres://replica}, tables: ["public.*"] }
  cache:   { type: redis, from: shop, url: "redis://127.0.0.1:6379", tables: { "public.products": { key: "product:{id}" } } }
`;

let folder: TemporaryDirectory;
let count = 0;

beforeAll(async () => {
  folder = await temporaryDirectory('config');
});
afterAll(() => folder[Symbol.asyncDispose]());

async function file(text: string): Promise<string> {
  const path = join(folder.path, `c${count++}.yaml`);
  await writeFile(path, text);
  return path;
}

async function load(text: string, env: Environment = ENV): Promise<HubConfig> {
  return loadConfig(await file(text), env, MODULES);
}

async function problemsOf(text: string, env: Environment = ENV): Promise<readonly TidemarkError[]> {
  const result = await readConfig(await file(text), env, MODULES);
  if ('config' in result) throw new Error('the configuration was accepted');
  for (const problem of result.problems) expect(describeError(problem)).not.toContain(SECRET);
  return result.problems;
}

/** `CODE line:column what` of every problem. */
async function linesOf(text: string, env: Environment = ENV): Promise<string[]> {
  return (await problemsOf(text, env)).map(({ code, where, message }) => `${code} ${where.line}:${where.column} ${message}`);
}

/** A sound source with further lines, the first of which is line 6. */
function source(...lines: string[]): string {
  return ['sources:', '  shop:', '    type: postgres', '    url: postgres://db', '    tables: [public.*]', ...lines.map((line) => `    ${line}`), ''].join('\n');
}

/** A sound source and a sink, whose lines begin at line 8. */
function sink(...lines: string[]): string {
  return `${source()}sinks:\n  cache:\n${lines.map((line) => `    ${line}\n`).join('')}`;
}

describe('a sound configuration', () => {
  it('is resolved, with defaults', async () => {
    const config = await load(GOOD);
    expect(config.data).toBe(join(folder.path, 'data'));
    expect(config.http).toBe('127.0.0.1:7400');
    expect(config.limits).toEqual({ pipelineBytes: 32 * 2 ** 20, disk: null, retainedWal: null, onRetainedWal: 'warn' });
    const shop = config.sources.get('shop');
    expect(shop).toMatchObject({ name: 'shop', type: 'postgres', tablePatterns: ['public.*'], hashKey: null });
    expect(shop?.options).toEqual({ url: ENV['SHOP_URL'], poll: 5000 });
    expect(shop?.columns.get('public.customers')).toEqual({ exclude: ['password'], hash: ['email'] });
    expect(shop?.tables({ namespace: 'public', name: 'orders' })).toBe(true);
    expect(shop?.tables({ namespace: 'audit', name: 'orders' })).toBe(false);
    expect(config.sinks.get('replica')).toMatchObject({ from: 'shop', onError: 'stop', options: { url: 'postgres://replica' } });
    const cache = config.sinks.get('cache');
    expect(cache?.tablePatterns).toEqual(['public.products']);
    expect(cache?.optionsOf?.({ namespace: 'public', name: 'products' })).toEqual({ key: 'product:{id}' });
    expect(cache?.optionsOf?.({ namespace: 'public', name: 'orders' })).toEqual({});
  });

  it('reads sizes and durations with their units', async () => {
    const text = `hub: { limits: { pipeline_memory: 64.5MiB, retainedWal: 200GB, on_retained_wal: stop } }\n`;
    const { limits } = await load(text + source());
    expect(limits).toEqual({ pipelineBytes: 64.5 * 2 ** 20, disk: null, retainedWal: 200e9, onRetainedWal: 'stop' });
    const config = await load(source('poll: 2m', 'heartbeat: { every: 1h }'));
    expect(config.sources.get('shop')?.options).toMatchObject({ poll: 120_000, heartbeat: { every: 3_600_000 } });
  });

  it('says how long tables are kept, by the first pattern that matches', async () => {
    const { log, limits } = await load(`hub: { limits: { disk: 500GB }, log: { tables: { public.audit: { keep: all }, "public.event_*": { keep: 30d }, public.event_a: { keep: compact } } } }\n${source()}`);
    expect(limits.disk).toBe(500e9);
    const kept = (name: string) => log.keep?.({ namespace: 'public', name });
    expect([kept('audit'), kept('event_a'), kept('orders')]).toEqual([{ kind: 'all' }, { kind: 'window', ageMs: 30 * 86_400_000 }, { kind: 'compact' }]);
  });

  it('has settings by the first pattern that matches, and patterns that leave out among them', async () => {
    const config = await load(
      sink('type: redis', 'from: shop', 'url: redis://r', 'on_error: dead-letter', 'tables:', '  public.products: { key: p }', '  public.*: { key: x, ttl: 1m }', '  public.orders:', '  "!public.secret":'),
    );
    const cache = config.sinks.get('cache');
    expect(cache?.onError).toBe('dead-letter');
    const of = (name: string) => ({ selected: cache?.tables({ namespace: 'public', name }), options: cache?.optionsOf?.({ namespace: 'public', name }) });
    expect(of('products')).toEqual({ selected: true, options: { key: 'p' } });
    expect(of('orders')).toEqual({ selected: true, options: { key: 'x', ttl: 60_000 } });
    expect(of('secret').selected).toBe(false);
  });

  it('takes numbers and booleans from the environment where they are wanted', async () => {
    const config = await load(source('workers: ${WORKERS}', 'failover: "${FAILOVER}"'));
    expect(config.sources.get('shop')?.options).toMatchObject({ workers: 4, failover: true });
    expect(await linesOf(source('workers: "4"'))).toEqual(['CONFIG_VALUE 6:14 `sources.shop.workers` must be a whole number']);
  });

  it('takes references in flow maps without quotes, also as keys and beside signs of the syntax', async () => {
    const text = 'sources: { shop: { type: postgres, url: ${A:-p://[::1],{x}, tables: [ ${B:-"a.b"}, c.d ], columns: { a.${TABLE:-x}: {} } } }';
    const config = await load(text.replace('{x}', 'x}').replace('${B:-"a.b"}', '${B:-a.b}').replace('a.${TABLE:-x}', 'a.x'));
    expect(config.sources.get('shop')).toMatchObject({ options: { url: 'p://[::1],x' }, tablePatterns: ['a.b', 'c.d'] });
    const own = await load(source().replace('postgres://db', '"\uE041${A:-{}"'));
    expect(own.sources.get('shop')?.options['url']).toBe('\uE041{');
  });

  it('expands anchors', async () => {
    const config = await load(`${source('columns: { public.a: &rules { exclude: [x] }, public.b: *rules }')}`);
    expect(config.sources.get('shop')?.columns.get('public.b')).toEqual({ exclude: ['x'], hash: [] });
  });
});

describe('secrets', () => {
  it('come from the environment, a default or a file, and $${ is plain', async () => {
    await writeFile(join(folder.path, 'password'), `${SECRET}\n`);
    const urlOf = async (url: string): Promise<unknown> =>
      (await load(source().replace('postgres://db', () => JSON.stringify(url)))).sources.get('shop')?.options['url'];
    expect(await urlOf('postgres://u:${file:password}@db')).toBe(`postgres://u:${SECRET}@db`);
    expect(await urlOf(`\${file:${join(folder.path, 'password')}}`)).toBe(SECRET);
    expect(await urlOf('${EMPTY:-a:-b}')).toBe('a:-b');
    expect(await urlOf('x${EMPTY}y')).toBe('xy');
    expect(await urlOf('$${SHOP_URL} $$ $')).toBe('${SHOP_URL} $$ $');
  });

  it('are read again on demand', async () => {
    const secret = join(folder.path, 'rotating');
    await writeFile(secret, 'first');
    const config = await load(source().replace('postgres://db', 'postgres://${file:rotating}@db'));
    const shop = config.sources.get('shop');
    expect(shop?.options['url']).toBe('postgres://first@db');
    await writeFile(secret, 'second');
    expect((await shop?.freshOptions?.())?.['url']).toBe('postgres://second@db');
    expect(shop?.options['url']).toBe('postgres://first@db');
    await writeFile(join(folder.path, 'gone'), 'x');
    const other = await load(source().replace('postgres://db', 'postgres://${file:gone}@db'));
    await writeFile(join(folder.path, 'gone'), Buffer.alloc(2 << 20));
    await expect(other.sources.get('shop')?.freshOptions?.()).rejects.toMatchObject({ code: 'CONFIG_SECRET', where: { line: 4 } });
  });

  it.each([
    ['${NOWHERE}', /environment variable NOWHERE is not set/],
    ['${file:nowhere}', /nowhere cannot be read \(ENOENT\)/],
  ])('that are missing are named: %s', async (url, message) => {
    const [problem, ...rest] = await problemsOf(source().replace('postgres://db', () => JSON.stringify(url)));
    expect(rest).toEqual([]);
    expect(problem).toMatchObject({ code: 'CONFIG_SECRET', where: { source: 'shop', line: 4, column: 10 } });
    expect(problem?.message).toMatch(message);
  });

  it.each(['${', '${SHOP_URL', '${1X}', '${a b}', '${}', '${X:=1}'])('with a malformed reference are refused: %s', async (url) => {
    expect(await linesOf(source().replace('postgres://db', () => JSON.stringify(url)))).toEqual([expect.stringMatching(/^CONFIG_VALUE 4:10 /)]);
  });

  it('are not needed to find the hub', async () => {
    const path = await file(GOOD.replace('./data', '${DATA:-/var/lib/tidemark}'));
    expect(await readHubPlace(path, {})).toEqual({ data: '/var/lib/tidemark', http: '127.0.0.1:7400' });
    await expect(readHubPlace(await file('hub: { http: "10.0.0.1:80" }'), {})).rejects.toMatchObject({ code: 'CONFIG_ADDRESS' });
    await expect(readHubPlace(join(folder.path, 'none.yaml'), {})).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' });
    expect((await readHubPlace(await file('sources: {}'), {})).data).toBe(join(folder.path, 'data'));
  });
});

describe('a faulty configuration', () => {
  it.each([
    ['an unknown key of the hub', `hub: { dat: x }\n${source()}`, 'CONFIG_UNKNOWN_KEY 1:8 unknown key `dat` in `hub`; the nearest known one is `data`'],
    ['an unknown key at the top', `${source()}sink: {}\n`, 'CONFIG_UNKNOWN_KEY 6:1 unknown key `sink` in the configuration; the nearest known one is `sinks`'],
    ['an unknown limit', `hub:\n  limits:\n    retained_wal: 1GB\n${source()}`, 'CONFIG_UNKNOWN_KEY 3:5 unknown key `retained_wal` in `hub.limits`; the nearest known one is `retainedWal`'],
    ['an unknown key of a source', source('slots: x'), 'CONFIG_UNKNOWN_KEY 6:5 unknown key `slots` in `sources.shop`; the nearest known one is `slot`'],
    ['an unknown key that is near to nothing', source('zzzzzzzzzzzz: x'), 'CONFIG_UNKNOWN_KEY 6:5 unknown key `zzzzzzzzzzzz` in `sources.shop`'],
    ['a known key in another spelling', sink('type: redis', 'from: shop', 'url: r', 'tables: [a.b]', 'onError: stop'), 'CONFIG_UNKNOWN_KEY 12:5 unknown key `onError` in `sinks.cache`; the nearest known one is `on_error`'],
    ['a required key that is misspelt, once', source().replace('tables:', 'tabels:'), 'CONFIG_UNKNOWN_KEY 5:5 unknown key `tabels` in `sources.shop`; the nearest known one is `tables`'],
    ['an unknown setting of a table', sink('type: redis', 'from: shop', 'url: r', 'tables: { "a.b/c": { kee: x } }'), 'CONFIG_UNKNOWN_KEY 11:26 unknown key `kee` in `sinks.cache.tables["a.b/c"]`; the nearest known one is `key`'],
    ['an unknown type of source', source().replace('type: postgres', 'type: postgress'), 'CONFIG_VALUE 3:11 `sources.shop.type` must be postgres'],
    ['an unknown type of sink', sink('type: rediss'), 'CONFIG_VALUE 8:11 `sinks.cache.type` must be one of postgres, redis'],
    ['no sources', 'hub: {}\n', 'CONFIG_MISSING_KEY 1:1 the configuration lacks `sources`'],
    ['an empty file', '', 'CONFIG_VALUE 1:1 the configuration must be a map'],
    ['empty sources', 'sources: {}', 'CONFIG_VALUE 1:10 `sources` must not be empty'],
    ['a source without a type', 'sources:\n  shop: {}', 'CONFIG_MISSING_KEY 2:3 `sources.shop` lacks `type`'],
    ['a source that is no map', 'sources:\n  shop: 7', 'CONFIG_VALUE 2:9 `sources.shop` must be a map'],
    ['a source without a url', source().replace('    url: postgres://db\n', ''), 'CONFIG_MISSING_KEY 2:3 `sources.shop` lacks `url`'],
    ['a name that is not usable', source().replace('shop:', 'Shop One:'), 'CONFIG_VALUE 2:3 the name `Shop One` in `sources` is not usable'],
    ['a number for a text', source('slot: 7'), 'CONFIG_VALUE 6:11 `sources.shop.slot` must be text'],
    ['a text that does not have its form', source('slot: A-B'), 'CONFIG_VALUE 6:11 `sources.shop.slot` does not have its form: Replication slot'],
    ['a number out of range', source('workers: 17'), 'CONFIG_VALUE 6:14 `sources.shop.workers` must be <= 16'],
    ['no size', `hub: { limits: { pipeline_memory: 1 elephant } }\n${source()}`, 'CONFIG_VALUE 1:35 `hub.limits.pipeline_memory` must be a size such as 256MiB or 200GB'],
    ['a size out of range', `hub: { limits: { pipeline_memory: 8GiB } }\n${source()}`, 'CONFIG_VALUE 1:35 `hub.limits.pipeline_memory` must be from 4MiB to 4GiB'],
    ['no way of keeping', `hub: { log: { tables: { public.a: { keep: always } } } }\n${source()}`, 'CONFIG_VALUE 1:43 `hub.log.tables["public.a"].keep` does not have its form: compact (the default), all (no record is ever dropped), or for how long records and rows are kept, such as 30d'],
    ['a window of seconds', `hub: { log: { tables: { public.a: { keep: 5s } } } }\n${source()}`, 'CONFIG_VALUE 1:25 `keep: 5s` is shorter than 1m'],
    ['tables that are left out of what is kept', `hub: { log: { tables: { "!public.a": { keep: all } } } }\n${source()}`, 'CONFIG_TABLE_PATTERN 1:25 the pattern !public.a leaves tables out, and says for how long they are kept'],
    ['a size below zero', `hub: { limits: { retainedWal: -1 } }\n${source()}`, 'CONFIG_VALUE 1:31 `hub.limits.retainedWal` must be 64MiB at least'],
    ['no duration', source('poll: soon'), 'CONFIG_VALUE 6:11 `sources.shop.poll` must be a duration such as 500ms, 30s or 7d'],
    ['a duration out of range', source('poll: 2h'), 'CONFIG_VALUE 6:11 `sources.shop.poll` must be from 100ms to 1h'],
    ['a fault deep in a choice', source('heartbeat: { every: 1ms }'), 'CONFIG_VALUE 6:25 `sources.shop.heartbeat.every` must be 1s at least'],
    ['an empty list of tables', source().replace('[public.*]', '[]'), 'CONFIG_VALUE 5:13 `sources.shop.tables` must not be empty'],
    ['tables that are no list', source().replace('[public.*]', 'public.*'), 'CONFIG_VALUE 5:13 `sources.shop.tables` must be a list'],
    ['a map of tables for a sink without settings', sink('type: postgres', 'from: shop', 'url: r', 'tables: { a.b: {} }'), 'CONFIG_VALUE 11:13 `sinks.cache.tables` must be a list'],
    ['settings of tables that are left out', sink('type: redis', 'from: shop', 'url: r', 'tables: { a.b: , "!a.c": { key: x } }'), 'CONFIG_VALUE 11:30 the pattern !a.c leaves tables out, and has settings'],
    ['a pattern without a dot', source().replace('[public.*]', '[orders]'), "CONFIG_TABLE_PATTERN 5:14 the table pattern 'orders' needs a namespace and a table with a dot between them"],
    ['a pattern as key', sink('type: redis', 'from: shop', 'url: r', 'tables: { products: { key: x } }'), "CONFIG_TABLE_PATTERN 11:15 the table pattern 'products' needs a namespace and a table with a dot between them"],
    ['only patterns that leave out', source().replace('[public.*]', '["!public.*"]'), 'CONFIG_TABLE_PATTERN 5:14 every table pattern leaves tables out, so that none is left'],
    ['columns of a glob', source('columns: { "public.*": { hash: [a] } }'), "CONFIG_TABLE_PATTERN 6:16 the table pattern 'public.*' must name one table, without * ? [ ] { } and !"],
    ['columns of a table given twice', source('columns: { public.a: {}, \'"public".a\': {} }'), 'CONFIG_VALUE 6:30 the columns of public.a are given twice'],
    ['a column left out and hashed', source('columns: { public.a: { exclude: [x], hash: [x] } }'), 'CONFIG_VALUE 6:16 column x of public.a is both left out and hashed'],
    ['a sink of no source', sink('type: redis', 'from: shopp', 'url: r', 'tables: [a.b]'), 'CONFIG_REFERENCE 9:11 sink cache replays a source that does not exist; the nearest one is `shop`'],
    ['an address for the world', `hub: { http: "0.0.0.0:7400" }\n${source()}`, 'CONFIG_ADDRESS 1:14 `hub.http` is not a loopback address with a port'],
    ['a key that stands twice', `hub: {}\nhub: {}\n${source()}`, 'CONFIG_SYNTAX 2:1 the same key stands twice in one place'],
    ['a tab', `hub:\n\tdata: x\n`, 'CONFIG_SYNTAX 2:1 a tab is used as indentation; use blanks'],
    ['an alias of nothing', `hub: *x\n`, 'CONFIG_SYNTAX 1:6 an alias names an anchor that does not exist'],
    ['an anchor that holds itself', `hub: &a { data: *a }\n`, 'CONFIG_SYNTAX 1:17 values are nested more than 64 deep'],
  ])('names place and remedy: %s', async (_, text, line) => {
    expect(await linesOf(text)).toEqual([line]);
  });

  it('is reported whole, in the order of the file', async () => {
    const lines = await linesOf(`hub: { dat: x }\nsources:\n  a: { type: postgres }\n  b: { type: x }\nsinks:\n  c: { type: redis, from: a, url: u, tables: [t] }\n`);
    expect(lines.map((line) => line.split(' ', 2).join(' '))).toEqual([
      'CONFIG_UNKNOWN_KEY 1:8', 'CONFIG_MISSING_KEY 3:3', 'CONFIG_MISSING_KEY 3:3', 'CONFIG_VALUE 4:14', 'CONFIG_TABLE_PATTERN 6:47',
    ]);
    await expect(load(`hub: { dat: x, htp: y }\n${source('slots: 1')}`)).rejects.toThrow(/unknown key `dat`.* \(and 2 more; `tidemark check` lists all\)/);
  });

  it('never shows a value', async () => {
    // `problemsOf` looks for the secret in each problem.
    const inValues = await problemsOf(`hub: { http: "\${SHOP_URL}", limits: { on_retained_wal: "${SECRET}" } }\n${source(`slot: "${SECRET}!"`, `heartbeat: "${SECRET}"`)}`);
    expect(inValues.length).toBeGreaterThan(2);
    expect(await problemsOf(`hub: "${SECRET}\n`)).not.toEqual([]);
    expect(await problemsOf(`hub: { data: [${SECRET}\n  x`)).not.toEqual([]);
  });

  it('that is not there is named', async () => {
    await expect(loadConfig(join(folder.path, 'none.yaml'), ENV, MODULES)).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' });
    const path = await file(GOOD);
    await chmod(path, 0o600);
    await expect(loadConfig(folder.path, ENV, MODULES)).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' });
  });
});

describe('the address of the API', () => {
  it.each(['127.0.0.1:7400', '127.1.2.3:0', '[::1]:80', 'localhost:65535'])('may be loopback: %s', async (address) => {
    expect((await load(`hub: { http: "${address}" }\n${source()}`)).http).toBe(address);
  });

  it.each(['0.0.0.0:1', '::1:80', '127.0.0.1', '127.0.0.1:65536', '127.0.0.300:1', 'localhost.evil.org:80', '10.0.0.1:80', ':80', '127.0.0.1:80/x', '[::]:80'])(
    'may not be anything else: %s',
    async (address) => {
      expect((await problemsOf(`hub: { http: "${address}" }\n${source()}`)).map((problem) => problem.code)).toEqual(['CONFIG_ADDRESS']);
    },
  );
});
