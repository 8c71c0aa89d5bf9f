import { describe, expect, test } from 'vitest';
import { shapeOfStatement } from '../../../../connectors/mysql/catalog/catalog-reading.ts';
import { shapeOfSchema } from '../../../../connectors/mysql/catalog/definition.ts';
import { keyOf } from '../../../../connectors/mysql/catalog/row-key.ts';
import { renamedFromRule, SourceTables } from '../../../../connectors/mysql/catalog/source-tables.ts';
import type { TableShape } from '../../../../connectors/mysql/ddl/shape.ts';
import { parseVersion } from '../../../../connectors/mysql/server-version.ts';
import { Catalog } from '../../../../contracts/catalog.ts';
import { decodeSchema, encodeSchema } from '../../../../contracts/schema.ts';
import { mysqlSource } from '../mysql-source.ts';

const TABLE = { namespace: 'shop', name: 'orders' };

function shapeOf(definition: string, version = '9.7.4'): TableShape {
  const shape = shapeOfStatement(`CREATE TABLE \`orders\` (${definition}) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`, TABLE, parseVersion(version));
  if (shape instanceof Error) throw shape;
  return shape;
}

describe('what identifies a row', () => {
  const columns = 'a int NOT NULL, b int NOT NULL, c int, d int AS (a) VIRTUAL NOT NULL, e varchar(20) NOT NULL';
  test.each([
    ['the primary key', 'PRIMARY KEY (b, a), UNIQUE x (a)', { kind: 'primary', numbers: [2, 1] }],
    ['else the index of fewest columns', 'UNIQUE x (a, b), UNIQUE y (b)', { kind: 'identity', numbers: [2] }],
    ['of as many columns the first by name', 'UNIQUE z (a), UNIQUE y (b)', { kind: 'identity', numbers: [2] }],
    ['nothing with a prefix', 'PRIMARY KEY (e(5))', { kind: 'none', numbers: [] }],
    ['another index than a primary key with a prefix', 'PRIMARY KEY (e(5)), UNIQUE x (b)', { kind: 'identity', numbers: [2] }],
    ['nothing that may be NULL', 'UNIQUE x (a, c)', { kind: 'none', numbers: [] }],
    ['nothing virtual', 'UNIQUE x (d)', { kind: 'none', numbers: [] }],
    ['no expression', 'UNIQUE x ((a + 1))', { kind: 'none', numbers: [] }],
    ['no index that is not unique', 'KEY x (a)', { kind: 'none', numbers: [] }],
  ])('%s', (_what, keys, key) => {
    expect(keyOf(shapeOf(`${columns}, ${keys}`))).toEqual(key);
  });

  test('not the end of a row version, which MariaDB adds to keys', () => {
    const shape = shapeOf('id int NOT NULL, s timestamp(6) GENERATED ALWAYS AS ROW START, e timestamp(6) GENERATED ALWAYS AS ROW END, PRIMARY KEY (id, e), PERIOD FOR SYSTEM_TIME (s, e)', '11.8.6-MariaDB');
    expect(keyOf(shape)).toEqual({ kind: 'primary', numbers: [1] });
  });
});

