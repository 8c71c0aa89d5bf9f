import { expect, test } from 'vitest';
import type { MysqlFlavor, MysqlSettings, MysqlVersion } from '../fixtures/mysql.ts';
import type { MysqlSession } from '../fixtures/mysql-session.ts';
import { MysqlStand } from '../fixtures/mysql-stand.ts';

const MB = 1e6;
const MAX_RSS_MB = 400;
/** Of `body`, `extra` and `raw` together, about. */
const ROW_BYTES = 3_800;
const LIMIT_MS = 40 * 60_000;
const COLUMNS = [{ name: 'id' }, { name: 'n' }, { name: 'body' }, { name: 'extra' }, { name: 'raw', isBytes: true }];
const SETTINGS: Readonly<Record<MysqlFlavor, MysqlSettings>> = {
  mysql: { innodb_buffer_pool_size: '512M', innodb_redo_log_capacity: '4G' },
  mariadb: { innodb_buffer_pool_size: '512M', innodb_log_file_size: '2G' },
};
/** MariaDB makes the file of so large a transaction (binlog_large_commit_threshold, 128 MB) a binlog as it is. */
const SIZES: readonly (readonly [MysqlVersion, number])[] = [['mysql-9', Number(process.env['TIDEMARK_HUGE_MB'] ?? 2_000)], ['mariadb-11.8', 300]];

const TABLES = `
  CREATE TABLE big (id bigint PRIMARY KEY, n int NOT NULL, body text, extra text, raw blob);
  CREATE TABLE other (id bigint PRIMARY KEY, v varchar(20))`;

/** Values that no compression makes smaller: about 1,384 + 1,384 + 1,024 bytes. */
const RANDOM_TEXT = 'TO_BASE64(RANDOM_BYTES(1024))';
const ROWS_PER_STATEMENT = 50_000;

/** A query of the numbers 1 to `last` as `seq`. */
function numbers(flavor: MysqlFlavor, last: number): string {
  if (flavor === 'mariadb') return `SELECT seq FROM seq_1_to_${last}`;
  return `WITH RECURSIVE s (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < ${last}) SELECT seq FROM s`;
}

/** One transaction: rows, then updates that leave the large values as they are, then some that change one of them, then deletes. */
async function commitHuge(session: MysqlSession, flavor: MysqlFlavor, rows: number): Promise<void> {
  await session.query('START TRANSACTION');
  for (let from = 0; from < rows; from += ROWS_PER_STATEMENT) {
    const some = Math.min(ROWS_PER_STATEMENT, rows - from);
    await session.query(`INSERT INTO big SELECT ${from} + seq, 0, ${RANDOM_TEXT}, ${RANDOM_TEXT}, RANDOM_BYTES(1024) FROM (${numbers(flavor, some)}) AS numbers`);
  }
  await session.query('UPDATE big SET n = n + 1 WHERE id % 11 = 0');
  await session.query(`UPDATE big SET extra = ${RANDOM_TEXT} WHERE id % 97 = 0`);
  await session.query('UPDATE big SET id = -id WHERE id % 1009 = 0');
  await session.query('DELETE FROM big WHERE id % 1013 = 0');
  await session.query("UPDATE other SET v = CONCAT(v, '!')");
  await session.query('COMMIT');
}

test.each(SIZES)('a transaction of %s of %i MB is streamed to a replica of its kind and a Postgres one in bounded memory, also when the hub is killed in the middle of it', async (version, megabytes) => {
  const bytes = megabytes * MB;
  const rows = Math.ceil(bytes / ROW_BYTES);
  const flavor = version.startsWith('mysql') ? 'mysql' : 'mariadb';
  await using stand = await MysqlStand.open({ purpose: 'mysql-huge', version, settings: SETTINGS[flavor] });
  await using session = await stand.source.connect('shop');
  if (flavor === 'mysql') await session.query(`SET SESSION cte_max_recursion_depth = ${ROWS_PER_STATEMENT + 1}`);
  await session.query(`${TABLES}; INSERT INTO other SELECT seq, CONCAT('v', seq) FROM (${numbers(flavor, 1_000)}) AS numbers`);
  await stand.start();
  await stand.caughtUp({ tables: 2 });
  const idleMb = await stand.peakMb();

  const made = performance.now();
  await commitHuge(session, flavor, rows);
  const madeSeconds = (performance.now() - made) / 1000;

  const began = performance.now();
  const say = async (what: string): Promise<void> => console.log(`${version}, ${megabytes} MB: ${what} after ${((performance.now() - began) / 1000).toFixed(0)} s, peak ${(await stand.peakMb()).toFixed(0)} MB`);
  await stand.hub.until('half of it is in the log', ({ sources }) => (sources[0]?.logBytes ?? 0) > bytes / 2, LIMIT_MS);
  await say('killed in the middle of capturing');
  await stand.hub.kill();
  await stand.start();
  const { highWatermark } = await stand.hub.source('shop');
  await stand.hub.until('all of it is in the log', ({ sources }) => (sources[0]?.highWatermark ?? 0) >= highWatermark + rows, LIMIT_MS);
  await say('in the log');
  await applying(stand, rows / 20);
  await say('killed while the replicas applied');
  await stand.hub.kill();
  await stand.start();
  await stand.caughtUp({ limitMs: LIMIT_MS, tables: 2 });
  await say(`both replicas have it (the source needed ${madeSeconds.toFixed(0)} s, the peak was ${idleMb.toFixed(0)} MB before)`);

  const { source, mirror, replica } = await stand.sums('big', COLUMNS);
  expect({ mirror, replica }).toEqual({ mirror: source, replica: source });
  expect(Number(source.split(' ')[0])).toBeGreaterThan(rows - rows / 500);
  const other = await stand.sums('other', [{ name: 'id' }, { name: 'v' }]);
  expect([other.mirror, other.replica]).toEqual([other.source, other.source]);
  expect(await stand.peakMb()).toBeLessThan(MAX_RSS_MB);
});

/** Until the session of the MySQL or MariaDB replica has written so many rows of the transaction, which nobody sees yet. */
async function applying(stand: MysqlStand, rows: number): Promise<void> {
  await using session = await stand.mirror.connect();
  const changed = async (): Promise<number> => {
    const [row] = await session.query('SELECT COALESCE(MAX(trx_rows_modified), 0) AS changed FROM information_schema.innodb_trx');
    return Number(row?.['changed']);
  };
  await expect.poll(changed, { timeout: LIMIT_MS, interval: 100 }).toBeGreaterThan(rows);
}
