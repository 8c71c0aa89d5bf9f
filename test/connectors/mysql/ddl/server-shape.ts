import { type Connection, type RowDataPacket, createConnection } from 'mysql2/promise';
import type { CharsetDefaults } from '../../../../connectors/mysql/ddl/charsets.ts';
import { type SqlContext, SQL_MODE } from '../../../../connectors/mysql/ddl/context.ts';
import { fullCharsetName } from '../../../../connectors/mysql/ddl/data-type.ts';
import type { TableShape } from '../../../../connectors/mysql/ddl/shape.ts';
import type { MysqlServer } from '../../../fixtures/mysql.ts';

/** A table's shape without the numbers of its columns, as both the connector and information_schema have it. */
export interface PlainShape {
  readonly columns: readonly string[];
  readonly keys: readonly string[];
  readonly collation: string;
}

/** One session of a server, and what its statements are written under. */
export class ServerSession implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #context: SqlContext;
  #sqlMode = '';
  #explicit = true;

  private constructor(connection: Connection, context: SqlContext) {
    this.#connection = connection;
    this.#context = context;
  }

  static async open(server: MysqlServer, database: string): Promise<ServerSession> {
    const connection = await createConnection({ host: server.host, port: server.port, user: 'root', database, charset: 'utf8mb4', supportBigNumbers: true });
    const [rows] = await connection.query<RowDataPacket[]>('SELECT version() v, @@explicit_defaults_for_timestamp e, @@sql_mode m, @@lower_case_table_names l');
    const [major, minor, patch] = String(rows[0]?.['v']).split(/[.-]/).map(Number);
    const context: SqlContext = {
      flavor: server.flavor,
      version: (major ?? 0) * 10_000 + (minor ?? 0) * 100 + (patch ?? 0),
      database,
      sqlMode: 0n,
      lowerCaseNames: String(rows[0]?.['l']) !== '0',
      explicitTimestamps: true,
    };
    const session = new ServerSession(connection, context);
    session.#sqlMode = String(rows[0]?.['m']);
    session.#explicit = String(rows[0]?.['e']) === '1';
    return session;
  }

  /** As the query events of this session would say. */
  get context(): SqlContext {
    const modes = this.#sqlMode.split(',');
    let sqlMode = 0n;
    for (const [name, bit] of Object.entries(SQL_MODE)) if (modes.includes(name)) sqlMode |= bit;
    return { ...this.#context, sqlMode, explicitTimestamps: this.#explicit };
  }

  async setMode(mode: string): Promise<void> {
    await this.#connection.query(`SET sql_mode = '${mode}'`);
    const [row] = await this.rows('SELECT @@sql_mode m');
    this.#sqlMode = row?.['m'] ?? '';
  }

  async setExplicitTimestamps(explicit: boolean): Promise<void> {
    await this.#connection.query(`SET explicit_defaults_for_timestamp = ${explicit ? 'ON' : 'OFF'}`);
    this.#explicit = explicit;
  }

  async run(sql: string): Promise<void> {
    await this.#connection.query(sql);
  }

  /** Values as text. */
  async rows(sql: string): Promise<Record<string, string | null>[]> {
    const [rows] = await this.#connection.query<RowDataPacket[]>({ sql, typeCast: (field) => field.string() });
    return rows.map((row) => ({ ...row }) as Record<string, string | null>);
  }

  async defaults(): Promise<CharsetDefaults> {
    const [row] = await this.rows('SELECT @@collation_database c');
    return { databaseCollation: fullCharsetName(row?.['c'] ?? '') };
  }

  async shape(table: string): Promise<PlainShape> {
    const where = `TABLE_SCHEMA = '${this.#context.database}' AND TABLE_NAME = '${table}'`;
    const columns = await this.rows(
      `SELECT COLUMN_NAME name, COLUMN_TYPE type, COLLATION_NAME collation, IS_NULLABLE nullable, EXTRA extra FROM information_schema.COLUMNS WHERE ${where} ORDER BY ORDINAL_POSITION`,
    );
    const keys = await this.rows(
      `SELECT INDEX_NAME name, NON_UNIQUE other, INDEX_TYPE type, COLUMN_NAME col, SUB_PART length FROM information_schema.STATISTICS WHERE ${where} ORDER BY INDEX_NAME, SEQ_IN_INDEX`,
    );
    const [options] = await this.rows(`SELECT TABLE_COLLATION collation FROM information_schema.TABLES WHERE ${where}`);
    return {
      columns: columns.map((row) => serverColumn(row)),
      keys: [...Map.groupBy(keys, (row) => row['name'])].map(([name, parts]) => serverKey(name ?? '', parts)).sort(),
      collation: fullCharsetName(options?.['collation'] ?? ''),
    };
  }

  /** SHOW CREATE TABLE. */
  async createStatement(table: string): Promise<string> {
    const [row] = await this.rows(`SHOW CREATE TABLE ${table}`);
    return row?.['Create Table'] ?? '';
  }

  /** The statements of all query events, with the default database of each, '' for none. */
  async statements(): Promise<readonly { readonly database: string; readonly sql: string }[]> {
    const statements: { database: string; sql: string }[] = [];
    for (const log of await this.rows('SHOW BINARY LOGS')) {
      for (const event of await this.rows(`SHOW BINLOG EVENTS IN '${log['Log_name'] ?? ''}'`)) {
        if (event['Event_type'] !== 'Query') continue;
        const [, database = '', sql = ''] = /^(?:use `((?:[^`]|``)*)`; )?(.*)$/s.exec(event['Info'] ?? '') ?? [];
        statements.push({ database: database.replaceAll('``', '`'), sql });
      }
    }
    return statements;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.end();
  }
}

