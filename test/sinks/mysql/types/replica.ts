/** Columns of a replica made, filled and read back by the forms of `sinks/mysql/types`, on a real server. */
import { Readable } from 'node:stream';
import { createConnection, type ResultSetHeader } from 'mysql2';
import type { Connection } from 'mysql2/promise';
import { Cell } from '../../../../contracts/row-image.ts';
import type { Column, Dialect, TableSchema } from '../../../../contracts/schema.ts';
import type { LogicalType } from '../../../../contracts/types/logical-type.ts';
import { mysqlType, type MysqlType } from '../../../../contracts/types/mysql-types.ts';
import { parseVersion } from '../../../../contracts/types/mysql-version.ts';
import { LOAD_FORMAT_SQL, REPLICA_SESSION_SQL, indexBytes, type ReplicaServer } from '../../../../sinks/mysql/types/replica-server.ts';
import { replicaShape, type ReplicaColumn } from '../../../../sinks/mysql/types/replica-shape.ts';
import { type ValueForm, valueForm } from '../../../../sinks/mysql/types/value-form.ts';
import type { Unfit } from '../../../../sinks/relational/unfit.ts';
import type { MysqlServer } from '../../../fixtures/mysql.ts';

export type CellOf = string | Buffer;

export interface AcrossColumn {
  readonly dialect: Dialect;
  readonly nativeType: string;
  readonly type: LogicalType;
  /** As the log has them: text, or bytes. */
  readonly values: readonly CellOf[];
}

/** What came of the values of a column. */
export interface Across {
  readonly column: ReplicaColumn;
  /** Values that the column refuses. */
  readonly refused: readonly CellOf[];
  /** One line for each value that did not come back as it was. */
  readonly wrong: readonly string[];
}

export class AcrossServer implements AsyncDisposable {
  readonly #connection: Connection;
  readonly server: ReplicaServer;
  #tables = 0;

  private constructor(connection: Connection, server: ReplicaServer) {
    this.#connection = connection;
    this.server = server;
  }

  static async open(running: MysqlServer): Promise<AcrossServer> {
    await running.query('CREATE DATABASE IF NOT EXISTS across_types');
    const driver = createConnection({
      host: running.host, port: running.port, user: 'root', database: 'across_types', charset: 'utf8mb4', typeCast: (field) => field.buffer(),
    });
    await new Promise((resolve) => driver.once('connect', resolve));
    const connection = driver.promise();
    await connection.query('SET NAMES utf8mb4');
    // The driver then sends each character of a string as one byte, whatever the server takes it for.
    driver.config.charsetNumber = BINARY;
    await connection.query(REPLICA_SESSION_SQL);
    const rows = async (sql: string): Promise<string[][]> => (await rowsOf(connection, sql)).map((row) => row.map(String));
    const [[version = '', pageSize = '']] = (await rows('SELECT VERSION(), @@innodb_page_size')) as [string[]];
    const full = running.flavor === 'mysql' ? 'COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS' : 'FULL_COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY';
    const collations = new Map((await rows(`SELECT ${full}`)).map(([name = '', charset = '']) => [name, charset] as const));
    return new AcrossServer(connection, { version: parseVersion(version), collations, indexBytes: indexBytes(Number(pageSize)) });
  }

