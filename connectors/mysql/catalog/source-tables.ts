/**
 * Schemas of tables as the log has them: with the columns that the configuration leaves out or hashes, and the types of
 * contracts/types/mysql-types.ts. What stream, copy and `check` share, so that all three mean the same columns.
 */
import type { Catalog } from '../../../contracts/catalog.ts';
import { ColumnHash } from '../../../contracts/column-hash.ts';
import type { ColumnRules, SourceConfig } from '../../../contracts/config.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type Column, type TableSchema } from '../../../contracts/schema.ts';
import { mysqlLogicalType } from '../../../contracts/types/mysql-types.ts';
import { sameName } from '../ddl/context.ts';
import type { ColumnShape, TableShape } from '../ddl/shape.ts';
import type { Flavor } from '../server-version.ts';
import type { Session } from '../session.ts';
import { listTables } from './catalog-query.ts';
import { typeOfColumn } from './column-type.ts';
import { keyOf } from './row-key.ts';
import { encodeDefinition } from './definition.ts';
import type { TableRef } from './table-reading.ts';

/** What a shape does not say by itself. */
export interface SchemaBy {
  readonly sourceTableId: string;
  readonly flavor: Flavor;
  /** The table's schema before: a column that was left out or hashed stays so, whatever it and its table are called by now. */
  readonly before?: TableSchema | null;
  /** The configuration is another one than it was before: it alone says what is left out or hashed. */
  readonly isRuledAnew?: boolean;
  /** By number of columns that are new, what older rows have in them, as canonical text; absent: SQL NULL. */
  readonly fills?: ReadonlyMap<number, string>;
}

export type ColumnRule = 'exclude' | 'hash';

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
  async selected(session: Session): Promise<TableRef[]> {
    return (await listTables(session)).filter((table) => this.config.tables(table));
  }

  rulesOf(table: TableRef): ColumnRules | null {
    return this.config.columns.get(tableName(table)) ?? null;
  }

  /** What the configuration, or what was done with the column before, says of it; null: it goes into the log as it is. */
  ruleOf(table: TableRef, column: Pick<ColumnShape, 'name' | 'number'>, before: TableSchema | null): ColumnRule | null {
    const rules = this.rulesOf(table);
    const named = (names: readonly string[] | undefined): boolean => names?.some((name) => sameName(name, column.name)) === true;
    const known = before?.columns.find(({ number }) => number === column.number);
    if (named(rules?.exclude) || (known === undefined && before?.unseen?.includes(column.number) === true)) return 'exclude';
    return named(rules?.hash) || known?.hashed !== undefined ? 'hash' : null;
  }

  /**
   * The table's schema in the log, without table id and version (0).
   * @throws TidemarkError `MYSQL_COLUMN_RULE` when a rule takes away what identifies a row, or there is no key to hash with
   */
  schema(table: TableRef, shape: TableShape, by: SchemaBy): TableSchema {
    const before = by.before ?? null;
    const key = keyOf(shape);
    const held = by.isRuledAnew === true ? null : before;
    const ruled = shape.columns.map((column) => ({ column, rule: this.ruleOf(table, column, held) }));
    for (const { column, rule } of ruled) {
      if (rule !== null && key.numbers.includes(column.number)) throw ruleError(table, `${column.name} is a key column of ${tableName(table)}`);
    }
    const isSeen = ({ column, rule }: (typeof ruled)[number]): boolean => rule !== 'exclude' && isSent(column, by.flavor);
    const seen = ruled.filter(isSeen);
    const unseen = ruled.filter((one) => !isSeen(one)).map(({ column }) => column.number);
    const columns = seen.map(({ column, rule }) => {
      const made = this.#column(table, column, rule === 'hash', by.fills?.get(column.number) ?? null);
      // Once known, the fill value stays.
      const known = before?.columns.find(({ number }) => number === column.number);
      return known === undefined || known.hashed !== made.hashed ? made : { ...made, fill: known.fill };
    });
    return {
      tableId: 0,
      version: 0,
      sourceTableId: by.sourceTableId,
      namespace: table.namespace,
      name: table.name,
      dialect: 'mysql',
      columns,
      keyKind: key.kind,
      key: key.numbers.map((number) => columns.findIndex((column) => column.number === number)),
      definition: encodeDefinition(shape, columns),
      ...(unseen.length === 0 ? {} : { unseen }),
    };
  }

  #column(table: TableRef, shape: ColumnShape, hashed: boolean, fill: string | null): Column {
    const { number, name, nullable, generated, autoIncrement } = shape;
    if (hashed) {
      const { hash } = this;
      if (hash === null) throw ruleError(table, `columns of ${tableName(table)} are to be hashed, and there is no key to hash with`);
      const hashedFill = fill === null ? null : hash.bytes(fillBytes(typeOfColumn(shape).charset, fill)).toString('latin1');
      return { number, name, nullable, fill: hashedFill, ...HASHED, constantDefault: null, generated: 'no', identity: 'no', hashed: hash.keyName };
    }
    const type = typeOfColumn(shape);
    return {
      number,
      name,
      nullable,
      fill,
      type: mysqlLogicalType(type, `${tableName(table)}.${name}`),
      nativeType: type.text,
      constantDefault: shape.default.kind === 'constant' ? shape.default.text : null,
      generated,
      identity: autoIncrement ? 'by-default' : 'no',
    };
  }

  /** What is wrong with the configured rules of a table; null when nothing is. */
  ruleError(table: TableRef, shape: TableShape, flavor: Flavor): TidemarkError | null {
    const rules = this.rulesOf(table);
    if (rules === null) return null;
    const missing = [...rules.exclude, ...rules.hash].find((name) => !shape.columns.some((column) => sameName(column.name, name)));
    if (missing !== undefined) return ruleError(table, `${tableName(table)} has no column ${missing}`);
    try {
      this.schema(table, shape, { sourceTableId: '', flavor });
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'MYSQL_COLUMN_RULE') return error;
      throw error;
    }
    return null;
  }
}

