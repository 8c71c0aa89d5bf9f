import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registry } from '../../../hub/registry.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { startHubProcess, type HubProcess } from '../../fixtures/hub-process.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { tidemark, type CliResult } from './run-cli.ts';

let postgres: PostgresServer;
let folder: TemporaryDirectory;
let env: Readonly<Record<string, string>>;

beforeAll(async () => {
  [postgres, folder] = await Promise.all([startPostgres({ databases: ['shop', 'replica'] }), temporaryDirectory('end-to-end')]);
  env = { SHOP_URL: postgres.url('shop'), REPLICA_URL: postgres.url('replica') };
  await postgres.query(
    `CREATE TABLE orders (id bigint PRIMARY KEY, status text, photo bytea);
     INSERT INTO orders SELECT id, 'open', '\\x00ff' FROM generate_series(1, 500) id;
     CREATE TABLE "Order Items" (id int PRIMARY KEY, "7" numeric);
     INSERT INTO "Order Items" VALUES (1, 'NaN'), (2, 12.50);
     CREATE TABLE keyless (note text);`,
    [],
    'shop',
  );
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function run(...args: string[]): Promise<CliResult> {
  return tidemark(args, { cwd: folder.path, env, registry });
}

describe('from a database to its mirror', () => {
  it('init proposes what can be captured, check agrees, and no password is in the file', async () => {
    const url = postgres.url('shop').replace('postgres@', 'postgres:s3cret@');
    const init = await run('init', url, '--sink', postgres.url('replica'));
    expect(init.code).toBe(0);
    expect(init.stderr).toContain("export SHOP_URL='postgres://postgres:PASSWORD@127.0.0.1");
    const text = await readFile(join(folder.path, 'tidemark.yaml'), 'utf8');
    expect(text).toMatch(/\n {6}- "public\.\*" +# 2 tables\n/);
    expect(text).toMatch(/- "!public\.keyless" +# .*REPLICA IDENTITY/);
    expect(`${text}${init.stdout}${init.stderr}`).not.toContain('s3cret');
    expect(await run('init', url)).toMatchObject({ code: 2, stderr: expect.stringContaining('exists already') as string });
    // The address that `init` proposes may be in use on this machine.
    await writeFile(join(folder.path, 'tidemark.yaml'), text.replace('http: "127.0.0.1:7400"', 'http: null'));

    const check = await run('check');
    expect(check.stdout).toMatch(/ 0 errors, |^0 errors, /m);
    expect(check.code).toBe(0);
  });

  it('init says how to go on when the database cannot be looked at', async () => {
    const init = await run('init', postgres.url('nothing_there'), '--out', 'unseen.yaml');
    expect(init.code).toBe(1);
    expect(init.stderr).toMatch(/nothing_there.*\n[^]*unseen\.yaml is written without the tables.*--force/);
    expect(await run('init', postgres.url('shop'), '--out', 'unseen.yaml', '--force')).toMatchObject({ code: 0, stderr: expect.stringContaining('unseen.yaml is written. Next:') as string });
  });

  it('check names the statement that mends a table', async () => {
    const everything = await tidemark(['init', postgres.url('shop'), '--stdout'], { cwd: folder.path, registry });
    const config = everything.stdout.replace(/^ +- "!.*\n/m, '').replace('data: ./data', 'data: ./other').replace('http: "127.0.0.1:7400"', 'http: null');
    await using other = await temporaryDirectory('check');
    await writeFile(join(other.path, 'tidemark.yaml'), config);
    const check = await tidemark(['check', '--json'], { cwd: other.path, env, registry });
    expect(check.code).toBe(1);
    const findings = check.stdout.trim().split('\n').map((line) => JSON.parse(line) as { severity: string; table?: string; remedy: string });
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([
      expect.objectContaining({ table: 'public.keyless', remedy: expect.stringMatching(/ALTER TABLE .*keyless.* REPLICA IDENTITY FULL/) as string }),
    ]);
  });

  it('run --until-caught-up copies everything and ends', async () => {
    const { code, stderr } = await run('run', '--until-caught-up', '--log-level', 'error');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(await postgres.query('SELECT count(*)::int AS n, min(photo) = \'\\x00ff\' AS same FROM orders', [], 'replica')).toEqual([{ n: 500, same: true }]);
    expect(await postgres.query('SELECT id, "7"::text AS amount FROM "Order Items" ORDER BY id', [], 'replica')).toEqual([{ id: 1, amount: 'NaN' }, { id: 2, amount: '12.50' }]);

    const status = await run('status');
    expect(status.stdout).toMatch(/shop {4}stopped +\d+ /);
    expect((await run('tables')).stdout).toMatch(/public\.Order Items {2}shop {4}consistent/);
    const read = await run('read', 'shop', 'public."Order Items"', '--json');
    expect(read.stdout).toMatch(/"op":"r".*"after":\{"id":"1","7":"NaN"\}/);
  });
});

describe('a hub as a process', () => {
  let hub: HubProcess;

  beforeAll(async () => {
    hub = await startHubProcess({ directory: folder.path, config: null, env });
  });
  afterAll(() => hub[Symbol.asyncDispose]());

  it('makes own writes readable', async () => {
    await postgres.query("UPDATE orders SET status = 'paid' WHERE id = 7; INSERT INTO orders VALUES (501, 'new', NULL)", [], 'shop');
    const [row] = await postgres.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn() AS lsn', [], 'shop');
    const waited = await run('wait', 'replica', '--at', `lsn:${row?.lsn}`, '--timeout', '20s');
    expect(waited).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\n$/) as string });
    expect(await postgres.query('SELECT id::int, status FROM orders WHERE id IN (7, 501) ORDER BY id', [], 'replica')).toEqual([
      { id: 7, status: 'paid' }, { id: 501, status: 'new' },
    ]);
    const offset = Number(waited.stdout);
    const read = await run('read', 'shop', 'public.orders', '--from', String(offset - 1), '--limit', '2');
    expect(read.stdout).toMatch(new RegExp(`${offset - 1} {2}update {2}public\\.orders {2}id=7 {2}xid \\d+ at 20\\d\\d-`));
    expect((await run('wait', 'replica', '--at', 'lsn:FFFF/0', '--timeout', '50ms'))).toMatchObject({ code: 1, stderr: expect.stringContaining('WAIT_TIMEOUT') as string });
    expect((await run('wait', 'replica', '--at', 'yesterday'))).toMatchObject({ code: 2, stderr: expect.stringContaining('POSITION_SYNTAX') as string });
  });

  it('captures a table that appears, and copies one again', async () => {
    await postgres.query('CREATE TABLE invoices (id int PRIMARY KEY); INSERT INTO invoices VALUES (1)', [], 'shop');
    expect(await run('source', 'add-table', 'shop', 'public.invoices')).toMatchObject({ code: 0 });
    await hub.until('invoices is consistent', ({ sources }) => sources.some(({ tables }) => tables.some(({ table, state }) => table === 'public.invoices' && state === 'consistent')), 30_000);
    expect(await run('source', 'recopy', 'shop', 'public.invoices')).toMatchObject({ code: 0 });
    expect(await run('source', 'add-table', 'shop', 'public.none')).toMatchObject({ code: 1, stderr: expect.stringMatching(/^TABLE_UNKNOWN: .* selects .*[^]*tidemark check/) as string });
  });

  it('shows status and metrics', async () => {
    const { stdout } = await run('status');
    expect(stdout).toMatch(/^tidemark \d+\.\d+\.\d+, up /);
    expect(stdout).toMatch(/\nshop {4}streaming +\d+ {2}[0-9A-F]+\/[0-9A-F]+ /);
    expect(await hub.api.metrics(new AbortController().signal)).toMatch(/tidemark_sink_records_total\{sink="replica"\} \d/);
  });

  it('ends in order within ten seconds', async () => {
    const began = performance.now();
    await hub.stop();
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(await hub.output()).toContain('hub.ending');
    expect((await run('status')).stdout).toContain('The hub is not running.');
  });
});
