import pg from 'pg';
import type { SinkConfig } from '../../../contracts/config.ts';
import type { SinkPlace } from '../../../contracts/kit/sink-kit.ts';
import type { ModelCell, ModelRow } from '../../../contracts/kit/sink-model.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { canonicalSettingsSql } from '../../../contracts/types/postgres-session.ts';
import { PostgresSink } from '../../../sinks/postgres/sink.ts';
import { ident } from '../../../sinks/postgres/sql.ts';
import type { PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';

/** A database of its own on the server, and sinks that write to it. */
export interface ReplicaPlace extends SinkPlace {
  readonly database: string;
  /** A session that sees what readers see, under the settings of canonical text. */
  readonly reader: pg.Client;
  sink(options?: Partial<SinkConfig>): PostgresSink;
  url(user?: string): string;
}

let databases = 0;
let hubs = 0;

export async function replicaPlace(server: PostgresServer): Promise<ReplicaPlace> {
  const database = `replica_${++databases}`;
  await server.query(`CREATE DATABASE ${database}`);
  const reader = new pg.Client({ connectionString: server.url(database) });
  reader.on('error', () => undefined);
  await reader.connect();
  await reader.query(canonicalSettingsSql());
  return {
    database,
    reader,
    url: (user) => server.url(database, user),
    sink: (options) => new PostgresSink(sinkConfig(server.url(database), options), createTestRuntime({ seed: ++hubs })),
    rows: (table) => readRows(reader, table),
    addUnique: async (table, column) => {
      await reader.query(`CREATE UNIQUE INDEX ON ${tableOf(table)} (${ident(column)})`);
    },
    [Symbol.asyncDispose]: () => reader.end(),
  };
}

export function sinkConfig(url: string, options: Partial<SinkConfig> = {}): SinkConfig {
  return {
    name: 'replica', type: 'postgres', from: 'shop', tables: () => true, tablePatterns: ['**'], tableOptions: new Map(), onError: 'stop',
    ...options,
    options: { url, ...options.options },
  };
}

function tableOf(table: Pick<TableSchema, 'namespace' | 'name'>): string {
  return `${ident(table.namespace)}.${ident(table.name)}`;
}

/** The rows in the column order of the schema, `bytes` as a Buffer, all else as text. */
async function readRows(reader: pg.Client, table: TableSchema): Promise<ModelRow[] | null> {
  const { rows } = await reader.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [tableOf(table)]);
  if (rows[0]?.there !== true) return null;
  const columns = table.columns.map((column) => (column.type.kind === 'bytes' ? ident(column.name) : `${ident(column.name)}::text`));
  const result = await reader.query<ModelCell[]>({ text: `SELECT ${columns.join(', ')} FROM ${tableOf(table)}`, rowMode: 'array' });
  return result.rows.map((row) => row.map((cell, index) => (table.columns[index]?.type.kind === 'bool' ? boolText(cell) : cell)));
}

function boolText(cell: ModelCell): ModelCell {
  return cell === 'true' ? 't' : cell === 'false' ? 'f' : cell;
}
