import { describe, expect, test } from 'vitest';
import { applyAlter } from '../../../../connectors/mysql/ddl/apply-alter.ts';
import { applyCreate } from '../../../../connectors/mysql/ddl/apply-create.ts';
import type { TableName } from '../../../../connectors/mysql/ddl/context.ts';
import { type StatementEffect, touches } from '../../../../connectors/mysql/ddl/effects.ts';
import { type TableShape, shapeLike } from '../../../../connectors/mysql/ddl/shape.ts';
import { readStatement } from '../../../../connectors/mysql/ddl/statement.ts';
import { startMysql } from '../../../fixtures/mysql.ts';
import { ServerSession, plainShape } from './server-shape.ts';

const VERSIONS = ['mysql-8.0', 'mysql-9', 'mariadb-10.11', 'mariadb-11.8'] as const;

const DEFINED = [
  "CREATE TABLE a (id int PRIMARY KEY, x varchar(10) DEFAULT 'it''s', y enum('p','q') NOT NULL)",
  "INSERT INTO a VALUES (1, 'x', 'p')",
  'CREATE TABLE b LIKE a',
  'ALTER TABLE b ADD z text FIRST',
  'CREATE TABLE c AS SELECT id, x AS xx, 1.5 AS n FROM a',
  'RENAME TABLE a TO swap, b TO a, swap TO b',
  'ALTER TABLE c RENAME TO d, ADD y int FIRST',
  'CREATE TEMPORARY TABLE tt (q int, r varchar(5) COLLATE latin1_bin)',
  'CREATE TABLE e LIKE tt',
  'ALTER TABLE tt ADD s int',
  'DROP TEMPORARY TABLE tt',
  'CREATE TABLE f (a int)',
  'CREATE TABLE `f``2` (a int)',
  'DROP TABLE IF EXISTS f, `f``2`, nothing',
  'CREATE DATABASE other CHARACTER SET latin1 COLLATE latin1_bin',
  'CREATE TABLE other.g (a varchar(5), UNIQUE (a))',
  'CREATE TABLE other.gone (a int)',
  'RENAME TABLE other.g TO shop.g',
  'DROP DATABASE other',
  'CREATE VIEW v AS SELECT * FROM a',
  'CREATE PROCEDURE p() BEGIN CREATE TABLE h (a int); ALTER TABLE h ADD b int; END',
  'CALL p()',
  "CREATE TRIGGER r BEFORE INSERT ON h FOR EACH ROW SET NEW.a = 'DROP TABLE a'",
  'CREATE TABLE IF NOT EXISTS a (other int)',
  'TRUNCATE TABLE a',
  "CREATE TABLE `i` (a int COMMENT ');', `b\\c` int) COMMENT 'x' PARTITION BY HASH (a) PARTITIONS 2",
  'ALTER TABLE i ADD c int DEFAULT 5 AFTER a REMOVE PARTITIONING',
  "PREPARE s FROM 'ALTER TABLE d ADD prepared int'",
  'EXECUTE s',
] as const;

const MARIADB_ONLY = [
  'SET STATEMENT max_statement_time = 10, lock_wait_timeout = 5 FOR ALTER TABLE b ADD st int',
  'CREATE OR REPLACE TABLE e (a int, b json)',
  'CREATE OR REPLACE TABLE g LIKE b',
  'CREATE OR REPLACE TABLE g AS SELECT id, x FROM a',
  "EXECUTE IMMEDIATE 'ALTER TABLE e ADD c int'",
  'CREATE SEQUENCE q1',
  'ALTER TABLE IF EXISTS nothing ADD a int',
] as const;

const tableKey = ({ database, table }: TableName): string => JSON.stringify([database, table]);

/** What follows the statements of a binlog as far as tables go. */
class Tables {
  readonly #shapes = new Map<string, TableShape>();
  readonly #collations = new Map<string, string>();
  readonly #serverCollation: string;

  constructor(serverCollation: string) {
    this.#serverCollation = serverCollation;
  }

