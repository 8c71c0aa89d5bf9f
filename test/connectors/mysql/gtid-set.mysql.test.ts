import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GtidSet } from '../../../connectors/mysql/gtid-set.ts';
import { MariadbGtids } from '../../../connectors/mysql/mariadb-gtid.ts';
import { startMysql, type MysqlServer, type MysqlSession } from '../../fixtures/mysql.ts';

const UUIDS = ['3e11fa47-71ca-11e1-9e33-c80aa9429562', 'a14ba678-e605-11f1-93ea-02fc00000001', 'ffffffff-e605-11f1-93ea-02fc00000001'] as const;

/** Sets as people write them: in any order, with blanks, repeated and empty intervals. */
function written(tags: readonly string[]): fc.Arbitrary<string> {
  const interval = fc.tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: -2, max: 12 })).map(([first, more]) => (more === 0 ? `${first}` : `${first}-${Math.max(1, first + more)}`));
  const numbers = fc.array(interval, { minLength: 1, maxLength: 4 }).map((some) => some.join(' : '));
  const tagged = tags.length === 0 ? fc.constant([]) : fc.array(fc.tuple(fc.constantFrom(...tags), numbers).map(([tag, of]) => `${tag}:${of}`), { maxLength: 2 });
  const source = fc.tuple(fc.constantFrom(...UUIDS), numbers, tagged).map(([uuid, of, more]) => [uuid.toUpperCase(), of, ...more].join(':'));
  return fc.array(source, { maxLength: 4 }).map((some) => some.join(' ,\n'));
}

describe.each([['mysql-8.0.15', []], ['mysql-9', ['nightly', 'Load_2', '_x']]] as const)('%s', (version, tags) => {
  let server: MysqlServer;
  let session: MysqlSession;

  beforeAll(async () => {
    server = await startMysql({ version, databases: ['shop'] });
    session = await server.connect('shop');
  });
  afterAll(async () => {
    await session[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  test('reads, prints, subtracts and compares sets as the server does', async () => {
    await fc.assert(fc.asyncProperty(written(tags), written(tags), async (one, two) => {
      const [row] = await session.query(
        `SELECT GTID_SUBTRACT(?, '') AS printed, GTID_SUBTRACT(?, ?) AS rest, GTID_SUBSET(?, ?) AS is_subset, GTID_SUBSET(GTID_SUBTRACT(?, ?), ?) AS rest_is_subset`,
        [one, one, two, one, two, one, two, one],
      );
      const [a, b] = [GtidSet.parse(one), GtidSet.parse(two)];
      expect(a.format()).toBe(row?.['printed']);
      expect(a.subtract(b).format()).toBe(row?.['rest']);
      expect(a.isSubsetOf(b)).toBe(row?.['is_subset'] === '1');
      expect(a.subtract(b).isSubsetOf(a)).toBe(row?.['rest_is_subset'] === '1');
      const [union] = await session.query(`SELECT GTID_SUBTRACT(?, '') AS printed`, [`${one},${two}`]);
      expect(a.union(b).format()).toBe(union?.['printed']);
    }), { numRuns: 150 });
  });

  test('follows what the server executes, one by one, gaps and tags among it', async () => {
    const [before] = await session.query('SELECT @@GLOBAL.gtid_executed AS executed, @@server_uuid AS uuid');
    const set = GtidSet.parse(before?.['executed'] ?? '');
    const given = ['', '', ...tags].flatMap((tag, index) => [7 + index, 3, 5].map((number) => ({ source: tag === '' ? UUIDS[index] ?? UUIDS[0] : `${UUIDS[0]}:${tag.toLowerCase()}`, number })));
    for (const { source, number } of given) {
      await session.query(`SET gtid_next = '${source}:${number}'; CREATE DATABASE IF NOT EXISTS shop; SET gtid_next = AUTOMATIC`);
      set.add(source, number);
    }
    await session.query('CREATE TABLE t (id INT PRIMARY KEY)');
    set.add(before?.['uuid'] ?? '', set.next(before?.['uuid'] ?? ''));
    const [after] = await session.query('SELECT @@GLOBAL.gtid_executed AS executed');
    expect(set.format()).toBe(after?.['executed']);
  });
});

test.each(['mariadb-10.11', 'mariadb-11.8'] as const)('%s: reads and prints the last GTID of each domain as the server does', async (version) => {
  await using server = await startMysql({ version, databases: ['shop'] });
  await using session = await server.connect('shop');
  await session.query('CREATE TABLE t (id INT)');
  const seen: MariadbGtids[] = [];
  for (const domain of [0, 3, 1, 3, 0, 4294967295]) {
    const [row] = await session.query(`SET gtid_domain_id = ${domain}; INSERT INTO t VALUES (1); SELECT @@GLOBAL.gtid_binlog_pos AS gtids, @@last_gtid AS last`);
    const gtids = MariadbGtids.parse(row?.['gtids'] ?? '');
    expect(gtids.toString()).toBe(row?.['gtids']);
    expect(gtids.get(domain)).toEqual(MariadbGtids.parse(row?.['last'] ?? '').get(domain));
    for (const earlier of seen) expect([earlier.orderTo(gtids), gtids.orderTo(earlier)]).toEqual(['before', 'after']);
    seen.push(gtids);
  }
});
