import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Registry } from '../../../hub/hub.ts';
import { startApi, type Api } from '../../../hub/api/server.ts';
import type { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { createMetrics } from '../../../hub/runtime/metrics.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { ScriptedService, SINK, SOURCE, STATUS, TABLE } from '../api/scripted-service.ts';
import { codec, fillShop, openEngine, RECORDS, printPosition } from '../api/shop-log.ts';
import { tidemark, type CliResult } from './run-cli.ts';

let folder: TemporaryDirectory;
let engine: EmbeddedLogEngine;
let api: Api;
const service = new ScriptedService();

beforeAll(async () => {
  folder = await temporaryDirectory('cli');
  const runtime = createTestRuntime();
  engine = await openEngine(join(folder.path, 'data'), runtime);
  await fillShop(engine);
  await writeFile(join(folder.path, 'tidemark.yaml'), 'hub: { data: ./data }\nsources: { shop: { type: postgres, url: "${NOT_NEEDED}", tables: [a.b] } }\n');
  api = await startApi({
    service, log: engine, metrics: createMetrics(), data: join(folder.path, 'data'), http: '127.0.0.1:0',
    printPosition, codecs: [codec], scratch: new ScratchFolders(runtime.files, join(folder.path, 'data'), 'test'),
    clock: runtime.clock, files: runtime.files, logger: runtime.logger, reload: () => Promise.resolve([]),
  });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});
beforeEach(() => {
  service.view = STATUS;
  service.asked.splice(0);
});

/** Knows the positions of the test's logs, and nothing else. */
const PRINTING: Registry = {
  connectors: [{
    type: 'postgres',
    positions: codec,
    options: {},
    create: () => {
      throw new Error('nothing is to be captured');
    },
  }],
  sinks: [],
};

function run(...args: string[]): Promise<CliResult> {
  return tidemark(args, { cwd: folder.path, registry: PRINTING });
}

describe('asking a running hub', () => {
  it('shows its status as a table', async () => {
    const { code, stdout } = await run('status');
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([
      'tidemark 0.1.0, up 3 h 12 m',
      '',
      'SOURCE  STATE      OFFSET  POSITION   BEHIND          RECORDS/S  WAL HELD       LOG  TABLES',
      'shop    streaming      13  0/16B3748  4.0 KiB, 1.5 s         17   1.0 MiB  12.1 KiB  1 consistent',
      '',
      'SINK     FROM  STATE     OFFSET  POSITION   BEHIND                   RECORDS/S  DEAD LETTERS',
      'replica  shop  applying      10  0/16B3000  3 records, 321 B, 0.5 s          9             0',
      '',
    ]);
  });

  it('shows copies, waits and failures', async () => {
    const error = { code: 'SINK_FENCED', message: 'another hub owns the sink', remedy: 'Stop it.', at: '2026-11-21T10:00:00.000Z', where: { sink: 'replica', offset: 10 } };
    const copy = { rows: 250_000, estimatedRows: 1_000_000, etaSeconds: 90, waitingFor: '' };
    service.view = {
      ...STATUS,
      sources: [{ ...SOURCE, waitingFor: 'transaction of pid 7', tables: [TABLE, { ...TABLE, table: 'public.big', state: 'copying', since: 3, copy }, { ...TABLE, table: 'public.odd', state: 'stopped', stoppedBecause: 'TYPE: unknown', remedy: 'Run `tidemark source recopy SOURCE TABLE`.', consistent: [{ from: 2, to: 4 }] }] }],
      sinks: [{ ...SINK, state: 'failed', degraded: true, error }],
    };
    const { stdout } = await run('status');
    expect(stdout).toContain('1 consistent, 1 copying, 1 stopped');
    expect(stdout).toContain('public.big  shop    copying      3  █████░░░░░░░░░░░░░░░ 25%, 250,000 of about 1,000,000 rows, 1 m 30 s left');
    expect(stdout).toContain('public.odd  shop    stopped      5  TYPE: unknown');
    expect(stdout).toContain('table public.odd of source shop: TYPE: unknown\n  where: offset 5, last consistent at 4\n  to do: Run `tidemark source recopy shop public.odd`.\n');
    expect(stdout).toContain('source shop waits: transaction of pid 7');
    expect(stdout).toContain('failed, degraded');
    expect(stdout).toContain('sink replica: SINK_FENCED: another hub owns the sink\n  where: sink replica, offset 10\n  to do: Stop it.\n');
  });

  it('gives the status to scripts', async () => {
    const { stdout } = await run('status', '--json');
    expect(JSON.parse(stdout) as unknown).toEqual({ running: true, ...STATUS });
  });

  it('watches until it is told to stop', async () => {
    const stop = new AbortController();
    let seen = 0;
    const { code, stdout } = await tidemark(['status', '--watch'], {
      cwd: folder.path, tty: true, signal: stop.signal,
      onOutput: (text) => { if (text.includes('SOURCE') && ++seen === 2) stop.abort(); },
    });
    expect(code).toBe(0);
    expect(stdout.split('\u001b[H')).toHaveLength(3);
  });

  it('lists tables', async () => {
    const { stdout } = await run('tables', 'shop');
    expect(stdout).toBe('TABLE          SOURCE  STATE       SINCE  CONSISTENT  PROGRESS\npublic.orders  shop    consistent      5  5 ..\n');
    expect(JSON.parse((await run('tables', '--json')).stdout) as unknown).toEqual({ source: 'shop', ...TABLE });
    expect((await run('tables', 'none')).stderr).toContain('SOURCE_UNKNOWN');
  });

  it('finds it by folder and by address, too', async () => {
    for (const option of [`--data=${join(folder.path, 'data')}`, `--http=${api.http}`]) {
      const { code, stdout } = await tidemark(['status', '--json', option], { cwd: '/' });
      expect(code).toBe(0);
      expect(stdout).toContain('"running":true');
    }
  });

  it('passes actions on', async () => {
    expect(await run('sink', 'pause', 'replica')).toEqual({ code: 0, stdout: 'sink replica is paused\n', stderr: '' });
    await run('sink', 'resume', 'replica');
    await run('sink', 'retry', 'replica');
    await run('source', 'add-table', 'shop', 'public."order items"');
    await run('source', 'recopy', 'shop', 'public.orders');
    await run('source', 'resync', 'shop');
    expect((await run('reload')).stdout).toBe('nothing has changed\n');
    expect(service.asked).toEqual(['pause replica', 'resume replica', 'retry replica', 'add-table shop public.order items', 'recopy shop public.orders', 'resync shop']);
  });

  it('waits for an offset', async () => {
    expect(await run('wait', 'replica', '--at', '9')).toEqual({ code: 0, stdout: '10\n', stderr: '' });
    expect(await run('wait', 'replica', '--at', 'lsn:0/16B3748')).toMatchObject({ code: 0 });
    expect(await run('wait', 'replica', '--at', '11', '--timeout', '20ms')).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^WAIT_TIMEOUT: replica did not get there in 20 ms\n {2}where: sink replica\n {2}to do: Look at the lag/) as string,
    });
  });
});

