import { describe, expect, test } from 'vitest';
import { columnDefault } from '../../../../connectors/mysql/catalog/column-default.ts';
import { SourceTables } from '../../../../connectors/mysql/catalog/source-tables.ts';
import { keyOf, type ShapeColumn, type TableShape, type UniqueIndex } from '../../../../connectors/mysql/catalog/table-shape.ts';
import { mysqlType } from '../../../../contracts/types/mysql-types.ts';
import { mysqlSource } from '../mysql-source.ts';

function column(name: string, more: Partial<ShapeColumn> = {}): ShapeColumn {
  const type = mysqlType({ columnType: 'int', charset: null, collation: null });
  return { name, type, nullable: false, default: { kind: 'none' }, generated: 'no', invisible: false, autoIncrement: false, readable: true, ...more };
}

function index(name: string, columns: (number | null)[], hasPrefix = false): UniqueIndex {
  return { name, columns, hasPrefix };
}

const columns = [column('a'), column('b'), column('c', { nullable: true }), column('d', { generated: 'virtual' })];

describe('what identifies a row', () => {
  test.each([
    ['the primary key', [index('PRIMARY', [1, 0]), index('x', [0])], { kind: 'primary', columns: [1, 0] }],
    ['else the index of fewest columns', [index('x', [0, 1]), index('y', [1])], { kind: 'identity', columns: [1] }],
    ['of as many columns the first by name', [index('z', [0]), index('y', [1])], { kind: 'identity', columns: [1] }],
    ['nothing with a prefix', [index('PRIMARY', [0], true)], { kind: 'none', columns: [] }],
    ['another index than a primary key with a prefix', [index('PRIMARY', [0], true), index('x', [1])], { kind: 'identity', columns: [1] }],
    ['nothing that may be NULL', [index('x', [0, 2])], { kind: 'none', columns: [] }],
    ['nothing virtual', [index('x', [3])], { kind: 'none', columns: [] }],
    ['no expression', [index('x', [null])], { kind: 'none', columns: [] }],
    ['nothing', [], { kind: 'none', columns: [] }],
  ])('%s', (_what, uniqueIndexes, key) => {
    expect(keyOf({ columns, uniqueIndexes })).toEqual(key);
  });
});

describe('defaults as canonical text', () => {
  const type = (columnType: string) => mysqlType({ columnType, charset: null, collation: null });

  test.each([
    ['int(5) unsigned zerofill', '00005', '5'], ['decimal(10,2) unsigned zerofill', '00000001.50', '1.50'], ['decimal(10,2)', '-0.00', '0.00'],
    ['decimal(5,0)', '7', '7'], ['double', '1e20', '1e+20'], ['float', '0.1', '0.1'], ['bit(5)', "b'101'", '00101'], ['year', '2020', '2020'],
    ['date', '2020-01-02', '2020-01-02'], ['datetime(3)', '2020-01-02 03:04:05.500', '2020-01-02 03:04:05.5'], ['datetime', '0000-00-00 00:00:00', '0000-00-00 00:00:00'],
    ['timestamp', '0000-00-00 00:00:00', '0000-00-00 00:00:00+00'], ['time(2)', '-01:02:03.50', '-01:02:03.5'], ['time(2)', '01:02:00.00', '01:02:00'],
    ['char(5)', 'a  ', 'a'], ['varchar(5)', '', ''], ['varchar(5)', 'NULL', 'NULL'], ["enum('a')", 'a', 'a'],
  ])('MySQL: %s default %j', (columnType, text, canonical) => {
    expect(columnDefault('mysql', text, '', type(columnType))).toEqual({ kind: 'constant', text: canonical });
  });

  test.each([
    ['varchar(20)', `'it''s \\\\ "x"'`, `it's \\ "x"`], ['varchar(5)', "''", ''], ['varchar(5)', "'NULL'", 'NULL'], ['bit(5)', "b'101'", '00101'],
    ['double', '1e20', '1e+20'], ['int', '-5', '-5'], ['datetime', "'2020-01-02 03:04:05'", '2020-01-02 03:04:05'], ['uuid', "'AB'", 'ab'],
  ])('MariaDB: %s default %s', (columnType, text, canonical) => {
    expect(columnDefault('mariadb', text, '', type(columnType))).toEqual({ kind: 'constant', text: canonical });
  });

  test('none and others', () => {
    expect(columnDefault('mysql', null, '', type('int'))).toEqual({ kind: 'none' });
    expect(columnDefault('mariadb', 'NULL', '', type('int'))).toEqual({ kind: 'none' });
    expect(columnDefault('mariadb', 'NULL', 'STORED GENERATED', type('int'))).toEqual({ kind: 'none' });
    expect(columnDefault('mysql', 'uuid()', 'DEFAULT_GENERATED', type('varchar(40)'))).toEqual({ kind: 'other' });
    expect(columnDefault('mariadb', 'current_timestamp(3)', '', type('timestamp(3)'))).toEqual({ kind: 'other' });
    // In the time zone of whoever made the column, and cut at the first zero byte.
    expect(columnDefault('mysql', '2020-01-02 03:04:05', '', type('timestamp'))).toEqual({ kind: 'other' });
    expect(columnDefault('mysql', '0x6162', '', type('varbinary(10)'))).toEqual({ kind: 'other' });
  });
});

