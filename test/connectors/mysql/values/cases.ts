/** Column types of both servers, each with the SQL of its edge values. */
import type { MysqlVersion } from '../../../fixtures/mysql.ts';

export interface ValueCase {
  /** As in CREATE TABLE. */
  readonly type: string;
  readonly values: readonly string[];
}

const quoted = (...texts: string[]): string[] => texts.map((text) => `'${text}'`);
const labels = (count: number, letter: string): string => Array.from({ length: count }, (_, index) => `'${letter}${index}'`).join(',');
const digits = (counts: readonly number[], name: (digits: number) => string, values: readonly string[]): ValueCase[] =>
  counts.map((count) => ({ type: name(count), values }));
const ALL_DIGITS = [0, 1, 2, 3, 4, 5, 6];

const INTEGERS: readonly (readonly [string, ...string[]])[] = [
  ['tinyint', '-128', '127', '0', '-1'], ['tinyint unsigned', '0', '255', '128'], ['tinyint(1)', '0', '1', '-1'], ['bool', '1'],
  ['tinyint(3) unsigned zerofill', '7', '0', '255'], ['smallint', '-32768', '32767', '0', '-1'], ['smallint unsigned', '0', '65535', '32768'],
  ['mediumint', '-8388608', '8388607', '0', '-1'], ['mediumint unsigned', '0', '16777215', '8388608'],
  ['int', '-2147483648', '2147483647', '0', '-1', '1000000000'], ['int unsigned', '0', '4294967295', '2147483648'], ['int(10) unsigned zerofill', '42'],
  ['bigint', '-9223372036854775808', '9223372036854775807', '0', '-1', '9007199254740991', '9007199254740992', '9007199254740993', '-9007199254740993',
    '-9007199254740991', '4294967296', '-4294967296', '-4294967295', '1000000000000000000', '10000000000', '-10000000000', '9999999999'],
  ['bigint unsigned', '0', '18446744073709551615', '9223372036854775808', '9007199254740993', '9007199254740992', '10000000000000000000', '4294967295', '4294967296'],
  ['bigint(20) unsigned zerofill', '5'], ['year', '1901', '2155', '0', '2026', '1970'],
];

const NINES = '9'.repeat(65);
const DECIMALS: readonly (readonly [string, ...string[]])[] = [
  ['decimal(10,2)', '0', '-0.5', '0.5', '99999999.99', '-99999999.99', '1', '-1', '0.01', '-0.01', '12345678.90', '-0.00'],
  ['decimal(65,0)', NINES, `-${NINES}`, '0', '1', '-1', `1${'0'.repeat(64)}`],
  ['decimal(65,30)', `${'9'.repeat(35)}.${'9'.repeat(30)}`, `-${'9'.repeat(35)}.${'9'.repeat(30)}`, `0.${'0'.repeat(29)}1`, `-0.${'0'.repeat(29)}1`, '123.456'],
  ['decimal(30,30)', `0.${'9'.repeat(30)}`, `-0.${'9'.repeat(30)}`, '0', '0.000000001000000002000000000003'], ['decimal(1,0)', '0', '9', '-9'],
  ['decimal(9,9)', '0.123456789', '-0.000000001', '0'], ['decimal(18,9)', '123456789.123456789', '-1.000000001', '-0.000000001', '100000000'],
  ['decimal(20,3)', '12345678901234567.123', '-1.5', '0.001'], ['decimal(5,4) unsigned', '9.9999', '0', '0.0001'], ['decimal(12,1) zerofill', '1.5', '0'],
  ['decimal(31,7)', '123456789012345678901234.1234567', '-0.1'],
];

const FLOATS = [
  '0', '-0e0', '1', '1.5', '-1.5', '0.1', '1e-5', '1.1e-4', '1e-4', '1e20', '3.4028234e38', '-3.4028234e38', '1.17549435e-38', '1e-45', '1.4e-45', '123456', '1234567',
  '999999', '1000000', '100000', '12345678', '16777216', '16777217', '0.30000001', '33554432', '3.1415927', '1e10', '123456.7', '0.0001', '65504.5',
];
const DOUBLES = [
  ...FLOATS, '1.7976931348623157e308', '-1.7976931348623157e308', '2.2250738585072014e-308', '5e-324', '0.1+0.2e0', '1e15', '1e14', '123456789012345', '1234567890123456',
  '999999999999999.9', '1e16', '1e21', '1e22', '1e23', '123456789.123456789', '9007199254740993', '0.1e-6', '1e-7', '1e-10', '1.5e-323', '1e17', '12345678901234567890', '1e300',
];

