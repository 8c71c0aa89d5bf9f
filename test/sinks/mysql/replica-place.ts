import type { SinkConfig } from '../../../contracts/config.ts';
import type { SinkPlace } from '../../../contracts/kit/sink-kit.ts';
import type { ModelRow } from '../../../contracts/kit/sink-model.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { MysqlSink } from '../../../sinks/mysql/sink.ts';
import { quoteName, quoteText } from '../../../sinks/mysql/sql.ts';
import { REPLICA_SESSION_SQL } from '../../../sinks/mysql/types/replica-server.ts';
import type { MysqlRow, MysqlServer, MysqlSession } from '../../fixtures/mysql.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';

/** Databases of their own on the server, and sinks that write to them. */
export interface ReplicaPlace extends SinkPlace {
  /** Where the tables of the namespace `kit` are. */
  readonly database: string;
  /** Where the sink's own tables are. */
  readonly ownDatabase: string;
  /** A session that sees what readers see. */
  readonly reader: MysqlSession;
  sink(options?: Partial<SinkConfig>): MysqlSink;
}

let places = 0;
let hubs = 0;

/** @param options of every sink @param before the same databases, whose sessions a restart of the server has ended */
export async function replicaPlace(server: MysqlServer, options: SinkConfig['options'] = {}, before?: ReplicaPlace): Promise<ReplicaPlace> {
  const { database, ownDatabase } = before ?? { database: `replica_${++places}`, ownDatabase: `own_${places}` };
  const reader = await server.connect();
  await reader.query(`${REPLICA_SESSION_SQL}; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED`);
  return {
    database,
    ownDatabase,
    reader,
    sink: (more) => new MysqlSink(sinkConfig(server.url(), { ...more, options: { own_database: ownDatabase, schemas: { kit: database }, ...options, ...more?.options } }), createTestRuntime({ seed: ++hubs })),
    rows: (table) => readRows(reader, database, table),
    addUnique: async (table, column) => {
      await reader.query(`CREATE UNIQUE INDEX extra ON ${quoteName(database)}.${quoteName(table.name)} (${quoteName(column)}(200))`);
    },
    [Symbol.asyncDispose]: async () => {
      await reader.query(`DROP DATABASE IF EXISTS ${quoteName(database)}; DROP DATABASE IF EXISTS ${quoteName(ownDatabase)}`);
      await reader[Symbol.asyncDispose]();
    },
  };
}

export function sinkConfig(url: string, options: Partial<SinkConfig> = {}): SinkConfig {
  return {
    name: 'replica', type: 'mysql', from: 'shop', tables: () => true, tablePatterns: ['**'], tableOptions: new Map(), onError: 'stop',
    ...options,
    options: { url, ...options.options },
  };
}

/** The rows in the column order of the schema, `bytes` as a Buffer, all else as text. */
async function readRows(reader: MysqlSession, database: string, table: TableSchema): Promise<ModelRow[] | null> {
  const found = await reader.query(`SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = ${quoteText(database)} AND TABLE_NAME = ${quoteText(table.name)}`);
  if (found.length === 0) return null;
  const columns = table.columns.map(({ name, type }, index) => `${type.kind === 'bytes' ? `HEX(${quoteName(name)})` : quoteName(name)} AS c${index}`);
  const rows = await reader.query(`SELECT ${columns.join(', ')} FROM ${quoteName(database)}.${quoteName(table.name)}`);
  return rows.map((row) => table.columns.map(({ type }, index) => cellOf(type.kind, row, `c${index}`)));
}

function cellOf(kind: string, row: MysqlRow, name: string): string | Buffer | null {
  const value = row[name] ?? null;
  if (value === null) return null;
  if (kind === 'bytes') return Buffer.from(value, 'hex');
  return kind === 'bool' ? (value === '1' ? 't' : 'f') : value;
}
