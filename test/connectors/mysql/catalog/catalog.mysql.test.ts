import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listCascades, listTables } from '../../../../connectors/mysql/catalog/catalog-query.ts';
import { readTables } from '../../../../connectors/mysql/catalog/catalog-reading.ts';
import { typeOfColumn } from '../../../../connectors/mysql/catalog/column-type.ts';
import { keyOf } from '../../../../connectors/mysql/catalog/row-key.ts';
import { SourceTables } from '../../../../connectors/mysql/catalog/source-tables.ts';
import type { TableReading } from '../../../../connectors/mysql/catalog/table-reading.ts';
import type { ColumnShape } from '../../../../connectors/mysql/ddl/shape.ts';
import type { Session } from '../../../../connectors/mysql/session.ts';
import { TESTED_VERSIONS, startMysql, type MysqlServer } from '../../../fixtures/mysql.ts';
import { endpointOf, mysqlSource, never } from '../mysql-source.ts';

const TABLES = `
  CREATE TABLE d1 (
    id INT UNSIGNED AUTO_INCREMENT, a INT DEFAULT 5, b VARCHAR(20) CHARACTER SET latin1 NOT NULL DEFAULT 'it''s \\\\ "x"', c VARCHAR(5) DEFAULT '',
    n VARCHAR(5) DEFAULT NULL, nn INT NOT NULL, ts TIMESTAMP(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
    dt DATETIME DEFAULT '2020-01-02 03:04:05', bt BIT(5) DEFAULT b'101', f DOUBLE DEFAULT 1e20, de DECIMAL(10,2) UNSIGNED ZEROFILL DEFAULT 1.5,
    e ENUM('a', 'b''c', 'ü') CHARACTER SET utf8mb4 DEFAULT 'b''c', s SET('x', 'y') DEFAULT 'x,y', nullword VARCHAR(10) DEFAULT 'NULL', y YEAR DEFAULT 2020,
    ti TIME(2) DEFAULT '-01:02:03.5', g INT GENERATED ALWAYS AS (a + 1) STORED, gv INT GENERATED ALWAYS AS (a + 2) VIRTUAL, tx TEXT,
    bi VARBINARY(10) DEFAULT 'ab', PRIMARY KEY (id));
  CREATE TABLE \`na\`\`me 'x\` (\`co\`\`l "y\` INT PRIMARY KEY, js JSON, fl FLOAT(7, 3), ch CHAR(3) COLLATE utf8mb4_bin);
  CREATE TABLE parent (id INT PRIMARY KEY, k INT UNIQUE);
  CREATE TABLE child (id INT PRIMARY KEY, p INT, q INT, r INT, CONSTRAINT fk1 FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE,
    CONSTRAINT fk2 FOREIGN KEY (q) REFERENCES parent (k) ON UPDATE SET NULL ON DELETE CASCADE, CONSTRAINT fk3 FOREIGN KEY (r) REFERENCES parent (k));
  CREATE TABLE k1 (a VARCHAR(100) NOT NULL, b INT NOT NULL, c INT, UNIQUE KEY u1 (a(10)), UNIQUE KEY u2 (c), UNIQUE KEY u3 (b, a));
  CREATE TABLE k2 (a BLOB NOT NULL, PRIMARY KEY (a(20)));
  CREATE TABLE k3 (a INT, b INT);
  CREATE TABLE k4 (a INT NOT NULL, b INT NOT NULL, UNIQUE KEY z (b), UNIQUE KEY y (a));
  CREATE TABLE mem (a INT PRIMARY KEY) ENGINE=MEMORY;
  CREATE TABLE part (a INT, b INT, PRIMARY KEY (b, a)) PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE);
  CREATE VIEW v AS SELECT 1 AS one;`;

