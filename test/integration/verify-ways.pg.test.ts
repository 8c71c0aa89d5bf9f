import { afterAll, beforeAll, expect, it } from 'vitest';
import type { VerifyReport } from '../../hub/verify/report.ts';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource } from '../fixtures/test-hub.ts';
import { comparison, verify } from './verifying.ts';

let server: PostgresServer;
let directory: TemporaryDirectory;

beforeAll(async () => {
  server = await startPostgres();
  directory = await temporaryDirectory('verify-ways');
  for (const database of ['source', 'replica']) await server.query(`CREATE DATABASE ${database}`);
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await directory?.[Symbol.asyncDispose]();
});

const TABLES = `
  CREATE TYPE pair AS (a text, b int[]);
  CREATE TABLE things (id int PRIMARY KEY, a text, b text, raw bytea, list text[], doc jsonb, num numeric, f float8, bits bit varying, p pair);
  CREATE TABLE bag (a text, b text); ALTER TABLE bag REPLICA IDENTITY FULL;
  CREATE TABLE same (id int PRIMARY KEY, a text)`;
const ROWS = `
  INSERT INTO things SELECT i, 'a ' || i, 'b ' || i, decode(md5(i::text), 'hex'), ARRAY['x', NULL, ''], '{"k": 1}', i + 0.0, i / 7.0, B'1010', ROW('q', '{1}')::pair FROM generate_series(1, 3000) AS i;
  INSERT INTO bag SELECT 'a' || i, NULL FROM generate_series(1, 40) AS i, generate_series(1, 2);
  INSERT INTO same SELECT i, repeat(E'quotes " \\\\ ( , ) \\t\\n é', i % 5) FROM generate_series(1, 500) AS i`;
/** What is done to row n of the replica, and the columns in which it then differs. */
const CHANGES: readonly (readonly [set: string, columns: readonly string[]])[] = [
  [`a = b, b = a`, ['a', 'b']],
  [`a = NULL`, ['a']],
  [`a = ''`, ['a']],
  [`a = a || ' '`, ['a']],
  [`a = 'a "8'`, ['a']],
  [`a = a || ',' || b, b = NULL`, ['a', 'b']],
  [`a = E'a \\\\'`, ['a']],
  [`raw = set_bit(raw, 77, 1 - get_bit(raw, 77))`, ['raw']],
  [`raw = ''`, ['raw']],
  [`list = ARRAY['x', 'NULL', '']`, ['list']],
  [`doc = '{"k": 1.0}'`, ['doc']],
  [`num = num::numeric(20, 3)`, ['num']],
  [`f = f + 1e-15`, ['f']],
  [`bits = B'10100'`, ['bits']],
  [`p = ROW('q', '{1,2}')::public.pair`, ['p']],
  [`p = ROW(NULL, '{1}')::public.pair`, ['p']],
];

/** What differs: by row, its kind and its columns. */
function told(report: VerifyReport, table: string): string[] {
  return comparison(report, table, 'log-sink').first.map(({ kind, key, columns, counts }) => `${key} ${kind} ${columns.map(({ column }) => column).join()} ${counts.expected}/${counts.found}`).toSorted();
}

it('the same rows are found to differ whether the servers sum by themselves or their rows are read', { timeout: 120_000 }, async () => {
  await server.query(`${TABLES}; ${ROWS}`, [], 'source');
  await using running = await startTestHub(testConfig(`${directory.path}/hub`, testSource(server.url('source'), { options: { slot: 'ways' } }), [testSink('replica', 'postgres', server.url('replica'))]));
  await running.hub.untilCaughtUp(AbortSignal.timeout(40_000));
  expect((await verify(running.hub)).outcome).toBe('equal');
  const changes = CHANGES.map(([set], index) => `UPDATE things SET ${set} WHERE id = ${index + 1}`).join('; ');
  await server.query(`${changes}; DELETE FROM things WHERE id = 1000; INSERT INTO things (id, a) VALUES (9000, 'added');
    INSERT INTO bag VALUES ('a1', NULL), ('a2', ''); DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag WHERE a = 'a3')`, [], 'replica');
  const expected = [...CHANGES.map(([, columns], index) => `id=${index + 1} changed ${columns.join()} 1/1`), 'id=1000 missing  1/0', 'id=9000 extra  0/1'].toSorted();
  const bag = [`a=a1, b=NULL count  2/3`, `a=a2, b= extra  0/1`, `a=a3, b=NULL count  2/1`];
  const bySums = await verify(running.hub);
  const byRows = await verify(running.hub, { rate: { rowsPerSecond: 1e9 } });
  for (const [report, buckets] of [[bySums, [1, 4096]], [byRows, [256, 256]]] as const) {
    expect(told(report, 'public.things')).toEqual(expected);
    expect(told(report, 'public.bag')).toEqual(bag);
    expect(told(report, 'public.same')).toEqual([]);
    for (const { comparisons } of report.tables) for (const one of comparisons) expect([one.skipped, one.buckets]).toEqual([null, buckets[one.differences === 0 ? 0 : 1]]);
    for (const table of ['things', 'bag', 'same']) expect(comparison(report, `public.${table}`, 'source-log').differences).toBe(0);
  }
  await verify(running.hub, { repair: true });
  expect((await verify(running.hub)).outcome).toBe('equal');
});
