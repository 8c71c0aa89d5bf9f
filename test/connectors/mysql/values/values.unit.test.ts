import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { mysqlType } from '../../../../contracts/types/mysql-types.ts';
import { ColumnType } from '../../../../connectors/mysql/binlog/column-types.ts';
import type { WireColumn } from '../../../../connectors/mysql/values/wire-column.ts';
import { copied, decoded } from './cells.ts';
import { GOLDEN_VERSIONS, goldenValues } from './golden-values.ts';

const BARE = { unsigned: null, collation: null, labels: null, geometry: null, dimensions: null } as const;

describe.each(GOLDEN_VERSIONS)('recorded values of %s', (version) => {
  test('the log and a copy give the recorded cells', () => {
    const wrong = goldenValues(version).flatMap(({ type, wire, values }) =>
      values.filter((value) => decoded(wire, type, value.binlog) !== value.cell || copied(type, value.copied) !== value.cell).map((value) => `${type.text}: ${value.cell}`),
    );
    expect(wrong).toEqual([]);
  });

  test('whatever the bytes, a value is decoded or refused with a code', () => {
    const columns = goldenValues(version).flatMap(({ type, wire, values }) => values.filter(({ binlog }) => binlog.length < 2000).map((value) => ({ type, wire, value })));
    fc.assert(
      fc.property(fc.constantFrom(...columns), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }), ({ type, wire, value }, changes) => {
        const bytes = Buffer.from(value.binlog);
        const prefix = prefixOf(wire);
        for (const [place, byte] of changes) if (bytes.length > prefix) bytes[prefix + (place % (bytes.length - prefix))] = byte;
        refusedOnly(() => decoded(wire, type, bytes));
      }),
      { numRuns: 5_000 },
    );
  });
});

/** Bytes of length, which callers have checked. */
function prefixOf({ type, metadata }: WireColumn): number {
  if (type === ColumnType.varchar || type === ColumnType.varcharCompressed) return metadata > 255 ? 2 : 1;
  if (type === ColumnType.string) return 2;
  const blobs: readonly number[] = [ColumnType.blob, ColumnType.blobCompressed, ColumnType.json, ColumnType.geometry, ColumnType.vector];
  return blobs.includes(type) ? metadata : 0;
}

function refusedOnly(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code === 'INTERNAL') throw error;
  }
}

const plain = (columnType: string, charset: string | null = null): ReturnType<typeof mysqlType> => mysqlType({ columnType, charset, collation: null });

test.each<[string, Partial<WireColumn>, string, string]>([
  ['tinyint', { type: 1 }, '80', '-128'],
  ['bigint', { type: 8 }, '0000000000000080', '-9223372036854775808'],
  ['bigint unsigned', { type: 8 }, 'ffffffffffffffff', '18446744073709551615'],
  ['mediumint', { type: 9 }, 'ffffff', '-1'],
  ['year', { type: 13 }, '00', '0'],
  ['year', { type: 13 }, '7e', '2026'],
  ['decimal(10,2)', { type: 246, metadata: 0x020a }, '7fffffffcd', '-0.50'],
  ['decimal(10,2)', { type: 246, metadata: 0x020a }, '8000000132', '1.50'],
  ['float', { type: 4, metadata: 4 }, '0000c03f', '1.5'],
  ['float', { type: 4, metadata: 4 }, 'acc52737', '1e-05'],
  ['float', { type: 4, metadata: 4 }, 'ec78ad60', '1e+20'],
  ['float', { type: 4, metadata: 4 }, '00000080', '-0'],
  ['double', { type: 5, metadata: 8 }, '9a9999999999b93f', '0.1'],
  ['double', { type: 5, metadata: 8 }, '00000000000020c3', '-2.251799813685248e+15'],
  ['bit(9)', { type: 16, metadata: 0x0101 }, '01ff', '111111111'],
  ['bit(9)', { type: 16, metadata: 0x0101 }, '0001', '000000001'],
  ['date', { type: 10 }, '75d50f', '2026-11-21'],
  ['date', { type: 10 }, '0ad40f', '2026-00-10'],
  ['date', { type: 10 }, '000000', '0000-00-00'],
  ['time(3)', { type: 19, metadata: 3 }, '7f387fec78', '-12:30:00.5'],
  ['time', { type: 19 }, '4b9105', '-838:59:59'],
  ['timestamp', { type: 17 }, '00000000', '0000-00-00 00:00:00+00'],
  ['timestamp(2)', { type: 17, metadata: 2 }, '6b018ec832', '2026-11-21 12:30:00.5+00'],
  ['binary(5)', { type: 254, metadata: 0x05fe, collation: 63 }, '0101', '0x0100000000'],
  ["enum('a','ü')", { type: 247, metadata: 0x01f7 }, '02', 'ü'],
  ["enum('a','ü')", { type: 247, metadata: 0x01f7 }, '00', ''],
  ["set('a','b','c')", { type: 248, metadata: 0x01f8 }, '05', 'a,c'],
  ['point', { type: 255, metadata: 4 }, '19000000000000000101000000000000000000f03f0000000000000040', '0101000000000000000000F03F0000000000000040'],
  ['point', { type: 255, metadata: 4 }, '19000000e61000000101000000000000000000f03f0000000000000040', '0101000020E6100000000000000000F03F0000000000000040'],
  ['vector(3)', { type: 242, metadata: 4 }, '0c0000000000803f0000204000000080', '[1,2.5,-0]'],
])('%s %j %s is %s', (columnType, wire, bytes, cell) => {
  expect(decoded({ ...BARE, type: 0, metadata: 0, ...wire }, plain(columnType), Buffer.from(bytes, 'hex'))).toBe(cell);
});