describe('reading', () => {
  it('prints records for scripts', async () => {
    const { code, stdout } = await run('read', 'shop', '*.*', '--json');
    const lines = stdout.trimEnd().split('\n');
    expect(code).toBe(0);
    expect(lines).toHaveLength(RECORDS);
    expect(JSON.parse(lines[5] ?? '') as unknown).toMatchObject({ offset: 6, op: 'c', after: { 7: '0.10' } });
    expect((await run('read', 'shop', 'public.orders', '--from', '6', '--limit', '1', '--json')).stdout).toBe(`${lines[5]}\n`);
  });

  it('prints records for people', async () => {
    const { stdout } = await run('read', 'shop', '*.*');
    const text = stdout.split('\n');
    expect(text.slice(0, 5)).toEqual(['1  schema  public.orders  by the hub  position 0/0', '    id bigint not null key', '    __proto__ text not null', '    photo bytea not null', '    7 numeric not null']);
    expect(stdout).toContain('4  copied row  public.orders  id=1  by the hub  position 0/0\n');
    expect(stdout).toContain('6  create  public.orders  id=2  xid 4711 at 2026-11-21T10:11:12.000345Z  position 0/1  from elsewhere\n');
    expect(stdout).toContain('    __proto__: Grüße "…"\\n\n    photo: \\x\n');
    expect(stdout).toContain('    photo: (left out by the source)\n');
    expect(stdout).toContain('9  delete  public.orders  id=1  xid 4712 at 2026-11-21T10:11:12.000345Z  position 0/2  (key-change)\n');
    expect(stdout).toContain('    __proto__: x\n    photo: NULL\n');
    expect(stdout).toContain('10  truncate  public."Odd ""notes"".x"  xid 4712');
    expect(stdout).toContain('    app: \\xff\n');
    expect(stdout).toContain('12  hub  xid 4712');
  });

  it('says what there is not', async () => {
    expect(await run('read', 'none', 'a.b')).toMatchObject({ code: 1, stderr: expect.stringContaining('SOURCE_UNKNOWN') as string });
    expect(await run('read', 'shop', 'public.order')).toMatchObject({ code: 1, stderr: expect.stringContaining('the nearest name is public.orders') as string });
    expect(await run('read', 'shop', 'orders')).toMatchObject({ code: 2, stderr: expect.stringContaining('CONFIG_TABLE_PATTERN') as string });
    const json = await run('read', 'none', 'a.b', '--json');
    expect(JSON.parse(json.stderr) as unknown).toMatchObject({ code: 'SOURCE_UNKNOWN', where: { source: 'none' }, remedy: /./ });
  });
});