function serverColumn(row: Record<string, string | null>): string {
  const extra = row['extra'] ?? '';
  const generated = extra.includes('VIRTUAL GENERATED') ? 'virtual' : extra.includes('STORED GENERATED') ? 'stored' : 'no';
  return columnText(row['name'] ?? '', row['type'] ?? '', row['collation'] ?? null, row['nullable'] === 'YES', generated, extra.includes('INVISIBLE'), extra.includes('auto_increment'));
}

function columnText(name: string, type: string, collation: string | null, nullable: boolean, generated: string, invisible: boolean, autoIncrement: boolean): string {
  const words = [name, type, collation === null ? '' : fullCharsetName(collation), nullable ? 'null' : 'not null', generated === 'no' ? '' : generated, invisible ? 'invisible' : '', autoIncrement ? 'auto' : ''];
  return words.filter((word) => word !== '').join(' ');
}

function serverKey(name: string, parts: readonly Record<string, string | null>[]): string {
  const spatial = parts[0]?.['type'] === 'SPATIAL';
  const unique = parts[0]?.['other'] === '0';
  return keyText(name, unique, parts.map((part) => ({ column: part['col'] ?? null, length: spatial ? null : (part['length'] ?? null) })));
}

function keyText(name: string, unique: boolean, parts: readonly { column: string | null; length: string | null }[]): string {
  // MariaDB cuts a part of an index that is not unique to what it can hold.
  return `${name}${unique ? ' unique' : ''} (${parts.map(({ column, length }) => (column ?? '<expression>') + (length === null || !unique ? '' : `(${length})`)).join(', ')})`;
}

/** The connector's shape in the same words. */
export function plainShape(shape: TableShape): PlainShape {
  const names = new Map(shape.columns.map(({ number, name }) => [number, name]));
  return {
    columns: shape.columns.map((column) => columnText(column.name, column.type, column.collation, column.nullable, column.generated, column.invisible, column.autoIncrement)),
    keys: shape.keys
      .map((key) =>
        keyText(key.name, key.kind !== 'index', key.parts.map(({ column, length }) => ({ column: column === null ? null : (names.get(column) ?? '?'), length: length === null ? null : String(length) }))),
      )
      .sort(),
    collation: shape.collation,
  };
}

