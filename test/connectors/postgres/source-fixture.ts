import { Catalog } from '../../../contracts/catalog.ts';
import type { ColumnRules, SourceConfig } from '../../../contracts/config.ts';
import { PostgresConnector } from '../../../connectors/postgres/connector.ts';
import type { KitChange, KitSource } from '../../../contracts/kit/connector-kit.ts';
import type { PostgresServer, Row, Session } from '../../fixtures/embedded-postgres.ts';
import { createTestRuntime, type TestRuntime } from '../../fixtures/runtime.ts';

export interface SourceSettings {
  readonly options?: Readonly<Record<string, unknown>>;
  readonly columns?: ReadonlyMap<string, ColumnRules>;
  readonly hashKey?: string;
  readonly tables?: SourceConfig['tables'];
  /** The address of a database; default: the server's, plain. */
  readonly url?: (database: string) => string;
}

let count = 0;

/** A database of its own on a server, with what a connector to it needs. Disposing drops slot and database. */
export class TestSource implements KitSource {
  readonly server: PostgresServer;
  readonly database: string;
  readonly config: SourceConfig;
  readonly runtime: TestRuntime = createTestRuntime();
  #session: Session | null = null;

  private constructor(server: PostgresServer, database: string, settings: SourceSettings) {
    this.server = server;
    this.database = database;
    this.config = {
      name: database,
      type: 'postgres',
      tables: settings.tables ?? (() => true),
      tablePatterns: ['*.*'],
      columns: settings.columns ?? new Map(),
      hashKey: settings.hashKey ?? null,
      options: { url: settings.url?.(database) ?? server.url(database), catalog_poll: '200ms', ...settings.options },
    };
  }

  static async make(server: PostgresServer, settings: SourceSettings = {}): Promise<TestSource> {
    const database = `source_${process.pid}_${++count}`;
    await server.query(`CREATE DATABASE ${database}`);
    return new TestSource(server, database, settings);
  }

  get slot(): string {
    return `tidemark_${this.database}`;
  }

  connector(): PostgresConnector {
    return new PostgresConnector(this.config, this.runtime);
  }

  /** In one session, so that a kit's many statements cost no connections. */
  async query<R extends object = Row>(sql: string): Promise<R[]> {
    this.#session ??= await this.server.connect(this.database);
    const answer: unknown = await this.#session.query<R>(sql);
    const last: unknown = Array.isArray(answer) ? answer.at(-1) : answer;
    return hasRows<R>(last) ? last.rows : [];
  }

  /** Ends the session that statements use; the next one opens another. */
  async forget(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.end();
  }

  async createTable(name: string): Promise<void> {
    await this.query(`CREATE TABLE ${name} (id integer PRIMARY KEY, v text)`);
  }

  async addColumn(table: string, column: string): Promise<void> {
    await this.query(`ALTER TABLE ${table} ADD COLUMN ${column} text`);
  }

  async dropTable(name: string): Promise<void> {
    await this.query(`DROP TABLE ${name}`);
  }

  async transact(changes: readonly KitChange[]): Promise<void> {
    await this.query(`BEGIN; ${changes.map(statement).join('; ')}; COMMIT`);
  }

  async elsewhere(): Promise<void> {
    await this.query('CREATE TEMPORARY TABLE other (n int); DROP TABLE other');
  }

  async rows(table: string): Promise<Map<number, string | null>> {
    const rows = await this.query<{ id: number; v: string | null }>(`SELECT id, v FROM ${table}`);
    return new Map(rows.map((row) => [row.id, row.v]));
  }

  async head(): Promise<string> {
    const [row] = await this.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
    return row?.lsn ?? '';
  }

  /** Where the slot is: what the connector has acknowledged. */
  async confirmed(): Promise<string> {
    const [row] = await this.query<{ lsn: string }>(`SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = '${this.slot}'`);
    return row?.lsn ?? '';
  }

  async cut(broken: AbortSignal): Promise<void> {
    while (!broken.aborted) {
      await this.query(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '${this.slot}' AND active`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session?.end();
    await this.server.query(
      `SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = '${this.slot}' AND active_pid IS NOT NULL`.replace(
        ', 5000', this.server.majorVersion >= 14 ? ', 5000' : ''),
    );
    for (let tries = 0; ; tries++) {
      try {
        await this.server.query(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '${this.slot}'`);
        break;
      } catch (error) {
        if (tries > 50) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    await this.server.query(`DROP DATABASE ${this.database} WITH (FORCE)`);
  }
}

export function emptyCatalog(): Catalog {
  return Catalog.from([]);
}

function statement(change: KitChange): string {
  const { table } = change;
  switch (change.op) {
    case 'insert':
      return `INSERT INTO ${table} VALUES (${change.id}, ${literal(change.v)})`;
    case 'update':
      return `UPDATE ${table} SET v = ${literal(change.v)} WHERE id = ${change.id}`;
    case 'delete':
      return `DELETE FROM ${table} WHERE id = ${change.id}`;
    case 'rekey':
      return `UPDATE ${table} SET id = ${change.to} WHERE id = ${change.id}`;
    case 'truncate':
      return `TRUNCATE ${table}`;
  }
}

export function literal(value: string | null): string {
  if (value === null) return 'NULL';
  return `E'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

function hasRows<R>(value: unknown): value is { rows: R[] } {
  return typeof value === 'object' && value !== null && 'rows' in value && Array.isArray(value.rows);
}
