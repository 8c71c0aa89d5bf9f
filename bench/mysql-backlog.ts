import type { MysqlServer } from '../test/fixtures/mysql.ts';

/**
 * The backlog of the MySQL benches: transactions of 50 row changes in one table of ten columns: 28 rows are inserted, 18 all
 * over the table updated, 4 deleted, by one statement each; about 190 bytes a change in the binlog.
 */
export interface MysqlBacklog {
  readonly transactions: number;
}

const TRANSACTIONS = 10_000;
const INSERTS = 28;
const UPDATES = 18;
const DELETES = 4;

export function mysqlBacklogOf(scale: number): MysqlBacklog {
  return { transactions: Math.ceil(TRANSACTIONS * scale) };
}

export function changesIn({ transactions }: MysqlBacklog): number {
  return transactions * (INSERTS + UPDATES + DELETES);
}

export function rowsAfter({ transactions }: MysqlBacklog): number {
  return transactions * (INSERTS - DELETES);
}

const COLUMNS = `
  id bigint NOT NULL PRIMARY KEY,
  customer int NOT NULL,
  product int NOT NULL,
  status varchar(20) NOT NULL,
  amount decimal(12,2) NOT NULL,
  rate double NOT NULL,
  paid boolean NOT NULL,
  placed_at datetime(6) NOT NULL,
  reference char(36) NOT NULL,
  note varchar(255)`;

/** Values of the row `id` in its state `n`, as SQL, by column. An update changes those that depend on `n`. */
const CONSTANT = {
  customer: 'id % 100000',
  product: 'id % 5000',
  rate: '(id % 1000) / 7e0',
  paid: 'id % 2 = 0',
  placed_at: "TIMESTAMP '2026-01-01 00:00:00.000000' + INTERVAL id SECOND + INTERVAL id % 1000000 MICROSECOND",
  reference: "INSERT(INSERT(INSERT(INSERT(LEFT(SHA2(id, 224), 32), 21, 0, '-'), 17, 0, '-'), 13, 0, '-'), 9, 0, '-')",
} as const;
const CHANGING = {
  status: "ELT(1 + (id + n) % 4, 'placed', 'paid', 'packed', 'shipped')",
  amount: '(id % 100000 + n) / 100',
  note: "CONCAT('note of ', LEFT(SHA2(id + n, 224), 32))",
} as const;
const VALUES: Readonly<Record<string, string>> = { ...CONSTANT, ...CHANGING };
const NAMES = ['id', ...Object.keys(VALUES)].join(', ');
const ROW = ['id', ...Object.values(VALUES)].join(', ');
const CHANGES = Object.entries(CHANGING).map(([name, value]) => `bench.${name} = ${value.replaceAll(/\bid\b/g, 'chosen.id')}`).join(', ');

/** Numbers from 0, for statements that make rows; in a database of their own, which nobody mirrors. */
const NUMBERS = 1_000;

export async function createBacklogTable(server: MysqlServer, database: string): Promise<void> {
  await server.query(`CREATE TABLE bench (${COLUMNS})`, database);
}

export async function createNumbers(server: MysqlServer): Promise<void> {
  await server.query(`
    CREATE DATABASE tools;
    CREATE TABLE tools.numbers (i int NOT NULL PRIMARY KEY);
    INSERT INTO tools.numbers WITH RECURSIVE counted (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM counted WHERE i < ${NUMBERS - 1}) SELECT i FROM counted`);
}

const ROWS_PER_TRANSACTION = 100_000;

/** Fills the table with `rows` rows. */
export async function fillTable(server: MysqlServer, database: string, rows: number): Promise<void> {
  await using session = await server.connect(database);
  for (let first = 0; first < rows; first += ROWS_PER_TRANSACTION) {
    const count = Math.min(ROWS_PER_TRANSACTION, rows - first);
    await session.query(`
      INSERT INTO bench (${NAMES})
      SELECT ${ROW} FROM (SELECT ${first} + high.i * ${NUMBERS} + low.i + 1 AS id, 0 AS n FROM tools.numbers AS high, tools.numbers AS low
        WHERE high.i < ${ROWS_PER_TRANSACTION / NUMBERS} AND high.i * ${NUMBERS} + low.i < ${count} ORDER BY 1) AS made`);
  }
  await session.query('ANALYZE NO_WRITE_TO_BINLOG TABLE bench');
}

/**
 * The k-th delete takes id 6k, the j-th of the other ids is j + (j - 1) / 5: so updates never meet a deleted row, and the
 * ones of a transaction never meet each other.
 */
const MAKE_BACKLOG = `
CREATE PROCEDURE make_backlog(transactions bigint)
BEGIN
  DECLARE t, others, first, stride bigint DEFAULT 0;
  WHILE t < transactions DO
    START TRANSACTION;
    INSERT INTO bench (${NAMES}) SELECT ${ROW} FROM (SELECT t * ${INSERTS} + i + 1 AS id, 0 AS n FROM tools.numbers WHERE i < ${INSERTS}) AS made;
    SET others = (t + 1) * ${INSERTS} - (t + 1) * ${INSERTS} DIV 6;
    SET stride = others DIV ${UPDATES};
    SET first = (t * 7919) % others;
    UPDATE (SELECT j + (j - 1) DIV 5 AS id, t + 1 AS n FROM (SELECT 1 + (first + i * stride) % others AS j FROM tools.numbers WHERE i < ${UPDATES}) AS drawn) AS chosen
      STRAIGHT_JOIN bench ON bench.id = chosen.id SET ${CHANGES};
    DELETE FROM bench WHERE id IN (${Array.from({ length: DELETES }, (_, k) => `(t * ${DELETES} + ${k + 1}) * 6`).join(', ')});
    COMMIT;
    SET t = t + 1;
  END WHILE;
END`;

/** Makes the backlog in the empty table `bench`. */
export async function makeBacklog(server: MysqlServer, database: string, backlog: MysqlBacklog): Promise<void> {
  await using session = await server.connect(database);
  await session.query(MAKE_BACKLOG);
  await session.query(`CALL make_backlog(${backlog.transactions})`);
  const [row] = await session.query('SELECT COUNT(*) AS n FROM bench');
  if (Number(row?.['n']) !== rowsAfter(backlog)) throw new Error(`the backlog leaves ${row?.['n']} rows instead of ${rowsAfter(backlog)}`);
}