  of(database: string): Map<string, TableShape> {
    const found = [...this.#shapes].map(([key, shape]) => [JSON.parse(key) as [string, string], shape] as const);
    return new Map(found.filter(([[name]]) => name === database).map(([[, table], shape]) => [table, shape]));
  }

  follow(effect: StatementEffect): void {
    const database = 'table' in effect ? effect.table.database : '';
    const defaults = { databaseCollation: this.#collations.get(database) ?? this.#serverCollation };
    switch (effect.kind) {
      case 'create-table': {
        const { source } = effect;
        if (effect.ifNotExists && this.#shapes.has(tableKey(effect.table))) return;
        if (source.kind === 'columns') this.#shapes.set(tableKey(effect.table), applyCreate(source.definition, defaults));
        else if (source.kind === 'like') this.#shapes.set(tableKey(effect.table), shapeLike(this.#get(source.table)));
        else throw new Error('the columns of a query are not said');
        return;
      }
      case 'drop-tables':
        for (const table of effect.tables) this.#shapes.delete(tableKey(table));
        return;
      case 'rename-tables':
        for (const { from, to } of effect.renames) this.#rename(from, to);
        return;
      case 'alter-table':
        if (effect.ifExists && !this.#shapes.has(tableKey(effect.table))) return;
        this.#shapes.set(tableKey(effect.table), applyAlter(this.#get(effect.table), effect, defaults).shape);
        if (effect.renameTo !== null) this.#rename(effect.table, effect.renameTo);
        return;
      case 'drop-database':
        for (const table of this.of(effect.database).keys()) this.#shapes.delete(tableKey({ database: effect.database, table }));
        return;
      case 'unknown':
        throw new Error(effect.reason);
      case 'nothing':
      case 'transaction':
      case 'truncate-table':
        return;
      case 'create-database':
        if (effect.charset.collation !== null) this.#collations.set(effect.database, effect.charset.collation);
        return;
      case 'alter-database':
      case 'statement-rows':
      case 'statement-rows-among':
    }
  }

  #get(table: TableName): TableShape {
    const shape = this.#shapes.get(tableKey(table));
    if (shape === undefined) throw new Error(`there is no ${tableKey(table)}`);
    return shape;
  }

  #rename(from: TableName, to: TableName): void {
    const shape = this.#get(from);
    this.#shapes.delete(tableKey(from));
    this.#shapes.set(tableKey(to), shape);
  }
}

describe.each(VERSIONS)('%s', (version) => {
  test('following the statements of a binlog gives the tables that the server has', async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await using session = await ServerSession.open(server, 'shop');
    for (const sql of DEFINED) await session.run(sql);
    if (session.context.flavor === 'mariadb') for (const sql of MARIADB_ONLY) await session.run(sql);
    if (session.context.flavor === 'mysql' && session.context.version >= 80_030) {
      await session.run('SET sql_generate_invisible_primary_key = ON');
      await session.run('CREATE TABLE j (a int)');
    }
    const tables = new Tables((await session.defaults()).databaseCollation);
    for (const { database, sql } of await session.statements()) {
      const effect = readStatement(sql, { ...session.context, database });
      expect(() => tables.follow(effect), sql).not.toThrow();
    }
    const there = await session.rows("SELECT TABLE_NAME name FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' AND TABLE_TYPE = 'BASE TABLE'");
    const followed = tables.of('shop');
    expect([...followed.keys()].sort()).toEqual(there.map((row) => row['name'] ?? '').sort());
    for (const [name, shape] of followed) expect(plainShape(shape), name).toEqual(await session.shape(name));
    expect([...followed.keys()]).toEqual(expect.arrayContaining(['a', 'b', 'd', 'e', 'g', 'h', 'i']));
  });

  test('names are in lower case where the server has them so', async () => {
    if (version !== 'mysql-9' && version !== 'mariadb-11.8') return;
    await using server = await startMysql({ version, databases: ['Shop'], initialSettings: { lower_case_table_names: 1 } });
    await using session = await ServerSession.open(server, 'shop');
    for (const sql of ['CREATE TABLE Orders (a int)', 'CREATE TABLE SHOP.`Äpfel` (A int)', 'ALTER TABLE shop.ORDERS ADD B int', 'RENAME TABLE orders TO Birnen']) await session.run(sql);
    const tables = new Tables((await session.defaults()).databaseCollation);
    for (const { database, sql } of await session.statements()) tables.follow(readStatement(sql, { ...session.context, database }));
    const followed = tables.of('shop');
    expect([...followed.keys()].sort()).toEqual(['birnen', 'äpfel']);
    for (const [name, shape] of followed) expect(plainShape(shape), name).toEqual(await session.shape(name));
  });

  test('statements in place of rows name the tables that they change', async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await using session = await ServerSession.open(server, 'shop');
    await session.run('CREATE TABLE a (id int PRIMARY KEY, x int)');
    await session.run('CREATE TABLE b (id int PRIMARY KEY, x int)');
    await session.run('CREATE TABLE c (id int PRIMARY KEY, x int)');
    const before = (await session.statements()).length;
    await session.run('SET binlog_format = STATEMENT');
    const changes: readonly [string, readonly string[]][] = [
      ['INSERT INTO a VALUES (1, 1), (2, 2)', ['a']],
      ['INSERT INTO b SELECT * FROM a', ['b']],
      ['REPLACE INTO shop.c (id) SELECT id FROM b', ['c']],
      ['UPDATE a SET x = 5 WHERE id = 1', ['a']],
      ['UPDATE a, b SET a.x = 6 WHERE a.id = b.id', ['a', 'b']],
      ['DELETE FROM c WHERE id = 1', ['c']],
      ['DELETE a FROM a JOIN b ON a.id = b.id WHERE b.id = 2', ['a', 'b']],
    ];
    for (const [sql] of changes) await session.run(sql);
    const effects = (await session.statements()).slice(before).map(({ database, sql }) => readStatement(sql, { ...session.context, database }));
    const rows = effects.filter(({ kind }) => kind !== 'transaction');
    const touched = rows.map((effect) => ['a', 'b', 'c'].filter((table) => touches(effect, { database: 'shop', table })));
    expect(touched).toEqual(changes.map(([, tables]) => tables));
    expect(new Set(rows.map(({ kind }) => kind))).toEqual(new Set(['statement-rows', 'statement-rows-among']));
  });

  test('rows that are there get what is said in a column that is added', async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await using session = await ServerSession.open(server, 'shop');
    await session.setMode('');
    await session.run('CREATE TABLE t (id int)');
    await session.run('INSERT INTO t VALUES (1)');
    const before = readStatement('CREATE TABLE t (id int)', session.context);
    if (before.kind !== 'create-table' || before.source.kind !== 'columns') throw new Error(before.kind);
    const defaults = await session.defaults();
    const shape = applyCreate(before.source.definition, defaults);
    const differences: unknown[] = [];
    let constants = 0;
    for (const definition of FILLS) {
      const sql = `ALTER TABLE t ADD COLUMN x ${definition}`;
      await session.run(sql).catch((cause: unknown) => {
        throw new Error(sql, { cause });
      });
      const effect = readStatement(sql, session.context);
      if (effect.kind !== 'alter-table') throw new Error(sql);
      const fill = applyAlter(shape, effect, defaults).added.get(2);
      const [row] = await session.rows('SELECT CAST(x AS CHAR CHARACTER SET utf8mb4) text, HEX(x) hex, BIN(x + 0) bin FROM t');
      const ours = fill?.kind === 'constant' ? fill.text : fill?.kind === 'null' ? null : fill?.kind;
      if (fill?.kind === 'constant') constants++;
      const theirs = serverText(definition, row ?? {});
      if (ours !== theirs) differences.push({ definition, ours, theirs });
      await session.run('ALTER TABLE t DROP COLUMN x');
    }
    expect(differences).toEqual([]);
    expect(constants).toBeGreaterThan(25);
  });
});

