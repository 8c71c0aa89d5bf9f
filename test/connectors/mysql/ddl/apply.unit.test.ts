import { describe, expect, test } from 'vitest';
import { applyAlter } from '../../../../connectors/mysql/ddl/apply-alter.ts';
import { applyCreate } from '../../../../connectors/mysql/ddl/apply-create.ts';
import { type SqlContext, SQL_MODE } from '../../../../connectors/mysql/ddl/context.ts';
import { type TableShape, shapeLike } from '../../../../connectors/mysql/ddl/shape.ts';
import { readStatement } from '../../../../connectors/mysql/ddl/statement.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { DEFAULTS, MARIADB, MYSQL } from './contexts.ts';

function created(sql: string, context: SqlContext = MYSQL): TableShape {
  const effect = readStatement(sql, context);
  if (effect.kind !== 'create-table' || effect.source.kind !== 'columns') throw new Error(JSON.stringify(effect));
  return applyCreate(effect.source.definition, DEFAULTS);
}

function altered(shape: TableShape, sql: string, context: SqlContext = MYSQL) {
  const effect = readStatement(sql, context);
  if (effect.kind !== 'alter-table') throw new Error(JSON.stringify(effect));
  return applyAlter(shape, effect, DEFAULTS);
}

const columns = (shape: TableShape): string => shape.columns.map(({ number, name }) => `${number}:${name}`).join(' ');
const keys = (shape: TableShape): string => shape.keys.map((key) => `${key.name}(${key.parts.map(({ column }) => column).join(',')})`).join(' ');

const TABLE = created('CREATE TABLE t (a int PRIMARY KEY, b int, c varchar(10), UNIQUE (b, c), KEY (c(4)))');

describe('numbers of columns', () => {
  test.each<[string, string]>([
    ['ALTER TABLE t ADD d int FIRST, ADD e int AFTER a', '4:d 1:a 5:e 2:b 3:c'],
    ['ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a', '1:b 2:a 3:c'],
    ['ALTER TABLE t CHANGE a z int AFTER c, MODIFY b bigint', '2:b 3:c 1:z'],
    ['ALTER TABLE t DROP b, ADD b int', '1:a 3:c 4:b'],
    ['ALTER TABLE t DROP b, ADD b int FIRST, CHANGE c x int', '4:b 1:a 3:x'],
    ['ALTER TABLE t MODIFY c text FIRST, ADD d int AFTER c', '3:c 4:d 1:a 2:b'],
  ])('%s', (sql, expected) => expect(columns(altered(TABLE, sql).shape)).toBe(expected));

  test('are never given again', () => {
    const dropped = altered(altered(TABLE, 'ALTER TABLE t ADD d int').shape, 'ALTER TABLE t DROP d').shape;
    expect(columns(altered(dropped, 'ALTER TABLE t ADD d int').shape)).toBe('1:a 2:b 3:c 5:d');
  });

  test('begin anew in a table made like another', () => {
    const shape = shapeLike(altered(TABLE, 'ALTER TABLE t DROP COLUMN a, ADD d int FIRST, DROP PRIMARY KEY').shape);
    expect([columns(shape), keys(shape), shape.nextNumber]).toEqual(['1:d 2:b 3:c', 'b(2,3) c(3)', 4]);
  });
});

describe('keys', () => {
  test.each<[string, string]>([
    ['ALTER TABLE t ADD UNIQUE (b), ADD UNIQUE (b, a)', 'PRIMARY(1) b(2,3) c(3) b_2(2) b_3(2,1)'],
    ['ALTER TABLE t DROP b', 'PRIMARY(1) b(3) c(3)'],
    ['ALTER TABLE t DROP b, ADD b int', 'PRIMARY(1) b(4,3) c(3)'],
    ['ALTER TABLE t CHANGE c x varchar(3), DROP PRIMARY KEY, ADD PRIMARY KEY (x)', 'b(2,3) c(3) PRIMARY(3)'],
    ['ALTER TABLE t DROP CONSTRAINT b, DROP CONSTRAINT nothing', 'PRIMARY(1) c(3)'],
    ['ALTER TABLE t RENAME KEY b TO x, ADD d int UNIQUE', 'PRIMARY(1) x(2,3) c(3) d(4)'],
    ['ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (a), ADD CONSTRAINT f FOREIGN KEY (c) REFERENCES u (c)', 'PRIMARY(1) b(2,3) c(3) f(3)'],
  ])('%s', (sql, expected) => expect(keys(altered(TABLE, sql).shape)).toBe(expected));

  test('a prefix as long as the column is no prefix', () => {
    const lengths = (sql: string): unknown => altered(TABLE, sql).shape.keys.at(-1)?.parts[0]?.length;
    expect([lengths('ALTER TABLE t FORCE'), lengths('ALTER TABLE t MODIFY c char(4)'), lengths('ALTER TABLE t MODIFY c text'), lengths('ALTER TABLE t MODIFY c int')]).toEqual([4, null, 4, null]);
  });

  test('columns of the primary key are never NULL', () => {
    const shape = altered(TABLE, 'ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (b), MODIFY a int NULL').shape;
    expect(shape.columns.map(({ nullable }) => nullable)).toEqual([true, false, true]);
  });
});

