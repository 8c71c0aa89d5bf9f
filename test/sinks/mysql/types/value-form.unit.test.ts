import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Cell } from '../../../../contracts/row-image.ts';
import type { LogicalType } from '../../../../contracts/types/logical-type.ts';
import { jsonDouble } from '../../../../contracts/types/mysql-json-number.ts';
import { parseNative } from '../../../../sinks/mysql/types/column-type.ts';
import type { ReplicaServer } from '../../../../sinks/mysql/types/replica-server.ts';
import { valueForm } from '../../../../sinks/mysql/types/value-form.ts';
import { MARIADB, MYSQL } from './servers.ts';

const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };
const BYTES: LogicalType = { kind: 'bytes' };

/** What fields and literals escape among them, and characters of one to four bytes. */
const LETTERS = ['a', 'N', 'n', 't', '0', 'Z', '\\', "'", '"', '\t', '\n', '\r', '\0', '\x1a', ' ', '\x7f', 'ä', '日', '\u{1f600}', '\u{10ffff}'];

interface Target {
  readonly sql: string;
  readonly type: LogicalType;
  readonly server?: ReplicaServer;
}

/** Field or literal of a value that stands within a larger buffer; null: it does not fit. */
function written(which: 'field' | 'literal', { sql, type, server = MYSQL }: Target, value: string | Uint8Array): Buffer | null {
  const form = valueForm({ type }, parseNative(sql), server);
  const bytes = Buffer.from(value as string);
  const around = Buffer.concat([Buffer.from('90'), bytes, Buffer.from("7'\\")]);
  const room = form.room(around, 2, 2 + bytes.length);
  const out = Buffer.alloc(room + 2, 0xa5);
  const end = form[which](typeof value === 'string' ? Cell.text : Cell.binary, around, 2, 2 + bytes.length, out, 1);
  expect(out[0]).toBe(0xa5);
  expect(out[room + 1]).toBe(0xa5);
  return end < 0 ? null : out.subarray(1, end);
}

/** What the server takes a field for. */
function fieldBytes(field: Buffer | null): Buffer | null {
  if (field === null) return null;
  expect(field.includes('\t') || field.includes('\n')).toBe(false);
  const latin = field.toString('latin1').replaceAll(/\\(.)/gs, (_all, letter: string) => (letter === 'n' ? '\n' : letter === 't' ? '\t' : letter));
  return Buffer.from(latin, 'latin1');
}

/** What the server takes a quoted literal for. */
function literalBytes(literal: Buffer | null, introducer: string): Buffer | null {
  const match = literal === null ? null : new RegExp(`^${introducer}'((?:[^'\\\\]|\\\\.)*)'$`, 's').exec(literal.toString('latin1'));
  return match === null ? null : Buffer.from((match[1] ?? '').replaceAll(/\\(.)/gs, '$1'), 'latin1');
}

const bare = (target: Target, value: string): string | null => {
  const field = written('field', target, value)?.toString() ?? null;
  const literal = written('literal', target, value)?.toString().replaceAll("'", '') ?? null;
  expect(literal).toBe(field);
  return field;
};

describe('text and bytes', () => {
  test('any text and any bytes go as they are', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...LETTERS), { maxLength: 60 }), fc.uint8Array({ maxLength: 60 }), (letters, bytes) => {
        const whole = letters.join('');
        const longtext = { sql: 'longtext character set utf8mb4 collate utf8mb4_bin', type: TEXT };
        const longblob = { sql: 'longblob', type: BYTES };
        const hex = `\\x${Buffer.from(bytes).toString('hex')}`;
        const came = [
          fieldBytes(written('field', longtext, whole))?.toString(), literalBytes(written('literal', longtext, whole), '_utf8mb4')?.toString(),
          fieldBytes(written('field', longblob, bytes))?.toString('hex'), literalBytes(written('literal', longblob, bytes), '_binary')?.toString('hex'),
          fieldBytes(written('field', longblob, hex))?.toString('hex'), fieldBytes(written('field', { ...longtext, type: BYTES }, bytes))?.toString(),
        ];
        expect(came).toEqual([whole, whole, hex.slice(2), hex.slice(2), hex.slice(2), hex]);
      }),
    );
  });

  test('text is converted where the column has another charset, or is json or an address', () => {
    const assign = (sql: string, type: LogicalType, server = MYSQL) => valueForm({ type }, parseNative(sql), server).assign?.('@v') ?? null;
    expect(assign('varchar(20) character set utf8mb4 collate utf8mb4_bin', TEXT)).toBeNull();
    expect(assign('varchar(20) character set latin1 collate latin1_bin', TEXT)).toBe('CONVERT(@v USING utf8mb4)');
    expect(assign('json', { kind: 'json' })).toBe('CONVERT(@v USING utf8mb4)');
    expect(assign('inet6', { kind: 'inet' }, MARIADB)).toBe('CONVERT(@v USING utf8mb4)');
    expect(assign('longblob', BYTES)).toBeNull();
  });
});

