import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Column, TableSchema } from '../../../../contracts/schema.ts';
import type { LogicalType } from '../../../../contracts/types/logical-type.ts';
import { parseNative } from '../../../../sinks/mysql/types/column-type.ts';
import { indexBytes, type ReplicaServer } from '../../../../sinks/mysql/types/replica-server.ts';
import { defaultSql, recordedShape, replicaShape } from '../../../../sinks/mysql/types/replica-shape.ts';
import type { Unfit } from '../../../../sinks/relational/unfit.ts';
import { POSTGRES_VALUES, text } from '../../relational/postgres-values.ts';
import { MARIADB, MYSQL, OLD_MYSQL } from './servers.ts';

type Described = readonly [type: LogicalType, nativeType: string];

function tableOf(columns: readonly Described[], key: readonly number[], dialect: 'postgres' | 'mysql' = 'postgres', names: readonly string[] = []): TableSchema {
  return {
    tableId: 1, version: 1, sourceTableId: '1', namespace: 'shop', name: 'things', dialect, keyKind: key.length === 0 ? 'none' : 'primary', key,
    columns: columns.map(([type, nativeType], index): Column => ({
      number: index + 1, name: names[index] ?? `c${index}`, type, nativeType, nullable: !key.includes(index), constantDefault: null, fill: null, generated: 'no', identity: 'no',
    })),
  };
}

const shapeOf = (schema: TableSchema, server: ReplicaServer = MYSQL, unfit: Unfit = 'by-type') => replicaShape(schema, { server, unfit: () => unfit });
const TEXT: Described = [text(null), 'text'];
const varchar = (length: number): Described => [text(length), `character varying(${length})`];
const BIGINT: Described = [{ kind: 'int64' }, 'bigint'];
const BYTES: Described = [{ kind: 'bytes' }, 'bytea'];

describe('keys', () => {
  test.each<[string, readonly Described[], ReplicaServer, readonly string[]]>([
    ['text alone', [TEXT], MYSQL, ['varchar(768) character set utf8mb4 collate utf8mb4_0900_bin']],
    ['text alone at MariaDB', [TEXT], MARIADB, ['varchar(768) character set utf8mb4 collate utf8mb4_nopad_bin']],
    ['text alone, without a collation of bytes', [TEXT], OLD_MYSQL, ['varbinary(3072)']],
    ['text beside a number', [BIGINT, TEXT], MYSQL, ['bigint', 'varchar(766) character set utf8mb4 collate utf8mb4_0900_bin']],
    ['a short text beside a long one', [varchar(10), TEXT], MYSQL, ['varchar(10) character set utf8mb4 collate utf8mb4_0900_bin', 'varchar(758) character set utf8mb4 collate utf8mb4_0900_bin']],
    ['two long ones', [TEXT, BYTES], MYSQL, ['varchar(384) character set utf8mb4 collate utf8mb4_0900_bin', 'varbinary(1536)']],
    ['small pages', [TEXT], { ...MYSQL, indexBytes: indexBytes(4_096) }, ['varchar(192) character set utf8mb4 collate utf8mb4_0900_bin']],
    ['a decimal of 12 bytes', [[{ kind: 'decimal', precision: 18, scale: 2 }, 'numeric(18,2)']], MYSQL, ['decimal(18,2)']],
    ['a uuid', [[{ kind: 'uuid' }, 'uuid']], MYSQL, ['char(36) character set ascii collate ascii_bin']],
    ['json', [[{ kind: 'json' }, 'jsonb']], MYSQL, ['varchar(768) character set utf8mb4 collate utf8mb4_0900_bin']],
  ])('%s', (_what, columns, server, expected) => {
    const shape = shapeOf(tableOf(columns, columns.map((_, index) => index)), server);
    expect(shape.columns.map(({ sql }) => sql)).toEqual(expected);
    expect(shape.key).toEqual({ kind: 'primary', parts: columns.map((_, index) => ({ column: `c${index}`, prefix: null })) });
  });

  test('a longer value is beyond the key, or is found by an index of its beginning', () => {
    expect(shapeOf(tableOf([TEXT], [0])).columns[0]?.beyond).toBe('more than 768 characters in a key');
    const asText = shapeOf(tableOf([TEXT, BIGINT], [0, 1]), MYSQL, 'text');
    expect(asText.columns[0]).toMatchObject({ sql: 'longtext character set utf8mb4 collate utf8mb4_0900_bin', beyond: null });
    expect(asText.key).toEqual({ kind: 'index', parts: [{ column: 'c0', prefix: 766 }, { column: 'c1', prefix: null }] });
  });

  test('text of MySQL is a key by its bytes, whatever its collation', () => {
    const schema = tableOf([[text(20), 'char(20) character set latin1 collate latin1_swedish_ci'], [text(20), 'varchar(20) character set utf8mb4 collate utf8mb4_0900_ai_ci']], [0], 'mysql');
    expect(shapeOf(schema).columns.map(({ sql }) => sql)).toEqual(['varchar(20) character set utf8mb4 collate utf8mb4_0900_bin', 'varchar(20) character set utf8mb4 collate utf8mb4_0900_ai_ci']);
  });
});

describe('rows', () => {
  test('the longest columns leave the row until it holds the others', () => {
    const shape = shapeOf(tableOf([BIGINT, varchar(8_000), varchar(16_000), varchar(300), [{ kind: 'bytes' }, 'bytea']], [0]));
    expect(shape.columns.map(({ type }) => type.name)).toEqual(['bigint', 'varchar', 'mediumtext', 'varchar', 'longblob']);
  });
});

