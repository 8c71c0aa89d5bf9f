import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { selectKeys, selectPlace, selectRange } from '../../../../connectors/mysql/copy/copy-sql.ts';
import { boundsOf } from '../../../../connectors/mysql/copy/key-bounds.ts';
import { tiled } from '../../../../connectors/mysql/copy/key-ranges.ts';
import { readTable } from '../../../../connectors/mysql/copy/read-table.ts';
import { RowSession } from '../../../../connectors/mysql/copy/row-session.ts';
import { buildKey } from '../../../../contracts/key.ts';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { never } from '../mysql-source.ts';
import { benchOf, type CopyBench } from './copying.ts';

const ROWS = 20_000;
const LIMIT = 500;
const bytes = (text: string): Buffer => Buffer.from(text);

describe.each<MysqlVersion>(['mysql-9', 'mariadb-11.8'])('statements of a copy at %s', (version) => {
  let server: MysqlServer;
  let bench: CopyBench;
  let session: RowSession;

  beforeAll(async () => {
    server = await startMysql({ version, databases: ['shop'] });
    bench = await benchOf(server);
    await bench.session.query('SET SESSION cte_max_recursion_depth = 100000').catch(() => bench.session.query('SET SESSION max_recursive_iterations = 100000'));
    await bench.session.query(`CREATE TABLE n (seq int PRIMARY KEY); INSERT INTO n SELECT seq FROM (WITH RECURSIVE s AS (SELECT 1 AS seq UNION ALL SELECT seq + 1 FROM s WHERE seq < ${ROWS}) SELECT seq FROM s) AS x`);
    session = new RowSession(await bench.deps.open(never));
  });
  afterAll(async () => {
    await session?.[Symbol.asyncDispose]();
    await bench?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  /** Rows and index entries that the server has looked at for a statement. */
  async function readsOf(statement: string): Promise<number> {
    await session.query('FLUSH STATUS');
    await session.rows(statement, () => true).ended;
    const rows = await session.query(`SHOW SESSION STATUS WHERE Variable_name REGEXP '^(Handler_read|Sort_rows|Sort_merge)'`);
    return rows.reduce((sum, row) => sum + Number(row['Value']), 0);
  }

  const TABLES = [
    { what: 'a number', columns: 'k int NOT NULL, v int', key: 'k', values: 'seq, 0', after: [bytes('9000')], to: [bytes('15000')], found: ['77'] },
    { what: 'a text', columns: 'k varchar(40) COLLATE utf8mb4_general_ci NOT NULL, v int', key: 'k', values: `CONCAT('Key ', seq), 0`, after: [bytes('key 5')], to: null, found: ['Key 77'] },
    { what: 'a text of another charset', columns: 'k varchar(40) CHARACTER SET latin1 NOT NULL, v int', key: 'k', values: `CONCAT('Key ', seq), 0`, after: [bytes('key 5')], to: [bytes('Key 7')], found: ['Key 77'] },
    { what: 'an enum', columns: `a enum('z','y','x') NOT NULL, b int NOT NULL`, key: 'a, b', values: '1 + seq % 3, seq', after: [bytes('2'), bytes('9000')], to: null, found: ['z', '77'] },
    { what: 'three columns', columns: 'a int NOT NULL, b varchar(20) NOT NULL, c datetime(3) NOT NULL', key: 'a, b, c', values: `seq % 7, CONCAT('b', seq % 11), '2026-11-21' + INTERVAL seq SECOND`, after: [bytes('3'), bytes('b5'), bytes('2026-11-21 01:00:00.000')], to: [bytes('6')], found: ['3', 'b5', '2026-11-21 00:10:00'] },
    { what: 'columns down and up', columns: 'a int NOT NULL, b int NOT NULL', key: 'a DESC, b', values: 'seq % 100, seq', after: [bytes('50'), bytes('9000')], to: null, found: ['5', '105'] },
    { what: 'partitions', columns: 'k bigint NOT NULL, v int', key: 'k', values: 'seq, 0', after: [bytes('9000')], to: null, found: ['77'], more: 'PARTITION BY RANGE (k) (PARTITION p0 VALUES LESS THAN (7000), PARTITION p1 VALUES LESS THAN (14000), PARTITION p2 VALUES LESS THAN MAXVALUE)' },
  ] as const;

  it.each(TABLES)('look at what they read only: $what', async ({ columns, key, values, after, to, found, ...table }) => {
    await bench.session.query(`DROP TABLE IF EXISTS t; CREATE TABLE t (${columns}, PRIMARY KEY (${key})) ${'more' in table ? table.more : ''}; INSERT INTO t SELECT ${values} FROM n; ANALYZE TABLE t`);
    const schema = await bench.follow('t');
    const read = await readTable(bench.deps, session, schema);
    if (read === null) throw new Error('there is no such table');
    const partitions = 'more' in table ? 3 * LIMIT : 0;
    for (const range of [{ after: null, to: null }, { after, to: null }, { after, to }, { after: null, to }]) {
      expect(await readsOf(selectRange(read, range, LIMIT)), JSON.stringify(range)).toBeLessThanOrEqual(LIMIT + partitions + 20);
    }
    for (const which of key === 'a DESC, b' ? (['first'] as const) : (['first', 'last'] as const)) {
      for (const range of [{ after: null, to: null }, { after, to }]) expect(await readsOf(selectPlace(read, range, which)), which).toBeLessThanOrEqual(20);
    }
    const keys = [buildKey([...found]), buildKey(found.map((value) => value.replace('77', '78')))];
    expect(await readsOf(selectKeys(read, keys))).toBeLessThanOrEqual(20);
  });

  it('take a unique index where there is no primary key', async () => {
    await bench.session.query('DROP TABLE IF EXISTS t; CREATE TABLE t (v int, k int NOT NULL, UNIQUE KEY identity (k)); INSERT INTO t SELECT 0, seq FROM n; ANALYZE TABLE t');
    const schema = await bench.follow('t');
    const read = await readTable(bench.deps, session, schema);
    if (read === null) throw new Error('there is no such table');
    expect(read.index).toBe('identity');
    expect(await readsOf(selectRange(read, { after: [bytes('100')], to: null }, LIMIT))).toBeLessThanOrEqual(LIMIT + 20);
  });

  const KEYS = [
    { what: 'numbers', columns: 'k bigint NOT NULL', key: 'k', values: 'seq' },
    { what: 'numbers in two crowds', columns: 'k bigint NOT NULL', key: 'k', values: 'IF(seq <= 19990, seq, seq * 100000000000)' },
    { what: 'numbers that go down', columns: 'k int NOT NULL', key: 'k DESC', values: 'seq' },
    { what: 'texts with much in common', columns: 'k varchar(40) NOT NULL', key: 'k', values: `CONCAT('user-', LPAD(seq, 8, '0'))` },
    { what: 'texts, some far away', columns: 'k varchar(40) COLLATE utf8mb4_bin NOT NULL', key: 'k', values: `CONCAT(IF(seq < 10, 'a', IF(seq > 19990, 'zz', 'User')), LEFT(SHA2(seq, 224), 30))` },
    { what: 'hashes', columns: 'k binary(16) NOT NULL', key: 'k', values: 'LEFT(UNHEX(SHA2(seq, 224)), 16)' },
    { what: 'amounts', columns: 'k decimal(12,2) NOT NULL', key: 'k', values: '(seq - 5000) / 4' },
    { what: 'times', columns: 'k datetime(3) NOT NULL', key: 'k', values: `'2026-01-01' + INTERVAL seq SECOND` },
    { what: 'one tenant with nearly all', columns: 'a int NOT NULL, b varchar(40) NOT NULL', key: 'a, b', values: `IF(seq <= 19900, 2, seq % 7), CONCAT('n', seq)`, most: 0.7 },
  ] as const;

  it.each(KEYS)('divide a table into ranges of about as many rows: $what', async ({ columns, key, values, ...table }) => {
    await bench.session.query(`DROP TABLE IF EXISTS t; CREATE TABLE t (${columns}, v int, PRIMARY KEY (${key})); INSERT INTO t SELECT ${values}, 0 FROM n; ANALYZE TABLE t`);
    const schema = await bench.follow('t');
    const read = await readTable(bench.deps, session, schema);
    if (read === null) throw new Error('there is no such table');
    const bounds = await boundsOf(session, read, 8);
    const sizes: number[] = [];
    for (const range of tiled(bounds)) {
      let rows = 0;
      await session.rows(selectRange(read, range, ROWS), () => (rows++, true)).ended;
      sizes.push(rows);
    }
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(ROWS);
    expect(sizes.length).toBeGreaterThanOrEqual(6);
    // Of a key that begins with one value nearly everywhere the servers' estimates are far off, which leaves a large range undivided.
    expect(Math.max(...sizes), sizes.join()).toBeLessThan(ROWS * ('most' in table ? table.most : 1 / 3));
    expect(sizes.filter((size) => size > ROWS / 20).length, sizes.join()).toBeGreaterThanOrEqual(3);
  });

  it('are not divided where nothing tells what is between two keys, or the index goes both ways', async () => {
    await bench.session.query('DROP TABLE IF EXISTS t; CREATE TABLE t (a int NOT NULL, b int NOT NULL, PRIMARY KEY (a DESC, b)); INSERT INTO t SELECT seq % 100, seq FROM n; ANALYZE TABLE t');
    const both = await readTable(bench.deps, session, await bench.follow('t'));
    expect(both === null ? null : await boundsOf(session, both, 8)).toEqual([]);
    await bench.session.query(`DROP TABLE IF EXISTS t; CREATE TABLE t (k double NOT NULL PRIMARY KEY, v int); INSERT INTO t SELECT seq / 7, 0 FROM n; ANALYZE TABLE t`);
    const read = await readTable(bench.deps, session, await bench.follow('t'));
    expect(read === null ? null : await boundsOf(session, read, 8)).toEqual([]);
    await bench.session.query('DELETE FROM t');
    expect(read === null ? null : await boundsOf(session, read, 8)).toEqual([]);
  });
});
