import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RowWidth } from '../../../connectors/postgres/row-width.ts';
import { readTypes } from '../../../connectors/postgres/catalog-query.ts';
import { Endpoint } from '../../../connectors/postgres/session.ts';
import { NEVER } from '../../../contracts/kit/connector-kit-common.ts';
import { recordsOf, type ReferenceRecord } from '../../../contracts/kit/reference-log.ts';
import { Flag, Op } from '../../../contracts/op.ts';
import { buildImage } from '../../../contracts/row-image.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { Captured } from './captured.ts';
import { TestSource } from './source-fixture.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const SETUP = `
  CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION citext;
  CREATE TYPE mood AS ENUM ('sad', 'o,k', 'qu"ote', ''); CREATE DOMAIN positive AS numeric(6,2) CHECK (value > 0); CREATE DOMAIN blob AS bytea;
  CREATE DOMAIN twice AS positive; CREATE TYPE pair AS (a int, b text); CREATE TYPE nested AS (p pair, list int[], m mood);
  CREATE TYPE float_range AS RANGE (subtype = float8); CREATE DOMAIN pairs AS pair[];`;

/** Type, what it is in the log, and values as SQL; null is added to each. */
const TYPES: readonly [string, object, readonly string[]][] = [
  ['boolean', { kind: 'bool' }, ['true', 'false']],
  ['smallint', { kind: 'int16' }, ['-32768', '32767', '0']],
  ['integer', { kind: 'int32' }, ['-2147483648', '2147483647']],
  ['bigint', { kind: 'int64' }, ['-9223372036854775808', '9223372036854775807', '9007199254740993']],
  ['numeric', { kind: 'decimal', precision: null, scale: null }, ["'NaN'", "'Infinity'", "'-Infinity'", '0.000000000000000000000000000001', '1e100', '-1.10', '0.0', '123456789012345678901234567890.123456789']],
  ['numeric(10,2)', { kind: 'decimal', precision: 10, scale: 2 }, ['1', '-99999999.99', "'NaN'"]],
  ['numeric(3,-2)', { kind: 'decimal', precision: 3, scale: -2 }, ['12345']],
  ['real', { kind: 'float32' }, ["'NaN'", "'-Infinity'", '1.17549435e-38', '3.4028235e38', '0.1', "'-0'"]],
  ['double precision', { kind: 'float64' }, ["'NaN'", "'Infinity'", '5e-324', '1.7976931348623157e308', '0.1', '0.30000000000000004', "'-0'"]],
  ['text', { kind: 'text', length: null, fixed: false }, ["''", "E'tab\\t nl\\n cr\\r bs\\\\ quote\\' \"'", "'ünïcødé 🐘'", "'NULL'", "E'\\u0001'", "repeat('x', 100000)"]],
  ['varchar(5)', { kind: 'text', length: 5, fixed: false }, ["'abc'", "'ab   '"]],
  ['char(5)', { kind: 'text', length: 5, fixed: true }, ["'abc'", "''"]],
  ['"char"', { kind: 'text', length: 1, fixed: false }, ["'a'", "''"]],
  ['name', { kind: 'text', length: null, fixed: false }, ["'a name'"]],
  ['citext', { kind: 'text', length: null, fixed: false }, ["'MiXed'"]],
  ['bytea', { kind: 'bytes' }, ["''", "'\\x00'", "decode('00ff5c0a0d', 'hex')", "decode(repeat('ab', 50000), 'hex')"]],
  ['blob', { kind: 'domain', name: 'public.blob', base: { kind: 'bytes' } }, ["'\\x0102'"]],
  ['bit(3)', { kind: 'bit', length: 3, varying: false }, ["B'101'"]],
  ['bit varying', { kind: 'bit', length: null, varying: true }, ["B''", "B'1'", "B'101010101'"]],
  ['uuid', { kind: 'uuid' }, ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]],
  ['date', { kind: 'date' }, ["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'", "'2026-02-28'"]],
  ['time', { kind: 'time', digits: 6 }, ["'00:00'", "'24:00'", "'12:30:00.000001'"]],
  ['time(2)', { kind: 'time', digits: 2 }, ["'12:30:00.129'"]],
  ['timetz', { kind: 'timetz', digits: 6 }, ["'12:30:00.5+05:30'", "'00:00-15:59:59'"]],
  ['timestamp', { kind: 'timestamp', digits: 6 }, ["'infinity'", "'0044-03-15 12:00 BC'", "'294276-12-31 23:59:59.999999'", "'2026-01-01 00:00:00.1'"]],
  ['timestamptz(3)', { kind: 'timestamptz', digits: 3 }, ["'-infinity'", "'2026-07-01 12:00:00.1239+02'", "'0001-01-01 00:00 BC'"]],
  ['interval', { kind: 'interval', digits: 6 }, ["'1 year -2 months 3 days -04:05:06.000007'", "'0'", "'-178000000 years'", "'infinity'"]],
  ['json', { kind: 'json' }, [`'{"a" :  1.0, "a":2, "big":123456789012345678901234567890}'`, "'null'", "' [ ] '"]],
  ['jsonb', { kind: 'json' }, [`'{"b":1.10, "a":[1e3, "\\u00e9"]}'`, "'null'", '\'""\'']],
  ['xml', { kind: 'xml' }, ["'<a b=\"c\">&lt;ü</a>'", "''"]],
  ['inet', { kind: 'inet' }, ["'10.0.0.1'", "'10.0.0.1/8'", "'::ffff:1.2.3.4'"]],
  ['cidr', { kind: 'cidr' }, ["'10.0.0.0/8'", "'2001:db8::/32'"]],
  ['macaddr', { kind: 'macaddr' }, ["'08:00:2b:01:02:03'"]],
  ['macaddr8', { kind: 'macaddr' }, ["'08:00:2b:01:02:03:04:05'"]],
  ['money', { kind: 'money' }, ["'-92233720368547758.08'", '1234567.89::numeric::money']],
  ['tsvector', { kind: 'tsvector' }, [`'a:1A fat:2B,4 ''it''''s'''`, "''"]],
  ['tsquery', { kind: 'unknown', nativeType: 'tsquery' }, ["'fat & (rat | !cat)'"]],
  ['hstore', { kind: 'hstore' }, [`'a=>1, "b c"=>NULL, "q\\"uote"=>""'`, "''"]],
  ['ltree', { kind: 'ltree' }, ["'Top.Science.Astronomy'"]],
  ['mood', { kind: 'enum', name: 'public.mood', labels: ['sad', 'o,k', 'qu"ote', ''] }, ["'o,k'", "'qu\"ote'", "''"]],
  ['positive', { kind: 'domain', name: 'public.positive', base: { kind: 'decimal', precision: 6, scale: 2 } }, ['1.5']],
  ['twice', { kind: 'domain', name: 'public.twice', base: { kind: 'domain', name: 'public.positive', base: { kind: 'decimal', precision: 6, scale: 2 } } }, ['2']],
  ['int[]', { kind: 'array', element: { kind: 'int32' } }, ["'{}'", "'{1,NULL,3}'", "'[0:1]={7,8}'", "'{{1,2},{3,4}}'"]],
  ['text[]', { kind: 'array', element: { kind: 'text', length: null, fixed: false } }, [`ARRAY['', 'NULL', 'a,b', '"', E'\\\\', '{}', ' ']`]],
  ['numeric(6,2)[]', { kind: 'array', element: { kind: 'decimal', precision: 6, scale: 2 } }, ["'{1,NaN}'"]],
  ['bytea[]', { kind: 'array', element: { kind: 'bytes' } }, [`ARRAY['\\x00ff'::bytea, NULL]`]],
  ['mood[]', { kind: 'array', element: { kind: 'enum' } }, [`ARRAY['o,k', 'qu"ote', '']::mood[]`]],
  ['pair', { kind: 'composite', name: 'public.pair', fields: [{ name: 'a' }, { name: 'b' }] }, ["ROW(1, 'x,y')", "ROW(NULL, NULL)", `ROW(1, '"')`]],
  ['nested', { kind: 'composite' }, ["ROW(ROW(1, 'a b'), '{1,2}', 'sad')"]],
  ['pair[]', { kind: 'array', element: { kind: 'composite' } }, ["ARRAY[ROW(1, 'a')::pair, NULL]"]],
  ['pairs', { kind: 'domain', base: { kind: 'array', element: { kind: 'composite' } } }, ["ARRAY[ROW(1, 'a')::pair]"]],
  ['int4range', { kind: 'range', name: 'int4range', element: { kind: 'int32' } }, ["'empty'", "'[1,5]'", "'(,)'"]],
  ['tstzrange', { kind: 'range', element: { kind: 'timestamptz' } }, [`'["2026-01-01 00:00+02",infinity)'`]],
  ['float_range', { kind: 'range', name: 'public.float_range', element: { kind: 'float64' } }, ["'[0.1,1e300)'"]],
  ['int4multirange', { kind: 'multirange', name: 'int4multirange', element: { kind: 'int32' } }, ["'{}'", "'{[1,3),[5,8)}'"]],
  ['point', { kind: 'unknown', nativeType: 'point' }, ["'(0.1,-1e300)'"]],
  ['polygon', { kind: 'unknown', nativeType: 'polygon' }, ["'((0,0),(1,1),(1,0))'"]],
  ['pg_lsn', { kind: 'unknown', nativeType: 'pg_lsn' }, ["'16/B374D848'"]],
  ['oid', { kind: 'int64' }, ['4294967295']],
  ['xid8', { kind: 'uint64' }, ["'18446744073709551615'"]],
  ['regclass', { kind: 'unknown', nativeType: 'regclass' }, ["'pg_class'"]],
  ['int2vector', { kind: 'unknown', nativeType: 'int2vector' }, ["'1 2 3'"]],
  ['jsonpath', { kind: 'unknown', nativeType: 'jsonpath' }, ["'$.a[*]'"]],
];

describe('every type', () => {
  it('has the same bytes in the stream as in a copy, and those that the server prints', async () => {
    const tables = TYPES.map(([type], index) => `CREATE TABLE t${index} (id int PRIMARY KEY, v ${type})`);
    await using it = await Captured.begin(server, `${SETUP}; ${tables.join('; ')}`);
    for (const [index, [type, , values]] of TYPES.entries()) {
      const rows = [...values, 'NULL'].map((value, id) => `(${id}, (${value})::${type})`);
      await it.source.query(`INSERT INTO t${index} VALUES ${rows.join(', ')}`);
    }
    await it.test.caughtUp();
    const copier = it.test.connector.copier();
    await using session = await new Endpoint(it.source.config, it.source.runtime).open(NEVER);
    for (const [index, [type, logical, values]] of TYPES.entries()) {
      const schema = it.schema(`t${index}`);
      expect(schema.columns[1]?.type, type).toMatchObject(logical);
      const streamed = it.test.rowRecords(`t${index}`);
      expect(streamed, type).toHaveLength(values.length + 1);
      const plan = await copier.plan(schema, null, NEVER);
      const copied: ReferenceRecord[] = [];
      for (const range of plan.ranges) {
        await using chunk = await copier.chunk(plan, range, NEVER);
        for await (const batch of chunk.batches()) copied.push(...recordsOf(batch));
      }
      const byKey = (records: readonly ReferenceRecord[]) => new Map(records.map((record) => [record.key, [record.after, record.flags & Flag.wide]]));
      expect(byKey(copied), type).toEqual(byKey(streamed));
      const printed = await session.query(`SELECT id, v FROM public.t${index} ORDER BY id`);
      const shown = it.rows().filter((row) => row.table === `t${index}`).map((row) => row.after?.['v']);
      expect(shown.map((value) => (value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : value)), type).toEqual(printed.map((row) => row['v']));
    }
  }, 120_000);
});

/** Rows around the size at which Postgres moves values out of line, of types whose text is shorter than their bytes. */
const SIZES: readonly [string, (n: number) => string][] = [
  ['text', (n) => `repeat('x', ${n})`],
  ['bytea', (n) => `decode(repeat('ab', ${n}), 'hex')`],
  ['numeric', (n) => `repeat('9', ${n})::numeric`],
  ['jsonb', (n) => `(SELECT jsonb_agg(1) FROM generate_series(1, ${n / 4}))`],
  ['jsonb', (n) => `(SELECT jsonb_object_agg(i, '[]'::jsonb) FROM generate_series(1, ${n / 16}) AS i)`],
  ['int8[]', (n) => `array_fill(0::int8, ARRAY[${n / 4}])`],
  ['float8[]', (n) => `array_fill(0::float8, ARRAY[${n / 4}])`],
  ['interval[]', (n) => `array_fill('0'::interval, ARRAY[${n / 8}])`],
  ['text[]', (n) => `array_fill(''::text, ARRAY[${n / 4}])`],
  ['numeric[]', (n) => `array_fill(0::numeric, ARRAY[${n / 4}])`],
  ['point[]', (n) => `array_fill('(0,0)'::point, ARRAY[${n / 8}])`],
  ['int4range[]', (n) => `array_fill('empty'::int4range, ARRAY[${n / 8}])`],
  ['numrange', (n) => `numrange(repeat('1', ${n})::numeric, NULL)`],
  ['int4multirange', (n) => `(SELECT range_agg(int4range(i * 3, i * 3 + 1)) FROM generate_series(1, ${n / 8}) AS i)`],
  ['hollow[]', (n) => `array_fill(ROW(NULL)::hollow, ARRAY[${n / 8}])`],
  ['wide_pair', (n) => `ROW(array_fill(0::int8, ARRAY[${n / 8}]), array_fill(0::int8, ARRAY[${n / 8}]))::wide_pair`],
  ['tsvector', (n) => `(SELECT array_to_tsvector(array_agg(i::text)) FROM generate_series(1, ${n / 8}) AS i)`],
  ['hstore', (n) => `(SELECT hstore(array_agg(i::text), array_agg(''::text)) FROM generate_series(1, ${n / 16}) AS i)`],
  ['polygon', (n) => `polygon(${Math.max(4, n / 16)}, '<(0,0),1>'::circle)`],
  ['varbit', (n) => `repeat('1', ${n * 4})::varbit`],
  ['inet[]', (n) => `array_fill('1.1.1.1'::inet, ARRAY[${n / 8}])`],
];

describe('rows that may hold a value out of line', () => {
  it('are never taken for narrow, and small ones of common types are', async () => {
    await using source = await TestSource.make(server);
    await source.query(`CREATE EXTENSION hstore; CREATE TYPE hollow AS (a int); CREATE TYPE wide_pair AS (a int8[], b int8[])`);
    await using session = await new Endpoint(source.config, source.runtime).open(NEVER);
    const narrow: string[] = [];
    for (const [type, make] of SIZES) {
      await session.query('SET search_path = public');
      const [named] = await session.query(`SELECT '${type}'::regtype::oid AS oid`);
      const oid = Number(named?.['oid']);
      const width = new RowWidth([23, oid, oid], await readTypes(session, [23, oid]));
      for (let n = 16; n < 3000; n = Math.ceil(n * 1.15 / 16) * 16) {
        const [row] = await session.query(
          `SELECT v, pg_column_size(ROW(1, v, v)) AS size FROM (SELECT (${make(n)})::${type} AS v OFFSET 0) AS made`);
        const value = row?.['v'] ?? '';
        const cell = type === 'bytea' ? Buffer.from(value.slice(2), 'hex') : value;
        const image = buildImage(['1', cell, cell]);
        const isWide = width.isWide(image, 0, image.length);
        if (Number(row?.['size']) > 2032) expect(isWide, `${type}, ${n}`).toBe(true);
        else if (!isWide) narrow.push(`${type} ${n}`);
      }
    }
    // The bound is worth something: half of the threshold, or what its factor leaves of it.
    const largest = (type: string): number => Math.max(0, ...narrow.filter((one) => one.startsWith(`${type} `)).map((one) => Number(one.split(' ').at(-1))));
    for (const [type, least] of [['text', 800], ['bytea', 800], ['int8[]', 300], ['jsonb', 100]] as const) expect(largest(type), type).toBeGreaterThan(least);
  });

  it('are flagged in the stream only where the table has a place for them', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE small (id int PRIMARY KEY, n int[], v varchar(50)); CREATE TABLE plain (id int PRIMARY KEY, v varchar(100))');
    await it.run(`INSERT INTO small VALUES (1, '{1,2}', 'x'), (2, array_fill(0, ARRAY[600]), 'x'); INSERT INTO plain VALUES (1, repeat('x', 100))`);
    expect(it.test.log.read(0).filter((record) => record.op === Op.create).map((record) => record.flags)).toEqual([0, Flag.wide, 0]);
  });
});