const DATES = quoted('2026-11-21', '0000-00-00', '2026-00-10', '2026-10-00', '0000-01-01', '0001-01-01', '9999-12-31', '1000-01-01', '0000-00-05', '2024-02-29');
const DATETIMES = quoted(
  '2026-11-21 12:30:00.5', '0000-00-00 00:00:00', '2026-00-10 01:02:03', '2026-10-00 00:00:00.000001', '0001-01-01 00:00:00', '9999-12-31 23:59:59.4', '1000-01-01 00:00:00',
  '2024-02-29 23:59:59.123456', '1969-12-31 23:59:59.2', '2026-01-01 00:00:00.100000',
);
const TIMESTAMPS = quoted(
  '2026-11-21 12:30:00.5', '0000-00-00 00:00:00', '1970-01-01 00:00:01', '1970-01-01 00:00:01.5', '2038-01-19 03:14:07', '2024-02-29 23:59:59.123456', '2000-01-01 00:00:00',
  '2000-02-29 00:00:00', '2001-09-09 01:46:40.000001', '2001-03-01 00:00:00', '1999-12-31 23:59:59', '2100-03-01 00:00:00', '2106-02-07 06:28:15',
);
const TIMES = quoted(
  '00:00:00', '12:30:00.5', '-12:30:00.5', '838:59:59', '-838:59:59', '-00:00:00.000001', '00:00:00.000001', '-00:00:00.5', '-01:02:03.123456', '100:00:00.1', '-100:00:00.9',
  '-00:00:01', '23:59:59.999999', '-00:00:59.01', '-00:01:00', '-256:00:00.25', '-00:00:00.255', '-00:00:00.1', '-00:00:00.99',
);
const TEMPORAL: readonly ValueCase[] = [
  { type: 'date', values: DATES },
  ...digits(ALL_DIGITS, (count) => `datetime(${count})`, DATETIMES),
  ...digits(ALL_DIGITS, (count) => `timestamp(${count}) null`, TIMESTAMPS),
  ...digits(ALL_DIGITS, (count) => `time(${count})`, TIMES),
];

const TEXTS = ["''", "'a'", "'  a  '", "'abc   '", "repeat('x',20)", "'\\0a\\0'"];
const STRINGS: readonly (readonly [string, ...string[]])[] = [
  ['char(10)', "''", "'a'", "'a   '", "'  a'", "'ü€'", "'0123456789'"], ['char(100) character set utf8mb4', "'a'", "repeat('😀',100)", "''"],
  ['char(255) character set utf8mb4', "'a'", "repeat('😀',255)"], ['char(64) character set utf8mb4', "repeat('😀',64)"], ['char(10) character set latin1', "'ä€ÿ'", "''"],
  ['char(5) character set utf16', "'a😀'", "'ä  '"], ['char(5) character set ucs2', "'aä'"], ['char(0)', "''"], ['varchar(20)', ...TEXTS],
  ['varchar(255) character set latin1', "repeat('ä',255)", "'€'"], ['varchar(256) character set latin1', "repeat('ä',256)", "'a'"],
  ['varchar(100) character set utf8mb4', "'😀ä'", "''", "repeat('😀',100)"], ['varchar(63) character set utf8mb4', "'😀ä'"], ['varchar(64) character set utf8mb4', "'😀ä'"],
  ['varchar(20) character set gbk', "'中文a'"], ['varchar(20) character set sjis', "'日本ｱ'"], ['varchar(20) character set ujis', "'日本ｱ'"],
  ['varchar(20) character set utf32', "'😀ä'"], ['varchar(20) character set utf16le', "'😀ä'"], ['varchar(20) character set utf8mb3', "'ä€'"],
  ['varchar(20) character set ascii', "'abc'"], ['varchar(20) collate utf8mb4_bin', "'Abc '"], ['tinytext', ...TEXTS], ['text', ...TEXTS],
  ['text character set latin1', "'ä'", "''"], ['mediumtext', "'x'", "repeat('y',70000)"], ['longtext', "'ä'"], ['text character set utf16', "'ä😀'"],
  ['binary(0)', "''"], ['binary(5)', "x'0000000000'", "x'01'", "x'0100'", "x'0102030400'", "x'2020'", "''", "x'00010203ff'"], ['binary(255)', "x'01'", "''"], ['binary', "x'20'"],
  ['varbinary(10)', "''", "x'00'", "x'0100'", "x'ff00'"], ['varbinary(300)', "x'00'", "repeat(x'ff',300)"], ['tinyblob', "x'0001'"], ['blob', "x'00ff00'", "''"],
  ['mediumblob', "x'01'"], ['longblob', "x'01'"],
  ["enum('a','b,c','ü','')", "'a'", "'b,c'", "'ü'", "''", '0', '4', "'zzz'"], ["enum('x','ä') character set latin1", "'ä'", '1'], [`enum(${labels(300, 'e')})`, "'e0'", "'e254'", "'e255'", "'e299'"],
  ["enum('it''s','a\\\\b','c\\nd','%_\"')", '1', '2', '3', '4'], ["set('it''s','a\\\\b','(x)')", '7'],
  ["set('a','b','ü')", "''", "'a'", "'a,ü'", "'ü,b,a'", '7'], [`set(${labels(64, 's')})`, "''", "'s63'", "'s0,s63'", "'s31,s32'", '18446744073709551615'],
  [`set(${labels(9, 's')})`, "'s8'", "'s0,s8'"], [`set(${labels(17, 's')})`, "'s16'"], [`set(${labels(25, 's')})`, "'s24'"], ["set('ä','ö') character set latin1", "'ä,ö'"],
];