/** MariaDB writes virtual columns into row events before it has computed them. */
export function isSent(column: Pick<ColumnShape, 'generated'>, flavor: Flavor): boolean {
  return column.generated !== 'virtual' || flavor === 'mysql';
}

/** The canonical bytes of a value that is given as text. */
function fillBytes(charset: string | null, text: string): Buffer {
  return charset === null && /^\\x(?:[0-9a-f]{2})*$/.test(text) ? Buffer.from(text.slice(2), 'hex') : Buffer.from(text);
}

/**
 * A table of the log whose rules stand under a name that it had: where it is made anew, its columns would be let out.
 * @param missed statements may have been missed: a table that the log does not know may be one that it knows by another name
 */
export function renamedFromRule(source: SourceTables, present: readonly TableRef[], log: Catalog, missed: boolean): TidemarkError | null {
  const { columns } = source.config;
  const names = new Set(present.map((table) => tableName(table)));
  const unknown = missed ? present.filter((table) => log.byName(tableName(table)) === undefined && source.rulesOf(table) === null) : [];
  for (const { versions, state } of columns.size === 0 ? [] : log.tables()) {
    const now = versions.at(-1)?.schema;
    if (now === undefined || state.state === 'removed') continue;
    if (!names.has(tableName(now))) {
      const [other] = unknown;
      if (other === undefined || source.rulesOf(now) === null) continue;
      return new TidemarkError('MYSQL_COLUMN_RULE', `columns are ruled for ${tableName(now)}, which the source lacks, and ${tableName(other)} may be that table under another name`, {
        where: { table: tableName(other) }, remedy: `Write the rules of ${tableName(now)} under ${tableName(other)} if it is the same, else remove them; an empty list takes them back.`,
      });
    }
    if (source.rulesOf(now) !== null) continue;
    const rule = versions.map(({ schema }) => tableName(schema)).find((name) => columns.has(name) && !names.has(name));
    if (rule === undefined) continue;
    return new TidemarkError('MYSQL_COLUMN_RULE', `columns are ruled for ${rule}, which is called ${tableName(now)} at the source`, {
      where: { table: tableName(now) }, remedy: `Write the rules of ${rule} under ${tableName(now)}; an empty list takes them back.`,
    });
  }
  return null;
}

function ruleError(table: TableRef, what: string): TidemarkError {
  return new TidemarkError('MYSQL_COLUMN_RULE', what, { where: { table: tableName(table) } });
}
