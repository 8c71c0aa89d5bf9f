import { expect, test } from 'vitest';
import { applyAlter } from '../../../../connectors/mysql/ddl/apply-alter.ts';
import { applyCreate } from '../../../../connectors/mysql/ddl/apply-create.ts';
import { readStatement } from '../../../../connectors/mysql/ddl/statement.ts';
import { startMysql } from '../../../fixtures/mysql.ts';
import { ServerSession } from './server-shape.ts';

/** Types with values at their edges. */
const TYPES: readonly (readonly [string, readonly string[]])[] = [
  ['tinyint', ['-128', '127']], ['tinyint unsigned', ['255']], ['smallint', ['-32768']], ['int', ['-2147483648', '2147483647']], ['int unsigned', ['4294967295']],
  ['int(5) unsigned zerofill', ['7']], ['bigint', ['-9223372036854775808']], ['bigint unsigned', ['18446744073709551615']],
  ['decimal(5,2)', ['-999.99', '0.10']], ['decimal(5,2) unsigned', ['999.99']], ['decimal(9,2)', ['9999999.99']], ['decimal(9,3)', ['1.125']],
  ['float', ['1.1']], ['double', ['1.1', '1e300']], ['bit(3)', ["b'101'"]], ['bit(9)', ["b'101'"]],
  ['datetime', ["'2026-11-21 12:00:00'"]], ['datetime(6)', ["'2026-11-21 12:00:00.999999'"]], ['time', ["'-838:59:59'"]], ['time(3)', ["'10:00:00.999'"]],
  ['char(5)', ["'ab é'"]], ['char(9)', ["'abc'"]], ['varchar(5)', ["'ab  '", "'\u{1f600}'"]], ['varchar(63)', ["repeat('\u{1f600}', 63)"]], ['varchar(64)', ["repeat('\u{1f600}', 64)"]],
  ['varchar(63) CHARACTER SET latin1', ["repeat('€', 63)"]], ['tinytext', ["repeat('é', 127)"]], ['text', ["repeat('é', 30000)"]], ['text CHARACTER SET latin1', ["repeat('€', 65535)"]],
  ['text CHARACTER SET utf8mb3', ["repeat('€', 21845)"]], ['mediumtext', ["repeat('é', 30000)"]], ['varchar(5) COLLATE utf8mb4_general_ci', ["'É '"]],
  ['binary(3)', ["'a'"]], ['binary(5)', ["x'00ff'"]], ['varbinary(3)', ["x'610000'"]], ['varbinary(9)', ["'a '"]], ['tinyblob', ["x'00'"]], ['blob', ["repeat('x', 65535)"]],
  ["enum('a','b')", ["'a'", "'b'"]], ["enum('b','x','a')", ["'x'", "'a'"]], ["set('a','b')", ["'a,b'", "''"]], ["set('a','x','b')", ["'x,b'"]], ["set('b','a')", ["'a,b'"]],
];

test.each(['mysql-9', 'mariadb-11.8'] as const)('%s: values are what they were where a change is said to keep them', async (version) => {
  await using server = await startMysql({ version, databases: ['shop'] });
  await using session = await ServerSession.open(server, 'shop');
  await session.setMode('STRICT_TRANS_TABLES');
  const defaults = await session.defaults();
  const differences: unknown[] = [];
  let kept = 0;
  for (const [from, values] of TYPES) {
    for (const value of values) {
      const targets = TYPES.map(([to]) => to).filter((to) => keeps(from, to));
      if (targets.length === 0) continue;
      await session.run('DROP TABLE IF EXISTS t');
      await session.run(`CREATE TABLE t (${targets.map((_, at) => `c${at} ${from}`).join(', ')}) ROW_FORMAT=DYNAMIC`);
      await session.run(`INSERT INTO t VALUES (${targets.map(() => value).join(', ')})`);
      const texts = async (): Promise<Record<string, string | null>> =>
        (await session.rows(`SELECT ${targets.map((_, at) => shown(from, `c${at}`)).join(', ')} FROM t`))[0] ?? {};
      const before = await texts();
      await session.run(`ALTER TABLE t ${targets.map((to, at) => `MODIFY c${at} ${to}`).join(', ')}`);
      const after = await texts();
      targets.forEach((to, at) => {
        kept++;
        if (before[`c${at}`] !== after[`c${at}`]) differences.push({ from, to, before: before[`c${at}`]?.slice(0, 40), after: after[`c${at}`]?.slice(0, 40) });
      });
    }
  }
  expect(differences).toEqual([]);
  expect(kept).toBeGreaterThan(100);

  function keeps(from: string, to: string): boolean {
    const created = readStatement(`CREATE TABLE t (a ${from})`, session.context);
    const altered = readStatement(`ALTER TABLE t MODIFY a ${to}`, session.context);
    if (created.kind !== 'create-table' || created.source.kind !== 'columns' || altered.kind !== 'alter-table') throw new Error(`${from} to ${to}`);
    return applyAlter(applyCreate(created.source.definition, defaults), altered, defaults).rewritten.size === 0;
  }
});

/** The value in a form that says the same of all types it may become: bytes of text in UTF-8, numbers without zeros in front. */
function shown(type: string, column: string): string {
  if (/char|text|enum|set/.test(type)) return `HEX(CONVERT(${column} USING utf8mb4)) AS ${column}`;
  if (/binary|blob/.test(type)) return `HEX(${column}) AS ${column}`;
  if (/^(?:datetime|time)/.test(type)) return `TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CONCAT(${column}, IF(LOCATE('.', ${column}), '', '.')))) AS ${column}`;
  return `CAST(${column} + 0 AS CHAR) AS ${column}`;
}