describe.each(TESTED_VERSIONS)('%s', (version) => {
  let server: MysqlServer;
  let session: Session;
  let shapes: Map<string, TableReading>;

  beforeAll(async () => {
    server = await startMysql({ version, databases: ['shop', 'other'] });
    await server.query(TABLES, 'shop');
    await server.query('CREATE TABLE d1 (x INT)', 'other');
    session = await endpointOf(server.url()).open(never);
    const { tables, missing, unclear } = await readTables(session, await listTables(session));
    expect([missing, unclear]).toEqual([[], []]);
    shapes = new Map(tables.map((table) => [`${table.namespace}.${table.name}`, table]));
  });
  afterAll(async () => {
    await session[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const shapeOf = (name: string): TableReading => {
    const shape = shapes.get(`shop.${name}`);
    if (shape === undefined) throw new Error(`there is no ${name}: ${[...shapes.keys()].join(', ')}`);
    return shape;
  };
  const columnOf = (table: string, name: string): ColumnShape => {
    const column = shapeOf(table).shape.columns.find((one) => one.name === name);
    if (column === undefined) throw new Error(`${table} has no ${name}`);
    return column;
  };

  test('every table is listed, and nothing that is none', () => {
    expect([...shapes.keys()]).toEqual([
      'other.d1', 'shop.child', 'shop.d1', 'shop.k1', 'shop.k2', 'shop.k3', 'shop.k4', 'shop.mem', "shop.na`me 'x", 'shop.parent', 'shop.part',
    ]);
  });

  test('columns stand in the order of the table, with their types, defaults and kinds', () => {
    const { shape: { columns }, unreadable } = shapeOf('d1');
    expect(columns.map(({ name }) => name)).toEqual(['id', 'a', 'b', 'c', 'n', 'nn', 'ts', 'dt', 'bt', 'f', 'de', 'e', 's', 'nullword', 'y', 'ti', 'g', 'gv', 'tx', 'bi']);
    const defaults = Object.fromEntries(columns.map((column) => [column.name, column.default.kind === 'constant' ? column.default.text : column.default.kind]));
    expect(defaults).toEqual({
      id: 'none', a: '5', b: `it's \\ "x"`, c: '', n: 'none', nn: 'none', ts: 'expression', dt: '2020-01-02 03:04:05', bt: '00101', f: 'expression', de: '1.50',
      e: "b'c", s: 'x,y', nullword: 'NULL', y: '2020', ti: '-01:02:03.5', g: 'none', gv: 'none', tx: 'none', bi: '\\x6162',
    });
    expect(columns.filter(({ nullable }) => !nullable).map(({ name }) => name)).toEqual(['id', 'b', 'nn']);
    expect(columns.filter(({ generated }) => generated !== 'no').map(({ name, generated }) => [name, generated])).toEqual([['g', 'stored'], ['gv', 'virtual']]);
    expect(columns.filter(({ autoIncrement }) => autoIncrement).map(({ name }) => name)).toEqual(['id']);
    expect(columns.every(({ invisible }) => !invisible)).toBe(true);
    expect(unreadable).toEqual([]);
    expect(typeOfColumn(columnOf('d1', 'b'))).toMatchObject({ name: 'varchar', length: 20, charset: 'latin1', collation: 'latin1_swedish_ci' });
    expect(typeOfColumn(columnOf('d1', 'id'))).toMatchObject({ name: 'int', unsigned: true });
    expect(typeOfColumn(columnOf('d1', 'e')).labels).toEqual(['a', "b'c", 'ü']);
  });

  test('JSON is JSON on both flavors, and names may have quotes', () => {
    const table = shapeOf("na`me 'x");
    const { shape } = table;
    expect(shape.columns[0]?.name).toBe('co`l "y');
    const schema = new SourceTables(mysqlSource(server.url())).schema(table, shape, { sourceTableId: 'x', flavor: server.flavor });
    expect(schema.columns[1]?.type).toEqual({ kind: 'json' });
    expect(schema.columns[3]?.nativeType).toBe('char(3) character set utf8mb4 collate utf8mb4_bin');
  });

  test('keys: primary, else unique over columns that are never null, none over a beginning', () => {
    const names = (table: string): [string, string[]] => {
      const { shape } = shapeOf(table);
      const key = keyOf(shape);
      return [key.kind, key.numbers.map((number) => shape.columns.find((column) => column.number === number)?.name ?? '')];
    };
    expect(names('d1')).toEqual(['primary', ['id']]);
    expect(names('part')).toEqual(['primary', ['b', 'a']]);
    expect(names('k1')).toEqual(['identity', ['b', 'a']]);
    expect(names('k2')).toEqual(['none', []]);
    expect(names('k3')).toEqual(['none', []]);
    expect(names('k4')).toEqual(['identity', ['a']]);
  });

  test('engine, row format and partitions', () => {
    expect(shapeOf('mem').engine).toBe('MEMORY');
    expect(shapeOf('d1')).toMatchObject({ engine: 'InnoDB', rowFormat: 'Dynamic', isPartitioned: false, shape: { systemVersioned: false } });
    expect(shapeOf('part').isPartitioned).toBe(true);
  });

  test('foreign keys that change their child tables', async () => {
    expect((await listCascades(session, ['shop', 'other'])).toSorted((a, b) => (a.constraint < b.constraint ? -1 : 1))).toEqual([
      { namespace: 'shop', name: 'child', constraint: 'fk1', parent: 'shop.parent', actions: ['ON DELETE CASCADE'] },
      { namespace: 'shop', name: 'child', constraint: 'fk2', parent: 'shop.parent', actions: ['ON DELETE CASCADE', 'ON UPDATE SET NULL'] },
    ]);
    expect(await listCascades(session, [])).toEqual([]);
  });

  test('a few of many tables, and many, give the same shapes; those that are gone are left out', async () => {
    await server.query(`CREATE DATABASE many; ${Array.from({ length: 120 }, (_, at) => `CREATE TABLE many.t${at} (id INT PRIMARY KEY, js JSON);`).join(' ')}`);
    const tables = (await listTables(session)).filter(({ namespace }) => namespace === 'many');
    expect(tables.length).toBe(120);
    const all = await readTables(session, tables);
    const few = await readTables(session, tables.slice(0, 7));
    expect(few.tables).toEqual(all.tables.slice(0, 7));
    expect(new Set(all.tables.map(({ shape }) => JSON.stringify(shape.columns[1]))).size).toBe(1);
    await server.query('DROP TABLE many.t0');
    const without = await readTables(session, tables.slice(0, 7));
    expect(without.tables.map(({ name }) => name)).toEqual(tables.slice(0, 7).map(({ name }) => name).filter((name) => name !== 't0'));
    expect(without.missing).toEqual([{ namespace: 'many', name: 't0' }]);
    await server.query('DROP DATABASE many');
  });

  test('what a user may not read is told', async () => {
    await server.query(`CREATE USER part@'%'; GRANT SELECT (id, a), INSERT ON shop.d1 TO part@'%'`);
    await using limited = await endpointOf(server.url('', 'part')).open(never);
    const tables = await listTables(limited);
    expect(tables.map(({ name }) => name)).toEqual(['d1']);
    const { tables: [table] } = await readTables(limited, tables);
    expect(table?.shape.columns.map(({ name }) => name).filter((name) => !table.unreadable.includes(name))).toEqual(['id', 'a']);
    await server.query(`REVOKE INSERT ON shop.d1 FROM part@'%'`);
    await using less = await endpointOf(server.url('', 'part')).open(never);
    const { unclear } = await readTables(less, tables);
    expect(unclear).toMatchObject([{ table: { name: 'd1' }, error: { code: 'MYSQL_ACCESS' } }]);
  });
});

test('MySQL: invisible columns, keys that the server adds, expressions', async () => {
  await using server = await startMysql({ version: 'mysql-9', databases: ['shop'] });
  await server.query(`CREATE TABLE i (id INT PRIMARY KEY, inv INT INVISIBLE DEFAULT 3, ex VARCHAR(40) DEFAULT (UUID()), UNIQUE KEY u ((inv + 1)));
    SET SESSION sql_generate_invisible_primary_key = ON; CREATE TABLE g (a INT)`, 'shop');
  await using session = await endpointOf(server.url()).open(never);
  const { tables: [g, i] } = await readTables(session, await listTables(session));
  if (g === undefined || i === undefined) throw new Error('a table is missing');
  expect(g.shape.columns.map(({ name, invisible }) => [name, invisible])).toEqual([['my_row_id', true], ['a', false]]);
  expect(keyOf(g.shape)).toEqual({ kind: 'primary', numbers: [1] });
  expect(i.shape.columns[1]).toMatchObject({ invisible: true, default: { kind: 'constant', text: '3' } });
  expect(i.shape.columns[2]).toMatchObject({ invisible: false, default: { kind: 'expression' } });
  expect(i.shape.keys[1]).toMatchObject({ name: 'u', parts: [{ column: null }] });
});

test('MariaDB: system-versioned tables and the types of its own', async () => {
  await using server = await startMysql({ version: 'mariadb-11.8', databases: ['shop'] });
  await server.query(`CREATE TABLE v (id INT PRIMARY KEY, u UUID DEFAULT '123e4567-E89b-12d3-a456-426655440000', i INET6, w VECTOR(3)) WITH SYSTEM VERSIONING; CREATE SEQUENCE s`, 'shop');
  await using session = await endpointOf(server.url()).open(never);
  const { tables } = await readTables(session, await listTables(session));
  expect(tables).toMatchObject([{ name: 'v', shape: { systemVersioned: true } }]);
  expect(tables[0]?.shape.columns.map((column) => typeOfColumn(column).name).slice(0, 4)).toEqual(['int', 'uuid', 'inet6', 'vector']);
});