test.each([
  'ALTER TABLE t DROP z',
  'ALTER TABLE t ADD b int',
  'ALTER TABLE t MODIFY z int',
  'ALTER TABLE t ADD z int AFTER y',
  'ALTER TABLE t DROP KEY z',
  'ALTER TABLE t ADD KEY (z)',
  'ALTER TABLE t ADD PRIMARY KEY (b)',
  'ALTER TABLE t ADD KEY B (a)',
  'ALTER TABLE t DROP a, DROP b, DROP c',
  'ALTER TABLE t RENAME KEY z TO y',
])('cannot have been run: %s', (sql) => {
  const failure = (): unknown => {
    try {
      return altered(TABLE, sql);
    } catch (error) {
      return error;
    }
  };
  expect(failure()).toBeInstanceOf(TidemarkError);
  expect(failure()).toMatchObject({ code: 'MYSQL_SHAPE' });
});

describe('what rows that are there get in a new column', () => {
  const unknown = { kind: 'unknown' };
  const constant = (text: string): unknown => ({ kind: 'constant', text });
  test.each<[string, unknown]>([
    ['int', { kind: 'null' }],
    ['int DEFAULT NULL', { kind: 'null' }],
    ['int NOT NULL', constant('0')],
    ['int DEFAULT 007', constant('7')],
    ["int DEFAULT '-12'", constant('-12')],
    ['bigint unsigned DEFAULT 18446744073709551615', constant('18446744073709551615')],
    ['int DEFAULT 1.5', unknown],
    ['bool DEFAULT TRUE', constant('1')],
    ["int DEFAULT b'101'", constant('5')],
    ['decimal(10,2) NOT NULL', constant('0.00')],
    ["decimal(10,2) DEFAULT '-1.5'", constant('-1.50')],
    ['decimal(10,2) DEFAULT 1.555', unknown],
    ['decimal(65,30) DEFAULT .5', constant(`0.5${'0'.repeat(29)}`)],
    ['float DEFAULT 1.5', constant('1.5')],
    ['double DEFAULT 1e100', unknown],
    ["bit(4) DEFAULT b'101'", constant('0101')],
    ['bit(4) NOT NULL', constant('0000')],
    ['year DEFAULT 2026', constant('2026')],
    ["date DEFAULT '2026-11-21'", constant('2026-11-21')],
    ["date DEFAULT '2026-1-2'", unknown],
    ['date NOT NULL', constant('0000-00-00')],
    ["datetime(3) DEFAULT '2026-11-21 12:00:00.500'", constant('2026-11-21 12:00:00.5')],
    ["datetime DEFAULT TIMESTAMP'2026-11-21 12:00:00'", constant('2026-11-21 12:00:00')],
    ["datetime DEFAULT '2026-11-21'", constant('2026-11-21 00:00:00')],
    ["datetime DEFAULT '2026-11-21 12:00:00.5'", unknown],
    ["timestamp NULL DEFAULT '2026-11-21 12:00:00'", unknown],
    ['datetime DEFAULT CURRENT_TIMESTAMP', unknown],
    ["time DEFAULT '-10:00:00'", constant('-10:00:00')],
    ["varchar(9) DEFAULT 'it''s' ' é '", constant("it's é ")],
    ["char(9) DEFAULT 'a '", constant('a')],
    ["varchar(9) DEFAULT _latin1'é'", unknown],
    ["varchar(9) DEFAULT _utf8mb4'é'", constant('é')],
    ['varchar(9) DEFAULT 5', constant('5')],
    ['varchar(9) DEFAULT (uuid())', unknown],
    ['text NOT NULL', constant('')],
    ['binary(3) NOT NULL', constant('\\x000000')],
    ["binary(3) DEFAULT 'a'", constant('\\x610000')],
    ["varbinary(3) DEFAULT x'00FF'", constant('\\x00ff')],
    ['varbinary(3) NOT NULL', constant('\\x')],
    ["char(3) CHARACTER SET binary DEFAULT 'ab'", constant('\\x616200')],
    ["enum('x','y') NOT NULL", constant('x')],
    ["enum('x','y') DEFAULT 'y'", constant('y')],
    ["enum('x','y') DEFAULT 'Y'", unknown],
    ["set('x','y') DEFAULT 'x,y'", constant('x,y')],
    ["set('x','y') DEFAULT 'y,x'", unknown],
    ["set('x','y') NOT NULL", constant('')],
    ['json NOT NULL', unknown],
    ['int AS (a + 1)', unknown],
  ])('%s', (definition, expected) => {
    const { shape, added } = altered(TABLE, `ALTER TABLE t ADD x ${definition}`);
    expect([...added]).toEqual([[shape.columns.at(-1)?.number, expected]]);
  });
});

