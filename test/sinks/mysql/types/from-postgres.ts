/** Edge values of Postgres at a MySQL or MariaDB replica. */
import { expect } from 'vitest';
import type { LogicalType } from '../../../../contracts/types/logical-type.ts';
import { canonicalSettingsSql } from '../../../../contracts/types/postgres-session.ts';
import { type PostgresServer, startPostgres } from '../../../fixtures/embedded-postgres.ts';
import { type MysqlVersion, startMysql } from '../../../fixtures/mysql.ts';
import { POSTGRES_VALUES } from '../../relational/postgres-values.ts';
import { type AcrossColumn, AcrossServer, type CellOf } from './replica.ts';

const BYTES: LogicalType = { kind: 'bytes' };
const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

const more = (nativeType: string, type: LogicalType, ...values: CellOf[]): AcrossColumn => ({ dialect: 'postgres', nativeType, type, values });

/** Besides what the replicas of Postgres are tried with: values that Postgres itself need not be asked for. */
const MORE: readonly AcrossColumn[] = [
  more('bytea', BYTES, Buffer.alloc(0), Buffer.from([0]), Buffer.from('\\x00\n\t\''), ALL_BYTES, Buffer.concat([ALL_BYTES, ALL_BYTES.toReversed()])),
  more('public.blob', { kind: 'domain', name: 'public.blob', base: BYTES }, '\\x', '\\x00ff'),
  more('text', { kind: 'text', length: null, fixed: false }, '\u{10ffff}', '\u0001', '\u007f', '\\', '\\0', "a'b", 'a"b', '`', 'é', 'e\u0301', '\r\n', 'x'.repeat(100_000)),
  more('character varying(20)', { kind: 'text', length: 20, fixed: false }, 'a', 'A', 'a ', 'a  ', 'ä', 'a\u0308', '🙂'.repeat(20)),
  more('character(5)', { kind: 'text', length: 5, fixed: true }, 'a    ', 'A    ', '     '),
  more('real', { kind: 'float32' }, '1e-05', '1e+20', '7.038531e-26', '-7.038531e-26', '3.4028235e+38', '-3.4028235e+38', '1.1754944e-38', '1e-45', '1.6777216e+07', '0.1', '0'),
  more('double precision', { kind: 'float64' }, '1e-05', '123456789012345', '1e+15', '1.2345678901234567e+19', '2.2250738585072014e-308', '0'),
  more('numeric(65,0)', { kind: 'decimal', precision: 65, scale: 0 }, '9'.repeat(65), `-${'9'.repeat(65)}`, '0'),
  more('numeric(65,30)', { kind: 'decimal', precision: 65, scale: 30 }, `${'9'.repeat(35)}.${'9'.repeat(30)}`, `-0.${'0'.repeat(29)}1`, `0.${'0'.repeat(30)}`),
  more('numeric(3,5)', { kind: 'decimal', precision: 3, scale: 5 }, '0.00999', '-0.00001'),
  more('numeric(66,0)', { kind: 'decimal', precision: 66, scale: 0 }, '9'.repeat(66)),
  more('date', { kind: 'date' }, '9999-12-31', '10000-01-01', '0001-01-01', '0044-03-15 BC'),
  more('timestamp(3) without time zone', { kind: 'timestamp', digits: 3 }, '2026-11-21 12:30:00.5', '2026-11-21 12:30:00.123', '2026-11-21 12:30:00', '9999-12-31 23:59:59.999'),
  more('timestamp with time zone', { kind: 'timestamptz', digits: 6 }, '1969-12-31 23:59:59.999999+00', '0001-01-01 00:00:00+00', '2038-01-19 03:14:08+00', '10000-01-01 00:00:00+00', 'infinity'),
  more('bit(64)', { kind: 'bit', length: 64, varying: false }, '1'.repeat(64), '0'.repeat(64), `${'0'.repeat(56)}01011100`, `${'0'.repeat(48)}0000100101011100`),
  more('bit(9)', { kind: 'bit', length: 9, varying: false }, '100000101', '000001010'),
  more('bit(65)', { kind: 'bit', length: 65, varying: false }, '1'.repeat(65)),
  more('shop.mood', { kind: 'enum', name: 'shop.mood', labels: ["it's", 'a,b', '', 'ü', 'back\\slash', 'A', 'a'] }, "it's", 'a,b', '', 'ü', 'back\\slash', 'A', 'a'),
  more('shop.padded', { kind: 'enum', name: 'shop.padded', labels: ['a', 'a '] }, 'a', 'a '),
  more('public.geometry', { kind: 'geometry' }, '0101000000000000000000F03F0000000000000040', '0101000020E61000000000000000000240000000000000F83F', '010700000000000000'),
  more('public.geometry', { kind: 'geometry' }, '0101000080000000000000F03F00000000000000400000000000000840', '0101000000000000000000F87F000000000000F87F', '010900000000000000'),
  more('public.vector(3)', { kind: 'vector', dimensions: 3 }, '[1,2.5,-0]', '[1e-05,1e+10,-3]'),
  more('public.vector', { kind: 'vector', dimensions: null }, '[1,2.5]'),
];

/** What no MySQL column of the value's own kind holds. */
const BEYOND = /^(NaN|-?Infinity|-?infinity|.* BC|\d{5,}-\d\d-\d\d.*|0101000080.*|010900.*)$/;

/** @throws where a value does not come back as it was, or is refused without need */
export async function checkFromPostgres(version: MysqlVersion): Promise<void> {
  await using source = await startPostgres();
  await using running = await startMysql({ version });
  await using replica = await AcrossServer.open(running);
  const columns = [...(await canonicalValues(source)), ...MORE];
  const wrong: string[] = [];
  for (const column of columns) {
    const found = await replica.bring(column);
    wrong.push(...found.wrong);
    const expected = found.column.isStandIn ? [] : column.values.filter((value) => found.column.beyond !== null && BEYOND.test(String(value)));
    expect(found.refused, column.nativeType).toEqual(expected);
    if (found.column.beyond === null) continue;
    const asText = await replica.bring(column, 'text');
    wrong.push(...asText.wrong);
    expect(asText.refused, `${column.nativeType} as text`).toEqual([]);
  }
  expect(wrong).toEqual([]);
}

async function canonicalValues(source: PostgresServer): Promise<AcrossColumn[]> {
  const database = 'canonical';
  await source.query(`CREATE DATABASE ${database}`);
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: source.url(database) });
  await client.connect();
  try {
    for (const sql of ['CREATE EXTENSION hstore', 'CREATE EXTENSION citext', 'CREATE EXTENSION ltree', canonicalSettingsSql()]) await client.query(sql);
    const columns: AcrossColumn[] = [];
    for (const [nativeType, type, values] of POSTGRES_VALUES) {
      const { rows } = await client.query<{ text: string }>(`SELECT v::${nativeType}::text AS text FROM unnest($1::text[]) AS v`, [values]);
      columns.push({ dialect: 'postgres', nativeType, type, values: rows.map(({ text }) => (nativeType === 'boolean' ? text.slice(0, 1) : text)) });
    }
    return columns;
  } finally {
    await client.end();
  }
}