test('char has no blanks at its end, varchar keeps them', () => {
  const char = { ...BARE, type: ColumnType.string, metadata: 0x0afe, collation: 8 };
  expect(decoded(char, plain('char(10)', 'latin1'), Buffer.from('0461e42020', 'hex'))).toBe('aä');
  const varchar = { ...BARE, type: ColumnType.varchar, metadata: 10, collation: 8 };
  expect(decoded(varchar, plain('varchar(10)', 'latin1'), Buffer.from('0461e42020', 'hex'))).toBe('aä  ');
});

describe('what is refused', () => {
  const refusals: [string, Partial<WireColumn>, string, string][] = [
    ['bigint', { type: 3 }, '00000000', 'MYSQL_TYPE_UNKNOWN'],
    ['int', { type: 3, unsigned: true }, '00000000', 'MYSQL_TYPE_UNKNOWN'],
    ['decimal(10,2)', { type: 246, metadata: 0x030a }, '0000000000', 'MYSQL_TYPE_UNKNOWN'],
    ['hyperloglog', { type: 252, metadata: 2 }, '0000', 'MYSQL_TYPE_UNKNOWN'],
    ['decimal(9,0)', { type: 246, metadata: 0x0009 }, 'ffffffff', 'MYSQL_VALUE'],
    ['date', { type: 10 }, 'e00100', 'MYSQL_VALUE'],
    ['time', { type: 19 }, 'ffffff', 'MYSQL_VALUE'],
    ["enum('a')", { type: 247, metadata: 0x01f7 }, '02', 'MYSQL_VALUE'],
    ["set('a')", { type: 248, metadata: 0x01f8 }, '02', 'MYSQL_VALUE'],
    ['point', { type: 255, metadata: 4 }, '0400000000000000', 'MYSQL_VALUE'],
    ['vector(1)', { type: 242, metadata: 4 }, '03000000000000', 'MYSQL_VALUE'],
    ['blob /*M!100301 COMPRESSED*/', { type: 140, metadata: 2 }, '030089ffff', 'MYSQL_VALUE'],
  ];
  test.each(refusals)('%s %j %s: %s', (columnType, wire, bytes, code) => {
    const run = (): string => decoded({ ...BARE, type: 0, metadata: 0, ...wire }, plain(columnType), Buffer.from(bytes, 'hex'));
    expect(run).toThrow(expect.objectContaining({ code }));
  });

  test('text that is no text', () => {
    const wire = { ...BARE, type: ColumnType.varchar, metadata: 80, collation: 45 };
    expect(() => decoded(wire, plain('varchar(20)', 'utf8mb4'), Buffer.from('03eda080', 'hex'))).toThrow(expect.objectContaining({ code: 'MYSQL_TEXT' }));
    expect(decoded(wire, plain('varchar(20)', 'utf8mb4'), Buffer.from('03eda080', 'hex'), { zeroDates: 'keep', invalidText: 'replace' })).toBe('???');
  });

  test.each(['000000', '0ad40f', '210000', '5dd40f'])('the zero or partial date %s, where zero dates are refused', (bytes) => {
    const run = (): string => decoded({ ...BARE, type: 10, metadata: 0 }, plain('date'), Buffer.from(bytes, 'hex'), { zeroDates: 'refuse', invalidText: 'refuse' });
    expect(run).toThrow(expect.objectContaining({ code: 'MYSQL_ZERO_DATE' }));
  });

  test('a zero date of a copy, where zero dates are refused', () => {
    const options = { zeroDates: 'refuse', invalidText: 'refuse' } as const;
    expect(() => copied(plain('datetime(3)'), Buffer.from('2026-00-10 00:00:00.000'), options)).toThrow(expect.objectContaining({ code: 'MYSQL_ZERO_DATE' }));
    expect(copied(plain('datetime(3)'), Buffer.from('2024-02-29 00:00:00.000'), options)).toBe('2024-02-29 00:00:00');
  });
});
