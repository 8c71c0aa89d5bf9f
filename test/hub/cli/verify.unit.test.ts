import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ApiClient } from '../../../hub/api/client.ts';
import { startApi, type Api } from '../../../hub/api/server.ts';
import { rateArgument } from '../../../hub/cli/commands/verify.ts';
import { progressText, reportLines } from '../../../hub/cli/text/verify-text.ts';
import type { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { createMetrics } from '../../../hub/runtime/metrics.ts';
import type { Comparison, VerifyReport } from '../../../hub/verify/report.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { ScriptedService } from '../api/scripted-service.ts';
import { codec, openEngine, printPosition } from '../api/shop-log.ts';
import { tidemark, type CliResult } from './run-cli.ts';

const EQUAL: Comparison = {
  sides: 'source-log', skipped: null, offset: 41, position: '0/16B3748', rows: { expected: 12_345, found: 12_345 }, buckets: 512, differingBuckets: 0,
  differences: 0, still: 0, repaired: 0, deadLetters: 0, expired: 0, outside: 0, first: [],
};

const REPORT: VerifyReport = {
  sink: 'replica', source: 'shop', against: 'source', outcome: 'different', seconds: 3.2,
  tables: [
    {
      table: 'public.orders', tableId: 1, recopied: false, seconds: 2,
      comparisons: [
        EQUAL,
        {
          ...EQUAL, sides: 'log-sink', rows: { expected: 12_345, found: 12_344 }, differingBuckets: 3, differences: 4, still: 3, deadLetters: 2,
          first: [
            { kind: 'changed', key: 'id=7', columns: [{ column: 'name', expected: null, found: '' }, { column: 'note', expected: 'a\nb', found: 'b' }], counts: { expected: 1, found: 1 }, seen: 'still', offset: 44, repaired: false },
            { kind: 'missing', key: 'id=8', columns: [], counts: { expected: 1, found: 0 }, seen: 'once', offset: 41, repaired: false },
            { kind: 'count', key: 'a=1, b=NULL', columns: [], counts: { expected: 2, found: 3 }, seen: 'still', offset: 44, repaired: true },
          ],
        },
      ],
    },
    { table: 'public.visits', tableId: 2, recopied: true, seconds: 1, comparisons: [{ ...EQUAL, skipped: 'it is being copied' }] },
  ],
};

let folder: TemporaryDirectory;
let engine: EmbeddedLogEngine;
let api: Api;
const service = new ScriptedService();

beforeAll(async () => {
  folder = await temporaryDirectory('verify-cli');
  const runtime = createTestRuntime();
  const data = join(folder.path, 'data');
  engine = await openEngine(data, runtime);
  await writeFile(join(folder.path, 'tidemark.yaml'), 'hub: { data: ./data }\n');
  api = await startApi({
    service, log: engine, metrics: createMetrics(), data, http: null, printPosition, codecs: [codec], scratch: new ScratchFolders(runtime.files, data, 'test'),
    clock: runtime.clock, files: runtime.files, logger: runtime.logger, reload: () => Promise.resolve([]),
  });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});
beforeEach(() => {
  service.asked.splice(0);
  service.report = { ...REPORT, outcome: 'equal', tables: [] };
});

function run(...args: string[]): Promise<CliResult> {
  return tidemark(args, { cwd: folder.path });
}

describe('tidemark verify', () => {
  it('ends with 0 when all is equal, and asks for what it was told to', async () => {
    expect(await run('verify', 'replica')).toEqual({ code: 0, stdout: '\nsource shop = log = sink replica; 0 rows of 0 tables in 3.2 s\n', stderr: '' });
    const repair = await run('verify', 'replica', '--tables', 'public.orders', 'public.v*', '--against', 'log', '--repair', '--rate', '10MB/s');
    expect(repair).toMatchObject({ code: 0, stderr: "rows that differ at the sink are rewritten by its own worker\n" });
    expect((await run('verify', 'replica', '--repair')).stderr).toContain('is copied again, which takes as long as its first copy');
    expect(service.asked).toEqual(['verify replica', 'source look', 'verify replica', 'public.orders public.v* log repair', 'verify replica', 'source repair']);
  });

  it('ends with 1 when a row differs, and names table, key, column and both values', async () => {
    service.report = REPORT;
    const { code, stdout } = await run('verify', 'replica');
    expect(code).toBe(1);
    expect(stdout.split('\n')).toEqual([
      'public.orders: source = log: equal, 12,345 rows in 512 buckets, at offset 41 (0/16B3748)',
      'public.orders: log = sink: 4 rows differ, of 12,345 and 12,344, at offset 41 (0/16B3748); besides: 2 open dead letters',
      '  id=7: differs, and still at offset 44',
      "    name: NULL in the log, '' in the sink",
      "    note: 'a\\nb' in the log, 'b' in the sink",
      '  id=8: only in the log',
      '  a=1, b=NULL: 2 times in the log, 3 times in the sink, repaired',
      '  and 1 more',
      'public.visits: its log differed from the source; it was copied again',
      'public.visits: source = log: not compared: it is being copied',
      '',
      'source shop = log = sink replica does not hold: 4 rows differ; 12,345 rows of 2 tables in 3.2 s; 1 of 2 tables were not compared in full',
      '',
    ]);
    const json = await run('verify', 'replica', '--json');
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout)).toEqual(REPORT);
  });

  it('ends with 1 when a table could not be compared, though no row differs', async () => {
    service.report = { ...REPORT, outcome: 'incomplete', tables: REPORT.tables.slice(1) };
    expect(await run('verify', 'replica')).toMatchObject({ code: 1, stdout: expect.stringContaining('is not proven: no row that was compared differs') as string });
  });

  it('refuses what it does not understand', async () => {
    expect(await run('verify', 'replica', '--against', 'moon')).toMatchObject({ code: 2 });
    expect(await run('verify', 'replica', '--rate', 'fast')).toMatchObject({ code: 2 });
    expect(await run('verify', 'nobody')).toMatchObject({ code: 1, stderr: expect.stringContaining('SINK_UNKNOWN') as string });
    expect(rateArgument('5000rows/s')).toEqual({ rowsPerSecond: 5000 });
    expect(rateArgument('1.5MB/s')).toEqual({ bytesPerSecond: 1_500_000 });
  });

  it('gives progress and the report over the API, line by line', async () => {
    const client = new ApiClient({ socket: api.socket });
    const events = [];
    for await (const event of client.verify('replica', { tables: [], against: 'source', repair: false, rate: { rowsPerSecond: 5 } }, new AbortController().signal)) events.push(Object.keys(event)[0]);
    expect(events).toEqual(['progress', 'report']);
  });

  it('ends the verification when it is interrupted: the connection is closed', async () => {
    const ended = Promise.withResolvers<string>();
    const stop = new AbortController();
    service.verifying = async (signal) => {
      signal.addEventListener('abort', () => ended.resolve('ended'), { once: true });
      stop.abort(new Error('Ctrl-C'));
      await ended.promise;
    };
    try {
      expect(await tidemark(['verify', 'replica'], { cwd: folder.path, signal: stop.signal })).toMatchObject({ code: 1, stderr: expect.stringContaining('ABORTED') as string });
      expect(await ended.promise).toBe('ended');
    } finally {
      service.verifying = () => Promise.resolve();
    }
  });

  it('tells how far it is', () => {
    expect(progressText({ table: 'public.orders', index: 2, tables: 5, phase: 'rows', rows: 50_000, ofRows: 200_000, etaSeconds: 65 })).toBe(
      '2 of 5  public.orders  reads rows  █████░░░░░░░░░░░░░░░ 25%  50,000 rows  1 m 5 s left',
    );
    expect(progressText({ table: 'public.orders', index: 1, tables: 5, phase: 'opening', rows: 0, ofRows: null, etaSeconds: null })).toBe('1 of 5  public.orders  takes a moment');
    expect(reportLines({ ...REPORT, tables: [], outcome: 'equal', against: 'log' }).at(-1)).toBe('log of shop = sink replica; 0 rows of 0 tables in 3.2 s');
    const [, visits] = REPORT.tables;
    expect(reportLines({ ...REPORT, tables: visits === undefined ? [] : [visits], outcome: 'incomplete' }).at(-1)).toBe(
      'source shop = log = sink replica is not proven: no row that was compared differs; 0 rows of 1 table in 3.2 s; 1 of 1 tables were not compared in full',
    );
  });
});