  /** Brings the values over by LOAD DATA and by statements, and reads them back. */
  async bring(across: AcrossColumn, unfit: Unfit = 'by-type'): Promise<Across> {
    const { columns } = replicaShape(schemaOf(across), { server: this.server, unfit: () => unfit });
    const column = columns[1];
    if (column === undefined) throw new Error('no column');
    const table = `t${++this.#tables}`;
    await this.query(`CREATE TABLE ${table} (id int PRIMARY KEY, v ${column.sql} NULL) ROW_FORMAT=DYNAMIC`);
    const form = valueForm(across, await this.#found(table), this.server);
    const fitting = across.values.flatMap((value, id) => (write(form, form.field, value) === null ? [] : [{ id, value }]));
    const refused = across.values.filter((value) => write(form, form.field, value) === null);
    const both = across.values.filter((value) => write(form, form.literal, value) === null);
    const wrong: string[] = [];
    if (JSON.stringify(both) !== JSON.stringify(refused)) wrong.push(`${column.sql}: fields refuse ${JSON.stringify(refused)}, literals ${JSON.stringify(both)}`);
    wrong.push(...(await this.#load(table, form, fitting, column)), ...(await this.#compare(table, form, fitting, `${across.nativeType} as ${column.sql}, loaded`)));
    await this.#connection.query(`DELETE FROM ${table}`);
    wrong.push(...(await this.#insert(table, form, fitting, column)), ...(await this.#compare(table, form, fitting, `${across.nativeType} as ${column.sql}, inserted`)));
    wrong.push(...(await this.#find(table, form, fitting, column)));
    await this.#connection.query(`DROP TABLE ${table}`);
    return { column, refused, wrong };
  }

  async query(sql: string): Promise<(Buffer | null)[][]> {
    return rowsOf(this.#connection, sql);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.end();
  }

  async #found(table: string): Promise<MysqlType> {
    const [row = []] = await rowsOf(this.#connection, `SELECT COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '${table}' AND COLUMN_NAME = 'v'`);
    const [columnType = '', charset = null, collation = null] = row.map((text) => text?.toString() ?? null);
    return mysqlType({ columnType: columnType ?? '', charset, collation });
  }

  async #load(table: string, form: ValueForm, values: readonly Placed[], column: ReplicaColumn): Promise<string[]> {
    const rows = values.map(({ id, value }) => Buffer.concat([Buffer.from(`${id}\t`), write(form, form.field, value) ?? Buffer.alloc(0), Buffer.from('\n')]));
    const into = form.assign === null ? '(id, v)' : `(id, @v) SET v = ${form.assign('@v')}`;
    const sql = `LOAD DATA LOCAL INFILE 'rows' INTO TABLE ${table} ${LOAD_FORMAT_SQL} ${into}`;
    const [answer] = await this.#connection.query<ResultSetHeader>({ sql, infileStreamFactory: () => Readable.from([Buffer.concat([...rows, Buffer.from(`${NULL_ID}\t\\N\n`)])]) });
    if (answer.info.endsWith('Warnings: 0')) return [];
    const warnings = await rowsOf(this.#connection, 'SHOW WARNINGS');
    return warnings.map((row) => `${column.sql}: ${row.map(String).join(' ')}`);
  }

  async #insert(table: string, form: ValueForm, values: readonly Placed[], column: ReplicaColumn): Promise<string[]> {
    const rows = values.flatMap(({ id, value }) => [Buffer.from(`, (${id}, `), write(form, form.literal, value) ?? Buffer.alloc(0), Buffer.from(')')]);
    const sql = Buffer.concat([Buffer.from(`INSERT INTO ${table} VALUES (${NULL_ID}, NULL)`), ...rows]);
    return rowsOf(this.#connection, sql).then(() => [], (error: unknown) => [`${column.sql}: ${String(error)}`]);
  }

  /** Each literal equals the values that are the same, as a key would. */
  async #find(table: string, form: ValueForm, values: readonly Placed[], column: ReplicaColumn): Promise<string[]> {
    if (!isKeyable(column) || values.length === 0) return [];
    const parts = values.flatMap(({ id, value }) => [Buffer.from(`${id === values[0]?.id ? '' : ' UNION ALL '}SELECT ${id}, id FROM ${table} WHERE v = `), write(form, form.literal, value) ?? Buffer.alloc(0)]);
    const found = (await rowsOf(this.#connection, Buffer.concat(parts))).map((row) => row.map(Number).join(' finds ')).toSorted();
    const expected = values.flatMap((one) => values.flatMap((other) => (sameKey(one.value, other.value) ? [`${one.id} finds ${other.id}`] : []))).toSorted();
    return JSON.stringify(found) === JSON.stringify(expected) ? [] : [`${column.sql}: ${found.join()}, not ${expected.join()}, of ${values.map(({ value }) => shown(value)).join()}`];
  }

  async #compare(table: string, form: ValueForm, values: readonly Placed[], what: string): Promise<string[]> {
    const rows = await rowsOf(this.#connection, `SELECT id, ${form.select('v')} FROM ${table} ORDER BY id`);
    const byId = new Map(rows.map(([id, value]) => [Number(id), value ?? null]));
    const wrong: string[] = byId.get(NULL_ID) === null ? [] : [`${what}: NULL comes back as a value`];
    for (const { id, value } of values) {
      const found = byId.get(id);
      const read = found === undefined || found === null || form.read === null ? found : form.read(found);
      const expected = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
      if (form.isBytes !== (typeof value !== 'string') || read === undefined || read === null || !expected.equals(read)) wrong.push(`${what}: ${shown(value)} comes back as ${read === undefined || read === null ? String(read) : shown(form.isBytes ? read : read.toString('utf8'))}`);
    }
    return wrong;
  }
}

interface Placed {
  readonly id: number;
  readonly value: CellOf;
}

const NULL_ID = 1_000_000;

function isKeyable({ type }: ReplicaColumn): boolean {
  return !/text$|blob$|^(json|vector|geometry|point|linestring|polygon|multi|geometrycollection|enum|set)/.test(type.name) && (type.charset === null || /^ascii_bin$|_nopad_bin$|_0900_bin$/.test(type.collation ?? ''));
}

/** No number tells its zeros apart. */
function sameKey(one: CellOf, other: CellOf): boolean {
  const zero = (value: CellOf): CellOf => (value === '-0' ? '0' : value);
  return typeof one === 'string' ? zero(one) === zero(other) : typeof other !== 'string' && one.equals(other);
}

function shown(value: CellOf): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : `0x${value.toString('hex').slice(0, 80)}`;
}

/** A cell as field or literal, inside of a larger buffer as in a batch; null: it does not fit. */
function write(form: ValueForm, writer: ValueForm['field'], value: CellOf): Buffer | null {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  const around = Buffer.concat([Buffer.from('17'), bytes, Buffer.from('53')]);
  const room = form.room(around, 2, 2 + bytes.length);
  const out = Buffer.alloc(1 + room + 1, 0xee);
  const end = writer(typeof value === 'string' ? Cell.text : Cell.binary, around, 2, 2 + bytes.length, out, 1);
  if (out[0] !== 0xee || out[out.length - 1] !== 0xee) throw new Error(`a value of ${bytes.length} bytes took more than its room of ${room}`);
  return end < 0 ? null : out.subarray(1, end);
}

function schemaOf({ dialect, nativeType, type }: AcrossColumn): TableSchema {
  const column = (number: number, name: string, own: Pick<Column, 'type' | 'nativeType'>): Column => ({
    number, name, ...own, nullable: number > 1, constantDefault: null, fill: null, generated: 'no', identity: 'no',
  });
  const columns = [column(1, 'id', { type: { kind: 'int32' }, nativeType: dialect === 'mysql' ? 'int' : 'integer' }), column(2, 'v', { type, nativeType })];
  return { tableId: 1, version: 1, sourceTableId: '1', namespace: 'shop', name: 'typed', dialect, columns, keyKind: 'primary', key: [0] };
}

const BINARY = 63;

async function rowsOf(connection: Connection, sql: string | Buffer): Promise<(Buffer | null)[][]> {
  const bytes = typeof sql === 'string' ? Buffer.from(sql, 'utf8') : sql;
  const [rows] = await connection.query({ sql: bytes.toString('latin1'), rowsAsArray: true });
  if (!Array.isArray(rows)) return [];
  return rows.map((row: unknown) => (Array.isArray(row) ? row.map((cell: unknown) => (Buffer.isBuffer(cell) ? cell : null)) : []));
}