const GEOMETRIES: readonly (readonly [string, ...string[]])[] = [
  ['geometry', 'POINT(1 2)', 'POINT(1.5 -2.25)|4326', 'POINT(0 0)|3857'], ['point', 'POINT(1 2)'], ['linestring', 'LINESTRING(0 0,1 1.5)'],
  ['polygon', 'POLYGON((0 0,10 0,10 10,0 0))|4326', 'POLYGON((0 0,10 0,10 10,0 0),(1 1,2 1,2 2,1 1))'], ['multipoint', 'MULTIPOINT(0 0,1 1)', 'MULTIPOINT(0 0,1 1)|4326'],
  ['multilinestring', 'MULTILINESTRING((0 0,1 1),(2 2,3 3,4 4))'], ['multipolygon', 'MULTIPOLYGON(((0 0,10 0,10 10,0 0)),((20 20,30 20,30 30,20 20)))'],
  ['geometrycollection', 'GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1),GEOMETRYCOLLECTION(POINT(3 4)))|4326', 'GEOMETRYCOLLECTION EMPTY'],
];

const JSON_TEXTS = [
  'null', 'true', 'false', '0', '1', '-1', '32767', '32768', '-32768', '-32769', '65535', '65536', '2147483647', '2147483648', '-2147483648', '-2147483649', '4294967295',
  '4294967296', '9223372036854775807', '9223372036854775808', '-9223372036854775808', '18446744073709551615', '18446744073709551616', '1.0', '1.5', '-0.0', '0.0', '1e100',
  '1e-100', '1e20', '1e15', '1e14', '1e-15', '1e-16', '1.5e-14', '123456789012345678', '1.7976931348623157e308', '5e-324', '0.1', '1e16', '1e17', '1e21', '12345678901234567.5',
  '1234567890123456.7', '0.00001', '0.0001', '1e-5', '1.5e-7', '100000.0', '1e5', '""', '"a"', '"\\u0000\\u0001\\u001f\\u007f\\b\\f\\n\\r\\t\\"\\\\/"', '"ü😀\\u2028"', '[]', '{}',
  '[1, "a", null, true, [2], {"b": []}]', '{"b": 1, "a": 2, "aa": 3, "c": {"x": [1.5, -1]}}', '{"": 1}', '{"k\\"q": "v"}', '[1.0, 2.50]', `"${'x'.repeat(127)}"`, `"${'x'.repeat(128)}"`,
  `"${'y'.repeat(16_384)}"`, `[${Array.from({ length: 300 }, (_, index) => index * 1000).join()}]`,
  `{${Array.from({ length: 300 }, (_, index) => `"key${index}": "value ${index}"`).join()}}`, `${'['.repeat(99)}1${']'.repeat(99)}`,
  `["${'z'.repeat(70_000)}", 1, 70000, -5, {"a":"${'w'.repeat(40)}"}]`, '[1, [2, [3, {"a": [4, {"b": 5}]}]]]',
];
const JSON_EXPRESSIONS = [
  "cast(cast('2026-11-21' as date) as json)", "json_array(cast('0000-01-01' as date))", "json_array(timestamp('2026-11-21 12:30:00.5'))",
  "json_array(cast('2026-11-21 12:30:00' as datetime))", "json_array(cast('-12:30:00.25' as time(6)), cast('838:59:59' as time), cast('-00:00:01' as time))", 'cast(1.50 as json)',
  "json_array(cast('123456789012345678901234567890.123' as decimal(40,3)), -0.5, 0.00, 1.10)", "json_array(x'00ff10')", "json_object('b', b'1010', 'c', cast('abc' as binary))",
  'cast(cast(5 as unsigned) as json)', "cast(ST_GeomFromText('POINT(1 2)') as json)", 'json_array(cast(2026 as year))', "json_object('d', 1e0, 'f', 1.5e0, 'g', 1e300)",
  'json_array(pi(), 1/3, sqrt(2), 1e15, 1e14+0.5, 123456789012345680000e0)', "json_array(repeat(x'ab', 57), repeat(x'ab', 58), repeat(x'ab', 200))",
];

