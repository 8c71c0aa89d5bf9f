/** Which tables of the replica a sink has made or filled, and in which shape. */
import { decodeSchema, encodeSchema, type TableSchema } from '../../contracts/schema.ts';
import type { TargetName } from '../relational/names.ts';
import { mirroredTable } from './checkpoint-table.ts';
import type { Session, TextRow } from './session.ts';
import { quoteText } from './sql.ts';

export interface Registered {
  readonly name: TargetName;
  readonly sink: string;
  readonly tableId: number;
  /** With the replica's own types. */
  readonly shape: TableSchema;
}

export class Registry {
  readonly #session: Session;
  readonly #table: string;

  constructor(session: Session, ownDatabase: string) {
    this.#session = session;
    this.#table = mirroredTable(ownDatabase);
  }

  async at(name: TargetName): Promise<Registered | null> {
    const [row] = await this.#session.rows(`${this.#select} WHERE ${is(name)}`);
    return row === undefined ? null : registered(row);
  }

  async of(sink: string, tableId: number): Promise<Registered | null> {
    const [row] = await this.#session.rows(`${this.#select} WHERE sink = ${quoteText(sink)} AND table_id = ${tableId}`);
    return row === undefined ? null : registered(row);
  }

  async put(name: TargetName, sink: string, shape: TableSchema): Promise<void> {
    const text = quoteText(encodeSchema(shape).toString('utf8'));
    await this.#session.run(
      `REPLACE INTO ${this.#table} (database_name, table_name, sink, table_id, shape)
       VALUES (${quoteText(name.schema)}, ${quoteText(name.name)}, ${quoteText(sink)}, ${shape.tableId}, ${text})`,
    );
  }

  async move(from: TargetName, to: TargetName): Promise<void> {
    // What is said of the new name is of a table that is gone.
    await this.#session.run(`DELETE FROM ${this.#table} WHERE ${is(to)}`);
    await this.#session.run(`UPDATE ${this.#table} SET database_name = ${quoteText(to.schema)}, table_name = ${quoteText(to.name)} WHERE ${is(from)}`);
  }

  get #select(): string {
    return `SELECT database_name, table_name, sink, CAST(table_id AS CHAR) AS table_id, shape FROM ${this.#table}`;
  }
}

function registered(row: TextRow): Registered {
  return {
    name: { schema: row['database_name'] ?? '', name: row['table_name'] ?? '' },
    sink: row['sink'] ?? '',
    tableId: Number(row['table_id']),
    shape: decodeSchema(Buffer.from(row['shape'] ?? '', 'utf8')),
  };
}

function is(name: TargetName): string {
  return `database_name = ${quoteText(name.schema)} AND table_name = ${quoteText(name.name)}`;
}
