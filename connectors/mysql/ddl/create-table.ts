import { type SqlContext, type TableName, notUnderstood } from './context.ts';
import { type ColumnDefinition, columnDefinition, references } from './column-definition.ts';
import type { Cursor } from './cursor.ts';
import { type KeyDefinition, isKeyDefinition, keyDefinition } from './key-definition.ts';
import { type CharsetClause, NO_CHARSET, charsetClause } from './table-options.ts';

/** The columns and keys that a CREATE TABLE lists. */
export interface TableDefinition {
  readonly columns: readonly ColumnDefinition[];
  /** In the order in which the server gives names to those without: keys of columns where the column stands. */
  readonly keys: readonly KeyDefinition[];
  readonly charset: CharsetClause;
  /** MariaDB: the table keeps its old rows, with or without columns of its own for it. */
  readonly systemVersioned: boolean;
  readonly context: SqlContext;
}

export interface CreateTable {
  readonly kind: 'create-table';
  readonly table: TableName;
  readonly ifNotExists: boolean;
  /** MariaDB: a table of that name is dropped first. */
  readonly orReplace: boolean;
  /**
   * - `columns`: as listed
   * - `like`: as another table
   * - `select`: by a query too, columns of which the statement does not say; its rows are in the statement
   */
  readonly source:
    | { readonly kind: 'columns'; readonly definition: TableDefinition }
    | { readonly kind: 'like'; readonly table: TableName }
    | { readonly kind: 'select' };
  /** `START TRANSACTION`: the table and the rows that follow are one (CREATE TABLE … SELECT in row format, MySQL 8.0.21). */
  readonly startsTransaction: boolean;
}

/** Behind `CREATE [OR REPLACE] TABLE`. @throws TidemarkError `MYSQL_STATEMENT` */
export function createTable(cursor: Cursor, orReplace: boolean): CreateTable {
  const ifNotExists = cursor.ifNotExists();
  const table = cursor.tableName();
  const head = { kind: 'create-table', table, ifNotExists, orReplace } as const;
  if (cursor.word('LIKE')) return like(cursor, head, false);
  if (cursor.isSymbol('(') && cursor.peek(1).upper === 'LIKE') {
    cursor.take();
    cursor.take();
    return like(cursor, head, true);
  }
  const lists = cursor.isSymbol('(') && !startsQuery(cursor, 1);
  const list = lists ? tableElements(cursor) : { columns: [], keys: [], versioned: false };
  const tail = tableTail(cursor);
  if (tail.select) return { ...head, source: { kind: 'select' }, startsTransaction: false };
  if (list.columns.length === 0) throw notUnderstood('a table is created without columns');
  const definition: TableDefinition = {
    columns: list.columns,
    keys: list.keys,
    charset: tail.charset,
    systemVersioned: tail.versioned || list.versioned,
    context: cursor.context,
  };
  return { ...head, source: { kind: 'columns', definition }, startsTransaction: tail.startsTransaction };
}

type Head = Pick<CreateTable, 'kind' | 'table' | 'ifNotExists' | 'orReplace'>;

function like(cursor: Cursor, head: Head, parenthesis: boolean): CreateTable {
  const table = cursor.tableName();
  if (parenthesis) cursor.expectSymbol(')');
  cursor.expectEnd();
  return { ...head, source: { kind: 'like', table }, startsTransaction: false };
}

function startsQuery(cursor: Cursor, ahead: number): boolean {
  const token = cursor.peek(ahead);
  return ['SELECT', 'VALUES', 'WITH'].includes(token.upper) || (token.kind === 'symbol' && token.text === '(');
}

interface Elements {
  readonly columns: ColumnDefinition[];
  readonly keys: KeyDefinition[];
  versioned: boolean;
}

function tableElements(cursor: Cursor): Elements {
  const elements: Elements = { columns: [], keys: [], versioned: false };
  cursor.expectSymbol('(');
  do element(cursor, elements);
  while (cursor.symbol(','));
  cursor.expectSymbol(')');
  return elements;
}

function element(cursor: Cursor, elements: Elements): void {
  if (isKeyDefinition(cursor)) {
    const key = keyDefinition(cursor, references);
    if (key !== null) elements.keys.push(key);
    return;
  }
  if (cursor.isPhrase('PERIOD', 'FOR')) {
    period(cursor);
    return;
  }
  const column = columnDefinition(cursor, cursor.identifier());
  elements.columns.push(column);
  elements.keys.push(...column.keys);
}

/** `PERIOD FOR SYSTEM_TIME (from, until)`, `PERIOD FOR name (from, until)` */
export function period(cursor: Cursor): void {
  cursor.expectWord('PERIOD');
  cursor.expectWord('FOR');
  cursor.identifier();
  cursor.parenthesised();
}

interface Tail {
  readonly charset: CharsetClause;
  readonly select: boolean;
  readonly versioned: boolean;
  readonly startsTransaction: boolean;
}

/** Options, partitions, and the query whose rows fill the table. */
function tableTail(cursor: Cursor): Tail {
  let charset = NO_CHARSET;
  let versioned = false;
  let startsTransaction = false;
  while (!cursor.atEnd()) {
    const clause = charsetClause(cursor, charset);
    if (clause !== null) charset = clause;
    else if (cursor.phrase('WITH', 'SYSTEM', 'VERSIONING')) versioned = true;
    else if (cursor.phrase('START', 'TRANSACTION')) startsTransaction = true;
    else if (cursor.isSymbol('=', 1)) option(cursor);
    else if (cursor.isWord('SELECT', 'VALUES', 'TABLE', 'WITH', 'AS', 'IGNORE', 'REPLACE')) {
      cursor.skipAll();
      return { charset, select: true, versioned, startsTransaction };
    } else if (cursor.isSymbol('(')) {
      if (startsQuery(cursor, 1)) return { charset, select: true, versioned, startsTransaction };
      cursor.parenthesised();
    } else if (cursor.isSymbol(';')) throw notUnderstood('another statement follows');
    else cursor.take();
  }
  return { charset, select: false, versioned, startsTransaction };
}

function option(cursor: Cursor): void {
  cursor.take();
  cursor.take();
  cursor.skipValue();
}
