import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyAlter } from '../../../../connectors/mysql/ddl/apply-alter.ts';
import { applyCreate } from '../../../../connectors/mysql/ddl/apply-create.ts';
import { type SqlContext, SQL_MODE } from '../../../../connectors/mysql/ddl/context.ts';
import { touches } from '../../../../connectors/mysql/ddl/effects.ts';
import { readStatement } from '../../../../connectors/mysql/ddl/statement.ts';
import { Tokenizer } from '../../../../connectors/mysql/ddl/tokens.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { DEFAULTS, MARIADB, MYSQL } from './contexts.ts';

const ORDERS = { database: 'shop', table: 'orders' };

const context: fc.Arbitrary<SqlContext> = fc.record({
  flavor: fc.constantFrom('mysql' as const, 'mariadb' as const),
  version: fc.constantFrom(80_015, 80_042, 90_704, 101_106, 110_806),
  database: fc.constantFrom('shop', ''),
  sqlMode: fc.constantFrom(0n, SQL_MODE.ANSI_QUOTES, SQL_MODE.NO_BACKSLASH_ESCAPES, SQL_MODE.ORACLE),
  lowerCaseNames: fc.boolean(),
  explicitTimestamps: fc.boolean(),
});

/** Statements about `orders`; none is about an object that is no table. */
const STATEMENTS = [
  'CREATE TABLE orders (id int NOT NULL AUTO_INCREMENT, `name` varchar(20) CHARACTER SET latin1 DEFAULT \'it\'\'s\', PRIMARY KEY (id), UNIQUE KEY u (name(5))) ENGINE=InnoDB',
  'CREATE TABLE shop.orders LIKE other',
  'CREATE TABLE orders SELECT * FROM other',
  'DROP TABLE IF EXISTS other, `orders`',
  'TRUNCATE TABLE orders',
  'RENAME TABLE orders TO old, other TO orders',
  'ALTER TABLE orders ADD COLUMN a decimal(10,2) NOT NULL DEFAULT 1.5 AFTER id, DROP COLUMN b, CHANGE c d enum(\'x\',\'y\') FIRST, ADD UNIQUE (a)',
  'ALTER TABLE orders RENAME COLUMN a TO b, MODIFY c bit(3) DEFAULT b\'101\', ALTER d SET DEFAULT \'2026-11-21\', CONVERT TO CHARACTER SET utf8mb4',
  'ALTER TABLE other EXCHANGE PARTITION p WITH TABLE orders',
  'ALTER TABLE other RENAME TO orders',
  'CREATE UNIQUE INDEX i ON orders (a, b(10))',
  'DROP INDEX i ON orders',
  'INSERT INTO orders (a) VALUES (1)',
  'REPLACE INTO orders SELECT * FROM other',
  'UPDATE other JOIN orders SET other.a = 1',
  'DELETE FROM orders WHERE a = "x"',
  'LOAD DATA INFILE \'f\' INTO TABLE orders',
  'WITH c AS (SELECT 1) DELETE FROM orders',
] as const;

const PIECES = ['TABLE', 'INDEX', 'COLUMN', 'ADD', 'DROP', 'FIRST', 'IF', 'EXISTS', 'NOT', 'NULL', 'PARTITION', 'BY', 'TO', 'AS', 'SELECT', 'KEY', '(', ')', ',', '.', ';', '=', '`', "'", '"', '/*', '*/', '/*!', '--', '#', '\\', '5', '99999999999', 'orders', 'x', 'int', 'varchar', '_latin1', "x'4f'", '@', '\u{1f600}'] as const;

/** A statement with pieces taken out, put in and exchanged; its verb stays. */
const mutated = fc
  .tuple(fc.constantFrom(...STATEMENTS), fc.array(fc.tuple(fc.nat(), fc.constantFrom<'out' | 'in' | 'over'>('out', 'in', 'over'), fc.constantFrom(...PIECES)), { maxLength: 6 }))
  .map(([sql, changes]) => {
    const [verb = '', ...words] = sql.split(/(?<=[\s(),.])|(?=[\s(),.])/);
    for (const [at, kind, piece] of changes) {
      const place = at % (words.length + 1);
      if (kind === 'out') words.splice(place, 1);
      else words.splice(place, kind === 'in' ? 0 : 1, piece, ' ');
    }
    return `${verb} ${words.join('')}`;
  });

