import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../contracts/runtime.ts';
import type { PostgresServer, Session } from '../fixtures/embedded-postgres.ts';

export interface JoinWriterParts {
  readonly server: PostgresServer;
  readonly random: Random;
  readonly rows: number;
  readonly tables: readonly string[];
  /** How often a transaction breaks or mends the replica's rule. */
  readonly breaks: number;
}

const TRANSACTION_MS = 20;
/** A row that the replica's rule does not let in. */
const BROKEN = 701;
const BODY = "repeat(md5(i::text), 19)";

/** Writes to tables of one shape: rows that come, go, change their key, break a rule of the replica and mend it; a table is emptied at times. */
export class JoinWriter {
  readonly #parts: JoinWriterParts;
  #writing: Promise<void> = Promise.resolve();
  #failed = Promise.withResolvers<never>();
  #stop = new AbortController();
  #columns = 0;

  constructor(parts: JoinWriterParts) {
    this.#parts = parts;
    this.#failed.promise.catch(() => undefined);
  }

  /** Rejects when a statement fails. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  async create(): Promise<void> {
    const { server, tables, rows } = this.#parts;
    // Of the first table none, so that it is filled at once.
    const made = tables.map((table, index) => `CREATE TABLE ${table} (id bigint PRIMARY KEY, n int NOT NULL, body text NOT NULL);
      INSERT INTO ${table} SELECT i, CASE WHEN i = ${BROKEN} AND ${index} > 0 THEN -1 ELSE 0 END, ${BODY} FROM generate_series(1, ${rows}) AS i`);
    await server.query(`CREATE SEQUENCE ids START 10000000; ${made.join('; ')}`, [], 'source');
  }

  /** Changes about every second row. */
  async burst(): Promise<void> {
    const { server, tables } = this.#parts;
    for (const table of tables) await server.query(`UPDATE ${table} SET body = body || '!' WHERE id % 2 = 0`, [], 'source');
  }

  /** Goes on until it is stopped. */
  start(): void {
    this.#stop = new AbortController();
    this.#writing = this.#write(this.#stop.signal);
    this.#writing.catch((failure: unknown) => this.#failed.reject(failure));
  }

  /** @throws what made it fail */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#writing;
  }

  async #write(signal: AbortSignal): Promise<void> {
    await using session = await this.#parts.server.connect('source');
    while (!signal.aborted) {
      await this.#commit(session);
      await delay(TRANSACTION_MS);
    }
  }

  async #commit(session: Session): Promise<void> {
    const { random, tables, rows, breaks } = this.#parts;
    const below = (end: number): number => Math.floor(random.unit() * end);
    const table = tables[below(tables.length)] ?? '';
    const some = (divisor: number): string => `id % ${divisor} = ${below(divisor)}`;
    const statements = [
      `UPDATE ${table} SET n = n + 1 WHERE ${some(151)}`,
      `UPDATE ${table} SET body = body || '.' WHERE ${some(307)}`,
      `INSERT INTO ${table} SELECT nextval('ids'), ${below(3)}, ${BODY} FROM generate_series(1, ${1 + below(20)}) AS i`,
      `DELETE FROM ${table} WHERE ${some(401)}`,
      `UPDATE ${table} SET id = nextval('ids') WHERE ${some(503)}`,
    ];
    const chosen = statements.filter(() => random.unit() < 0.35);
    // Each costs a replica that is looked through for what it refuses.
    if (random.unit() < breaks) chosen.push(`UPDATE ${table} SET n = CASE WHEN n < 0 THEN 0 ELSE -1 END WHERE n < 0 AND ${some(2)} OR id = ${below(rows)}`);
    if (random.unit() < 0.004) chosen.push(`TRUNCATE ${table}`, `INSERT INTO ${table} SELECT nextval('ids'), i % 3, ${BODY} FROM generate_series(1, 500) AS i`);
    if (random.unit() < 0.002) chosen.push(`ALTER TABLE ${table} ADD COLUMN more${++this.#columns} int DEFAULT ${below(9)}`);
    if (chosen.length > 0) await session.query(`BEGIN; ${chosen.join('; ')}; COMMIT`);
  }
}
