import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { never } from '../mysql-source.ts';
import { benchOf, copyAll } from './copying.ts';

/** Key columns, and values that are hard to put in order. */
const KEYS: readonly { readonly name: string; readonly columns: string; readonly key: string; readonly values: readonly string[]; readonly only?: 'mysql' | 'mariadb' }[] = [
  { name: 'signed', columns: 'k int NOT NULL', key: 'k', values: ['-5', '0', '7', '2147483647', '-2147483648', '10', '9'] },
  { name: 'unsigned', columns: 'k bigint unsigned NOT NULL', key: 'k', values: ['0', '1', '18446744073709551615', '9223372036854775808', '99'] },
  { name: 'zerofill', columns: 'k int(8) zerofill NOT NULL', key: 'k', values: ['0', '12', '5', '100'] },
  { name: 'decimals', columns: 'k decimal(30,10) NOT NULL', key: 'k', values: ['-1.5', '0', '1.0000000001', '12345678901234567890.0000000001', '9.5', '10'] },
  { name: 'doubles', columns: 'k double NOT NULL', key: 'k', values: ['-1.5', '0', '0.1', '1e300', '1e-300', '123456.789'] },
  { name: 'floats', columns: 'k float NOT NULL', key: 'k', values: ['-1.5', '0', '0.1', '1e30', '0.3', '16777216'] },
  { name: 'years', columns: 'k year NOT NULL', key: 'k', values: ["'0000'", "'1901'", "'2155'", "'1999'", "'2001'"] },
  { name: 'dates', columns: 'k date NOT NULL', key: 'k', values: ["'0000-00-00'", "'2026-11-21'", "'2026-00-10'", "'9999-12-31'", "'0001-01-01'"] },
  { name: 'moments', columns: 'k datetime(6) NOT NULL', key: 'k', values: ["'0000-00-00'", "'2026-11-21 10:00:00.000001'", "'2026-11-21 10:00:00'", "'2026-11-21 10:00:00.1'", "'1000-01-01'"] },
  { name: 'stamps', columns: 'k timestamp(3) NOT NULL DEFAULT 0', key: 'k', values: ["'0000-00-00'", "'2026-11-21 10:00:00.001'", "'1970-01-01 00:00:01'", "'2038-01-01'"] },
  { name: 'times', columns: 'k time(2) NOT NULL', key: 'k', values: ["'-838:59:59'", "'-00:00:01.5'", "'00:00:00'", "'838:59:58.99'", "'-01:00:00'"] },
  { name: 'bits', columns: 'k bit(64) NOT NULL', key: 'k', values: ["b'0'", "b'1'", "X'FFFFFFFFFFFFFFFF'", "X'8000000000000000'", "b'101'"] },
  { name: 'small_bits', columns: 'k bit(3) NOT NULL', key: 'k', values: ["b'0'", "b'1'", "b'111'", "b'100'"] },
  { name: 'enums', columns: "k enum('zebra','apple','mango','Éclair') CHARACTER SET utf8mb4 NOT NULL", key: 'k', values: ["'zebra'", "'apple'", "'mango'", "'Éclair'", "''"] },
  { name: 'sets', columns: "k set('z','a','m') NOT NULL", key: 'k', values: ["''", "'z'", "'a'", "'z,m'", "'z,a,m'"] },
  { name: 'insensitive', columns: 'k varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL', key: 'k', values: ["'b'", "'A'", "'Z'", "'_'", "'ä1'", "'a2'", "''", "'zz'", "'[x'"] },
  { name: 'weights', columns: 'k varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL', key: 'k', values: ["'strasse'", "'straße1'", "'Strand'", "'STRASZE'", "'ø'", "'o'", "'日本'", "'\u{1f600}'", "'-'"] },
  { name: 'modern', columns: 'k varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL', key: 'k', values: ["'ss'", "'sz'", "'S'", "'s '", "' s'", "'é'", "'f'", "'\u{1f600}'"], only: 'mysql' },
  { name: 'newest', columns: 'k varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_ai_ci NOT NULL', key: 'k', values: ["'ss1'", "'ß2'", "'S'", "'s t'", "' s'", "'é'", "'f'"], only: 'mariadb' },
  { name: 'blanks', columns: 'k char(8) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL', key: 'k', values: ["'a'", "'a\t'", "'ab'", "'ä'", "''", "'A '", "'ÿ'"].filter((v) => v !== "'A '" && v !== "'ä'") },
  { name: 'wide_chars', columns: 'k varchar(20) CHARACTER SET utf16 COLLATE utf16_general_ci NOT NULL', key: 'k', values: ["'a'", "'B'", "'日'", "''", "'\u{1f600}'"] },
  { name: 'shifted', columns: 'k varchar(20) CHARACTER SET cp932 COLLATE cp932_japanese_ci NOT NULL', key: 'k', values: ["_cp932 X'8790'", "_cp932 X'81E0'", "'a'", "_cp932 X'FA54'", "_cp932 X'EEF9'"] },
  { name: 'quotes', columns: 'k varchar(20) NOT NULL', key: 'k', values: ["'it''s'", "'a\\\\b'", "'\\0'", "'\"'", "'%'"] },
  { name: 'bytes', columns: 'k varbinary(20) NOT NULL', key: 'k', values: ["X''", "X'00'", "X'0000'", "X'FF'", "X'61'", "X'41'"] },
  { name: 'fixed_bytes', columns: 'k binary(3) NOT NULL', key: 'k', values: ["X'000000'", "X'610000'", "X'616200'", "X'FFFFFF'", "X'000001'"] },
  { name: 'uuids', columns: 'k uuid NOT NULL', key: 'k', values: ["'00000000-0000-0000-0000-000000000001'", "'f47ac10b-58cc-4372-a567-0e02b2c3d479'", "'3e11fa47-71ca-11e1-9e33-c80aa9429562'", "'0e11fa47-71ca-11ef-9e33-c80aa9429562'"], only: 'mariadb' },
  { name: 'addresses', columns: 'k inet6 NOT NULL', key: 'k', values: ["'::1'", "'fe80::1'", "'::'", "'2001:db8::ff00:42:8329'", "'::ffff:192.168.0.1'"], only: 'mariadb' },
  { name: 'old_addresses', columns: 'k inet4 NOT NULL', key: 'k', values: ["'0.0.0.0'", "'10.0.0.9'", "'9.0.0.10'", "'255.255.255.255'"], only: 'mariadb' },
  { name: 'mixed', columns: "a enum('y','x') NOT NULL, b bigint unsigned NOT NULL, c varchar(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL", key: 'a, b, c',
    values: ["'y', 1, 'a'", "'x', 1, 'B'", "'x', 1, 'a'", "'y', 18446744073709551615, 'c'", "'y', 1, 'C'", "'x', 0, 'zz'", "'y', 0, ''"] },
  { name: 'descending', columns: 'a int NOT NULL, b varchar(5) NOT NULL', key: 'a DESC, b ASC', values: ["1, 'b'", "1, 'a'", "2, 'a'", "-1, 'z'", "10, 'q'"] },
  { name: 'partitioned', columns: 'a int NOT NULL, b int NOT NULL', key: 'a, b', values: ['1, 1', '1, 2', '2, 1', '30, 5', '17, 3', '-4, 9', '16, 4'] },
];

