import type { PostgresServer } from '../test/fixtures/embedded-postgres.ts';

/**
 * The backlog of the benches: transactions of about 92 row changes in one table of ten columns: 6 of 11 insert, 4 update
 * rows all over the table, 1 deletes; about 170 bytes a change as pgoutput sends them.
 */
export interface Backlog {
  readonly transactions: number;
  readonly inserts: number;
  readonly updates: number;
  readonly deletes: number;
}

const FULL: Backlog = { transactions: 10_000, inserts: 500_000, updates: 333_330, deletes: 83_330 };

export function backlogOf(scale: number): Backlog {
  const part = (value: number): number => Math.ceil(value * scale);
  const transactions = part(FULL.transactions);
  return { transactions, inserts: transactions * 50, updates: part(FULL.updates), deletes: part(FULL.deletes) };
}

export function changesIn(backlog: Backlog): number {
  return backlog.inserts + backlog.updates + backlog.deletes;
}

const COLUMNS = `
  id bigint PRIMARY KEY,
  customer integer NOT NULL,
  product integer NOT NULL,
  status text NOT NULL,
  amount numeric(12,2) NOT NULL,
  rate double precision NOT NULL,
  paid boolean NOT NULL,
  placed_at timestamptz NOT NULL,
  reference uuid NOT NULL,
  note text`;

/** Values of a row with id `id` in its `n`-th state, as SQL. */
const VALUES = `
  id, (id % 100000)::int, (id % 5000)::int, (ARRAY['placed', 'paid', 'packed', 'shipped'])[1 + (id + n) % 4], (id % 100000 + n)::numeric / 100,
  (id % 1000) / 7.0, id % 2 = 0, timestamptz '2026-01-01' + id * interval '1 second', md5(id::text)::uuid, 'note of ' || md5((id + n)::text)`;

export async function createBacklogTable(server: PostgresServer, database: string, table = 'bench'): Promise<void> {
  await server.query(`CREATE TABLE ${table} (${COLUMNS})`, [], database);
}

/** Fills the table in one go. */
export async function fillTable(server: PostgresServer, database: string, rows: number, table = 'bench'): Promise<void> {
  await server.query(`INSERT INTO ${table} SELECT ${VALUES} FROM generate_series(1, ${rows}) AS id, (VALUES (0)) AS once(n)`, [], database);
  await server.query(`VACUUM (FREEZE, ANALYZE) ${table}`, [], database);
}

/**
 * The k-th delete takes id 6k, the j-th of the other ids is j + (j - 1) / 5: so updates never meet a deleted row, and
 * the ones of a transaction never meet each other. Counts are spread evenly over the transactions.
 */
const MAKE_BACKLOG = `
CREATE PROCEDURE make_backlog(transactions bigint, updates bigint, deletes bigint) LANGUAGE plpgsql AS $$
DECLARE
  others bigint;
  first bigint;
  stride bigint;
  here bigint;
BEGIN
  FOR t IN 0 .. transactions - 1 LOOP
    INSERT INTO bench SELECT ${VALUES} FROM generate_series(t * 50 + 1, t * 50 + 50) AS id, (VALUES (0)) AS once(n);
    here := (t + 1) * updates / transactions - t * updates / transactions;
    others := (t + 1) * 50 - (t + 1) * 50 / 6;
    stride := greatest(1, others / greatest(here, 1));
    first := (t * 7919) % others;
    UPDATE bench SET (id, customer, product, status, amount, rate, paid, placed_at, reference, note) = (SELECT ${VALUES} FROM (VALUES (bench.id, t)) AS v(id, n))
      WHERE id = ANY (ARRAY(SELECT j + (j - 1) / 5 FROM (SELECT 1 + (first + i * stride) % others AS j FROM generate_series(0, here - 1) AS i) AS numbers));
    DELETE FROM bench WHERE id = ANY (ARRAY(SELECT k * 6 FROM generate_series(t * deletes / transactions + 1, (t + 1) * deletes / transactions) AS k));
    COMMIT;
  END LOOP;
END $$`;

/** Makes the backlog; answers the position that its last commit lies before, with a small transaction after it. */
export async function makeBacklog(server: PostgresServer, database: string, backlog: Backlog): Promise<string> {
  await server.query(MAKE_BACKLOG, [], database);
  await server.query(`CALL make_backlog(${backlog.transactions}, ${backlog.updates}, ${backlog.deletes})`, [], database);
  const [row] = await server.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], database);
  if (row === undefined) throw new Error('the server names no position');
  await server.query('UPDATE bench SET paid = NOT paid WHERE id = 1', [], database);
  await server.query('CHECKPOINT', [], database);
  return row.lsn;
}
