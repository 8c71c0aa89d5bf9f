import type { ColumnRules, SourceConfig } from '../../../contracts/config.ts';
import type { KitChange, KitSource } from '../../../contracts/kit/connector-kit.ts';
import { MysqlConnector } from '../../../connectors/mysql/connector.ts';
import type { MysqlRow, MysqlServer, MysqlSession } from '../../fixtures/mysql.ts';
import { createTestRuntime, type TestRuntime } from '../../fixtures/runtime.ts';

export interface MysqlKitSettings {
  readonly options?: Readonly<Record<string, unknown>>;
  readonly columns?: ReadonlyMap<string, ColumnRules>;
  readonly hashKey?: string;
  /** The address of a database; default: the server's. */
  readonly url?: (database: string) => string;
}

let count = 0;

/** A database of its own on a server, with what a connector to it needs. Disposing drops the database. */
export class MysqlKitSource implements KitSource {
  readonly server: MysqlServer;
  readonly database: string;
  readonly config: SourceConfig;
  readonly runtime: TestRuntime = createTestRuntime();
  #session: MysqlSession | null = null;

  private constructor(server: MysqlServer, database: string, settings: MysqlKitSettings) {
    this.server = server;
    this.database = database;
    this.config = {
      name: database,
      type: 'mysql',
      tables: ({ namespace }) => namespace === database,
      tablePatterns: [`${database}.*`],
      columns: settings.columns ?? new Map(),
      hashKey: settings.hashKey ?? null,
      options: { url: settings.url?.(database) ?? server.url(), ...settings.options },
    };
  }

  static async make(server: MysqlServer, settings: MysqlKitSettings = {}): Promise<MysqlKitSource> {
    const database = `source_${process.pid}_${++count}`;
    await server.query(`CREATE DATABASE ${database} CHARACTER SET utf8mb4; CREATE DATABASE IF NOT EXISTS elsewhere; CREATE TABLE IF NOT EXISTS elsewhere.t (n int)`);
    return new MysqlKitSource(server, database, settings);
  }

  connector(): MysqlConnector {
    return new MysqlConnector(this.config, this.runtime);
  }

  /** In one session, so that a kit's many statements cost no connections. */
  async query(sql: string): Promise<MysqlRow[]> {
    this.#session ??= await this.server.connect(this.database);
    return this.#session.query(sql);
  }

  /** Ends the session that statements use; the next one opens another. */
  async forget(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.[Symbol.asyncDispose]();
  }

  async createTable(name: string): Promise<void> {
    await this.query(`CREATE TABLE ${name} (id int PRIMARY KEY, v text)`);
  }

  async addColumn(table: string, column: string): Promise<void> {
    await this.query(`ALTER TABLE ${table} ADD COLUMN ${column} text`);
  }

  async dropTable(name: string): Promise<void> {
    await this.query(`DROP TABLE ${name}`);
  }

  async transact(changes: readonly KitChange[]): Promise<void> {
    if (changes.length > 0) await this.query(`BEGIN; ${changes.map(statement).join('; ')}; COMMIT`);
  }

  async elsewhere(): Promise<void> {
    await this.query('INSERT INTO elsewhere.t VALUES (1)');
  }

  async rows(table: string): Promise<Map<number, string | null>> {
    const rows = await this.query(`SELECT id, v FROM ${table}`);
    return new Map(rows.map((row) => [Number(row['id']), row['v'] ?? null]));
  }

  async head(): Promise<string> {
    const [row] = await this.query(this.server.flavor === 'mysql' ? 'SELECT @@GLOBAL.gtid_executed AS gtids' : 'SELECT @@GLOBAL.gtid_binlog_pos AS gtids');
    return row?.['gtids'] ?? '';
  }

  async cut(broken: AbortSignal): Promise<void> {
    while (!broken.aborted) {
      const dumps = await this.query(`SELECT ID AS id FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'`);
      for (const dump of dumps) await this.query(`KILL ${dump['id']}`).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.forget();
    await this.server.query(`DROP DATABASE ${this.database}`);
  }
}

function statement(change: KitChange): string {
  const { table } = change;
  switch (change.op) {
    case 'insert':
      return `INSERT INTO ${table} (id, v) VALUES (${change.id}, ${literal(change.v)})`;
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

function literal(value: string | null): string {
  return value === null ? 'NULL' : `_utf8mb4 x'${Buffer.from(value, 'utf8').toString('hex')}'`;
}
