import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ModelCell, ModelColumn } from '../../../contracts/kit/sink-model.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import { type BinaryType, binaryWriter, mostBytes } from '../../../sinks/postgres/binary-values.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { ReplicaStand } from './replica-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

/** The value's binary form as hexadecimal digits; null: the writer refuses it. */
function written(type: BinaryType, text: string): string | null {
  const bytes = Buffer.from(`<${text}>`);
  const out = Buffer.alloc(3 + mostBytes(bytes.length - 2), 0xee);
  const end = binaryWriter(type)(bytes, 1, bytes.length - 1, out, 3);
  if (end < 0) return null;
  expect(end, `room for ${text}`).toBeLessThanOrEqual(out.length);
  return out.toString('hex', 3, end);
}

const SENDS: Readonly<Record<BinaryType, string>> = {
  int2: 'int2send', int4: 'int4send', int8: 'int8send', float8: 'float8send', numeric: 'numeric_send', bool: 'boolsend',
  uuid: 'uuid_send', date: 'date_send', timestamp: 'timestamp_send', timestamptz: 'timestamptz_send',
};

/** What the server reads these texts as, in its own binary form, and how it prints them. */
async function sent(type: BinaryType, texts: readonly string[]): Promise<{ hex: string; text: string }[]> {
  const session = await server.connect('postgres');
  try {
    await session.query("SET TimeZone = 'UTC'; SET DateStyle = ISO");
    const value = `v::${type}`;
    const { rows } = await session.query<{ hex: string; text: string }>(
      `SELECT encode(${SENDS[type]}(${value}), 'hex') AS hex, ${type === 'bool' ? `left(${value}::text, 1)` : `${value}::text`} AS text
         FROM unnest($1::text[]) WITH ORDINALITY AS u(v, n) ORDER BY n`,
      [texts],
    );
    return rows;
  } finally {
    await session[Symbol.asyncDispose]();
  }
}

const whole = (bits: bigint): fc.Arbitrary<string> => fc.bigInt({ min: -(1n << (bits - 1n)), max: (1n << (bits - 1n)) - 1n }).map(String);
const edges = (bits: bigint): fc.Arbitrary<string> =>
  fc.tuple(fc.bigInt({ min: 0n, max: bits - 1n }), fc.bigInt({ min: -1n, max: 0n }), fc.boolean()).map(([bit, by, negative]) => String(negative ? -((1n << bit) + by) : (1n << bit) + by))
    .filter((text) => BigInt(text) >= -(1n << (bits - 1n)) && BigInt(text) < 1n << (bits - 1n));
const digitsText = (most: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(...'0123456789'.split('')), minLength: 1, maxLength: most });
const decimal = (most: number): fc.Arbitrary<string> =>
  fc.tuple(fc.constantFrom('', '-'), digitsText(most), fc.option(digitsText(most), { nil: null }))
    .map(([sign, before, after]) => `${sign}${before}${after === null ? '' : `.${after}`}`);
const time = fc.tuple(fc.integer({ min: 0, max: 86_399 }), fc.option(digitsText(6), { nil: null })).map(([second, part]) => {
  const clock = [Math.floor(second / 3600), Math.floor(second / 60) % 60, second % 60].map((n) => String(n).padStart(2, '0')).join(':');
  return part === null ? clock : `${clock}.${part}`;
});
const date = fc.date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('9999-12-31T00:00:00Z'), noInvalidDate: true }).map((day) => day.toISOString().slice(0, 10));
const timestamp = fc.tuple(date, time).map(([day, clock]) => `${day} ${clock}`);

