import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../contracts/change-batch.ts';
import { buildKey } from '../../../contracts/key.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import { Op } from '../../../contracts/op.ts';
import { buildImage } from '../../../contracts/row-image.ts';
import { ApiClient } from '../../../hub/api/client.ts';
import { startApi, type Api } from '../../../hub/api/server.ts';
import type { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { createMetrics } from '../../../hub/runtime/metrics.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { column, fillPast, PastWriter, PAST_END, table } from '../moments/past-log.ts';
import { ScriptedService, STATUS } from './scripted-service.ts';
import { codec, COMMIT_TIME, fillLong, openEngine, ORDERS, printPosition } from './shop-log.ts';

const SIGNAL = new AbortController().signal;
const LONG = 60_000;
/** What has been ended is gone within this time on a busy machine. */
const BUSY = { timeout: 10_000 };

let folder: TemporaryDirectory;
let engine: EmbeddedLogEngine;
let api: Api;
let client: ApiClient;
const service = new ScriptedService();
/** Bytes of records that readers have been given of any log. */
let readBytes = 0;

beforeAll(async () => {
  folder = await temporaryDirectory('moments');
  const runtime = createTestRuntime();
  engine = await openEngine(folder.path, runtime);
  await fillPast(await engine.open('past', { create: true }));
  await fillLong(engine, LONG);
  const log = { sources: () => engine.sources(), hold: () => engine.hold(), open: async (source: string, options: { create: boolean }) => counted(await engine.open(source, options)) };
  api = await startApi({
    service, log, metrics: createMetrics(), data: folder.path, http: null, printPosition, codecs: [codec],
    scratch: new ScratchFolders(runtime.files, folder.path, 'test'), clock: runtime.clock, files: runtime.files, logger: runtime.logger,
    reload: () => Promise.resolve([]),
  });
  client = new ApiClient({ socket: api.socket });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});
beforeEach(() => {
  readBytes = 0;
  service.view = STATUS;
});

/** The log, with what is read of it counted. */
function counted(log: SourceLog): SourceLog {
  return new Proxy(log, {
    get(target, name): unknown {
      if (name === 'readTables') {
        return async function* (...args: Parameters<SourceLog['readTables']>) {
          for await (const records of target.readTables(...args)) {
            readBytes += records.batch.records.length;
            yield records;
          }
        };
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

async function lines(source: string, what: 'table' | 'history' | 'diff', query: Readonly<Record<string, string>>): Promise<unknown[]> {
  let text = '';
  for await (const piece of client.moments(source, what, Object.entries(query), SIGNAL)) text += piece;
  return text.split('\n').slice(0, -1).map((line) => JSON.parse(line) as unknown);
}

/** What is left of sorting. */
async function sorting(): Promise<string[]> {
  return readdir(join(folder.path, 'sorting')).catch(() => []);
}

describe('a table over the API', () => {
  it('is headed by what it is, and ends with how much there was', async () => {
    expect(await lines('past', 'table', { table: 'public.items', asOf: '10' })).toEqual([
      {
        head: {
          table: 'public.items', tableId: 1, version: 1, offset: 10, time: '2024-03-01T10:02:30.000000Z', position: '0/4', consistent: true, rowsAfter: 0, key: ['id'],
          columns: [
            { name: 'id', type: 'bigint', logical: { kind: 'int64' }, nullable: true },
            { name: 'name', type: 'text', logical: { kind: 'text', length: null, fixed: false }, nullable: true },
            { name: 'price', type: 'numeric(10,2)', logical: { kind: 'decimal', precision: 10, scale: 2 }, nullable: true },
            { name: 'note', type: 'text', logical: { kind: 'text', length: null, fixed: false }, nullable: true },
          ],
        },
      },
      { offset: 8, row: { id: '1', name: 'uno', price: '1.50', note: null } },
      { offset: 10, row: { id: '3', name: 'three', price: '3.00', note: 'x, "y"' } },
      { end: { rows: 2 } },
    ]);
  });

  it('has rows in the shape of its moment, whenever they were written', async () => {
    const [, ...rows] = await lines('past', 'table', { table: 'public.items', asOf: '13' });
    expect(rows).toEqual([
      { offset: 13, row: { id: '1', title: 'uno', price: '2.50', quantity: '7' } },
      { offset: 10, row: { id: '3', title: 'three', price: '3.00', quantity: '7' } },
      { offset: 12, row: { id: '4', title: 'four', price: '4.00', quantity: '9' } },
      { end: { rows: 3 } },
    ]);
  });

  it('is picked from by key, by other columns, and by number', async () => {
    const rows = async (query: Record<string, string>): Promise<unknown[]> => (await lines('past', 'table', { table: 'public.items', asOf: '12', ...query })).slice(1, -1);
    expect(await rows({ where: 'id=4' })).toEqual([{ offset: 12, row: { id: '4', title: 'four', price: '4.00', quantity: '9' } }]);
    expect(await rows({ where: '2' })).toEqual([]);
    expect(await rows({ where: 'quantity=7' })).toMatchObject([{ row: { id: '1' } }, { row: { id: '3' } }]);
    expect(await rows({ limit: '1' })).toMatchObject([{ row: { id: '1' } }]);
    expect((await lines('past', 'table', { table: 'public.words', asOf: '16' })).slice(1)).toEqual([
      { offset: 15, row: { word: 'a' } }, { offset: 15, row: { word: 'a' } }, { offset: 16, row: { word: 'b' } }, { end: { rows: 3 } },
    ]);
    expect(await sorting()).toEqual([]);
  });

  it.each([
    ['a moment that is none', { table: 'public.items', asOf: 'noon' }, 'MOMENT_SYNTAX'],
    ['a moment to come', { table: 'public.items', asOf: '20' }, 'OFFSET_RANGE'],
    ['a table that was not there', { table: 'public.none' }, 'TABLE_UNKNOWN'],
    ['a table that was not there yet', { table: 'public.items', asOf: '0' }, 'TABLE_UNKNOWN'],
    ['several tables', { table: 'public.*' }, 'CONFIG_TABLE_PATTERN'],
    ['a column that is none', { table: 'public.items', where: 'name=x' }, 'MOMENT_KEY'],
  ])('is refused for %s', async (_, query, code) => {
    await expect(lines('past', 'table', query)).rejects.toMatchObject({ code });
    await expect(lines('none', 'table', query)).rejects.toMatchObject({ code: 'SOURCE_UNKNOWN' });
  });
});

describe('the history of a row over the API', () => {
  it('has every version with what made it', async () => {
    const [, ...versions] = await lines('past', 'history', { table: 'public.items', key: '1' });
    expect(versions).toEqual([
      {
        offset: 6, op: 'c', flags: [], version: 1, transaction: { kind: 'source', xid: 11, time: '2024-03-01T10:01:40.000000Z', origin: '', position: '0/2' },
        before: null, after: { id: '1', name: 'one', price: '1.50', note: null },
      },
      expect.objectContaining({ offset: 8, op: 'u', before: { id: '1', name: 'one', price: '1.50', note: null }, after: { id: '1', name: 'uno', price: '1.50', note: null } }),
      expect.objectContaining({ offset: 13, op: 'u', version: 2, before: { id: '1', name: 'uno', price: '1.50', note: null }, after: { id: '1', title: 'uno', price: '2.50', quantity: '7' } }),
      expect.objectContaining({ offset: 18, op: 't', before: { id: '1', title: 'uno', price: '2.50', quantity: '7' }, after: null }),
      { end: { versions: 4 } },
    ]);
  });

  it('begins with the row as it stood', async () => {
    const versions = await lines('past', 'history', { table: 'public.items', key: '1', from: '10', to: '13', limit: '5' });
    expect(versions.slice(1)).toMatchObject([{ offset: 8, op: 'r', transaction: null, before: null, after: { name: 'uno' } }, { offset: 13 }, { end: { versions: 2 } }]);
    await expect(lines('past', 'history', { table: 'public.words', key: 'a' })).rejects.toMatchObject({ code: 'MOMENT_KEY' });
    await expect(lines('past', 'history', { table: 'public.items', key: '1', from: '13', to: '10' })).rejects.toMatchObject({ code: 'OFFSET_RANGE' });
    await expect(lines('past', 'history', { table: 'public.items' })).rejects.toMatchObject({ code: 'API_REQUEST' });
  });
});

describe('a difference over the API', () => {
  it('has the columns of both moments', async () => {
    const [head, ...changes] = await lines('past', 'diff', { table: 'public.items', from: '7', to: '13' });
    expect(head).toMatchObject({ head: { from: { offset: 7, version: 1 }, to: { offset: 13, version: 2 } } });
    expect(changes).toEqual([
      {
        change: 'changed', key: { id: '1' }, count: 1, columns: ['title', 'price'],
        before: { id: '1', name: 'one', price: '1.50', note: null }, after: { id: '1', title: 'uno', price: '2.50', quantity: '7' },
      },
      { change: 'removed', key: { id: '2' }, count: 1, columns: [], before: { id: '2', name: 'two', price: '2.00', note: '' }, after: null },
      { change: 'added', key: { id: '3' }, count: 1, columns: [], before: null, after: { id: '3', title: 'three', price: '3.00', quantity: '7' } },
      { change: 'added', key: { id: '4' }, count: 1, columns: [], before: null, after: { id: '4', title: 'four', price: '4.00', quantity: '9' } },
      { end: { added: 2, removed: 1, changed: 1 } },
    ]);
    expect((await lines('past', 'diff', { table: 'public.words', from: '13' })).slice(1)).toEqual([
      { change: 'added', key: null, count: 1, columns: [], before: null, after: { word: 'a' } },
      { change: 'added', key: null, count: 1, columns: [], before: null, after: { word: 'b' } },
      { end: { added: 2, removed: 0, changed: 0 } },
    ]);
    expect((await lines('past', 'diff', { table: 'public.items', from: '0', to: String(PAST_END), limit: '1' })).slice(1)).toMatchObject([{ change: 'added' }, { end: { added: 1 } }]);
    expect(await sorting()).toEqual([]);
  });
});

describe('reading and waiting by moments', () => {
  const offsets = async (query: Readonly<Record<string, string>>): Promise<number[]> => {
    let text = '';
    for await (const piece of client.read('past', { table: 'public.items', ...query }, SIGNAL)) text += piece;
    return text.split('\n').slice(0, -1).map((line) => (JSON.parse(line) as { offset: number }).offset);
  };

  it('reads from the one to the other, numbers included', async () => {
    expect(await offsets({ from: '8', to: '10' })).toEqual([8, 9, 10]);
    expect(await offsets({ from: 'lsn:0/2', to: '2024-03-01T10:03:20Z' })).toEqual([8, 9, 10]);
    expect(await offsets({ from: '2024-03-01T10:06:40Z' })).toEqual([18, 19]);
    expect(await offsets({ from: 'end' })).toEqual([]);
    expect(await offsets({ from: '99' })).toEqual([]);
    await expect(offsets({ from: 'soon' })).rejects.toMatchObject({ code: 'MOMENT_SYNTAX' });
    await expect(offsets({ from: '10', to: '8' })).rejects.toMatchObject({ code: 'OFFSET_RANGE' });
  });

  it('waits for what the log has at a moment, and for what it has not', async () => {
    // The sink's source has no log in this folder.
    await expect(client.wait('replica', 'end', 20, SIGNAL)).rejects.toMatchObject({ code: 'LOG_UNKNOWN' });
    await expect(client.wait('none', 'end', 20, SIGNAL)).rejects.toMatchObject({ code: 'SINK_UNKNOWN' });
    expect(await client.wait('replica', '9', 20, SIGNAL)).toBe(10);
  });
});

/** A client that reads what it is told to, and no more. */
async function slowClient(path: string): Promise<Socket> {
  const socket = connect(api.socket);
  await once(socket, 'connect');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await once(socket, 'readable');
  return socket;
}

/** Resolves when nothing has been read of any log for a while. */
async function standstill(): Promise<number> {
  for (let before = -1; before !== readBytes; ) {
    before = readBytes;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return readBytes;
}

describe('a client that reads slowly', () => {
  it('holds back who reads the log for it, in little memory, and not who writes it', async () => {
    const log = await engine.open('long', { create: false });
    const socket = await slowClient('/v1/sources/long/read?table=*.*&follow=true');
    const held = await standstill();
    expect(held).toBeLessThan(2 << 20);
    await using writer = await log.openWriter(() => undefined);
    const before = log.state().highWatermark;
    const builder = new BatchBuilder();
    for (let row = 0; row < 20_000; row++) {
      builder.begin('source', row, COMMIT_TIME);
      builder.record(Op.update, 0, ORDERS.tableId, 1, buildKey([String(row)]), Buffer.alloc(0), buildImage([String(row), 'y'.repeat(400), null, '1']));
      builder.commit(Buffer.from([1]));
      if (builder.length > 500_000) await writer.append(builder.take());
    }
    await writer.append(builder.take());
    await writer.flush();
    expect(log.state().highWatermark).toBe(before + 20_000);
    expect(await standstill()).toBe(held);
    // It goes on where it stands as soon as somebody reads, and ends with whom it is for.
    socket.resume();
    await expect.poll(() => readBytes, { timeout: 20_000 }).toBeGreaterThan(20 << 20);
    socket.destroy();
  });

  it('that goes away leaves nothing of a table behind', async () => {
    const socket = await slowClient('/v1/sources/long/table?table=public.orders');
    await expect.poll(sorting, BUSY).toHaveLength(1);
    socket.destroy();
    await expect.poll(sorting, BUSY).toEqual([]);
  });

  it('is one of a few: whoever is one too many is told so', async () => {
    const sockets: Socket[] = [];
    for (let client = 0; client < 6; client++) sockets.push(await slowClient('/v1/sources/long/table?table=public.orders'));
    await expect(lines('past', 'table', { table: 'public.items' })).rejects.toMatchObject({ code: 'API_BUSY' });
    for (const socket of sockets) socket.destroy();
    await expect.poll(() => lines('past', 'table', { table: 'public.items' }).then((all) => all.length, () => 0), BUSY).toBeGreaterThan(1);
    await expect.poll(sorting, BUSY).toEqual([]);
  });

  it('is given up when the disk gets short of the room that capture needs', async () => {
    const socket = await slowClient('/v1/sources/long/table?table=public.orders');
    await expect.poll(sorting, BUSY).toHaveLength(1);
    service.view = { ...STATUS, disk: { ...STATUS.disk, level: 'short' } };
    await expect(lines('past', 'table', { table: 'public.items' })).rejects.toMatchObject({ code: 'LOG_DISK_FULL' });
    // Given up although the client takes nothing, and before it could have taken everything.
    await expect.poll(sorting, { timeout: 4000 }).toEqual([]);
    let text = '';
    for await (const part of socket.setEncoding('utf8')) {
      text = `${text}${String(part)}`.slice(-2000);
      if (text.includes('"error":')) break;
    }
    expect(text).toContain('"code":"LOG_DISK_FULL"');
  });

  it('hears how far the history has been read, when it asks', async () => {
    const versions = await lines('long', 'history', { table: 'public.orders', key: '7', progress: 'true' });
    expect(versions.filter((line) => !JSON.stringify(line).startsWith('{"progress":{"of":"history","done":'))).toMatchObject([{ head: {} }, { op: 'c' }, { op: 'u' }, { end: { versions: 2 } }]);
    const all = await lines('long', 'table', { table: 'public.orders', progress: 'true', limit: '1' });
    for (const line of all.slice(1, -2)) expect(line).toMatchObject({ progress: { of: 'history', total: LONG + 20_001 } });
    expect(all.at(-1)).toEqual({ end: { rows: 1 } });
  });
});

it('a record that comes while a log is followed is read, also of a table that is new', async () => {
  const log = await engine.open('followed', { create: true });
  await fillPast(log);
  const ended = new AbortController();
  const reading = client.read('followed', { table: 'public.*', from: 'end', follow: 'true' }, ended.signal);
  const next = reading.next();
  await using writer = await log.openWriter(() => undefined);
  const fresh = table(5, 1, 'fresh', [column(1, 'id', { kind: 'int64' }, 'bigint')], [0]);
  await writer.append(new PastWriter().begin('source', 50, 900).schema(fresh).row(Op.create, fresh, null, ['1']).commit().take());
  await writer.flush();
  const found = await next;
  expect(String(found.value)).toContain('"table":"public.fresh"');
  ended.abort();
  await expect(reading.next()).rejects.toMatchObject({ code: 'ABORTED' });
});