describe('columns', () => {
  test('a TIMESTAMP is NOT NULL where its defaults are not explicit', () => {
    const sql = 'CREATE TABLE t (a timestamp, b timestamp NULL, c datetime)';
    expect(created(sql).columns.map(({ nullable }) => nullable)).toEqual([true, true, true]);
    expect(created(sql, { ...MYSQL, explicitTimestamps: false }).columns.map(({ nullable, default: { kind } }) => `${nullable} ${kind}`)).toEqual(['false expression', 'true none', 'true none']);
  });

  test('JSON of MariaDB is text that a check keeps', () => {
    const shape = created('CREATE TABLE t (a json, b longtext CHECK (json_valid(`b`)), c text CHECK (json_valid(a)), d json CHECK (d IS NOT NULL))', MARIADB);
    expect(shape.columns.map(({ type, collation, json }) => [type, collation, json])).toEqual([
      ['longtext', 'utf8mb4_bin', true], ['longtext', 'utf8mb4_bin', true], ['text', 'utf8mb4_bin', false], ['longtext', 'utf8mb4_bin', true],
    ]);
    expect(altered(shape, 'ALTER TABLE t MODIFY a longtext', MARIADB).shape.columns[0]?.json).toBe(false);
  });

  test('MariaDB keeps versions of rows in columns of their own', () => {
    const shape = created('CREATE TABLE t (a int, s timestamp(6) GENERATED ALWAYS AS ROW START, e timestamp(6) AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING', MARIADB);
    expect([shape.systemVersioned, shape.columns.map(({ rowBound }) => rowBound)]).toEqual([true, [null, 'start', 'end']]);
    expect(altered(TABLE, 'ALTER TABLE t ADD SYSTEM VERSIONING', MARIADB).shape.systemVersioned).toBe(true);
    expect(altered(shape, 'ALTER TABLE t DROP SYSTEM VERSIONING', MARIADB).shape.systemVersioned).toBe(false);
  });

  test('types by the version of the server', () => {
    const sql = 'CREATE TABLE t (a int, b bigint unsigned, c tinyint(1), d tinyint(1) unsigned, e year, f int(5) zerofill, g bool)';
    const types = (context: SqlContext): string => created(sql, context).columns.map(({ type }) => type).join(', ');
    expect(types(MYSQL)).toBe('int, bigint unsigned, tinyint(1), tinyint unsigned, year, int(5) unsigned zerofill, tinyint(1)');
    expect(types({ ...MYSQL, version: 80_018 })).toBe('int(11), bigint(20) unsigned, tinyint(1), tinyint(1) unsigned, year(4), int(5) unsigned zerofill, tinyint(1)');
  });

  test('collations that the session chose', () => {
    const effect = readStatement('ALTER TABLE t ADD d text CHARACTER SET utf8mb4', MYSQL);
    if (effect.kind !== 'alter-table') throw new Error(effect.kind);
    const defaults = { ...DEFAULTS, collations: new Map([['utf8mb4', 'utf8mb4_general_ci']]) };
    expect(applyAlter(TABLE, effect, defaults).shape.columns.at(-1)?.collation).toBe('utf8mb4_general_ci');
    expect(altered(TABLE, 'ALTER TABLE t ADD d text CHARACTER SET utf8mb4 COLLATE uca1400_as_cs', MARIADB).shape.columns.at(-1)?.collation).toBe('utf8mb4_uca1400_as_cs');
  });
});