describe('charsets and collations', () => {
  test.each<[string, ReplicaServer, string]>([
    ['varchar(9) character set latin1 collate latin1_german2_ci', MARIADB, 'varchar(9) character set latin1 collate latin1_german2_ci'],
    ['varchar(9) character set utf8mb4 collate utf8mb4_0900_ai_ci', MARIADB, 'varchar(9) character set utf8mb4 collate utf8mb4_uca1400_nopad_ai_ci'],
    ['varchar(9) character set utf8mb4 collate utf8mb4_uca1400_ai_ci', MYSQL, 'varchar(9) character set utf8mb4 collate utf8mb4_0900_ai_ci'],
    ['varchar(9) character set utf8mb4 collate utf8mb4_nopad_bin', MYSQL, 'varchar(9) character set utf8mb4 collate utf8mb4_0900_bin'],
    ['varchar(9) character set gb18030 collate gb18030_chinese_ci', MARIADB, 'varchar(9) character set utf8mb4 collate utf8mb4_unicode_ci'],
    ['varchar(9) character set latin1 collate latin1_nopad_bin', MYSQL, 'varchar(9) character set latin1 collate latin1_bin'],
    ["enum('a character set b','c') character set latin1 collate latin1_swedish_ci", MYSQL, "enum('a character set b','c') character set latin1 collate latin1_swedish_ci"],
    ['varchar(9) /*M!100301 COMPRESSED*/ character set latin1 collate latin1_bin', MYSQL, 'varchar(9) character set latin1 collate latin1_bin'],
    ['datetime(3) /* mariadb-5.3 */', MYSQL, 'datetime(3)'], ['float(10,2) unsigned', MYSQL, 'float unsigned'], ['int(10) unsigned zerofill', MYSQL, 'int(10) unsigned zerofill'], ['year(4)', MYSQL, 'year'],
  ])('%s', (nativeType, server, expected) => {
    expect(shapeOf(tableOf([[text(9), nativeType]], [], 'mysql'), server).columns[0]?.sql).toBe(expected);
  });
});

test('what is recorded of a shape gives the shape again', () => {
  const types = fc.constantFrom<Described>(...POSTGRES_VALUES.map(([nativeType, type]): Described => [type, nativeType]), varchar(5_000), varchar(16_000), BYTES);
  fc.assert(
    fc.property(fc.array(types, { minLength: 1, maxLength: 20 }), fc.nat(3), fc.constantFrom(MYSQL, MARIADB, OLD_MYSQL), fc.constantFrom<Unfit>('by-type', 'text'), (columns, keys, server, unfit) => {
      const shape = shapeOf(tableOf(columns, columns.slice(0, keys).map((_, index) => index)), server, unfit);
      const again = recordedShape(shape.schema, server);
      expect(again.columns.map(({ sql }) => sql)).toEqual(shape.columns.map(({ sql }) => sql));
      expect(again.key).toEqual(shape.key);
    }),
    { examples: [[[[{ kind: 'unknown', nativeType: 'path' }, 'path'], varchar(5_000), [{ kind: 'bool' }, 'boolean']], 3, MYSQL, 'text']] },
  );
});

test('types that the replica has none of are refused where `unfit` is error', () => {
  const ranges: Described = [{ kind: 'range', name: 'int4range', element: { kind: 'int32' } }, 'int4range'];
  expect(() => shapeOf(tableOf([ranges], []), MYSQL, 'error')).toThrowError(expect.objectContaining({ code: 'REPLICA_TYPE', where: { table: 'shop.things', column: 'c0' } }));
  expect(shapeOf(tableOf([ranges], [])).columns[0]).toMatchObject({ isStandIn: true });
});

test('names that the server cannot have are made ones, and two that it takes for one are refused', () => {
  const shape = shapeOf(tableOf([BIGINT, TEXT], [0], 'postgres', ['id\u{1f600}', 'end ']));
  expect(shape.columns.map(({ name }) => name)).toEqual([expect.stringMatching(/^id_+[0-9a-f]{8}$/), expect.stringMatching(/^end__[0-9a-f]{8}$/)]);
  expect(shape.key.parts[0]?.column).toBe(shape.columns[0]?.name);
  expect(() => shapeOf(tableOf([BIGINT, TEXT], [0], 'postgres', ['a', 'A']))).toThrowError(expect.objectContaining({ code: 'REPLICA_NAMES', message: 'the columns a and A are one and the same to MySQL' }));
});

test('defaults are literals of the column; large columns have expressions, and none before they may', () => {
  const of = (sql: string, type: LogicalType, value: string, server = MYSQL) => defaultSql({ type }, parseNative(sql), value, server);
  expect(of('tinyint(1)', { kind: 'bool' }, 't')).toBe('1');
  expect(of('datetime(6)', { kind: 'timestamptz', digits: 6 }, '2026-11-21 12:30:00+00')).toBe("'2026-11-21 12:30:00'");
  expect(of('date', { kind: 'date' }, 'infinity')).toBeNull();
  expect(of('varchar(9) character set utf8mb4 collate utf8mb4_bin', text(9), "it's")).toBe("_utf8mb4'it\\'s'");
  expect(of('longblob', { kind: 'bytes' }, '\\x00ff27')).toBe("(x'00ff27')");
  expect(of('longtext character set utf8mb4 collate utf8mb4_bin', text(null), 'x')).toBe("(_utf8mb4'x')");
  expect(of('longtext character set utf8mb4 collate utf8mb4_bin', text(null), 'x', { ...OLD_MYSQL, version: { ...OLD_MYSQL.version, patch: 12 } })).toBeNull();
  expect(of('bit(3)', { kind: 'bit', length: 3, varying: false }, '101')).toBe("b'101'");
});
