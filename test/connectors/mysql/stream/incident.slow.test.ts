/** A server that could not write a change into its binlog says so there: it was made, and no replica of the server gets it. */
import { expect, test } from 'vitest';
import type { HubStatus } from '../../../../hub/service.ts';
import { MysqlStand } from '../../../fixtures/mysql-stand.ts';
import type { MysqlServer } from '../../../fixtures/mysql.ts';

const COLUMNS = [{ name: 'id' }, { name: 'v' }];
const LIMIT_MS = 120_000;

/** The rows up to where the statement failed stay in a table without transactions, and are in no binlog. Answers how many there are. */
async function loseRows(server: MysqlServer): Promise<number> {
  await server.query('SET GLOBAL binlog_stmt_cache_size = 4096, GLOBAL max_binlog_stmt_cache_size = 4096');
  const values = Array.from({ length: 30 }, (_, id) => `(${100 + id}, REPEAT('x', 1000))`).join(', ');
  await expect(server.query(`INSERT INTO m VALUES ${values}`, 'shop')).rejects.toThrow(/max_binlog_stmt_cache_size/);
  const [row] = await server.query('SELECT COUNT(*) AS n FROM shop.m WHERE id >= 100');
  return Number(row?.['n']);
}

const areConsistent = ({ sources: [source] }: HubStatus): boolean => source?.state === 'streaming' && source.tables.length === 2 && source.tables.every(({ state }) => state === 'consistent');

test.each(['mysql-9', 'mariadb-11.8'] as const)('%s: every table is copied again, once, with what is not in the binlog', async (version) => {
  await using stand = await MysqlStand.open({ purpose: 'incident', version });
  const { source } = stand;
  await source.query('CREATE TABLE m (id int PRIMARY KEY, v longtext) ENGINE=MyISAM; CREATE TABLE t (id int PRIMARY KEY, v text)', 'shop');
  await source.query("INSERT INTO m VALUES (1, 'a'); INSERT INTO t VALUES (1, 'a')", 'shop');
  await stand.start();
  await stand.caughtUp({ tables: 2, limitMs: LIMIT_MS });
  const startedFor = async (code: string): Promise<string[]> => (await stand.hub.output()).split('\n').filter((line) => line.includes('copy.started') && line.includes(code));

  expect(await loseRows(source)).toBeGreaterThan(0);
  await expect.poll(() => startedFor('MYSQL_INCIDENT'), { timeout: LIMIT_MS, interval: 200 }).toHaveLength(2);
  await stand.hub.until('both tables are consistent again', areConsistent, LIMIT_MS);

  // Nothing has been written since, so that a server without a GTID for it would send it once more.
  await stand.hub.kill();
  await stand.start();
  await stand.hub.until('the source streams again', areConsistent, LIMIT_MS);
  await source.query("INSERT INTO t VALUES (2, 'b'); UPDATE m SET v = 'c' WHERE id = 1", 'shop');
  await stand.caughtUp({ tables: 2, limitMs: LIMIT_MS });
  for (const table of ['m', 't']) {
    const sums = await stand.sums(table, COLUMNS);
    expect(sums).toEqual({ source: sums.source, mirror: sums.source, replica: sums.source });
  }
  await stand.verified('mirror', LIMIT_MS);
  const reasons = await startedFor('MYSQL_INCIDENT');
  expect(reasons).toHaveLength(2);
  for (const reason of reasons) expect(reason).toContain('the binlog of the server may lack changes: ');
});