describe('columns whose values may change', () => {
  const STRICT = { ...MYSQL, sqlMode: SQL_MODE.STRICT_TRANS_TABLES };
  const rewritten = (from: string, to: string, context: SqlContext = STRICT): boolean => {
    const shape = created(`CREATE TABLE t (a ${from}, b int) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`, context);
    return altered(shape, `ALTER TABLE t MODIFY a ${to}`, context).rewritten.has(1);
  };

  test.each<[string, string]>([
    ['int', 'bigint'], ['int unsigned', 'bigint'], ['int', 'int(5)'], ['varchar(10)', 'varchar(20)'], ['varchar(63)', 'tinytext'], ['char(5)', 'varchar(5)'],
    ['text', 'mediumtext'], ['decimal(10,2)', 'decimal(12,2)'], ['decimal(10,2) unsigned', 'decimal(10,2)'], ['datetime', 'datetime(3)'], ['varbinary(5)', 'blob'], ['binary(5)', 'varbinary(5)'],
    ["enum('a','b')", "enum('b','c','a')"], ["set('a','b')", "set('a','x','b')"], ['varchar(10) CHARACTER SET latin1', 'varchar(10)'], ['varchar(10)', 'varchar(10) COLLATE utf8mb4_general_ci'],
    ['int', 'int NOT NULL'], ['int', 'int DEFAULT 5'], ['point', 'geometry'], ['text CHARACTER SET utf8mb3', 'text'],
  ])('%s to %s keeps them', (from, to) => expect(rewritten(from, to)).toBe(false));

  test.each<[string, string]>([
    ['bigint', 'int'], ['int', 'int unsigned'], ['int unsigned', 'int'], ['varchar(20)', 'varchar(10)'], ['varchar(64)', 'tinytext'], ['varchar(5)', 'char(5)'], ['text', 'varchar(5)'],
    ['decimal(10,2)', 'decimal(10,3)'], ['decimal(10,2)', 'decimal(9,2)'], ['float', 'double'], ['datetime(3)', 'datetime'], ['timestamp', 'datetime'], ['binary(5)', 'binary(6)'], ['bit(3)', 'bit(4)'],
    ["enum('a','b')", "enum('a')"], ["set('a','b')", "set('b','a')"], ['varchar(10)', 'varchar(10) CHARACTER SET latin1'], ['text CHARACTER SET latin1', 'text'], ['int', 'varchar(20)'],
    ['int', 'int AUTO_INCREMENT UNIQUE'], ['timestamp', 'timestamp NOT NULL'], ['int', 'int AS (b + 1) STORED'], ['varchar(5)', 'varbinary(20)'],
  ])('%s to %s may change them', (from, to) => expect(rewritten(from, to)).toBe(true));

  test('a NULL is kept under a strict mode only', () => {
    expect(rewritten('int', 'int NOT NULL', MYSQL)).toBe(true);
    expect(rewritten('int NOT NULL', 'int', MYSQL)).toBe(false);
  });

  test('what is computed of them, and a key over what was NULL', () => {
    const shape = created('CREATE TABLE t (a int, b int AS (a + 1), c int)', STRICT);
    const numbers = (sql: string, context: SqlContext = STRICT): number[] => [...altered(shape, sql, context).rewritten];
    expect(numbers('ALTER TABLE t MODIFY a tinyint')).toEqual([1, 2]);
    expect(numbers('ALTER TABLE t MODIFY b int AS (a + 2)')).toEqual([2]);
    expect(numbers('ALTER TABLE t RENAME COLUMN b TO x, ADD d int, DROP c')).toEqual([]);
    expect(numbers('ALTER TABLE t ADD PRIMARY KEY (c)', MYSQL)).toEqual([3, 2]);
    expect(numbers('ALTER TABLE t ADD PRIMARY KEY (c)')).toEqual([]);
  });
});