describe('the schema of a table', () => {
  const shape = shapeOf("secret int, id int NOT NULL AUTO_INCREMENT, mail varchar(50) NOT NULL DEFAULT 'x', PRIMARY KEY (id), KEY m (mail(10), secret)");
  const source = (exclude: string[], hash: string[], hashKey: string | null = 'k'): SourceTables =>
    new SourceTables(mysqlSource('mysql://u@h', { columns: new Map([['shop.orders', { exclude, hash }]]), hashKey }));

  test('has the columns that no rule leaves out, hashed ones as text', () => {
    const schema = source(['SECRET'], ['mail']).schema(TABLE, shape, { sourceTableId: 'abc', flavor: 'mysql' });
    expect(schema).toMatchObject({
      tableId: 0, version: 0, sourceTableId: 'abc', namespace: 'shop', name: 'orders', keyKind: 'primary', key: [0], unseen: [1],
      columns: [
        { number: 2, name: 'id', type: { kind: 'int32' }, nativeType: 'int', nullable: false, identity: 'by-default' },
        { number: 3, name: 'mail', type: { kind: 'text', length: 64 }, constantDefault: null, hashed: expect.any(String) as unknown },
      ],
    });
  });

  test('keeps to what was left out or hashed before, whatever the columns are called', () => {
    const before = source(['secret'], ['mail']).schema(TABLE, shape, { sourceTableId: 'abc', flavor: 'mysql' });
    const renamed = { ...shape, columns: shape.columns.map((column) => ({ ...column, name: `${column.name}2` })) };
    const schema = source(['secret'], ['mail']).schema({ ...TABLE, name: 'other' }, renamed, { sourceTableId: 'abc', flavor: 'mysql', before });
    expect(schema).toMatchObject({ unseen: [1], columns: [{ name: 'id2' }, { name: 'mail2', hashed: expect.any(String) as unknown }] });
  });

  test('fills in what older rows have, hashed where values are', () => {
    const fills = new Map([[1, '5'], [3, 'x']]);
    const { columns } = source([], ['mail']).schema(TABLE, shape, { sourceTableId: 'abc', flavor: 'mysql', fills });
    expect(columns.map(({ fill }) => fill)).toEqual(['5', null, source([], []).hash?.text('x')]);
  });

  test('leaves out virtual columns of MariaDB, which its binlog has not', () => {
    const virtual = shapeOf('id int NOT NULL, v int AS (id) VIRTUAL, s int AS (id) STORED, PRIMARY KEY (id)');
    const names = (flavor: 'mysql' | 'mariadb') => source([], []).schema(TABLE, virtual, { sourceTableId: '', flavor }).columns.map(({ name }) => name);
    expect([names('mysql'), names('mariadb')]).toEqual([['id', 'v', 's'], ['id', 's']]);
  });

  test.each([
    [['id'], [], 'k', 'id is a key column'], [[], ['id'], 'k', 'id is a key column'], [[], ['mail'], null, 'no key to hash with'], [['nothing'], [], 'k', 'no column nothing'],
  ])('rules %j %j with key %j are refused', (exclude, hash, hashKey, what) => {
    expect(source(exclude, hash, hashKey).ruleError(TABLE, shape, 'mysql')).toMatchObject({ code: 'MYSQL_COLUMN_RULE', message: expect.stringContaining(what) as unknown });
  });

  test.each([
    ['goes by the name that it had first', ['orders'], ['orders'], false, null],
    ['was called otherwise in the log', ['orders', 'sales'], ['sales'], false, 'shop.orders, which is called shop.sales at the source'],
    ['has handed its name on', ['orders', 'sales'], ['sales', 'orders'], false, null],
    ['is still to be renamed by the stream', ['orders'], ['sales'], false, null],
    ['may have got another name while nobody read', ['orders'], ['sales'], true, 'shop.orders, which the source lacks, and shop.sales may be that table'],
    ['is gone, and nothing new is there', ['orders'], [], true, null],
  ])('rules of a table that %s', (_what, names, present, missed, fault) => {
    const made = source(['secret'], []);
    const versions = names.map((name, index) => ({ offset: index + 1, schema: { ...made.schema(TABLE, shape, { sourceTableId: 'abc', flavor: 'mysql' }), name, tableId: 1, version: index + 1 } }));
    const log = Catalog.from([{ tableId: 1, versions, state: { state: 'consistent', since: 1 }, consistent: [] }]);
    const found = renamedFromRule(made, present.map((name) => ({ namespace: 'shop', name })), log, missed);
    if (fault === null) expect(found).toBeNull();
    else expect(found).toMatchObject({ code: 'MYSQL_COLUMN_RULE', message: expect.stringContaining(fault) as unknown });
  });

  test('good rules are none', () => {
    expect(source(['secret'], ['mail']).ruleError(TABLE, shape, 'mysql')).toBeNull();
  });

  test.each([
    ['without rules', [], []], ['with columns left out', ['secret'], []], ['with columns hashed', [], ['mail', 'secret']], ['with both', ['secret'], ['mail']],
  ])('gives the shape back that it was made of, %s', (_what, exclude, hash) => {
    const odd = {
      ...shapeOf(`secret int INVISIBLE, id bigint unsigned NOT NULL AUTO_INCREMENT, mail varchar(50) CHARACTER SET latin1 NOT NULL DEFAULT 'x', g int AS (id + 1) STORED,
        e enum('a','it''s, "x"') NOT NULL DEFAULT 'a', j json, d datetime(3) DEFAULT CURRENT_TIMESTAMP(3), b varbinary(9) DEFAULT x'00ff', PRIMARY KEY (id), UNIQUE u (mail(10), e),
        KEY f ((id + 1))`),
      nextNumber: 42,
    };
    for (const one of [shape, odd]) {
      const schema = source(exclude, hash).schema(TABLE, one, { sourceTableId: 'abc', flavor: 'mysql' });
      expect(shapeOfSchema(decodeSchema(encodeSchema(schema)))).toEqual(one);
    }
  });
});