function hasName(sql: string, under: SqlContext): boolean {
  const tokenizer = new Tokenizer(sql, under);
  for (let token = tokenizer.next(); token.kind !== 'end'; token = tokenizer.next()) {
    if ((token.kind === 'word' || token.kind === 'name') && token.text === 'orders') return true;
    if (token.kind === 'broken' && /(?<![\w$])orders(?![\w$\u{1f600}])/u.test(token.text)) return true;
  }
  return false;
}

describe('whatever the text', () => {
  test('a statement about a table is never of no matter', () => {
    fc.assert(
      fc.property(mutated, context, (sql, under) => {
        const effect = readStatement(sql, under);
        if (hasName(sql, under)) expect(['nothing', 'transaction', 'create-database', 'alter-database']).not.toContain(effect.kind);
        if (effect.kind === 'unknown' && hasName(sql, under)) expect(touches(effect, ORDERS)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test('no other error than the typed one', () => {
    const before = readStatement('CREATE TABLE orders (id int PRIMARY KEY, a int, b int, c bit(3), d date, UNIQUE u (a, b))', MYSQL);
    if (before.kind !== 'create-table' || before.source.kind !== 'columns') throw new Error(before.kind);
    const shape = applyCreate(before.source.definition, DEFAULTS);
    const text = fc.oneof(mutated, fc.string({ unit: 'binary' }), fc.array(fc.constantFrom(...PIECES, ...STATEMENTS), { maxLength: 20 }).map((pieces) => pieces.join(' ')));
    fc.assert(
      fc.property(text, context, (sql, under) => {
        const effect = readStatement(sql, under);
        touches(effect, ORDERS);
        try {
          if (effect.kind === 'create-table' && effect.source.kind === 'columns') applyCreate(effect.source.definition, DEFAULTS);
          if (effect.kind === 'alter-table') applyAlter(shape, effect, DEFAULTS);
        } catch (error) {
          if (!(error instanceof TidemarkError)) throw error;
          expect(error.code).toBe('MYSQL_SHAPE');
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('round trips', () => {
  const name = fc.string({ unit: fc.constantFrom('a', 'B', '0', '$', '_', ' ', '`', '"', "'", '.', '-', '*', '/', '\\', 'é', '\u{1f600}', '#', ';', '('), minLength: 1, maxLength: 8 });
  const quoted = (text: string): string => `\`${text.replaceAll('`', '``')}\``;
  const gap = fc.constantFrom(' ', '\n', '\t ', ' /* ` */ ', ' -- \'\n', ' # "\n', '/**/ ', ' /*! */ ');

  test('names come back as they were written', () => {
    fc.assert(
      fc.property(fc.tuple(name, name, name, name), fc.tuple(gap, gap, gap), fc.constantFrom(MYSQL, MARIADB, { ...MYSQL, sqlMode: SQL_MODE.NO_BACKSLASH_ESCAPES }), ([a, b, c, d], [x, y, z], under) => {
        const sql = `rename${x}TABLE${y}${quoted(a)}.${quoted(b)}${z}To ${quoted(c)}${x}.${y}${quoted(d)}`;
        expect(readStatement(sql, under)).toEqual({
          kind: 'rename-tables', ifExists: false, renames: [{ from: { database: a, table: b }, to: { database: c, table: d } }],
        });
      }),
    );
  });

  test('labels and defaults come back as they were written', () => {
    const escaped = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
    fc.assert(
      fc.property(fc.uniqueArray(name.map((label) => label.trimEnd()), { minLength: 1, maxLength: 4 }), name, gap, (labels, column, space) => {
        const sql = `ALTER TABLE t ADD${space}${quoted(column)} enum(${labels.map(escaped).join(`${space},`)}) NOT NULL DEFAULT ${escaped(labels[0] ?? '')}${space}COMMENT ${escaped(column)}`;
        const effect = readStatement(sql, MYSQL);
        if (effect.kind !== 'alter-table') throw new Error(JSON.stringify(effect));
        const { shape, added } = applyAlter({ columns: [], keys: [], nextNumber: 1, collation: 'utf8mb4_bin', systemVersioned: false }, effect, DEFAULTS);
        expect(shape.columns[0]?.name).toBe(column);
        expect(added.get(1)).toEqual({ kind: 'constant', text: labels[0] });
        expect(shape.columns[0]?.type).toBe(`enum(${labels.map(escaped).join(',')})`);
      }),
    );
  });
});
