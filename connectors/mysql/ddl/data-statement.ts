import { type TableName, notUnderstood } from './context.ts';
import type { Cursor } from './cursor.ts';
import type { Token } from './tokens.ts';

/** Verbs of statements that change rows, or may. */
export const DATA_VERBS: ReadonlySet<string> = new Set([
  'INSERT', 'REPLACE', 'UPDATE', 'DELETE', 'LOAD', 'WITH', 'SELECT', 'DO', 'CALL', 'EXECUTE', 'VALUES', 'TABLE', '(',
]);

/**
 * The one table that a data statement changes rows of, triggers and cascades aside; null: several, or which cannot be
 * told from the text alone. `calls`: it may call functions that change any table.
 * @throws TidemarkError `MYSQL_STATEMENT`
 */
export function dataStatement(cursor: Cursor): { readonly table: TableName | null; readonly calls: boolean } | null {
  const verb = cursor.take().upper;
  switch (verb) {
    case 'INSERT':
    case 'REPLACE':
      modifiers(cursor, 'LOW_PRIORITY', 'DELAYED', 'HIGH_PRIORITY', 'IGNORE', 'INTO');
      return { table: cursor.tableName(), calls: false };
    case 'LOAD':
      return load(cursor);
    case 'DELETE':
      modifiers(cursor, 'LOW_PRIORITY', 'QUICK', 'IGNORE', 'HISTORY');
      return { table: deleted(cursor), calls: false };
    case 'UPDATE':
      modifiers(cursor, 'LOW_PRIORITY', 'IGNORE');
      return { table: updated(cursor), calls: false };
    case 'WITH':
      return { table: null, calls: false };
    default:
      return { table: null, calls: true };
  }
}

function modifiers(cursor: Cursor, ...words: readonly string[]): void {
  while (cursor.anyWord(...words) !== '') continue;
}

/** `LOAD DATA [LOCAL] INFILE 'f' [REPLACE] INTO TABLE t`; MySQL 9 also `FROM URL`, and more. Null: LOAD INDEX INTO CACHE. */
function load(cursor: Cursor): ReturnType<typeof dataStatement> {
  if (cursor.isPhrase('INDEX', 'INTO', 'CACHE')) return null;
  cursor.expectWord('DATA', 'XML');
  while (!cursor.phrase('INTO', 'TABLE')) {
    if (cursor.take().kind === 'end') throw notUnderstood('LOAD DATA names no table');
  }
  return { table: cursor.tableName(), calls: false };
}

/** `FROM t [[AS] alias] [PARTITION …] [WHERE …]`; the forms with several tables: null. */
function deleted(cursor: Cursor): TableName | null {
  if (!cursor.word('FROM')) return null;
  const table = cursor.tableName();
  return isJoin(cursor.peek()) || cursor.isSymbol('.') ? null : followedByWhere(cursor) ? table : null;
}

function followedByWhere(cursor: Cursor): boolean {
  alias(cursor);
  return cursor.atEnd() || cursor.isWord('WHERE', 'ORDER', 'LIMIT', 'RETURNING', 'PARTITION', 'FOR');
}

function updated(cursor: Cursor): TableName | null {
  if (!cursor.isIdentifier()) return null;
  const table = cursor.tableName();
  if (cursor.word('PARTITION')) cursor.parenthesised();
  alias(cursor);
  return cursor.isWord('SET', 'FOR') ? table : null;
}

function alias(cursor: Cursor): void {
  if (cursor.word('AS')) cursor.identifier();
  else if (cursor.isIdentifier() && !cursor.isWord('SET', 'WHERE', 'ORDER', 'LIMIT', 'RETURNING', 'PARTITION', 'FOR', 'USING', 'JOIN')) cursor.take();
}

function isJoin(token: Token): boolean {
  return token.kind === 'symbol' && token.text === ',';
}
