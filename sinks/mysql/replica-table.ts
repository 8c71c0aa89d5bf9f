/** What the replica's catalog says of one table: read once, kept until the table is changed or the sink opened anew. */
import { mysqlType, type MysqlType } from '../../contracts/types/mysql-types.ts';
import type { TargetName } from '../relational/names.ts';
import type { Session, TextRow } from './session.ts';
import { quoteText } from './sql.ts';

export interface ReplicaColumn {
  readonly name: string;
  readonly type: MysqlType;
  readonly nullable: boolean;
  readonly hasDefault: boolean;
  /** Computed by the replica itself, or counted by it. */
  readonly generated: boolean;
  /** An UPDATE that does not name it sets it to the time (ON UPDATE CURRENT_TIMESTAMP). */
  readonly timed: boolean;
}

export interface ReplicaIndex {
  readonly name: string;
  readonly unique: boolean;
  /** In order; `prefix`: so many characters or bytes of the column alone. An expression has no column. */
  readonly parts: readonly { readonly column: string | null; readonly prefix: number | null }[];
}

export interface ReplicaTable {
  readonly name: TargetName;
  /** `BASE TABLE`, `VIEW`, `SYSTEM VERSIONED` ... */
  readonly kind: string;
  /** `InnoDB` ... */
  readonly engine: string;
  readonly columns: readonly ReplicaColumn[];
  readonly indexes: readonly ReplicaIndex[];
}

/** The table of that name; null: there is none. */
export async function readReplicaTable(session: Session, name: TargetName): Promise<ReplicaTable | null> {
  const is = `TABLE_SCHEMA = ${quoteText(name.schema)} AND TABLE_NAME = ${quoteText(name.name)}`;
  const [table] = await session.rows(`SELECT TABLE_TYPE AS kind, ENGINE AS engine FROM information_schema.TABLES WHERE ${is}`);
  if (table === undefined) return null;
  const columns = await session.rows(
    `SELECT COLUMN_NAME AS name, COLUMN_TYPE AS type, CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation, IS_NULLABLE AS nullable,
            COLUMN_DEFAULT AS fallback, EXTRA AS extra, GENERATION_EXPRESSION AS expression
       FROM information_schema.COLUMNS WHERE ${is} ORDER BY ORDINAL_POSITION`,
  );
  // MySQL leaves EXPRESSION out where a version has none: the column is then without a name.
  const parts = await session.rows(
    `SELECT INDEX_NAME AS name, NON_UNIQUE AS more, COLUMN_NAME AS part, SUB_PART AS prefix FROM information_schema.STATISTICS WHERE ${is} ORDER BY INDEX_NAME, SEQ_IN_INDEX`,
  );
  const jsons = session.version.flavor === 'mariadb' ? await jsonColumns(session, is) : new Set<string>();
  return { name, kind: table['kind'] ?? '', engine: table['engine'] ?? '', columns: columns.map((row) => columnOf(row, jsons)), indexes: indexesOf(parts) };
}

/** MariaDB: columns with a check `json_valid`. */
async function jsonColumns(session: Session, is: string): Promise<ReadonlySet<string>> {
  const rows = await session.rows(`SELECT CHECK_CLAUSE AS clause FROM information_schema.CHECK_CONSTRAINTS WHERE ${is.replace('TABLE_SCHEMA', 'CONSTRAINT_SCHEMA')}`);
  return new Set(rows.flatMap((row) => {
    const [, name] = /^\s*json_valid\(`((?:[^`]|``)+)`\)\s*$/i.exec(row['clause'] ?? '') ?? [];
    return name === undefined ? [] : [name.replaceAll('``', '`')];
  }));
}

function columnOf(row: TextRow, jsons: ReadonlySet<string>): ReplicaColumn {
  const name = row['name'] ?? '';
  const extra = row['extra'] ?? '';
  return {
    name,
    type: mysqlType({ columnType: row['type'] ?? '', charset: row['charset'] ?? null, collation: row['collation'] ?? null, isJson: jsons.has(name) }),
    nullable: row['nullable'] === 'YES',
    hasDefault: (row['fallback'] ?? null) !== null || /auto_increment|DEFAULT_GENERATED/i.test(extra),
    generated: (row['expression'] ?? '') !== '' || /\b(VIRTUAL|STORED|PERSISTENT) GENERATED\b|^GENERATED/i.test(extra),
    timed: /\bon update\b/i.test(extra),
  };
}

function indexesOf(rows: readonly TextRow[]): ReplicaIndex[] {
  const indexes = new Map<string, { name: string; unique: boolean; parts: { column: string | null; prefix: number | null }[] }>();
  for (const row of rows) {
    const name = row['name'] ?? '';
    const index = indexes.get(name) ?? { name, unique: row['more'] === '0', parts: [] };
    const prefix = row['prefix'] ?? null;
    index.parts.push({ column: row['part'] ?? null, prefix: prefix === null ? null : Number(prefix) });
    indexes.set(name, index);
  }
  return [...indexes.values()];
}

/** The unique index on exactly these columns, in any order; null: there is none. */
export function uniqueIndexOn(table: ReplicaTable, columns: readonly string[]): ReplicaIndex | null {
  const wanted = new Set(columns);
  return table.indexes.find(({ unique, parts }) => unique && parts.length === wanted.size && parts.every(({ column, prefix }) => column !== null && prefix === null && wanted.has(column))) ?? null;
}