const MARIADB: readonly (readonly [string, ...string[]])[] = [
  ['json', `'{"a": 1,"b":  [1.0]}'`],
  ['uuid', ...quoted('123e4567-e89b-12d3-a456-426614174000', '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '018f3f6c-0000-7000-8000-0000000000ff', '123e4567-e89b-42d3-a456-426614170000')],
  ['inet6', ...quoted('::', '::1', '2001:db8::ff00:42:8329', '::ffff:192.0.2.1', 'fe80::1:0:0:0', '::192.0.2.1', '1:0:0:2::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '0:0:1::', '1::2:0:0:0:3',
    '::ffff:0.0.0.0', '::0.0.0.2', '::1:2', '64:ff9b::1.2.3.4', '1:2:3:4:5:6:7:0', '0:2:3:4:5:6:7:8', '1:0:3:4:5:6:7:8', '::ffff:0:1.2.3.4', '1:0:0:2:0:0:3:4', '::5:1.2.3.4')],
  ['inet4', ...quoted('0.0.0.0', '255.255.255.255', '192.168.0.1', '10.0.0.0')],
  ['varchar(100) compressed', "''", "'a'", "repeat('ab',50)", "'ü'"], ['varchar(300) compressed character set latin1', "repeat('ä',300)", "'x'"],
  ['varbinary(200) compressed', "repeat(x'00',200)", "x'00'"], ['tinytext compressed', "''", "repeat('q',200)"], ['text compressed', "''", "'short'", "repeat('abc',1000)"],
  ['mediumtext compressed', "repeat('abc',30000)"], ['longblob compressed', "repeat(x'00ff',3000)", "x'01'"], ['blob compressed', "''", "repeat('z',1000)"],
];

/** @param version decides which types there are */
export function valueCases(version: MysqlVersion): ValueCase[] {
  const isMariadb = version.startsWith('mariadb');
  const vector = isMariadb ? 'vec_fromtext' : 'string_to_vector';
  const withVectors = version === 'mysql-9' || version === 'mariadb-11.8';
  return [
    ...[...INTEGERS, ...DECIMALS].map(([type, ...values]) => ({ type, values })),
    { type: 'float', values: FLOATS },
    { type: 'float unsigned', values: ['0', '1.5'] },
    { type: 'float(7,3)', values: ['1.5', '1234.567', '-0.001'] },
    { type: 'float(10,2)', values: ['12345678.9', '99999999', '0.1'] },
    { type: 'double', values: DOUBLES },
    { type: 'double(12,3)', values: ['1.5', '123456789.123', '-0.001', '0.1'] },
    { type: 'double(30,10)', values: ['1234567890123.1234567', '0.1', '1e19'] },
    ...[1, 7, 8, 9, 16, 17, 32, 33, 63, 64].map((bits) => ({ type: `bit(${bits})`, values: ['0', '1', `b'${'1'.repeat(bits)}'`, `b'1${'0'.repeat(bits - 1)}'`] })),
    ...TEMPORAL,
    ...STRINGS.map(([type, ...values]) => ({ type, values })),
    ...GEOMETRIES.map(([type, ...shapes]) => ({ type, values: shapes.map((shape) => geometrySql(shape)) })),
    ...(isMariadb ? MARIADB.map(([type, ...values]) => ({ type, values })) : [{ type: 'json', values: [...JSON_TEXTS.map(literalSql), ...JSON_EXPRESSIONS] }]),
    ...(withVectors ? [{ type: 'vector(3)', values: [`${vector}('[1,2.5,-0]')`, `${vector}('[1e-5,1e20,3.4e38]')`] }] : []),
  ];
}

/** Of tables in MariaDB's old temporal format. */
export function oldTemporalCases(): readonly ValueCase[] {
  return TEMPORAL.filter(({ type }) => type !== 'date');
}

function geometrySql(shape: string): string {
  const [text = '', srid] = shape.split('|');
  return srid === undefined ? `ST_GeomFromText('${text}')` : `ST_GeomFromText('${text}',${srid})`;
}

function literalSql(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
