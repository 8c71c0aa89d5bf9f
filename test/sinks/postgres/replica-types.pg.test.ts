import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ModelCell, ModelColumn } from '../../../contracts/kit/sink-model.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { ReplicaStand } from './replica-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

const unknown = (nativeType: string): LogicalType => ({ kind: 'unknown', nativeType });
const array = (element: LogicalType): LogicalType => ({ kind: 'array', element });
const text = (length: number | null, fixed = false): LogicalType => ({ kind: 'text', length, fixed });
const INT: LogicalType = { kind: 'int32' };

/** Native type, logical type, values as the server reads them; the replica must give back what the source would print. */
const TYPES: readonly (readonly [nativeType: string, type: LogicalType, values: readonly string[]])[] = [
  ['boolean', { kind: 'bool' }, ['t', 'f']],
  ['smallint', { kind: 'int16' }, ['-32768', '32767']],
  ['integer', INT, ['-2147483648', '2147483647']],
  ['bigint', { kind: 'int64' }, ['-9223372036854775808', '9223372036854775807']],
  ['numeric', { kind: 'decimal', precision: null, scale: null }, ['NaN', 'Infinity', '-Infinity', '1.10', '0.0000000000000000000001', `1${'0'.repeat(400)}`]],
  ['numeric(12,2)', { kind: 'decimal', precision: 12, scale: 2 }, ['-0.01', '9999999999.99', 'NaN']],
  ['numeric(5,-2)', { kind: 'decimal', precision: 5, scale: -2 }, ['1234500']],
  ['real', { kind: 'float32' }, ['1e-45', '3.4028235e38', '-0', 'NaN', 'Infinity', '0.1']],
  ['double precision', { kind: 'float64' }, ['5e-324', '1.7976931348623157e308', '-0', 'NaN', '-Infinity', '0.30000000000000004']],
  ['money', { kind: 'money' }, ['-$92,233,720,368,547,758.08', '$0.01']],
  ['text', text(null), ['', ' ', '\\N', '\\.', 'tab\there', 'line\nfeed\r', '日本語🙂', "'", 'null']],
  ['character varying(20)', text(20), ['', 'trailing  ', 'x'.repeat(20)]],
  ['character(5)', text(5, true), ['', 'a b', 'abcde']],
  ['"char"', text(1), ['a', '\\377']],
  ['name', text(null), ['pg_class']],
  ['bit(4)', { kind: 'bit', length: 4, varying: false }, ['1010']],
  ['bit varying', { kind: 'bit', length: null, varying: true }, ['', '10110']],
  ['uuid', { kind: 'uuid' }, ['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff']],
  ['date', { kind: 'date' }, ['4713-01-01 BC', '5874897-12-31', 'infinity', '-infinity', '0001-01-01']],
  ['time', { kind: 'time', digits: 6 }, ['00:00:00', '24:00:00', '23:59:59.999999']],
  ['time(2)', { kind: 'time', digits: 2 }, ['12:30:00.25']],
  ['time with time zone', { kind: 'timetz', digits: 6 }, ['12:00:00+05:30', '23:59:59.999999-15:59']],
  ['timestamp', { kind: 'timestamp', digits: 6 }, ['0044-03-15 12:00:00 BC', 'infinity', '294276-12-31 23:59:59.999999']],
  ['timestamp with time zone', { kind: 'timestamptz', digits: 6 }, ['4713-01-01 00:00:00+00 BC', '-infinity', '2026-03-29 02:30:00.000001+02']],
  ['interval', { kind: 'interval', digits: 6 }, ['P1Y2M3DT4H5M6.789S', '-1 year 2 mons -3 days +04:05:06', '00:00:00', '178000000 years']],
  ['json', { kind: 'json' }, ['{"b": 1,   "a": 1.000, "a": 2}', 'null', '"\\u00e4"', '12345678901234567890.12345']],
  ['jsonb', { kind: 'json' }, ['{"a": 1.000}', '[]', '"\\t"']],
  ['jsonpath', unknown('jsonpath'), ['$."a"[*]']],
  ['xml', { kind: 'xml' }, ['<a b="c">&lt;</a>', 'text only', '<a/><b/>']],
  ['inet', { kind: 'inet' }, ['10.0.0.1/8', '::1']],
  ['cidr', { kind: 'cidr' }, ['10.0.0.0/8', '2001:db8::/32']],
  ['macaddr', { kind: 'macaddr' }, ['08:00:2b:01:02:03']],
  ['macaddr8', { kind: 'macaddr' }, ['08:00:2b:01:02:03:04:05']],
  ['tsvector', { kind: 'tsvector' }, ["'a':1A 'b''c':2", '']],
  ['tsquery', unknown('tsquery'), ["'a' & !'b'"]],
  ['point', unknown('point'), ['(1.5,-2)']],
  ['polygon', unknown('polygon'), ['((0,0),(1,1),(2,0))']],
  ['circle', unknown('circle'), ['<(0,0),3>']],
  ['path', unknown('path'), ['[(0,0),(1,1)]']],
  ['line', unknown('line'), ['{1,2,3}']],
  ['oid', { kind: 'int64' }, ['0', '4294967295']],
  ['xid8', unknown('xid8'), ['18446744073709551615']],
  ['pg_lsn', unknown('pg_lsn'), ['16/B374D848']],
  ['regtype', unknown('regtype'), ['integer', 'character varying']],
  ['int4range', { kind: 'range', name: 'int4range', element: INT }, ['empty', '(,)', '[1,2)']],
  ['tstzrange', { kind: 'range', name: 'tstzrange', element: { kind: 'timestamptz', digits: 6 } }, ['["2026-01-01 00:00:00+00",)', '(,infinity)']],
  ['int8multirange', { kind: 'multirange', name: 'int8multirange', element: { kind: 'int64' } }, ['{}', '{[1,3),[5,)}']],
  ['integer[]', array(INT), ['{}', '{1,NULL,3}', '{{1,2},{3,4}}', '[0:1]={5,6}']],
  ['text[]', array(text(null)), ['{"",NULL,"NULL","a,b","\\"","\\\\","{}"}', '{"line\nfeed","tab\t"}']],
  ['character varying(3)[]', array(text(3)), ['{abc,""}']],
  ['numeric(6,2)[]', array({ kind: 'decimal', precision: 6, scale: 2 }), ['{1.10,NaN}']],
  ['bytea[]', array({ kind: 'bytes' }), ['{"\\\\x00ff",NULL,"\\\\x"}']],
  ['jsonb[]', array({ kind: 'json' }), ['{"{\\"a\\": [1, 2]}"}']],
  ['timestamp with time zone[]', array({ kind: 'timestamptz', digits: 6 }), ['{infinity,"2026-01-01 00:00:00+00"}']],
  ['interval[]', array({ kind: 'interval', digits: 6 }), ['{P1Y,P-1D}']],
  ['point[]', array(unknown('point')), ['{"(1,2)"}']],
  ['public.hstore', { kind: 'hstore' }, ['"a"=>"1", "b"=>NULL', '']],
  ['public.citext', text(null), ['MiXed', 'mixed']],
  ['public.ltree', { kind: 'ltree' }, ['top.sub_1']],
];

