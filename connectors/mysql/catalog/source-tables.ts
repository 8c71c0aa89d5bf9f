/**
 * Shapes of tables as the log has them: with the columns that the configuration leaves out or hashes, and the types of
 * contracts/types/mysql-types.ts. What stream, copy and `check` share, so that all three mean the same columns.
 */
import { ColumnHash } from '../../../contracts/column-hash.ts';
import type { ColumnRules, SourceConfig } from '../../../contracts/config.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type Column, type TableSchema } from '../../../contracts/schema.ts';
import { mysqlLogicalType } from '../../../contracts/types/mysql-types.ts';
import type { Session } from '../session.ts';
import { listTables, readShapes, type TableEntry } from './catalog-query.ts';
import { keyOf, type ShapeColumn, type TableRef, type TableShape } from './table-shape.ts';

/** What a shape does not say by itself. */
export interface SchemaBy {
  readonly sourceTableId: string;
  /** Of each column of the shape, in its order. Absent: 1, 2, … */
  readonly numbers?: readonly number[];
  /** False for a column that row events do not have. Absent: they have all. */
  readonly isSent?: (column: ShapeColumn) => boolean;
}

/** A hashed value: 64 hexadecimal digits. */
const HASHED = { type: { kind: 'text', length: 64, fixed: false }, nativeType: 'varchar(64) character set ascii collate ascii_bin' } as const;

export class SourceTables {
  readonly config: SourceConfig;
  readonly hash: ColumnHash | null;

  constructor(config: SourceConfig) {
    this.config = config;
    this.hash = config.hashKey === null ? null : new ColumnHash(config.hashKey);
  }

  /** The tables that the configuration selects, whether or not they can be captured. */
  async selected(session: Session): Promise<TableEntry[]> {
    return (await listTables(session)).filter((table) => this.config.tables(table));
  }

  /** Of all selected tables, or of those given that are there. */
  async shapes(session: Session, tables?: readonly TableEntry[]): Promise<TableShape[]> {
    return readShapes(session, tables ?? (await this.selected(session)));
  }

  rulesOf(table: TableRef): ColumnRules | null {
    return this.config.columns.get(tableName(table)) ?? null;
  }

  /**
   * The table's schema in the log, without table id and version (0).
   * @throws TidemarkError `MYSQL_COLUMN_RULE` when a rule takes away what identifies a row, or there is no key to hash with
   */
  schema(shape: TableShape, by: SchemaBy): TableSchema {
    const rules = this.rulesOf(shape);
    const key = keyOf(shape);
    const numbered = shape.columns.map((column, at) => ({ column, at, number: by.numbers?.[at] ?? at + 1 }));
    for (const at of key.columns) this.#requireWhole(shape, shape.columns[at], rules);
    const isSeen = (column: ShapeColumn): boolean => by.isSent?.(column) !== false && rules?.exclude.includes(column.name) !== true;
    const seen = numbered.filter(({ column }) => isSeen(column));
    const unseen = numbered.filter(({ column }) => !isSeen(column)).map(({ number }) => number);
    return {
      tableId: 0,
      version: 0,
      sourceTableId: by.sourceTableId,
      namespace: shape.namespace,
      name: shape.name,
      columns: seen.map(({ column, number }) => this.column(shape, column, number)),
      keyKind: key.kind,
      key: key.columns.map((at) => seen.findIndex((one) => one.at === at)),
      ...(unseen.length === 0 ? {} : { unseen }),
    };
  }

  /** One column as the log has it. @throws TidemarkError `MYSQL_COLUMN_RULE` when it is hashed and there is no key */
  column(table: TableRef, column: ShapeColumn, number: number): Column {
    const { name, nullable, generated, autoIncrement, type } = column;
    const common = { number, name, nullable, fill: null };
    if (this.rulesOf(table)?.hash.includes(name) === true) {
      if (this.hash === null) throw ruleError(table, `columns of ${tableName(table)} are to be hashed, and there is no key to hash with`);
      return { ...common, ...HASHED, constantDefault: null, generated: 'no', identity: 'no', hashed: this.hash.keyName };
    }
    return {
      ...common,
      type: mysqlLogicalType(type, `${tableName(table)}.${name}`),
      nativeType: type.text,
      constantDefault: column.default.kind === 'constant' ? column.default.text : null,
      generated,
      identity: autoIncrement ? 'by-default' : 'no',
    };
  }

  /** What is wrong with the configured rules of a table; null when nothing is. */
  ruleError(shape: TableShape): TidemarkError | null {
    const rules = this.rulesOf(shape);
    if (rules === null) return null;
    const missing = [...rules.exclude, ...rules.hash].find((name) => !shape.columns.some((column) => column.name === name));
    if (missing !== undefined) return ruleError(shape, `${tableName(shape)} has no column ${missing}`);
    try {
      this.schema(shape, { sourceTableId: '' });
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'MYSQL_COLUMN_RULE') return error;
      throw error;
    }
    return null;
  }

  #requireWhole(shape: TableShape, column: ShapeColumn | undefined, rules: ColumnRules | null): void {
    if (column === undefined || rules === null) return;
    if (rules.exclude.includes(column.name) || rules.hash.includes(column.name)) throw ruleError(shape, `${column.name} is a key column of ${tableName(shape)}`);
  }
}

function ruleError(table: TableRef, what: string): TidemarkError {
  return new TidemarkError('MYSQL_COLUMN_RULE', what, { where: { table: tableName(table) } });
}
