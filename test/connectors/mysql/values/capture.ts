/** Writes the edge values of every type into a real server and takes what its binary log and a SELECT have of each. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createConnection, type Connection, type TypeCastField } from 'mysql2/promise';
import { copyExpression } from '../../../../connectors/mysql/values/copy-values.ts';
import { oldTemporalBytes } from '../../../../connectors/mysql/values/old-temporal.ts';
import type { WireColumn } from '../../../../connectors/mysql/values/wire-column.ts';
import { mysqlType, type MysqlType } from '../../../../contracts/types/mysql-types.ts';
import type { MysqlServer } from '../../../fixtures/mysql.ts';
import { walkBinlog } from './binlog-walk.ts';
import { oldTemporalCases, type ValueCase, valueCases } from './cases.ts';

export interface CapturedValue {
  /** As it was written. */
  readonly sql: string;
  /** Null: NULL. */
  readonly binlog: Buffer | null;
  /** What the copy's expression gives with `character_set_results = NULL`. */
  readonly copied: Buffer | null;
  /** What people see: the plain column in utf8mb4. */
  readonly shown: Buffer | null;
}

export interface CapturedColumn {
  readonly type: MysqlType;
  readonly wire: WireColumn;
  readonly values: readonly CapturedValue[];
}

const DATABASE = 'captured';
const NULL_ID = 1_000_000;

export async function connect(server: MysqlServer): Promise<Connection> {
  return createConnection({ host: server.host, port: server.port, user: 'root', charset: 'utf8mb4', multipleStatements: true, typeCast: (field: TypeCastField) => field.buffer() });
}

export async function rowsOf(connection: Connection, sql: string): Promise<(Buffer | null)[][]> {
  const [rows] = await connection.query({ sql, rowsAsArray: true });
  if (!Array.isArray(rows)) throw new Error(`no rows from ${sql}`);
  return rows.map((row: unknown) => (Array.isArray(row) ? row.map((cell: unknown) => (Buffer.isBuffer(cell) ? cell : null)) : []));
}

/** Every type that the server has. */
export async function captureValues(server: MysqlServer): Promise<CapturedColumn[]> {
  await using session = disposable(await connect(server));
  const { connection } = session;
  await connection.query(`DROP DATABASE IF EXISTS ${DATABASE}; CREATE DATABASE ${DATABASE} CHARACTER SET utf8mb4; USE ${DATABASE}; SET sql_mode = '', time_zone = '+00:00'; FLUSH BINARY LOGS`);
  const tables: Table[] = [];
  for (const [index, one] of valueCases(server.version).entries()) tables.push(await fill(connection, `t${index}`, one));
  if (server.flavor === 'mariadb') {
    await connection.query('SET GLOBAL mysql56_temporal_format = OFF');
    for (const [index, one] of oldTemporalCases().entries()) tables.push(await fill(connection, `old${index}`, one));
    await connection.query('SET GLOBAL mysql56_temporal_format = ON');
  }
  const logs = await rowsOf(connection, 'SHOW BINARY LOGS');
  const file = logs.at(-1)?.[0]?.toString() ?? '';
  await connection.query('FLUSH BINARY LOGS');
  return withLogged(tables, await readFile(join(server.dataDir, file)));
}

interface Table {
  readonly name: string;
  readonly type: MysqlType;
  readonly values: ReadonlyMap<number, Omit<CapturedValue, 'binlog'>>;
}

async function fill(connection: Connection, name: string, { type, values }: ValueCase): Promise<Table> {
  await connection.query(`CREATE TABLE ${name} (id int PRIMARY KEY, v ${type})`);
  // One statement each: what a server refuses (a timestamp after 2038) it refuses alone.
  const written = await Promise.allSettled(values.map((value, id) => connection.query(`INSERT INTO ${name} VALUES (${id}, ${value})`)));
  if (written.every(({ status }) => status === 'rejected')) throw new Error(`no value of ${type} was taken: ${written.map((one) => (one.status === 'rejected' ? String(one.reason) : ''))[0]}`);
  await connection.query(`INSERT INTO ${name} VALUES (${NULL_ID}, NULL)`);
  const [definition] = await rowsOf(
    connection,
    `SELECT CONVERT(column_type USING utf8mb4), character_set_name, collation_name FROM information_schema.columns WHERE table_schema = '${DATABASE}' AND table_name = '${name}' AND column_name = 'v'`,
  );
  const [columnType, charset, collation] = (definition ?? []).map((text) => text?.toString() ?? null);
  const parsed = mysqlType({ columnType: columnType ?? '', charset: charset ?? null, collation: collation ?? null });
  await connection.query('SET character_set_results = NULL');
  const copied = await rowsOf(connection, `SELECT id, ${copyExpression(parsed, 'v')} FROM ${name} ORDER BY id`);
  await connection.query('SET character_set_results = utf8mb4');
  const shown = await rowsOf(connection, `SELECT v FROM ${name} ORDER BY id`);
  return {
    name,
    type: parsed,
    values: new Map(copied.map(([id, value], place) => [Number(id), { sql: values[Number(id)] ?? 'NULL', copied: value ?? null, shown: shown[place]?.[0] ?? null }])),
  };
}

function withLogged(tables: readonly Table[], log: Buffer): CapturedColumn[] {
  const byName = new Map(tables.map((table) => [table.name, table]));
  const logged = new Map<string, { wire: WireColumn; values: CapturedValue[] }>();
  let id = 0;
  for (const value of walkBinlog(log, (table, column) => hiddenWidth(column === 1 ? byName.get(table.name)?.type : undefined))) {
    const table = byName.get(value.table.name);
    const wire = value.table.columns[1];
    if (table === undefined || wire === undefined) continue;
    if (value.column === 0) {
      id = value.bytes?.readInt32LE(0) ?? -1;
      continue;
    }
    const selected = table.values.get(id);
    if (selected === undefined) throw new Error(`row ${id} of ${table.name} is in the log only`);
    const entry = logged.get(table.name) ?? { wire, values: [] };
    logged.set(table.name, entry);
    entry.values.push({ ...selected, binlog: value.bytes });
  }
  return tables.map((table) => {
    const entry = logged.get(table.name);
    if (entry === undefined || entry.values.length !== table.values.size) throw new Error(`rows of ${table.type.text} are not in the log`);
    return { type: table.type, ...entry };
  });
}

function hiddenWidth(type: MysqlType | undefined): number | null {
  if (type === undefined || !type.oldTemporal) return null;
  const { name, digits } = type;
  return name === 'time' || name === 'datetime' || name === 'timestamp' ? oldTemporalBytes(name, digits ?? 0) : null;
}

export function disposable(connection: Connection): AsyncDisposable & { readonly connection: Connection } {
  return { connection, [Symbol.asyncDispose]: () => connection.end() };
}