const ROWS_FOR_COPY = 30;

async function standWithExtensions(): Promise<ReplicaStand> {
  return ReplicaStand.open(server, ['CREATE EXTENSION hstore', 'CREATE EXTENSION citext', 'CREATE EXTENSION ltree']);
}

/** What the server prints for a value, under the settings of canonical text. */
async function canonical(stand: ReplicaStand, nativeType: string, value: string): Promise<string> {
  const { rows } = await stand.place.reader.query<{ text: string }>(`SELECT ($1::text)::${nativeType}::text AS text`, [value]);
  const found = rows[0]?.text ?? '';
  return nativeType === 'boolean' ? found.slice(0, 1) : found;
}

test('every type, by plain copy, by insert and by upsert, gives back the very text', async () => {
  await using stand = await standWithExtensions();
  const columns: ModelColumn[] = [
    { name: 'id', type: INT, nativeType: 'integer', nullable: false },
    ...TYPES.map(([nativeType, type], index) => ({ name: `c${index}`, type, nativeType })),
  ];
  const table = stand.model.createTable('public', 'typed', columns, ['id']);
  const values: string[][] = [];
  for (const [nativeType, , list] of TYPES) values.push(await Promise.all(list.map((value) => canonical(stand, nativeType, value))));
  const row = (id: number): ModelCell[] => [String(id), ...values.map((list) => (id % (list.length + 1) === list.length ? null : (list[id % (list.length + 1)] ?? null)))];
  for (let id = 0; id < ROWS_FOR_COPY; id++) stand.model.insert(table, row(id));
  await stand.apply();
  await stand.expectEqual();
  for (let id = 0; id < 10; id++) stand.model.insert(table, row(ROWS_FOR_COPY + id));
  for (let id = 0; id < ROWS_FOR_COPY; id++) stand.model.update(table, row(id), [String(id), ...row(id + 1).slice(1)]);
  await stand.apply();
  await stand.expectEqual();
});