describe('numbers', () => {
  test('a decimal fits when its digits do; zeros at the end are no digits', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }), fc.nat(30), fc.integer({ min: 1, max: 65 }), fc.nat(30), (unscaled, places, precision, scale) => {
        fc.pre(scale <= precision);
        const size = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(places + 1, '0');
        const text = `${unscaled < 0n ? '-' : ''}${size.slice(0, size.length - places)}${places === 0 ? '' : `.${size.slice(size.length - places)}`}`;
        const whole = size.slice(0, size.length - places).replace(/^0+/, '').length;
        const fraction = size.slice(size.length - places || size.length).replace(/0+$/, '').length;
        const found = bare({ sql: `decimal(${precision},${scale})`, type: { kind: 'decimal', precision, scale } }, text);
        expect(found !== null).toBe(whole <= precision - scale && fraction <= scale);
        if (found !== null) expect(found.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '')).toBe(text.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, ''));
      }),
    );
  });

  test('every finite float goes to the column as itself, also as a literal', () => {
    const words = new DataView(new ArrayBuffer(4));
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), (bits) => {
        words.setUint32(0, bits);
        const value = words.getFloat32(0);
        fc.pre(Number.isFinite(value));
        const text = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((digits) => value.toPrecision(digits)).find((one) => Math.fround(Number(one)) === value) ?? '';
        const target: Target = { sql: 'float', type: { kind: 'float32' } };
        expect(Math.fround(Number(written('field', target, text)))).toBe(value);
        expect(Math.abs(Number(written('field', target, text)))).toBeLessThanOrEqual(3.4028234663852886e38);
        expect(Number(written('literal', target, text))).toBe(value);
      }),
    );
  });

  test.each([
    ['float', '3.4028235e+38', '3.4028234663852886e+38'], ['float', '-3.4028235e+38', '-3.4028234663852886e+38'], ['float', 'NaN', null], ['double', 'Infinity', null], ['double', '-Infinity', null],
    ['double', '', null], ['int', '1;DROP', null], ['bigint unsigned', '18446744073709551615', '18446744073709551615'], ['int', '-', null], ['year', '0', '0000'], ['year', '2026', '2026'], ['year', '99', null],
    ['decimal(5,2)', 'NaN', null], ['decimal(5,2)', '.5', null], ['decimal(5,5)', '0.00999', '0.00999'],
  ])('%s of %s is %s', (sql, value, field) => {
    expect(written('field', { sql, type: { kind: 'int64' } }, value)?.toString() ?? null).toBe(field);
  });

  test('the sign of zero stays in a literal, too', () => {
    expect(written('literal', { sql: 'double', type: { kind: 'float64' } }, '-0')?.toString()).toBe('-0e0');
    expect(written('literal', { sql: 'float', type: { kind: 'float32' } }, '-0')?.toString()).toBe('-0e0');
  });

  test('true and false are 1 and 0', () => {
    expect(['t', 'f', 'x'].map((value) => bare({ sql: 'tinyint(1)', type: { kind: 'bool' } }, value))).toEqual(['1', '0', null]);
  });
});

describe('dates and times', () => {
  const stamp: LogicalType = { kind: 'timestamp', digits: 6 };
  const zoned: LogicalType = { kind: 'timestamptz', digits: 6 };
  test.each<[string, LogicalType, string, string | null]>([
    ['date', { kind: 'date' }, '2026-11-21', '2026-11-21'], ['date', { kind: 'date' }, '0000-00-00', '0000-00-00'], ['date', { kind: 'date' }, 'infinity', null],
    ['date', { kind: 'date' }, '0044-03-15 BC', null], ['date', { kind: 'date' }, '10000-01-01', null], ['date', { kind: 'date' }, '-infinity', null],
    ['datetime(6)', stamp, '2026-11-21 12:30:00.5', '2026-11-21 12:30:00.5'], ['datetime(3)', stamp, '2026-11-21 12:30:00.1234', null], ['datetime(6)', stamp, '0044-03-15 12:00:00 BC', null],
    ['datetime(6)', stamp, '294276-12-31 23:59:59.999999', null], ['datetime(6)', stamp, '2026-11-21 12:30:00.', null], ['datetime(6)', zoned, '2026-11-21 12:30:00.5+00', '2026-11-21 12:30:00.5'],
    ['datetime(6)', zoned, '2026-11-21 12:30:00.5+01', null], ['datetime(6)', zoned, '2026-11-21 12:30:00', null], ['datetime(6)', zoned, 'infinity', null],
    ['timestamp(6)', zoned, '1970-01-01 00:00:00.5+00', null], ['timestamp(6)', zoned, '0000-00-00 00:00:00+00', '0000-00-00 00:00:00'], ['timestamp', zoned, '2038-01-19 03:14:08+00', null],
    ['time(6)', { kind: 'time', digits: 6 }, '24:00:00', '24:00:00'], ['time(6)', { kind: 'time', digits: 6 }, '-838:59:59', '-838:59:59'], ['time(6)', { kind: 'time', digits: 6 }, '838:59:59.000001', null],
    ['time(6)', { kind: 'time', digits: 6 }, '839:00:00', null], ['time(6)', { kind: 'timetz', digits: 6 }, '12:00:00+05:30', null], ['time', { kind: 'time', digits: 0 }, '12:00', null],
  ])('%s', (sql, type, value, expected) => {
    expect(bare({ sql, type }, value)).toBe(expected);
  });

  test('MariaDB goes further: to 2106, and to the last fraction of the longest time', () => {
    expect(bare({ sql: 'timestamp', type: zoned, server: MARIADB }, '2106-02-07 06:28:15+00')).toBe('2106-02-07 06:28:15');
    expect(bare({ sql: 'time(6)', type: { kind: 'time', digits: 6 }, server: MARIADB }, '-838:59:59.999999')).toBe('-838:59:59.999999');
  });
});