describe('the folder of a hub that does not run', () => {
  const at = (): string => `--data=${join(folder.path, 'stopped')}`;

  beforeAll(async () => {
    await using stopped = await openEngine(join(folder.path, 'stopped'), createTestRuntime());
    await fillShop(stopped);
  });

  it('tells status, tables and records', async () => {
    const status = await run('status', at());
    expect(status.code).toBe(0);
    expect(status.stdout).toContain('The hub is not running.');
    expect(status.stdout).toMatch(/shop {4}stopped {6}13/);
    expect(JSON.parse((await run('status', '--json', at())).stdout) as unknown).toMatchObject({ running: false, sources: [{ name: 'shop', highWatermark: 13, position: '0/2' }], sinks: [] });
    expect((await run('tables', at())).stdout).toContain('public.orders');
    expect((await run('read', 'shop', '*.*', '--json', at())).stdout).toBe((await run('read', 'shop', '*.*', '--json')).stdout);
    expect(await run('read', 'none', '*.*', at())).toMatchObject({ code: 1, stderr: expect.stringContaining('SOURCE_UNKNOWN') as string });
  });

  it('cannot do what needs a hub', async () => {
    for (const command of [['wait', 'replica', '--at', '1'], ['sink', 'pause', 'replica'], ['source', 'recopy', 'shop', 'a.b'], ['reload']]) {
      expect(await run(...command, at())).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^API_UNREACHABLE: no hub runs in .*stopped\n {2}to do: Start it with/) as string });
    }
    expect(await run('status', `--data=${folder.path}`)).toMatchObject({ code: 1, stderr: expect.stringContaining('LOG_UNKNOWN') as string });
  });
});

describe('usage', () => {
  it.each([
    [['nonsense'], "unknown command 'nonsense'"],
    [['stat'], "unknown command 'stat' (Did you mean status?)".replace(' (', '\n(')],
    [['status', '--jsn'], "unknown option '--jsn'"],
    [['read', 'shop'], "missing required argument 'table'"],
    [['wait', 'replica'], "required option '--at <moment>' not specified"],
    [['wait', 'replica', '--at', '1', '--timeout', 'soon'], 'It must be a duration such as 500ms, 30s or 5m.'],
    [['read', 'shop', 'a.b', '--limit', '0'], 'It must be a whole number from 1 on.'],
    [['run', '--log-format', 'xml'], "Allowed choices are pretty, json"],
    [['status', '--config', 'none.yaml'], 'none.yaml cannot be read (ENOENT)'],
    [['run', '--config', 'none.yaml'], 'none.yaml cannot be read (ENOENT)'],
    [['status', '--http', 'example.com:80'], 'is not a loopback address'],
    [['source', 'recopy', 'shop', 'public.*'], 'must name one table'],
  ])('%j is refused', async (args, text) => {
    const { code, stdout, stderr } = await run(...args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(text);
    expect(stderr).toMatch(/^[A-Z_]+: /);
    expect(stderr).toContain('to do: ');
  });

  it('is explained, with examples, for each command', async () => {
    const { stdout, code } = await run('--help');
    expect(code).toBe(0);
    const commands = [...stdout.matchAll(/^ {2}([a-z]+) /gm)].map((match) => match[1] ?? '').filter((name) => name !== 'help' && name !== 'tidemark');
    expect(new Set(commands)).toEqual(new Set([
      'init', 'check', 'run', 'status', 'tables', 'read', 'table', 'history', 'diff', 'wait', 'source', 'sink', 'rebuild', 'verify', 'reload', 'compact', 'log', 'backup',
      'restore', 'schema',
    ]));
    for (const command of [...commands.map((name) => [name]), ['source', 'recopy'], ['sink', 'pause']]) {
      const help = await run(...command, '--help');
      expect(help.code).toBe(0);
      expect(help.stdout, command.join(' ')).toMatch(['source', 'sink', 'log'].includes(command[0] ?? '') ? /Usage: / : /Examples:\n {2}tidemark /);
    }
    expect((await run()).code).toBe(2);
    expect((await run('--version')).stdout).toBe('0.1.0\n');
  });
});