const VALUES: Readonly<Record<BinaryType, fc.Arbitrary<string>>> = {
  int2: fc.oneof(whole(16n), edges(16n)),
  int4: fc.oneof(whole(32n), edges(32n)),
  int8: fc.oneof(whole(64n), edges(64n), whole(50n)),
  float8: fc.oneof(fc.double().map(String), decimal(9), decimal(20), fc.constantFrom('-0', '1e-05', '5e-324', '1.7976931348623157e+308', '-Infinity', 'NaN')),
  numeric: fc.oneof(decimal(30), decimal(3), fc.constantFrom('NaN', '0', '-0.00', '10000', '0.0001', '0.00010', '100000000.0000')),
  bool: fc.constantFrom('t', 'f'),
  uuid: fc.uuid(),
  date: fc.oneof(date, fc.constantFrom('2000-02-29', '1900-02-28', '2000-01-01', '1999-12-31')),
  timestamp: fc.oneof(timestamp, fc.constantFrom('1999-12-31 23:59:59.999999', '0001-01-01 00:00:00', '9999-12-31 23:59:59.999999')),
  timestamptz: timestamp.map((text) => `${text}+00`),
};

test.each(Object.keys(SENDS) as BinaryType[])('%s: what is written is what the server makes of the text', async (type) => {
  await fc.assert(
    fc.asyncProperty(fc.array(VALUES[type], { minLength: 300, maxLength: 600, size: 'max' }), async (texts) => {
      const rows = await sent(type, texts);
      for (const [index, { hex, text }] of rows.entries()) {
        const asGiven = written(type, texts[index] ?? '');
        if (asGiven !== null) expect([texts[index], asGiven]).toEqual([texts[index], hex]);
        // Canonical text is what the log has: it is to be written, not refused.
        expect([text, written(type, text)]).toEqual([text, hex]);
      }
    }),
    { numRuns: 5 },
  );
});

test.each<[BinaryType, readonly string[]]>([
  ['int2', ['', '-', '32768', '-32769', '1a', ' 1', '+1', '1.0', '1_000']],
  ['int4', ['', '2147483648', '-2147483649', '99999999999', '0x1']],
  ['int8', ['', '-', '9223372036854775808', '-9223372036854775809', '99999999999999999999', '12345678901234567x', '1234567890x2345678']],
  ['float8', ['', '-', '.', 'abc', '1e999', '1e-999', '0x10', ' 1', '1 ', '1_0', '--1', '1..2', 'infinity', '1,5']],
  ['numeric', ['', '-', '.', '1.', '.5', '1e5', 'Infinity', '-Infinity', '1,5', '--1', '1.2.3', 'nan', `1${'0'.repeat(300)}`]],
  ['bool', ['', 'true', 'T', '1', 'x']],
  ['uuid', ['', '{00000000-0000-0000-0000-000000000000}', '00000000000000000000000000000000', '00000000-0000-0000-0000-00000000000g', '000000000-000-0000-0000-000000000000']],
  ['date', ['', 'infinity', '4713-01-01 BC', '12026-01-01', '2026-02-29', '2026-13-01', '2026-00-01', '2026-01-00', '0000-01-01', '2026/01/01']],
  ['timestamp', ['', '-infinity', '2026-01-01', '2026-01-01T00:00:00', '2026-01-01 24:00:00', '2026-01-01 00:60:00', '2026-01-01 00:00:60', '2026-01-01 00:00:00.1234567', '2026-01-01 00:00:00.', '2026-01-01 00:00:00+00', '0044-03-15 12:00:00 BC']],
  ['timestamptz', ['', 'infinity', '2026-01-01 00:00:00', '2026-01-01 00:00:00+01', '2026-01-01 00:00:00-00', '0044-03-15 12:00:00+00 BC']],
])('%s: text of another form is refused, for the server to judge', (type, texts) => {
  for (const text of texts) expect([text, written(type, text)]).toEqual([text, null]);
});

