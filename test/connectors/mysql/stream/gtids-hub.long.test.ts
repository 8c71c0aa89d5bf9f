/** Odd GTIDs, and what has gone from a binlog, through a hub that is killed on the way. */
import { expect, test } from 'vitest';
import type { HubStatus } from '../../../../hub/service.ts';
import { MysqlStand } from '../../../fixtures/mysql-stand.ts';
import { purgeTo, RESET, writeAhead } from './gtid-suite.ts';

const LIMIT_MS = 180_000;
const COLUMNS = [{ name: 'id' }, { name: 'v' }];

test.each(['mysql-9', 'mariadb-11.8'] as const)('%s: tagged or of another domain, with gaps, purged, reset', { timeout: 1_200_000 }, async (version) => {
  await using stand = await MysqlStand.open({ purpose: 'odd-gtids', version });
  const { source } = stand;
  const write = (id: number): Promise<unknown> => source.query(`INSERT INTO t VALUES (${id}, 'v${id}'); UPDATE t SET v = CONCAT(v, '+') WHERE id = 1`, 'shop');
  const writeOdd = (id: number, name: string, domain: number): Promise<unknown> => {
    const statement = `INSERT INTO t VALUES (${id}, '${name}')`;
    return source.query(source.flavor === 'mysql' ? `SET SESSION gtid_next = 'AUTOMATIC:${name}'; ${statement}; SET SESSION gtid_next = 'AUTOMATIC'` : `SET SESSION gtid_domain_id = ${domain}; ${statement}`, 'shop');
  };
  const arrives = async (rows: number): Promise<void> => {
    await expect.poll(async () => {
      const sums = await stand.sums('t', COLUMNS);
      return new Set(Object.values(sums)).size === 1 ? sums.source : sums;
    }, { timeout: LIMIT_MS, interval: 500 }).toMatch(new RegExp(`^${rows} rows`));
  };
  const linesWith = async (text: string): Promise<number> => (await stand.hub.output()).split(text).length - 1;
  const fails = async (code: string): Promise<void> => {
    await stand.hub.until(code, ({ sources: [one] }: HubStatus) => one?.state === 'failed' && one.error?.code === code, LIMIT_MS);
    await stand.hub.api.resync('shop', AbortSignal.timeout(LIMIT_MS));
  };

  await source.query("CREATE TABLE t (id int PRIMARY KEY, v varchar(40)); INSERT INTO t VALUES (1, 'first')", 'shop');
  await writeOdd(2, 'before', 3);
  await stand.start();
  await stand.caughtUp({ limitMs: LIMIT_MS });
  await writeOdd(3, 'orders', 7);
  await writeAhead(source, 4, 1_000);
  await write(5);
  await arrives(5);
  await stand.hub.kill();
  await writeOdd(6, 'billing', 8);
  await write(7);
  await stand.start();
  await writeOdd(8, 'orders', 7);
  await stand.caughtUp({ limitMs: LIMIT_MS });
  await arrives(8);
  await stand.verified('mirror', LIMIT_MS);
  expect([await linesWith('copy.finished'), await linesWith('source.failed')]).toEqual([1, 0]);

  await stand.hub.kill();
  await write(9);
  await source.query('FLUSH BINARY LOGS');
  await write(10);
  await purgeTo(source, (await source.query('SHOW BINARY LOGS')).at(-1)?.['Log_name'] ?? '');
  await stand.start();
  await fails('MYSQL_BINLOG_PURGED');
  await arrives(10);
  await writeOdd(11, 'orders', 7);
  await arrives(11);

  await stand.hub.kill();
  await source.query(RESET[source.flavor]);
  for (let id = 12; id < 30; id++) await write(id);
  await stand.start();
  await fails('MYSQL_DIVERGED');
  await arrives(29);
  await writeOdd(30, 'orders', 7);
  await write(31);
  await arrives(31);
  // The server knows no transaction of before the reset, and what was copied behind it is compared all the same.
  await stand.verified('mirror', LIMIT_MS);
});
