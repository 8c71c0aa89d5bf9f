import { TidemarkError } from '../../../contracts/errors/error.ts';

/** What a statement of the binary log was written under: its query event says all of it but the flavor and the version. */
export interface SqlContext {
  readonly flavor: 'mysql' | 'mariadb';
  /** Of the server that wrote the statement (format description event), `80042` or `110806`: major, minor and patch, two digits each. */
  readonly version: number;
  /** The default database; '' when there is none. */
  readonly database: string;
  /** `sql_mode` as the bits of the query event; see {@link SQL_MODE}. */
  readonly sqlMode: bigint;
  /** `lower_case_table_names` is 1 or 2: names of databases and tables are kept and compared in lower case. */
  readonly lowerCaseNames: boolean;
  /** `explicit_defaults_for_timestamp`. Where it is off, a TIMESTAMP column without NULL is NOT NULL. */
  readonly explicitTimestamps: boolean;
}

/** Bits of `sql_mode` that change how a statement is read, or what it does to values. */
export const SQL_MODE = {
  REAL_AS_FLOAT: 1n << 0n,
  ANSI_QUOTES: 1n << 2n,
  /** MariaDB only; MySQL 8 has no such mode. */
  ORACLE: 1n << 9n,
  /** MariaDB only: TIMESTAMP makes a DATETIME column. */
  MAXDB: 1n << 12n,
  NO_BACKSLASH_ESCAPES: 1n << 20n,
  STRICT_TRANS_TABLES: 1n << 21n,
  STRICT_ALL_TABLES: 1n << 22n,
} as const;

/** A table's name as the server compares it: see {@link foldTableName}. */
export interface TableName {
  readonly database: string;
  readonly table: string;
}

/**
 * Lower case as the servers' own tables have it: one character becomes one character, whatever stands around it
 * (`İ` becomes `i`; a sigma at a word's end is an ordinary one).
 */
export function foldCase(name: string): string {
  if (/^[\x00-\x7f]*$/.test(name)) return name.toLowerCase();
  let folded = '';
  for (const character of name) folded += String.fromCodePoint(character.toLowerCase().codePointAt(0) ?? 0);
  return folded;
}

/** The name of a database or table as it is compared and kept under `lower_case_table_names`. */
export function foldTableName(name: string, context: Pick<SqlContext, 'lowerCaseNames'>): string {
  return context.lowerCaseNames ? foldCase(name) : name;
}

/** Names of columns and indexes are compared without case, on every server. */
export function sameName(a: string, b: string): boolean {
  return a === b || foldCase(a) === foldCase(b);
}

/** Thrown while a statement is read that is not one of those known here; `readStatement` answers it as an effect. */
export function notUnderstood(what: string): TidemarkError {
  return new TidemarkError('MYSQL_STATEMENT', what);
}
