import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import { MYSQL_TYPE_NAMES, mysqlLogicalType, mysqlType, type MysqlType } from '../../../contracts/types/mysql-types.ts';
import { copied } from '../../connectors/mysql/values/cells.ts';

const PLACE = 'shop.orders.state';

function inLatin1(columnType: string): MysqlType {
  const hasText = /^(char|varchar|\w*text|enum|set)/.test(columnType);
  return mysqlType({ columnType, charset: hasText ? 'latin1' : null, collation: null });
}

function described(type: LogicalType): string {
  if (type.kind === 'decimal') return `decimal(${type.precision},${type.scale})`;
  if (type.kind === 'text' || type.kind === 'bit') return type.length === null ? type.kind : `${type.kind}(${type.length})`;
  if (type.kind === 'enum' || type.kind === 'set') return `${type.kind}(${type.labels.map((label) => `'${label.replaceAll("'", "''")}'`).join()})`;
  if (type.kind === 'vector') return `vector(${type.dimensions})`;
  return 'digits' in type ? `${type.kind}(${type.digits})` : type.kind;
}

describe('docs/types-mysql.md', () => {
  const page = readFileSync(new URL('../../../docs/types-mysql.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| `([^`]+)` \| ([^|]+) \| `([^`]+)` \| (?:`([^`]*)` )?\|$/gm)].map(([, column = '', logical = '', server = '', log = '']) => ({ column, logical, server, log }));

  test.each(rows)('$column is $logical, $server is $log', ({ column, logical, server, log }) => {
    const type = inLatin1(column);
    expect(described(mysqlLogicalType(type, PLACE))).toBe(logical);
    expect(copied(type, server.startsWith('0x') ? Buffer.from(server.slice(2), 'hex') : Buffer.from(server))).toBe(log);
  });

  test('every type has a row', () => {
    const named = new Set(rows.map(({ column }) => inLatin1(column).name));
    expect(MYSQL_TYPE_NAMES.filter((name) => !named.has(name))).toEqual([]);
  });
});

describe('definitions', () => {
  test.each<[string, Partial<MysqlType>]>([
    ['INT(11) UNSIGNED ZEROFILL', { name: 'int', unsigned: true, length: 11 }],
    ['integer', { name: 'int', unsigned: false, length: null }],
    ['decimal', { name: 'decimal', length: 10, digits: 0 }],
    ['numeric(5)', { name: 'decimal', length: 5, digits: 0 }],
    ['double(12,3)', { name: 'double', length: 12, digits: 3 }],
    ['bit', { name: 'bit', length: 1 }],
    ['datetime', { name: 'datetime', digits: 0, oldTemporal: false }],
    ['datetime(3) /* mariadb-5.3 */', { name: 'datetime', digits: 3, oldTemporal: true }],
    ['varchar(20) /*M!100301 COMPRESSED*/', { name: 'varchar', length: 20, compressed: true }],
    ["enum('a)','b,c','it''s','d\\\\e','f\\ng','','ü')", { name: 'enum', labels: ['a)', 'b,c', "it's", 'd\\e', 'f\ng', '', 'ü'], length: null }],
    ["set('x','y')", { name: 'set', labels: ['x', 'y'] }],
    ['geomcollection', { name: 'geometrycollection' }],
    ['sys_refcursor', { name: 'other' }],
    ['', { name: 'other' }],
  ])('%s', (columnType, expected) => {
    expect(mysqlType({ columnType, charset: null, collation: null })).toMatchObject(expected);
  });

  test('the text of a type has charset and collation where it has characters', () => {
    expect(mysqlType({ columnType: 'varchar(20)', charset: 'latin1', collation: 'latin1_swedish_ci' }).text).toBe('varchar(20) character set latin1 collate latin1_swedish_ci');
    expect(mysqlType({ columnType: 'varchar(20)', charset: 'utf8', collation: 'utf8_general_ci' })).toMatchObject({ charset: 'utf8mb3' });
    expect(mysqlType({ columnType: 'varbinary(20)', charset: 'binary', collation: 'binary' })).toMatchObject({ charset: null, text: 'varbinary(20)' });
  });

  test("MariaDB's json is a longtext with a check", () => {
    const type = mysqlType({ columnType: 'longtext', charset: 'utf8mb4', collation: 'utf8mb4_bin', isJson: true });
    expect(mysqlLogicalType(type, PLACE)).toEqual({ kind: 'json' });
    expect(mysqlLogicalType({ ...type, isJson: false }, PLACE)).toEqual({ kind: 'text', length: null, fixed: false });
  });

  test('a type that is not known keeps its name', () => {
    expect(mysqlLogicalType(mysqlType({ columnType: 'sys_refcursor', charset: null, collation: null }), PLACE)).toEqual({ kind: 'unknown', nativeType: 'sys_refcursor' });
  });
});