const LOGICAL: readonly (readonly [string, LogicalType, (id: number) => string | Buffer])[] = [
  ['bigint', { kind: 'int64' }, (id) => String(id)],
  ['smallint', { kind: 'int16' }, (id) => String(-id)],
  ['double precision', { kind: 'float64' }, (id) => String(id / 7)],
  ['numeric(12,2)', { kind: 'decimal', precision: 12, scale: 2 }, (id) => `${id * 10_007}.${String(id % 100).padStart(2, '0')}`],
  ['boolean', { kind: 'bool' }, (id) => (id % 2 === 0 ? 't' : 'f')],
  ['uuid', { kind: 'uuid' }, (id) => `00000000-0000-4000-8000-${String(id).padStart(12, '0')}`],
  ['date', { kind: 'date' }, (id) => `2026-01-${String(1 + (id % 31)).padStart(2, '0')}`],
  ['timestamp', { kind: 'timestamp', digits: 6 }, (id) => `2026-01-01 00:00:${String(id % 60).padStart(2, '0')}.000001`],
  ['timestamp with time zone', { kind: 'timestamptz', digits: 6 }, (id) => `1969-12-31 23:59:${String(id % 60).padStart(2, '0')}+00`],
  ['text', { kind: 'text', length: null, fixed: false }, (id) => `tab\t${id}\n`],
  ['character varying(9)', { kind: 'text', length: 9, fixed: false }, (id) => `v${id}`],
  ['character(5)', { kind: 'text', length: 5, fixed: true }, (id) => String(id).padStart(5, 'x')],
  ['json', { kind: 'json' }, (id) => `{"a":  ${id}}`],
  ['bytea', { kind: 'bytes' }, (id) => Buffer.from([0, id])],
];

function columns(): ModelColumn[] {
  return LOGICAL.map(([nativeType, type], index) => ({ name: `c${index}`, type, nativeType, nullable: index > 0 }));
}

function row(id: number, seed = id): ModelCell[] {
  return LOGICAL.map(([, , value], index) => (index === 0 ? value(id) : (seed + index) % 11 === 0 ? null : value(seed % 250)));
}

test('rows of types with a binary form: inserted, written over and deleted', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = stand.model.createTable('public', 'plain', columns(), ['c0']);
  for (let id = 0; id < 200; id++) stand.model.insert(table, row(id));
  await stand.apply();
  await stand.expectEqual();
  for (let id = 0; id < 50; id++) stand.model.update(table, row(id), row(id, id + 3));
  for (let id = 100; id < 150; id++) stand.model.delete(table, row(id));
  for (let id = 200; id < 210; id++) stand.model.insert(table, row(id));
  await stand.apply();
  await stand.expectEqual();
});

test('one value without a binary form takes its rows through text: in a COPY, an upsert, a key and a keyless table', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = stand.model.createTable('public', 'mixed', columns(), ['c0']);
  const timed = stand.model.createTable('public', 'timed', [
    { name: 'at', type: { kind: 'timestamptz', digits: 6 }, nativeType: 'timestamp with time zone', nullable: false },
    { name: 'n', type: { kind: 'int32' }, nativeType: 'integer' },
  ], ['at']);
  const bag = stand.model.createTable('public', 'bag', [{ name: 'n', type: { kind: 'decimal', precision: null, scale: null }, nativeType: 'numeric' }], []);
  const odd = (id: number): ModelCell[] => row(id).map((cell, index) => (index === 8 ? (id % 2 === 0 ? 'infinity' : '0044-03-15 12:00:00+00 BC') : cell));
  for (let id = 0; id < 60; id++) stand.model.insert(table, id === 40 ? odd(id) : row(id));
  const times = ['infinity', '2026-01-01 00:00:00+00', '-infinity'];
  for (const at of times) stand.model.insert(timed, [at, '1']);
  for (const n of ['Infinity', '1.10', 'Infinity']) stand.model.insert(bag, [n]);
  await stand.apply();
  await stand.expectEqual();
  for (let id = 0; id < 30; id++) stand.model.update(table, row(id), id % 9 === 0 ? odd(id) : row(id, id + 1));
  stand.model.update(timed, ['infinity', '1'], ['infinity', '2']);
  stand.model.delete(timed, ['-infinity', '1']);
  stand.model.delete(bag, ['Infinity']);
  await stand.apply();
  await stand.expectEqual();
});