describe('packed values', () => {
  test('bits are bytes in a field, and bits in a literal', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (length, bits) => {
        const text = (bits % 2n ** BigInt(length)).toString(2).padStart(length, '0');
        const target: Target = { sql: `bit(${length})`, type: { kind: 'bit', length, varying: false } };
        const bytes = fieldBytes(written('field', target, text)) ?? Buffer.alloc(0);
        expect(bytes.length).toBe(Math.ceil(length / 8));
        expect(BigInt(`0x${bytes.toString('hex')}`)).toBe(BigInt(`0b${text}`));
        expect(written('literal', target, text)?.toString()).toBe(`b'${text}'`);
        expect(written('field', target, `${text}0`)).toBeNull();
      }),
    );
  });

  const point = '0101000000000000000000F03F0000000000000040';
  test.each<[string, ReplicaServer, string, string | null]>([
    ['a point', MYSQL, point, `00000000${point}`],
    ['a point with its SRID', MYSQL, `0101000020E6100000${point.slice(10)}`, `e6100000${point}`],
    ['a point with z', MYSQL, `0101000080${point.slice(10)}${'0'.repeat(16)}`, null],
    ['a line of one point', MYSQL, `010200000001000000${point.slice(10)}`, null],
    ['a line of one point', MARIADB, `010200000001000000${point.slice(10)}`, `00000000010200000001000000${point.slice(10)}`],
    ['an empty collection', MYSQL, '010700000000000000', '00000000010700000000000000'],
    ['no bytes', MYSQL, '', null],
    ['half a point', MYSQL, point.slice(0, -16), null],
    ['bytes behind a point', MYSQL, `${point}00`, null],
    ['a number of points that nobody has', MYSQL, '0102000000FFFFFFFF', null],
    ['no hexadecimal digits', MYSQL, `${point.slice(0, -1)}X`, null],
  ])('%s', (_what, server, value, expected) => {
    expect(fieldBytes(written('field', { sql: 'geometry', type: { kind: 'geometry' }, server }, value))?.toString('hex') ?? null).toBe(expected?.toLowerCase() ?? null);
  });

  test('a vector is its floats; MariaDB wants all of them, and a length that is a float', () => {
    const of = (server: ReplicaServer, value: string) => fieldBytes(written('field', { sql: 'vector(3)', type: { kind: 'vector', dimensions: 3 }, server }, value))?.toString('hex') ?? null;
    expect(of(MYSQL, '[1,2.5,-0]')).toBe('0000803f0000204000000080');
    expect(of(MARIADB, '[1,2.5]')).toBeNull();
    expect(of(MYSQL, '[1,2.5]')).toBe('0000803f00002040');
    expect(of(MARIADB, '[1,1e+20,0]')).toBeNull();
    expect([of(MYSQL, '[]'), of(MYSQL, '[1,,2]'), of(MYSQL, '[NaN,1,2]'), of(MYSQL, '1,2')]).toEqual([null, null, null, null]);
  });

  test('the label that is none is a zero that no label reads as', () => {
    const field = (labels: string, value: string) => written('field', { sql: `enum(${labels}) character set utf8mb4 collate utf8mb4_bin`, type: TEXT }, value)?.toString();
    expect([field("'a'", ''), field("'a','0'", ''), field("'a',''", ''), field("'a'", 'a')]).toEqual(['0', '00', '', 'a']);
  });
});

describe('json for a column of type json', () => {
  const kept = (value: string) => written('field', { sql: 'json', type: { kind: 'json' } }, value) !== null;

  test('doubles as the server prints them and 64 bits are kept', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), fc.string(), (double, whole, text) => {
        expect(kept(`{"a": [${jsonDouble(double)}, ${whole}], ${JSON.stringify(text)}: ${JSON.stringify(text)}}`)).toBe(true);
      }),
    );
  });

  test.each(['1.50', '0.00', '1e2', '123456789012345678901234567890.123', '18446744073709551616', '-0', '[1, 1.10]', '1.0000000000000000001'])('%s would come back as another number', (value) => {
    expect(kept(value)).toBe(false);
    expect(kept(JSON.stringify(value))).toBe(true);
  });
});
