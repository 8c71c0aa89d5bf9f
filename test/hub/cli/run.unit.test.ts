import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CopiedChunk, TableCopier } from '../../../contracts/connector.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { ApiClient } from '../../../hub/api/client.ts';
import { findSocket } from '../../../hub/api/socket-path.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Registry } from '../../../hub/hub.ts';
import type { HubStatus } from '../../../hub/service.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { MemorySink } from '../pipeline/sink/memory-sink.ts';
import { ScriptedSource } from '../pipeline/source/scripted-source.ts';
import { tidemark, type CliResult } from './run-cli.ts';

const SIGNAL = new AbortController().signal;
const SOURCE = '  shop: { type: scripted, url: x, tables: ["public.*"], columns: { public.t1: { hash: [value] } } }';

/** Copies tables that are empty. */
const emptyTables: TableCopier = {
  plan: (table) => Promise.resolve({ table, copyState: '', ranges: ['all'], estimatedRows: 0, estimatedBytes: 0, whole: false }),
  chunk: (plan, range) => Promise.resolve(emptyChunk(plan.table, range)),
  rows: (table) => Promise.resolve(emptyChunk(table, '')),
};

function emptyChunk(schema: TableSchema, range: string): CopiedChunk {
  return {
    schema,
    range,
    rowCount: 0,
    async *batches() {},
    sees: () => true,
    passedBy: () => true,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

let folder: TemporaryDirectory;
let source: ScriptedSource;
let sinks: MemorySink[];
let registry: Registry;

beforeEach(async () => {
  folder = await temporaryDirectory('run');
  source = new ScriptedSource();
  source.copier = () => emptyTables;
  sinks = [];
  registry = {
    connectors: [{ type: 'scripted', positions: source.positions, options: {}, create: () => source }],
    sinks: [{ type: 'memory', options: {}, tableOptions: null, create: () => { const sink = new MemorySink(); sinks.push(sink); return sink; } }],
  };
  await configure(sink('replica'));
});
afterEach(() => folder[Symbol.asyncDispose]());

function sink(name: string): string {
  return `  ${name}: { type: memory, from: shop, url: x, tables: ["public.*"] }`;
}

function configure(...lines: string[]): Promise<void> {
  return writeFile(join(folder.path, 'tidemark.yaml'), ['sources:', SOURCE, 'sinks:', ...lines, ''].join('\n'));
}

/** A hub in this process; `end` is the signal that a user would send. */
interface RunningHub {
  readonly api: ApiClient;
  ask(...args: string[]): Promise<CliResult>;
  end(): Promise<CliResult>;
}

async function runHub(): Promise<RunningHub> {
  const ending = new AbortController();
  const over = tidemark(['run', '--log-level', 'error'], { cwd: folder.path, registry, signal: ending.signal });
  await mkdir(join(folder.path, 'data'), { recursive: true });
  const api = new ApiClient({ socket: await findSocket(join(folder.path, 'data')) });
  await expect.poll(() => api.health(SIGNAL).then(({ version }) => version, () => null), { timeout: 10_000, interval: 20 }).toBe('0.1.0');
  return {
    api,
    ask: (...args) => tidemark(args, { cwd: folder.path, registry }),
    end: () => { ending.abort(); return over; },
  };
}

function statusWhere(api: ApiClient, holds: (status: HubStatus) => boolean): Promise<void> {
  return expect.poll(async () => holds(await api.status(SIGNAL)), { timeout: 10_000, interval: 20 }).toBe(true);
}

describe('tidemark run', () => {
  it('captures and applies, answers, and drains when it is told to end', async () => {
    const hub = await runHub();
    source.commit([{ table: 1, key: 1, value: 10 }]);
    await statusWhere(hub.api, ({ sinks: [replica] }) => replica !== undefined && replica.state === 'caught-up' && replica.offset > 0);
    const status = await hub.ask('status');
    expect(status.stdout).toMatch(/replica {2}shop {2}caught-up/);
    const { stdout } = await hub.ask('wait', 'replica', '--at', '1');
    expect(Number(stdout)).toBeGreaterThan(0);
    expect(await hub.ask('sink', 'pause', 'replica')).toMatchObject({ code: 0 });
    expect((await hub.ask('status')).stdout).toMatch(/replica {2}shop {2}paused/);
    // The sink may have caught up with the table's schema alone.
    await expect.poll(() => hub.ask('read', 'shop', 'public.t1', '--json'), { timeout: 10_000, interval: 20 }).toMatchObject({
      code: 0, stdout: expect.stringContaining('"after":{"id":"1","value":"10"}') as string,
    });

    const began = performance.now();
    const { code, stderr } = await hub.end();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(performance.now() - began).toBeLessThan(9000);
    expect((await hub.ask('status')).stdout).toContain('The hub is not running.');
    expect(await readFile(join(folder.path, 'data', 'hash-key'), 'utf8')).toMatch(/^[0-9a-f]{64}\n$/);
  });

  it('applies what the configuration gains and loses', async () => {
    const hub = await runHub();
    await configure(sink('replica'), sink('second'));
    expect(await hub.ask('reload')).toEqual({ code: 0, stdout: 'sink second added\n', stderr: '' });
    await statusWhere(hub.api, (status) => status.sinks.length === 2);
    expect((await hub.ask('reload')).stdout).toBe('nothing has changed\n');
    await configure(sink('second'), '# hub');
    await writeFile(join(folder.path, 'tidemark.yaml'), `hub: { http: "127.0.0.1:0" }\n${await readFile(join(folder.path, 'tidemark.yaml'), 'utf8')}`);
    expect((await hub.ask('reload')).stdout).toBe('sink replica removed\nhub.http has changed: it takes effect when the hub is started again\n');
    await configure('  second: { type: memory, frm: shop }');
    expect(await hub.ask('reload')).toMatchObject({ code: 2, stderr: expect.stringMatching(/CONFIG_.*(and \d+ more)/s) as string });
    expect((await hub.api.status(SIGNAL)).sinks.map(({ name }) => name)).toEqual(['second']);
    expect((await hub.end()).code).toBe(0);
  });

  it('says of settings of the log that they count from the next start', async () => {
    const hub = await runHub();
    const rest = await readFile(join(folder.path, 'tidemark.yaml'), 'utf8');
    for (const log of ['history: 1d', 'history: 7d, tables: { "public.t1": { keep: all } }']) {
      await writeFile(join(folder.path, 'tidemark.yaml'), `hub: { log: { ${log} } }\n${rest}`);
      expect((await hub.ask('reload')).stdout).toBe('hub.log has changed: it takes effect when the hub is started again\n');
    }
    expect((await hub.end()).code).toBe(0);
  });

  it('takes over no source and no sink when its address is in use', async () => {
    const other = createServer();
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    try {
      await writeFile(join(folder.path, 'tidemark.yaml'), `hub: { http: "127.0.0.1:${port}" }\n${await readFile(join(folder.path, 'tidemark.yaml'), 'utf8')}`);
      const { code, stderr } = await tidemark(['run', '--log-level', 'error'], { cwd: folder.path, registry });
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^API_LISTEN: .*EADDRINUSE/) as string });
      expect(sinks).toEqual([]);
    } finally {
      other.close();
      await once(other, 'close');
    }
  });

  it('says what is wrong with a data folder that cannot be made or written to', async () => {
    await writeFile(join(folder.path, 'file'), '');
    await writeFile(join(folder.path, 'data'), '');
    const rest = await readFile(join(folder.path, 'tidemark.yaml'), 'utf8');
    for (const data of ['file/data', 'data']) {
      await writeFile(join(folder.path, 'tidemark.yaml'), `hub: { data: ./${data} }\n${rest}`);
      const { code, stderr } = await tidemark(['run', '--log-level', 'error'], { cwd: folder.path, registry });
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^FOLDER_DENIED: .*\n {2}where: .*\n {2}to do: Give the user/) as string });
    }
  });

  it('ends by itself once everything is caught up', async () => {
    const caughtUp = ['run', '--until-caught-up', '--log-level', 'error'];
    expect(await tidemark(caughtUp, { cwd: folder.path, registry })).toEqual({ code: 0, stdout: '', stderr: '' });
    source.commit([{ table: 1, key: 1, value: 10 }, { table: 2, key: 1, value: 20 }]);
    expect(await tidemark(caughtUp, { cwd: folder.path, registry })).toEqual({ code: 0, stdout: '', stderr: '' });
    expect([...(sinks[1]?.rows ?? [])]).toEqual([['public.t1/1', '1,10'], ['public.t2/1', '1,20']]);
    const stopped = await tidemark(['tables'], { cwd: folder.path, registry });
    expect(stopped.stdout).toMatch(/public\.t1 {2}shop {4}consistent/);
  });

  it('fails when it cannot catch up', async () => {
    source.tables = () => Promise.reject(new TidemarkError('POSTGRES_URL', 'this will never do'));
    const { code, stderr } = await tidemark(['run', '--until-caught-up', '--log-level', 'error'], { cwd: folder.path, registry });
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('POSTGRES_URL: this will never do') as string });
  });

  it('refuses a folder that another hub uses', async () => {
    const hub = await runHub();
    const second = await hub.ask('run', '--log-level', 'error');
    expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('LOG_LOCKED') as string });
    expect((await hub.api.health(SIGNAL)).status).toBe('ok');
    await hub.end();
  });

  it('prints every fault of the configuration', async () => {
    await configure('  a: { type: memory, frm: shop, tables: [a.b] }', '  b: { type: memry }');
    const { code, stderr } = await tidemark(['run'], { cwd: folder.path, registry });
    expect(code).toBe(2);
    expect(stderr.match(/^CONFIG_[A-Z_]+: /gm)).toEqual(['CONFIG_MISSING_KEY: ', 'CONFIG_UNKNOWN_KEY: ', 'CONFIG_VALUE: ']);
    expect(stderr).toContain(`where: ${join(folder.path, 'tidemark.yaml')}:4:22, sink a\n`);
  });
});

describe('tidemark check', () => {
  it('asks every part and ends with 1 when something is wrong', async () => {
    expect(await tidemark(['check'], { cwd: folder.path, registry })).toMatchObject({ code: 0, stdout: expect.stringContaining('0 errors, 0 warnings') as string });
    source.check = () => Promise.resolve([{ severity: 'error', code: 'wal-level', what: 'wal_level is replica', remedy: 'ALTER SYSTEM SET wal_level = logical;' }]);
    source.tables = () => Promise.reject(new Error('gone'));
    const { code, stdout } = await tidemark(['check'], { cwd: folder.path, registry });
    expect(code).toBe(1);
    expect(stdout).toContain('source shop (scripted)\n  error    wal_level is replica\n           ALTER SYSTEM SET wal_level = logical;\n  error    gone\n');
    expect(stdout).toContain('2 errors, 0 warnings\n');
    const json = await tidemark(['check', '--json'], { cwd: folder.path, registry });
    expect(json.stdout.trim().split('\n').map((line) => JSON.parse(line) as unknown)).toMatchObject([{ part: 'source', name: 'shop', code: 'wal-level' }, { code: 'internal' }]);
  });
});
