import type { MysqlSession } from '../../fixtures/mysql-session.ts';

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

/** Tables beside the shop that have what is hard to follow. A long text is left out of changes of other columns. */
export async function createHardTables(session: MysqlSession): Promise<void> {
  await session.query(`
    CREATE TABLE counters (
      id int PRIMARY KEY, n int NOT NULL DEFAULT 1, slot int NOT NULL UNIQUE, body mediumtext NOT NULL, note text, doc json
    ) CHARACTER SET utf8mb4;
    CREATE TABLE bag (a int, b varchar(200), c binary(6)) CHARACTER SET latin1;
    CREATE TABLE visits (name varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n int NOT NULL) CHARACTER SET utf8mb4;
    ${SHAPES}`);
  await session.query('INSERT INTO counters (id, slot, body, doc) VALUES ?', [numbers(400).map((n) => [n, n, `${n}-`.repeat(800), `{"n": ${n}, "long": "${'x'.repeat(100)}"}`])]);
  await session.query('INSERT INTO bag VALUES ?', [numbers(100).map((n) => [n % 20, `b${n % 3}`, 'z'])]);
  await session.query('INSERT INTO visits VALUES ?', [numbers(50).map((n) => [`v${n}`, 1])]);
  await session.query('INSERT INTO shapes (id) VALUES ?', [numbers(200).map((n) => [n])]);
}

const SHAPES = 'CREATE TABLE shapes (id int PRIMARY KEY, n int NOT NULL DEFAULT 1) CHARACTER SET utf8mb4';
const KEPT: Readonly<Record<string, readonly string[]>> = {
  shapes: ['id', 'n'],
  orders: ['id', 'customer_id', 'status', 'total', 'note', 'placed_at', 'version'],
};

/** A change of a table's shape, statement by statement: each is a transaction. May be begun anew after any of them. */
export interface ShapeChange {
  readonly name: string;
  /** @param fresh a name that is new */
  readonly statements: (session: MysqlSession, fresh: string) => Promise<readonly string[]>;
}

const change = (name: string, statements: (fresh: string) => readonly string[]): ShapeChange => ({ name, statements: (_session, fresh) => Promise.resolve(statements(fresh)) });

export const SHAPE_CHANGES: readonly ShapeChange[] = [
  change('a nullable column comes', (fresh) => [`ALTER TABLE shapes ADD COLUMN ${fresh} text`, `UPDATE shapes SET ${fresh} = 'set' WHERE id % 3 = 0`]),
  change('a column with a constant default comes', (fresh) => [`ALTER TABLE shapes ADD COLUMN ${fresh} decimal(8,2) NOT NULL DEFAULT 1.50`]),
  change('a column comes between others', (fresh) => [`ALTER TABLE shapes ADD COLUMN ${fresh} varchar(20) NOT NULL DEFAULT 'middle' AFTER id`]),
  change('a column with values of its own comes', (fresh) => [`ALTER TABLE shapes ADD COLUMN ${fresh} int DEFAULT (id * 2)`]),
  { name: 'columns go', statements: (session) => dropAllBut(session, 'shapes') },
  { name: 'a busy table loses columns', statements: (session) => dropAllBut(session, 'orders') },
  change('a busy table gets a column', (fresh) => [`ALTER TABLE orders ADD COLUMN ${fresh} int DEFAULT 7`]),
  change('a column goes and comes again', (fresh) => [
    `ALTER TABLE shapes ADD COLUMN ${fresh} text`, `UPDATE shapes SET ${fresh} = 'set'`, `ALTER TABLE shapes DROP COLUMN ${fresh}`, `ALTER TABLE shapes ADD COLUMN ${fresh} text`,
  ]),
  change('a column is renamed', (fresh) => [`ALTER TABLE shapes ADD COLUMN ${fresh} text`, `ALTER TABLE shapes RENAME COLUMN ${fresh} TO ${fresh}_renamed`]),
  change('a column is renamed and another takes its name', (fresh) => [
    `ALTER TABLE shapes ADD COLUMN ${fresh} int DEFAULT 1, ADD COLUMN ${fresh}_2 int DEFAULT 2`,
    `ALTER TABLE shapes CHANGE COLUMN ${fresh} ${fresh}_3 int DEFAULT 1, CHANGE COLUMN ${fresh}_2 ${fresh} int DEFAULT 2`,
  ]),
  change('a column grows', () => ['ALTER TABLE shapes MODIFY COLUMN n bigint NOT NULL DEFAULT 1']),
  change('a column shrinks', () => ['ALTER TABLE shapes MODIFY COLUMN n int NOT NULL DEFAULT 1']),
  change('the texts of a table get another charset', () => ['ALTER TABLE bag CONVERT TO CHARACTER SET utf8mb4', 'ALTER TABLE bag CONVERT TO CHARACTER SET latin1']),
  change('an enum gets a label, and is put in another order', (fresh) => [
    `ALTER TABLE shapes ADD COLUMN ${fresh} enum('a','b') NOT NULL DEFAULT 'b'`, `UPDATE shapes SET ${fresh} = 'a' WHERE id % 2 = 0`,
    `ALTER TABLE shapes MODIFY COLUMN ${fresh} enum('a','b','c') NOT NULL DEFAULT 'b'`, `ALTER TABLE shapes MODIFY COLUMN ${fresh} enum('c','b','a') NOT NULL DEFAULT 'b'`,
  ]),
  change('a table is made anew', () => ['DROP TABLE IF EXISTS shapes', SHAPES, `INSERT INTO shapes (id) VALUES ${numbers(150).map((n) => `(${n})`).join(', ')}`]),
  // As gh-ost and pt-online-schema-change do at their end.
  change('a table is swapped with its altered copy', (fresh) => [
    `CREATE TABLE _${fresh}_gho LIKE shapes`, `ALTER TABLE _${fresh}_gho ADD COLUMN ${fresh} int NOT NULL DEFAULT 3`, 
    `INSERT IGNORE INTO _${fresh}_gho (id, n) SELECT id, n FROM shapes`, `RENAME TABLE shapes TO _${fresh}_del, _${fresh}_gho TO shapes`, `DROP TABLE _${fresh}_del`,
  ]),
  change('two tables change names', (fresh) => [
    `CREATE TABLE _${fresh} LIKE visits`, `INSERT INTO _${fresh} VALUES ('swapped', 1)`,
    `RENAME TABLE visits TO _${fresh}_x, _${fresh} TO visits, _${fresh}_x TO _${fresh}`, `INSERT INTO visits VALUES ('after', 2)`, `DROP TABLE _${fresh}`,
  ]),
  change('a table is rebuilt as it is', () => ['ALTER TABLE counters ENGINE = InnoDB', 'OPTIMIZE TABLE visits', 'ANALYZE TABLE orders']),
];

async function dropAllBut(session: MysqlSession, table: string): Promise<string[]> {
  const rows = await session.query('SELECT column_name AS name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?', [table]);
  const dropped = rows.map((row) => row['name'] ?? '').filter((name) => KEPT[table]?.includes(name) !== true);
  return dropped.length === 0 ? [] : [`ALTER TABLE ${table} ${dropped.map((name) => `DROP COLUMN \`${name}\``).join(', ')}`];
}