test('a column of every type is a key, or part of one', async () => {
  await using stand = await standWithExtensions();
  const keyed = TYPES.filter(([nativeType]) => !/^(json|xml|point|polygon|circle|path|line|jsonpath|point\[\])$/.test(nativeType));
  for (const [index, [nativeType, type, list]] of keyed.entries()) {
    const table = stand.model.createTable('public', `keyed_${index}`, [
      { name: 'k', type, nativeType, nullable: false },
      { name: 'n', type: INT, nativeType: 'integer', nullable: false },
      { name: 'v', type: text(null), nativeType: 'text' },
    ], ['k', 'n']);
    const keys = await Promise.all(list.map((value) => canonical(stand, nativeType, value)));
    for (const [n, key] of keys.entries()) stand.model.insert(table, [key, String(n), 'first']);
  }
  await stand.apply();
  await stand.expectEqual();
  for (const table of stand.model.tables) {
    for (const [n, row] of table.expected().entries()) {
      if (n % 2 === 0) stand.model.update(table, row, [row[0] ?? null, row[1] ?? null, 'second']);
      else stand.model.delete(table, row);
    }
  }
  await stand.apply();
  await stand.expectEqual();
});

test('bytes, as value, as key and in a domain; a key that is equal but not the same', async () => {
  await using stand = await ReplicaStand.open(server);
  const bytes: LogicalType = { kind: 'bytes' };
  const table = stand.model.createTable('public', 'blobs', [
    { name: 'k', type: bytes, nativeType: 'bytea', nullable: false },
    { name: 'v', type: bytes, nativeType: 'bytea' },
    { name: 'd', type: { kind: 'domain', name: 'public.blob', base: bytes }, nativeType: 'public.blob' },
  ], ['k']);
  const values = [Buffer.alloc(0), Buffer.from([0]), Buffer.from('\\x00\n\t'), Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))];
  for (let n = 0; n < 40; n++) stand.model.insert(table, [Buffer.concat([Buffer.from([n]), values[n % 4] ?? Buffer.alloc(0)]), values[(n + 1) % 4] ?? null, n % 5 === 0 ? null : '\\x00ff']);
  await stand.apply();
  await stand.expectEqual();
  for (const row of table.expected().slice(0, 20)) stand.model.update(table, row, [row[0] ?? null, null, '\\x']);
  for (const row of table.expected().slice(20, 30)) stand.model.delete(table, row);
  await stand.apply();
  await stand.expectEqual();
  const numbers = stand.model.createTable('public', 'numbers', [{ name: 'k', type: { kind: 'decimal', precision: null, scale: null }, nativeType: 'numeric', nullable: false }], ['k']);
  stand.model.insert(numbers, ['1.0']);
  await stand.apply();
  stand.model.update(numbers, ['1.0'], ['1.00']);
  await stand.apply();
  await stand.expectEqual();
});

test('a value that the column at the replica cannot hold is refused, never cut', async () => {
  await using stand = await ReplicaStand.open(server, ['CREATE TABLE narrow (id integer PRIMARY KEY, a character varying(3), b bit(2))']);
  const table = stand.model.createTable('public', 'narrow', [
    { name: 'id', type: INT, nativeType: 'integer', nullable: false },
    { name: 'a', type: text(null), nativeType: 'text' },
    { name: 'b', type: text(null), nativeType: 'text' },
  ], ['id']);
  await stand.apply();
  for (const row of [['1', 'long', null], ['1', null, '101']]) {
    stand.model.insert(table, row);
    const batch = stand.model.batch();
    await expect(stand.send(batch)).rejects.toMatchObject({ code: 'SINK_DATA', where: { table: 'public.narrow' } });
    await stand.reopen();
    await stand.send({ ...batch, steps: [] });
    table.rows.clear();
  }
});
