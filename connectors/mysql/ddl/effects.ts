import type { AlterTable } from './alter-table.ts';
import { type SqlContext, type TableName, foldTableName } from './context.ts';
import type { CreateTable } from './create-table.ts';
import type { CharsetClause } from './table-options.ts';
import { Tokenizer } from './tokens.ts';

/** Name of an XA transaction; both parts as hexadecimal digits. */
export interface Xid {
  readonly format: number;
  readonly global: string;
  readonly branch: string;
}

/** Statements that begin and end transactions. Names of savepoints are compared without case, and are folded here. */
export type TransactionEffect =
  | { readonly kind: 'transaction'; readonly action: 'begin' | 'commit' | 'rollback' }
  | { readonly kind: 'transaction'; readonly action: 'savepoint' | 'rollback-to' | 'release'; readonly savepoint: string }
  | { readonly kind: 'transaction'; readonly action: 'xa-start' | 'xa-end' | 'xa-prepare' | 'xa-rollback'; readonly xid: Xid }
  | { readonly kind: 'transaction'; readonly action: 'xa-commit'; readonly xid: Xid; readonly onePhase: boolean };

/** Identifiers that stand in a statement which is not understood, or changes rows of tables that it does not single out. */
export interface Mentions {
  /** As tables are compared: a captured table whose name is here may be meant, in whatever database it is. */
  readonly names: ReadonlySet<string>;
  /** Any table may be meant: there are too many names, or the statement calls functions, or speaks of whole databases. */
  readonly everything: boolean;
}

/** What a statement of the binary log does to tables. Names are as `lower_case_table_names` has them. */
export type StatementEffect =
  | { readonly kind: 'nothing' }
  | TransactionEffect
  | CreateTable
  /** `ifExists`: of those that are there. One by one, in this order. */
  | { readonly kind: 'drop-tables'; readonly tables: readonly TableName[]; readonly ifExists: boolean }
  | { readonly kind: 'truncate-table'; readonly table: TableName }
  /** One after the other, in this order: a name that was given away may be taken again. */
  | { readonly kind: 'rename-tables'; readonly renames: readonly { readonly from: TableName; readonly to: TableName }[]; readonly ifExists: boolean }
  | AlterTable
  /** `orReplace` (MariaDB): what was there is dropped first, with all its tables. */
  | { readonly kind: 'create-database' | 'alter-database'; readonly database: string; readonly charset: CharsetClause; readonly orReplace: boolean }
  /** With all its tables. */
  | { readonly kind: 'drop-database'; readonly database: string }
  /** A data statement in place of row events changed rows of this table; triggers of it, and cascades, of others too. */
  | { readonly kind: 'statement-rows'; readonly verb: string; readonly table: TableName }
  /** The same, of tables that are not singled out. */
  | ({ readonly kind: 'statement-rows-among'; readonly verb: string } & Mentions)
  /** Not understood: every captured table that is mentioned may have changed. */
  | ({ readonly kind: 'unknown'; readonly reason: string } & Mentions);

/** More names than this are everything. */
const MAX_NAMES = 100_000;

/** All identifiers of a statement, also of one that cannot be read to its end. */
export function mentions(sql: string, context: SqlContext): Mentions {
  const names = new Set<string>();
  const tokenizer = new Tokenizer(sql, context);
  let databases = false;
  for (;;) {
    const token = tokenizer.next();
    if (token.kind === 'end') return { names, everything: databases };
    if (token.kind === 'word' || token.kind === 'name') names.add(foldTableName(token.text, context));
    if (token.kind === 'introducer') names.add(foldTableName(`_${token.text}`, context));
    if (token.kind === 'broken') addWords(token.text, names, context);
    if (token.kind === 'word' && (token.upper === 'DATABASE' || token.upper === 'SCHEMA' || token.upper === 'TABLESPACE')) databases = true;
    if (names.size > MAX_NAMES) return { names: new Set(), everything: true };
  }
}

/** Of text whose quotes cannot be told: every run of characters that a name may have, and all that stands in backticks. */
function addWords(text: string, names: Set<string>, context: SqlContext): void {
  for (const [word] of text.matchAll(/[0-9A-Za-z$_\u0080-\u{10ffff}]+/gu)) {
    names.add(foldTableName(word, context));
    if (names.size > MAX_NAMES) return;
  }
  for (const piece of text.split(/[`"]/)) {
    names.add(foldTableName(piece, context));
    if (names.size > MAX_NAMES) return;
  }
}

/** Whether the effect may change the table's rows, columns, keys or name, or make or drop it. `table` in folded names. */
export function touches(effect: StatementEffect, table: TableName): boolean {
  switch (effect.kind) {
    case 'nothing':
    case 'transaction':
    case 'alter-database':
      return false;
    case 'create-database':
      return effect.orReplace && effect.database === table.database;
    case 'create-table':
    case 'truncate-table':
    case 'statement-rows':
      return equalNames(effect.table, table);
    case 'drop-tables':
      return effect.tables.some((dropped) => equalNames(dropped, table));
    case 'rename-tables':
      return effect.renames.some(({ from, to }) => equalNames(from, table) || equalNames(to, table));
    case 'alter-table':
      return [effect.table, effect.renameTo, effect.other].some((name) => name !== null && equalNames(name, table));
    case 'drop-database':
      return effect.database === table.database;
    case 'statement-rows-among':
    case 'unknown':
      return effect.everything || effect.names.has(table.table);
  }
}

function equalNames(a: TableName, b: TableName): boolean {
  return a.database === b.database && a.table === b.table;
}