const FILLS = [
  'int', 'int NOT NULL', 'int DEFAULT 007', "int DEFAULT '-12'", 'bigint unsigned DEFAULT 18446744073709551615', 'bool DEFAULT TRUE', "int DEFAULT b'101'",
  'decimal(10,2) NOT NULL', "decimal(10,2) DEFAULT '-1.5'", 'decimal(65,30) DEFAULT .5', 'decimal(5) DEFAULT 0012', 'decimal(5,1) DEFAULT -0.0',
  'float DEFAULT 1.5', 'double DEFAULT -1234.25', 'float NOT NULL', "double DEFAULT '0.001'", "bit(4) DEFAULT b'101'", 'bit(4) NOT NULL', 'bit(10) DEFAULT 5',
  'year DEFAULT 2026', 'year NOT NULL', "date DEFAULT '2026-11-21'", 'date NOT NULL', 'datetime NOT NULL', 'datetime(3) NOT NULL', "datetime(3) DEFAULT '2026-11-21 12:00:00.500'",
  "datetime DEFAULT '2026-11-21'", 'time NOT NULL', "time(2) DEFAULT '-10:00:00.10'", "time DEFAULT '838:59:59'",
  "varchar(9) DEFAULT 'it''s' ' é '", "char(9) DEFAULT 'a '", "varchar(9) DEFAULT _utf8mb4'é'", 'varchar(9) DEFAULT 5', 'varchar(9) NOT NULL', 'text NOT NULL', 'char(3) NOT NULL',
  'binary(3) NOT NULL', "binary(3) DEFAULT 'a'", "varbinary(3) DEFAULT x'00FF'", 'varbinary(3) NOT NULL', 'blob NOT NULL', "char(3) CHARACTER SET binary DEFAULT 'ab'",
  "enum('x','y') NOT NULL", "enum('x','y') DEFAULT 'y'", "set('x','y') DEFAULT 'x,y'", "set('x','y') NOT NULL", "varchar(20) CHARACTER SET latin1 DEFAULT 'é'",
] as const;

/** The server's text in canonical form. */
function serverText(definition: string, row: Record<string, string | null>): string | null {
  const { text = null, hex = null, bin = null } = row;
  if (text === null) return null;
  if (/binary|blob/.test(definition)) return `\\x${(hex ?? '').toLowerCase()}`;
  const bits = /^bit\((\d+)\)/.exec(definition)?.[1];
  if (bits !== undefined) return (bin ?? '').padStart(Number(bits), '0');
  if (definition.startsWith('year')) return String(Number(text));
  return /^(?:datetime|time)/.test(definition) ? text.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '') : text;
}
