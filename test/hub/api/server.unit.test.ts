import { once } from 'node:events';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ApiClient } from '../../../hub/api/client.ts';
import { startApi, type Api } from '../../../hub/api/server.ts';
import { findSocket } from '../../../hub/api/socket-path.ts';
import type { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { createMetrics } from '../../../hub/runtime/metrics.ts';
import { createTestRuntime, type TestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { ScriptedService, SINK, SOURCE, STATUS, TABLE } from './scripted-service.ts';
import { codec, fillBroken, fillLong, fillShop, openEngine, RECORDS, printPosition } from './shop-log.ts';

const SIGNAL = new AbortController().signal;
const LONG = 40_000;

let folder: TemporaryDirectory;
let engine: EmbeddedLogEngine;
let runtime: TestRuntime;
let service: ScriptedService;
let api: Api;
let client: ApiClient;
let http: ApiClient;

beforeAll(async () => {
  folder = await temporaryDirectory('api');
  runtime = createTestRuntime();
  engine = await openEngine(folder.path, runtime);
  await fillShop(engine);
  await fillBroken(engine);
  await fillLong(engine, LONG);
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});
beforeEach(async () => {
  service = new ScriptedService();
  api = await start();
  client = new ApiClient({ socket: api.socket });
  http = new ApiClient({ http: api.http ?? '' });
});
afterEach(() => api[Symbol.asyncDispose]());

function start(data = folder.path, address: string | null = '127.0.0.1:0'): Promise<Api> {
  const metrics = createMetrics();
  metrics.add('tidemark_source_records_total', 7, { source: 'shop' });
  return startApi({
    service, log: engine, metrics, data, http: address, printPosition, codecs: [codec], scratch: new ScratchFolders(runtime.files, data, 'test'),
    clock: runtime.clock, files: runtime.files, logger: runtime.logger,
    reload: () => Promise.resolve(['source shop added']),
  });
}

/** A request as it goes over the wire; the whole answer. */
async function raw(request: string): Promise<string> {
  const port = Number(api.http?.split(':').at(-1));
  const socket = connect(port, '127.0.0.1');
  socket.end(request.replaceAll('\n', '\r\n'));
  let answer = '';
  for await (const part of socket.setEncoding('utf8')) answer += String(part);
  return answer;
}

async function textOf(lines: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of lines) text += piece;
  return text;
}

describe('the API', () => {
  it('answers the same on its socket and on loopback', async () => {
    expect(await client.status(SIGNAL)).toEqual(STATUS);
    expect(await http.status(SIGNAL)).toEqual(STATUS);
    expect(await client.tables(SIGNAL)).toEqual({ sources: [{ name: 'shop', tables: [TABLE] }] });
  });

  it('has nothing to say of a client that goes away before the first line of its answer', async () => {
    const asked = Promise.withResolvers<AbortSignal>();
    const first = Promise.withResolvers<void>();
    const over = Promise.withResolvers<void>();
    service.verify = async function* (_sink, _request, signal) {
      asked.resolve(signal);
      await first.promise;
      try {
        yield { progress: { table: 'public.orders', index: 1, tables: 1, phase: 'rows', rows: 5, ofRows: 10, etaSeconds: 1 } };
      } finally {
        over.resolve();
      }
    };
    const before = runtime.lines.length;
    const socket = connect(Number(api.http?.split(':').at(-1)), '127.0.0.1');
    socket.write('POST /v1/sinks/replica/verify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}');
    const signal = await asked.promise;
    const gone = once(signal, 'abort');
    socket.destroy();
    await gone;
    first.resolve();
    await over.promise;
    expect(await client.status(SIGNAL)).toEqual(STATUS);
    expect(runtime.lines.slice(before)).not.toContainEqual(expect.objectContaining({ event: 'api.failed' }));
  });

  it('is open to its owner only', async () => {
    expect(api.socket).toBe(join(folder.path, 'hub.sock'));
    expect((await stat(api.socket)).mode & 0o777).toBe(0o600);
  });

  it('says whether all is well', async () => {
    expect(await client.health(SIGNAL)).toEqual({ status: 'ok', version: '0.1.0', troubles: [] });
    service.view = {
      ...STATUS,
      sources: [{ ...SOURCE, tables: [{ ...TABLE, state: 'stopped' }] }],
      sinks: [{ ...SINK, state: 'failed' }, { ...SINK, name: 'cache', degraded: true }],
    };
    expect(await client.health(SIGNAL)).toMatchObject({
      status: 'degraded',
      troubles: ['source shop, table public.orders: stopped', 'sink replica: failed', 'sink cache: degraded'],
    });
  });

  it('gives counted and sampled metrics', async () => {
    const text = await client.metrics(SIGNAL);
    for (const line of [
      'tidemark_source_records_total{source="shop"} 7',
      'tidemark_source_high_watermark{source="shop"} 13',
      'tidemark_source_state{source="shop",state="streaming"} 1',
      'tidemark_source_tables{source="shop",state="consistent"} 1',
      'tidemark_sink_lag_records{sink="replica"} 3',
      'tidemark_info{version="0.1.0"} 1',
      '# HELP tidemark_sink_offset Offset that the sink has applied.',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    service.view = { ...STATUS, sinks: [] };
    expect(await client.metrics(SIGNAL)).not.toContain('replica');
  });

  it('passes actions on', async () => {
    expect(await client.sinkAction('replica', 'pause', SIGNAL)).toEqual(['sink replica is paused']);
    expect(await client.sinkAction('replica', 'resume', SIGNAL)).toEqual(['sink replica goes on']);
    expect(await http.sinkAction('replica', 'retry', SIGNAL)).toEqual(['sink replica tries again']);
    expect(await client.tableAction('shop', 'add-table', 'public."order items"', SIGNAL)).toEqual([
      'table public.order items of source shop is captured; one that is new is copied first',
    ]);
    await client.tableAction('shop', 'recopy', 'public.orders', SIGNAL);
    await client.resync('shop', SIGNAL);
    expect(await client.reload(SIGNAL)).toEqual(['source shop added']);
    expect(service.asked).toEqual(['pause replica', 'resume replica', 'retry replica', 'add-table shop public.order items', 'recopy shop public.orders', 'resync shop']);
  });

  it('answers errors with code, what, where and remedy', async () => {
    await expect(client.sinkAction('a/b', 'pause', SIGNAL)).rejects.toMatchObject({
      code: 'SINK_UNKNOWN', message: 'there is no sink a/b', where: { sink: 'a/b' }, remedy: expect.stringContaining('tidemark status') as string,
    });
    await expect(client.tableAction('shop', 'recopy', 'public.*', SIGNAL)).rejects.toMatchObject({ code: 'CONFIG_TABLE_PATTERN' });
    await expect(client.tableAction('shop', 'recopy', 'public.broken', SIGNAL)).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(runtime.lines.filter(({ event }) => event === 'api.failed')).toMatchObject([{ fields: { code: 'INTERNAL' } }]);
  });
});

describe('what the API refuses', () => {
  it.each([
    ['a name that was made to point here', 'GET /v1/status HTTP/1.1\nHost: evil.example\n\n', 400],
    ['a name that ends like loopback', 'GET /v1/status HTTP/1.1\nHost: 127.0.0.1.evil.example\n\n', 400],
    ['a page of another origin', 'POST /v1/reload HTTP/1.1\nHost: localhost\nOrigin: http://evil.example\nContent-Length: 0\n\n', 400],
    ['an unknown route', 'GET /v2/status HTTP/1.1\nHost: localhost\n\n', 404],
    ['a wait without a target', 'GET /v1/sinks/replica/wait HTTP/1.1\nHost: localhost\n\n', 400],
    ['a wait without an end', 'GET /v1/sinks/replica/wait?at=1&timeout=99999999999 HTTP/1.1\nHost: localhost\n\n', 400],
    ['a body with something else', 'POST /v1/sources/shop/recopy HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: 25\n\n{"table":"a.b","force":1}', 400],
    ['a body that is too large', 'POST /v1/sources/shop/recopy HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: 99999999\n\n', 413],
  ])('%s', async (_, request, status) => {
    const answer = await raw(request.replace('\n\n', '\nConnection: close\n\n'));
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(JSON.parse(answer.slice(answer.indexOf('{'))) as unknown).toMatchObject({ code: 'API_REQUEST', remedy: /./ });
    expect(service.asked).toEqual([]);
  });

  it('but a local page and a local name pass', async () => {
    expect(await raw('GET /v1/health HTTP/1.1\nHost: localhost:1\nOrigin: http://localhost:1\nConnection: close\n\n')).toMatch(/^HTTP\/1.1 200 /);
  });
});

describe('waiting', () => {
  it('answers when the sink is there', async () => {
    expect(await client.wait('replica', '10', 1000, SIGNAL)).toBe(10);
    expect(await client.wait('replica', 'lsn:0/16B3748', 1000, SIGNAL)).toBe(10);
    await expect(client.wait('replica', '0/16', 1000, SIGNAL)).rejects.toMatchObject({ code: 'POSITION_SYNTAX' });
    await expect(client.wait('replica', '99999999999999999', 1000, SIGNAL)).rejects.toMatchObject({ code: 'OFFSET_RANGE' });
  });

  it('ends at its timeout', async () => {
    await expect(client.wait('replica', '11', 30, SIGNAL)).rejects.toMatchObject({ code: 'WAIT_TIMEOUT', where: { sink: 'replica' } });
    expect(service.waiting).toBe(0);
  });

  it('is given up when the client goes away', async () => {
    const gone = new AbortController();
    const begun = service.waitBegins();
    const waiting = client.wait('replica', '11', 60_000, gone.signal);
    await begun;
    gone.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
    await expect.poll(() => service.waiting).toBe(0);
  });

  it('is answered when the API closes', async () => {
    const begun = service.waitBegins();
    const waiting = client.wait('replica', '11', 60_000, SIGNAL);
    const outcome = waiting.catch((error: unknown) => error);
    await begun;
    await api[Symbol.asyncDispose]();
    expect(await outcome).toMatchObject({ code: 'ABORTED', message: 'the hub is ending' });
    await expect(client.status(SIGNAL)).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
  });
});

describe('reading', () => {
  it('streams the changelog', async () => {
    const lines = (await textOf(client.read('shop', { table: '*.*' }, SIGNAL))).split('\n');
    expect(lines).toHaveLength(RECORDS + 1);
    expect(lines[5]).toContain('"offset":6');
    expect(await textOf(http.read('shop', { table: '*.*' }, SIGNAL))).toBe(lines.join('\n'));
    const all = (await textOf(client.read('long', { table: '*.*', from: '7', limit: '39000' }, SIGNAL))).split('\n');
    expect(all).toHaveLength(39_001);
    expect(all[0]).toContain('"offset":7,');
  });

  it('answers what is wrong before it begins', async () => {
    await expect(textOf(client.read('none', { table: '*.*' }, SIGNAL))).rejects.toMatchObject({ code: 'SOURCE_UNKNOWN' });
    await expect(textOf(client.read('shop', { table: 'public.none' }, SIGNAL))).rejects.toMatchObject({ code: 'TABLE_UNKNOWN' });
    await expect(textOf(client.read('shop', { table: '*.*', from: '0' }, SIGNAL))).rejects.toMatchObject({ code: 'API_REQUEST' });
  });

  it('says what is wrong after it has begun, behind what is sound', async () => {
    const pieces: string[] = [];
    const reading = async (): Promise<void> => { for await (const piece of client.read('broken', { table: '*.*' }, SIGNAL)) pieces.push(piece); };
    await expect(reading()).rejects.toMatchObject({ code: 'SCHEMA_INVALID', where: { source: 'broken', offset: 2 } });
    expect(pieces.join('')).toMatch(/^\{"offset":1,[^\n]*\n$/);
  });

  it('waits for a slow reader, and stops when that goes away', async () => {
    const reading = client.read('long', { table: '*.*' }, SIGNAL);
    await reading.next();
    // The rest of about 18 MB cannot be in the sockets: closing now must end the stream in the hub, too.
    await reading.return(undefined);
    await api[Symbol.asyncDispose]();
    expect(runtime.lines.filter(({ level }) => level === 'error' || level === 'warn').filter(({ event }) => event !== 'api.failed')).toEqual([]);
  });
});

describe('listening', () => {
  it('takes over a socket that a killed hub left', async () => {
    const data = join(folder.path, 'left');
    await mkdir(data);
    await writeFile(join(data, 'hub.sock'), '');
    await using other = await start(data, null);
    expect(await new ApiClient({ socket: other.socket }).status(SIGNAL)).toEqual(STATUS);
    expect(other.http).toBeNull();
  });

  it('uses a short path where the data folder has a long one, and finds it again', async () => {
    const data = join(folder.path, 'x'.repeat(120));
    await mkdir(data);
    const first = await start(data, null);
    expect(first.socket.length).toBeLessThan(100);
    expect(await findSocket(data)).toBe(first.socket);
    expect((await stat(join(first.socket, '..'))).mode & 0o777).toBe(0o700);
    expect(await new ApiClient({ socket: await findSocket(data) }).status(SIGNAL)).toEqual(STATUS);
    await first[Symbol.asyncDispose]();
    await expect(stat(join(first.socket, '..'))).rejects.toMatchObject({ code: 'ENOENT' });
    await using second = await start(data, null);
    expect(await findSocket(data)).toBe(second.socket);
  });

  it('says when the address is taken, and leaves nothing behind', async () => {
    const taken = createServer();
    await once(taken.listen(0, '127.0.0.1'), 'listening');
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const data = join(folder.path, 'taken');
    await mkdir(data);
    await expect(start(data, `127.0.0.1:${port}`)).rejects.toMatchObject({ code: 'API_LISTEN', message: `cannot listen on 127.0.0.1:${port} (EADDRINUSE)` });
    await expect(stat(join(data, 'hub.sock'))).rejects.toMatchObject({ code: 'ENOENT' });
    taken.close();
  });

  it('says when nobody answers', async () => {
    await expect(new ApiClient({ socket: join(folder.path, 'nobody.sock') }).status(SIGNAL)).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
    expect(() => new ApiClient({ http: 'example.com:80' })).toThrow(/not a loopback address/);
  });
});