/** Every type that a key can have: pieces of one row each. */
export function keyOrderTests(versions: readonly MysqlVersion[]): void {
  describe.each(versions)('keys of %s', (version) => {
    let server: MysqlServer;
    beforeAll(async () => {
      server = await startMysql({ version, databases: ['shop'] });
    });
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]();
    });

    it('come in pieces of any size without a gap or a repetition, and are found one by one', async () => {
      await using bench = await benchOf(server, { spoolBytes: 1 });
      const { session, copier } = bench;
      await session.query(`SET sql_mode = '', NAMES utf8mb4`);
      for (const { name: type, columns, key, values, only } of KEYS) {
        const name = `k_${type}`;
        if (only !== undefined && only !== server.flavor) continue;
        const partitions = type === 'partitioned' ? ' PARTITION BY HASH (a) PARTITIONS 3' : '';
        await session.query(`CREATE TABLE ${name} (${columns}, v varchar(20), PRIMARY KEY (${key})) ENGINE=InnoDB${partitions}`);
        for (const [index, value] of values.entries()) await session.query(`INSERT INTO ${name} VALUES (${value}, 'row ${index}')`);
        const schema = await bench.follow(name);
        // A spool of a byte takes one row.
        const { rows, done } = await copyAll(copier, await copier.plan(schema, null, never), never);
        expect.soft(rows.map(({ cells }) => cells.at(-1) ?? '').toSorted(), name).toEqual(values.map((_, index) => `row ${index}`).toSorted());
        expect.soft(done.length, name).toBeGreaterThanOrEqual(values.length);
        if (type === 'shifted') continue;
        await using found = await copier.rows(schema, rows.map((row) => Buffer.from(row.key, 'hex')), never);
        expect.soft(found.rowCount, name).toBe(values.length);
      }
    });
  });
}
