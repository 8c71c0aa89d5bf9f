import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { type MysqlServer, startMysql } from '../../fixtures/mysql.ts';
import { delivering } from '../../hub/pipeline/sink/delivering.ts';
import { replicaPlace } from './replica-place.ts';
import { StatementFaults } from './statement-faults.ts';

let server: MysqlServer;
const { signal } = new AbortController();

beforeAll(async () => {
  server = await startMysql({ version: 'mysql-9' });
});
afterAll(() => server?.[Symbol.asyncDispose]());
afterEach(() => void vi.restoreAllMocks());

// One transaction has a row that is refused, rows without a key, a change of shape, and rows behind it.
test.each(['lost before', 'lost after'] as const)('rows without a key are there once when the sink is cut off at a change of shape behind them: %s', async (fault) => {
  await using place = await replicaPlace(server);
  await using sink = place.sink({ onError: 'dead-letter', options: { schemas: { public: place.database } } });
  await using run = await delivering(sink, { onError: 'dead-letter' });
  await run.source.bag(3, ['10', '10']);
  const end = await run.source.mixed({ table: 3, rows: ['11', '12'] }, [1, 2]);
  let bagRows = 0;
  const faults = new StatementFaults((sql) => {
    if (!/^(?:INSERT|REPLACE|LOAD DATA)/.test(sql)) return false;
    if (sql.includes('`t3`')) bagRows++;
    return bagRows === 2 && sql.includes('`t1`');
  }, fault);
  run.part.start();
  await run.part.unlessFailed((stop) => run.deliver.reached(end, stop), signal);
  expect(faults.happened).toBe(true);
  const values = async (table: string) => (await place.reader.query(`SELECT value FROM ${place.database}.${table} ORDER BY value`)).map(({ value }) => value);
  expect(await values('t3')).toEqual(['10', '10', '11', '12']);
  expect(await values('t1')).toEqual(['5', '5']);
  expect(run.letters.list().map(({ table }) => table)).toEqual(['public.t2']);
});
