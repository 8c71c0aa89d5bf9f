import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parse } from 'csv-parse/sync';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Registry } from '../../../hub/hub.ts';
import { startApi, type Api } from '../../../hub/api/server.ts';
import type { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { createMetrics } from '../../../hub/runtime/metrics.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { ScriptedService } from '../api/scripted-service.ts';
import { codec, fillLong, fillShop, openEngine, printPosition } from '../api/shop-log.ts';
import { fillKinds, KIND_ROWS, KINDS, KINDS_END } from '../moments/kinds-log.ts';
import { fillPast } from '../moments/past-log.ts';
import { tidemark, type CliResult } from './run-cli.ts';

let folder: TemporaryDirectory;
let engine: EmbeddedLogEngine;
let api: Api;

const LONG = 120_000;

beforeAll(async () => {
  folder = await temporaryDirectory('cli-moments');
  const runtime = createTestRuntime();
  for (const data of ['running', 'stopped']) {
    const filled = await openEngine(join(folder.path, data), runtime);
    await fillPast(await filled.open('past', { create: true }));
    await fillKinds(await filled.open('kinds', { create: true }));
    await fillShop(filled);
    if (data === 'running') engine = filled;
    else {
      await fillLong(filled, LONG);
      await filled[Symbol.asyncDispose]();
    }
  }
  const data = join(folder.path, 'running');
  api = await startApi({
    service: new ScriptedService(), log: engine, metrics: createMetrics(), data, http: null, printPosition, codecs: [codec],
    scratch: new ScratchFolders(runtime.files, data, 'test'), clock: runtime.clock, files: runtime.files, logger: runtime.logger,
    reload: () => Promise.resolve([]),
  });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const READING: Registry = {
  connectors: [{ type: 'postgres', positions: codec, options: {}, create: () => { throw new Error('nothing is to be captured'); } }],
  sinks: [],
};

function on(data: 'running' | 'stopped', ...args: string[]): Promise<CliResult> {
  return tidemark([...args, `--data=${join(folder.path, data)}`], { cwd: folder.path, registry: READING });
}

describe.each(['running', 'stopped'] as const)('of a hub that is %s', (data) => {
  it('a table is shown as it was', async () => {
    expect(await on(data, 'table', 'past', 'public.items', '--as-of', '2024-03-01T10:03:20Z')).toEqual({
      code: 0,
      stdout: 'id  name   price  note\n 1  uno     1.50  NULL\n 3  three   3.00  x, "y"\n(2 rows at offset 10, 2024-03-01T10:02:30.000000Z)\n',
      stderr: '',
    });
    expect((await on(data, 'table', 'past', 'public.items', '--as-of', 'lsn:0/6', '--where', 'id=4')).stdout).toBe(
      'id  title  price  quantity\n 4  four    4.00         9\n(1 row at offset 13, 2024-03-01T10:06:40.000000Z)\n',
    );
    expect((await on(data, 'table', 'past', 'public.words', '--as-of', '2024-03-01T10:08Z', '--format', 'ndjson')).stdout).toBe('');
    expect((await on(data, 'table', 'past', 'public.words', '--format', 'ndjson', '--limit', '1')).stdout).toBe('{"offset":17,"row":{"word":"a"}}\n');
  });

  it('a table that is not known to equal the source\'s is shown with a word of warning', async () => {
    const { code, stderr } = await on(data, 'table', 'past', 'public.items', '--as-of', '3');
    expect(code).toBe(0);
    expect(stderr).toBe('public.items at offset 3: not known to equal the source\'s table there (`tidemark tables` shows where it is)\n');
  });

  it('the history of a row has every version', async () => {
    expect((await on(data, 'history', 'past', 'public.items', '--key', '1')).stdout.split('\n')).toEqual([
      '6  create  xid 11 at 2024-03-01T10:01:40.000000Z  position 0/2',
      '    id: 1', '    name: one', '    price: 1.50', '    note: NULL',
      '8  update  xid 12 at 2024-03-01T10:03:20.000000Z  position 0/3',
      '    name: one -> uno',
      '13  update  xid 15 at 2024-03-01T10:06:40.000000Z  position 0/6',
      '    price: 1.50 -> 2.50',
      '18  truncate  xid 18 at 2024-03-01T10:11:40.000000Z  position 0/9',
      '',
    ]);
    expect((await on(data, 'history', 'past', 'public.items', '--key', 'id=2', '--from', '7', '--to', '10')).stdout).toBe(
      '7  as it stood\n    id: 2\n    name: two\n    price: 2.00\n    note: \'\'\n9  delete  xid 13 at 2024-03-01T10:02:30.000000Z  position 0/4\n',
    );
    const json = await on(data, 'history', 'past', 'public.items', '--key', '5', '--json');
    expect(JSON.parse(json.stdout) as unknown).toMatchObject({ offset: 19, op: 'c', transaction: { xid: 18 }, before: null, after: { id: '5' } });
  });

  it('a difference shows what was added, removed and changed, and how the shape is another', async () => {
    expect((await on(data, 'diff', 'past', 'public.items', '--from', '7', '--to', '13')).stdout.split('\n')).toEqual([
      'public.items  offset 7 (2024-03-01T10:01:40.000000Z) -> offset 13 (2024-03-01T10:06:40.000000Z)',
      '    column - name text', '    column - note text', '    column + title text', '    column + quantity integer',
      '~ id=1', '    title: uno', '    price: 1.50 -> 2.50',
      '- id=2', '    name: two', '    price: 2.00', '    note: \'\'',
      '+ id=3', '    title: three', '    price: 3.00', '    quantity: 7',
      '+ id=4', '    title: four', '    price: 4.00', '    quantity: 9',
      '(2 added, 1 removed, 1 changed)', '',
    ]);
    expect((await on(data, 'diff', 'past', 'public.words', '--from', '5', '--to', '16')).stdout).toBe(
      'public.words  offset 5 -> offset 16 (2024-03-01T10:08:20.000000Z)\n+ row  (2 times)\n    word: a\n+ row\n    word: b\n(3 added, 0 removed, 0 changed)\n',
    );
    expect((await on(data, 'diff', 'past', 'public.items', '--from', '18', '--json')).stdout).toBe(
      '{"change":"added","key":{"id":"5"},"count":1,"columns":[],"before":null,"after":{"id":"5","title":"five","price":"5.00","quantity":null}}\n',
    );
  });

  it('records are read between moments', async () => {
    const { stdout } = await on(data, 'read', 'past', 'public.items', '--from', '2024-03-01T10:01:40Z', '--to', '2024-03-01T10:04:00+00:00', '--json');
    expect(stdout.split('\n').slice(0, -1).map((line) => (JSON.parse(line) as { offset: number }).offset)).toEqual([8, 9, 10]);
  });

  it.each([
    [['table', 'past', 'public.items', '--as-of', 'noon'], 2, 'MOMENT_SYNTAX'],
    [['table', 'past', 'public.items', '--as-of', '20'], 1, 'OFFSET_RANGE'],
    [['table', 'past', 'public.items', '--as-of', 'lsn:nowhere'], 2, 'POSITION_SYNTAX'],
    [['table', 'past', 'public.none'], 1, 'TABLE_UNKNOWN'],
    [['table', 'none', 'public.items'], 1, 'SOURCE_UNKNOWN'],
    [['table', 'past', 'public.items', '--format', 'xml'], 2, 'USAGE'],
    [['table', 'past', 'public.items', '--format', 'csv', '--output', 'no/such/folder.csv'], 2, 'USAGE'],
    [['history', 'past', 'public.items', '--key', 'name=one'], 2, 'MOMENT_KEY'],
    [['history', 'past', 'public.items'], 2, 'USAGE'],
    [['diff', 'past', 'public.items', '--from', '10', '--to', '7'], 1, 'OFFSET_RANGE'],
  ])('%j is refused', async (args, code, error) => {
    expect(await on(data, ...args)).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(new RegExp(`^${error}: `)) as string });
  });

  it('nothing of the sorting is left', async () => {
    // Of a request that was given up the hub cleans up behind it.
    await expect.poll(() => readdir(join(folder.path, data, 'sorting'))).toEqual([]);
  });
});

it('whoever reads only the beginning of a table leaves nothing of it behind', { timeout: 60_000 }, async () => {
  const main = join(import.meta.dirname, '../../../hub/cli/main.ts');
  const data = join(folder.path, 'stopped');
  const child = spawn(process.execPath, [main, 'table', 'long', 'public.orders', '--format', 'ndjson', '--data', data], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  expect(await readdir(join(data, 'sorting'))).toHaveLength(1);
  child.stdout.destroy();
  await once(child, 'close');
  expect([child.exitCode, await readdir(join(data, 'sorting'))]).toEqual([0, []]);
});

describe('following and waiting', () => {
  it('follows until it is interrupted, and that is a good end', async () => {
    const ending = new AbortController();
    const seen: string[] = [];
    const { code, stderr } = await tidemark(['read', 'past', 'public.*', '--from', '18', '--follow', `--data=${join(folder.path, 'running')}`], {
      cwd: folder.path, signal: ending.signal,
      onOutput: (text) => {
        seen.push(text);
        ending.abort();
      },
    });
    expect([code, stderr]).toEqual([0, '']);
    expect(seen.join('')).toMatch(/^18 {2}truncate {2}public.items/);
    expect(await on('running', 'read', 'past', 'public.*', '--follow', '--to', '19')).toMatchObject({ code: 0, stdout: expect.stringContaining('19  create  public.items  id=5') as string });
    expect(await on('stopped', 'read', 'past', 'public.*', '--follow')).toMatchObject({ code: 1, stderr: expect.stringMatching(/^API_UNREACHABLE: no hub runs/) as string });
  });

  it('waits for a moment of the log', async () => {
    expect(await on('running', 'wait', 'replica', '--at', 'begin')).toEqual({ code: 0, stdout: '10\n', stderr: '' });
    expect(await on('running', 'wait', 'replica', '--at', 'end', '--timeout', '30ms')).toMatchObject({ code: 1, stderr: expect.stringContaining('WAIT_TIMEOUT') as string });
    expect(await on('running', 'wait', 'replica', '--at', 'lsn:0/16B3748')).toMatchObject({ code: 0 });
    expect(await on('running', 'wait', 'replica', '--at', 'noon')).toMatchObject({ code: 2, stderr: expect.stringContaining('POSITION_SYNTAX') as string });
  });
});

const AS_TEXT = KIND_ROWS.map((row) => row.map((cell) => (cell === null ? null : typeof cell === 'string' ? cell : Buffer.isBuffer(cell) ? `\\x${cell.toString('hex')}` : '')));

describe('formats', () => {
  const at = String(KINDS_END - 1);

  it('CSV tells nothing from empty text, and every value is what it was', async () => {
    const { stdout } = await on('running', 'table', 'kinds', 'public.kinds', '--as-of', at, '--format', 'csv');
    const rows: unknown = parse(stdout, { cast: (value, { quoting }) => (value === '' && !quoting ? null : value) });
    expect(rows).toEqual([KINDS.columns.map(({ name }) => name), ...AS_TEXT]);
    expect(stdout.split('\n').at(-2)).toMatch(/,"\\\."$/);
    expect(stdout).toContain(',{},-1,""\n');
  });

  it('Parquet has the types, exactly the values, and its rows in groups', async () => {
    const path = join(folder.path, 'kinds.parquet');
    expect(await on('stopped', 'table', 'kinds', 'public.kinds', '--as-of', at, '--format', 'parquet', '--output', 'kinds.parquet')).toEqual({ code: 0, stdout: '', stderr: '' });
    const rows = await parquetRows(path);
    expect(rows[2]).toEqual({ id: 9007199254740994n, ...Object.fromEntries(KINDS.columns.slice(1).map(({ name }) => [name, null])) });
    expect(rows.map(({ id }) => id)).toEqual([-7n, 9007199254740993n, 9007199254740994n, 9223372036854775807n]);
    expect(rows.map(({ small, code }) => [small, code])).toEqual([[-32768, -1], [32767, 2147483647], [null, null], [0, 0]]);
    expect(rows.map(({ whole }) => whole)).toEqual([0n, 18446744073709551615n, null, 1n]);
    expect(rows.map(({ exact }) => unscaled(exact))).toEqual([-123456789012345678900123456789n, 999999999999999999999999999999n, null, 1n]);
    expect(rows.map(({ any }) => any)).toEqual(['1e400', 'NaN', null, '-Infinity']);
    expect(rows.map(({ real }) => real)).toEqual([-3.4028234663852886e38, Math.fround(0.1), null, Number.NaN]);
    expect(rows.map(({ double }) => double)).toEqual([5e-324, Number.MAX_VALUE, null, -0]);
    expect(rows.map(({ yes }) => yes)).toEqual([false, true, null, true]);
    expect(rows.map(({ raw }) => (raw instanceof Uint8Array ? Buffer.from(raw).toString('hex') : raw))).toEqual(['', '00ff0a', null, '74657874']);
    expect(rows.map(({ uuid }) => uuid)).toEqual(AS_TEXT.map((row) => row[9]));
    expect(rows.map(({ doc }) => (doc instanceof Uint8Array ? Buffer.from(doc).toString() : doc))).toEqual(['{"n":12345678901234567890.10}', '[1, 2]', null, 'null']);
    expect(rows.map(({ day }) => day)).toEqual([days('0000-01-01'), days('2026-11-21'), null, days('0497-12-31') + 14_686 * 146_097]);
    expect(rows.map(({ local }) => local)).toEqual([-210_866_803_200_000_000n, micros('2026-11-21T10:11:12Z') + 345n, null, micros('1900-02-28T00:00:00Z')]);
    expect(rows.map(({ moment }) => moment)).toEqual([micros('0000-01-01T00:00:00Z'), -1n, null, micros('2000-02-29T00:00:00Z')]);
    for (const column of [14, 15, 17]) expect(rows.map((row) => row[KINDS.columns[column]?.name ?? ''])).toEqual(AS_TEXT.map((row) => row[column]));
    const { schema } = await parquetMetadataAsync(await asyncBufferFromFile(path));
    expect(schema.find(({ name }) => name === 'exact')).toMatchObject({ type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16, converted_type: 'DECIMAL', precision: 30, scale: 10 });
    expect(schema.find(({ name }) => name === 'local')).toMatchObject({ logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: false, unit: 'MICROS' } });
    expect(schema.find(({ name }) => name === 'moment')).toMatchObject({ logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' } });
  });

  it('what fits no type of Parquet is an error, or text when that is asked for', async () => {
    const output = join(folder.path, 'infinite.parquet');
    expect(await on('running', 'table', 'kinds', 'public.kinds', '--format', 'parquet', '--output', output)).toMatchObject({
      code: 1, stderr: expect.stringMatching(/^MOMENT_VALUE: a value of column day \(date\)/) as string,
    });
    // Nothing is left of what was begun.
    expect((await readdir(folder.path)).filter((name) => name.startsWith('infinite'))).toEqual([]);
    expect((await on('running', 'table', 'kinds', 'public.kinds', '--format', 'parquet', '--as-text', '--output', output)).code).toBe(0);
    const rows = await parquetRows(output);
    expect(rows.find(({ id }) => id === '99')).toMatchObject({ day: 'infinity' });
    expect(rows.filter(({ id }) => id !== '99').map(({ exact }) => exact)).toEqual(AS_TEXT.map((row) => row[3]));
  });

  it('a file is there once it is whole, in place of one that was', async () => {
    await writeFile(join(folder.path, 'items.ndjson'), 'of before');
    await on('running', 'table', 'past', 'public.items', '--format', 'ndjson', '--output', 'items.ndjson');
    expect(await readFile(join(folder.path, 'items.ndjson'), 'utf8')).toBe('{"offset":19,"row":{"id":"5","title":"five","price":"5.00","quantity":null}}\n');
  });

  it('a long table is written a part at a time', { timeout: 60_000 }, async () => {
    const path = join(folder.path, 'long.parquet');
    expect((await on('stopped', 'table', 'long', 'public.orders', '--format', 'parquet', '--output', path)).code).toBe(0);
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    expect(metadata.num_rows).toBe(BigInt(LONG));
    expect(metadata.row_groups.length).toBeGreaterThan(2);
    const rows = await parquetReadObjects({ file, metadata, rowStart: 60_000, rowEnd: 60_002 });
    expect(rows).toHaveLength(2);
    const text = await on('stopped', 'table', 'long', 'public.orders', '--limit', '1000');
    expect(text.stdout.split('\n')).toHaveLength(1003);
  });
});

/** Dates, times and decimals as what they are in the file: the reader would make JavaScript dates and floats of them. */
async function parquetRows(path: string): Promise<Record<string, unknown>[]> {
  const parsers = { dateFromDays: (value: number) => value, timestampFromMicroseconds: (value: bigint) => value };
  const file = await asyncBufferFromFile(path);
  const found = await parquetMetadataAsync(file);
  const schema = found.schema.map(({ converted_type: converted, ...element }) => (converted === undefined || converted === 'DECIMAL' ? element : { ...element, converted_type: converted }));
  return parquetReadObjects({ file, metadata: { ...found, schema }, parsers, utf8: false });
}

/** The unscaled number of a decimal. */
function unscaled(value: unknown): bigint | null {
  return value instanceof Uint8Array ? BigInt.asIntN(128, BigInt(`0x${Buffer.from(value).toString('hex')}`)) : null;
}

function days(text: string): number {
  return Date.parse(`${text}T00:00:00Z`) / 86_400_000;
}

function micros(text: string): bigint {
  return BigInt(Date.parse(text)) * 1000n;
}