describe('the schema of a table', () => {
  const shape: TableShape = {
    namespace: 'shop', name: 'orders', engine: 'InnoDB', rowFormat: 'Dynamic', isPartitioned: false, isVersioned: false, uniqueIndexes: [index('PRIMARY', [1])],
    columns: [column('secret', { nullable: true }), column('id', { autoIncrement: true }), column('mail', { default: { kind: 'constant', text: 'x' } })],
  };
  const source = (exclude: string[], hash: string[], hashKey: string | null = 'k'): SourceTables =>
    new SourceTables(mysqlSource('mysql://u@h', { columns: new Map([['shop.orders', { exclude, hash }]]), hashKey }));

  test('has the columns that no rule leaves out, hashed ones as text', () => {
    const schema = source(['secret'], ['mail']).schema(shape, { sourceTableId: 'abc', numbers: [4, 5, 9] });
    expect(schema).toMatchObject({
      tableId: 0, version: 0, sourceTableId: 'abc', namespace: 'shop', name: 'orders', keyKind: 'primary', key: [0], unseen: [4],
      columns: [
        { number: 5, name: 'id', type: { kind: 'int32' }, nativeType: 'int', nullable: false, identity: 'by-default' },
        { number: 9, name: 'mail', type: { kind: 'text', length: 64 }, constantDefault: null, hashed: expect.any(String) as unknown },
      ],
    });
  });

  test('is numbered from 1 and has what row events have', () => {
    const schema = source([], []).schema(shape, { sourceTableId: 'abc', isSent: ({ name }) => name !== 'mail' });
    expect(schema.columns.map(({ number, name }) => [number, name])).toEqual([[1, 'secret'], [2, 'id']]);
    expect(schema).toMatchObject({ key: [1], unseen: [3] });
  });

  test.each([
    [['id'], [], 'k', 'id is a key column'], [[], ['id'], 'k', 'id is a key column'], [[], ['mail'], null, 'no key to hash with'], [['nothing'], [], 'k', 'no column nothing'],
  ])('rules %j %j with key %j are refused', (exclude, hash, hashKey, what) => {
    expect(source(exclude, hash, hashKey).ruleError(shape)).toMatchObject({ code: 'MYSQL_COLUMN_RULE', message: expect.stringContaining(what) as unknown });
  });

  test('good rules are none', () => {
    expect(source(['secret'], ['mail']).ruleError(shape)).toBeNull();
  });
});
