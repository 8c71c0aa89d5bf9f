import { TidemarkError } from '../../../contracts/errors/error.ts';
import { type AlterTable, alterTable, waitClause } from './alter-table.ts';
import { type SqlContext, type TableName, notUnderstood } from './context.ts';
import { createTable } from './create-table.ts';
import { Cursor } from './cursor.ts';
import { DATA_VERBS, dataStatement } from './data-statement.ts';
import { type StatementEffect, mentions } from './effects.ts';
import { type KeyDefinition, indexBody } from './key-definition.ts';
import { NO_CHARSET, charsetClause } from './table-options.ts';
import { TRANSACTION_VERBS, transactionStatement } from './transaction-statement.ts';

/** Characters of a statement that is read at all; of data statements the first words are enough, however long they are. */
const MAX_STATEMENT = 256 * 1024 * 1024;

const NOTHING: StatementEffect = { kind: 'nothing' };
const BEGIN: StatementEffect = { kind: 'transaction', action: 'begin' };
const COMMIT: StatementEffect = { kind: 'transaction', action: 'commit' };

/** Verbs of statements that change neither rows nor tables. */
const OF_NO_MATTER: ReadonlySet<string> = new Set([
  'GRANT', 'REVOKE', 'SET', 'USE', 'ANALYZE', 'OPTIMIZE', 'REPAIR', 'CHECK', 'CHECKSUM', 'FLUSH', 'RESET', 'INSTALL', 'UNINSTALL', 'KILL', 'LOCK', 'UNLOCK',
  'SHOW', 'DESCRIBE', 'DESC', 'EXPLAIN', 'HELP', 'CACHE', 'PURGE', 'CHANGE', 'STOP', 'SHUTDOWN', 'RESTART', 'SIGNAL', 'RESIGNAL', 'GET', 'DEALLOCATE', 'PREPARE', 'HANDLER',
]);

/** What CREATE, ALTER and DROP are of no matter for. */
const OTHER_OBJECTS: ReadonlySet<string> = new Set([
  'VIEW', 'PROCEDURE', 'FUNCTION', 'TRIGGER', 'EVENT', 'USER', 'ROLE', 'SERVER', 'SEQUENCE', 'PACKAGE', 'RESOURCE', 'LOGFILE', 'INSTANCE', 'SPATIAL', 'PREPARE', 'LIBRARY', 'TABLESPACE', 'UNDO',
]);

/**
 * What the statement does to tables. `sql` is the text of the query event in Unicode. What is not understood is an
 * effect too, and is never `nothing`.
 *
 * On the hot path are the BEGIN of each transaction and now and then a COMMIT: these are not parsed.
 * @throws TidemarkError `MYSQL_STATEMENT` when the statement is longer than {@link MAX_STATEMENT}
 */
export function readStatement(sql: string, context: SqlContext): StatementEffect {
  if (sql === 'BEGIN') return BEGIN;
  if (sql === 'COMMIT') return COMMIT;
  if (sql.length > MAX_STATEMENT) throw notUnderstood(`a statement of ${sql.length} characters is longer than the limit of ${MAX_STATEMENT}`);
  try {
    return read(new Cursor(sql, context), sql, context);
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'MYSQL_STATEMENT') throw error;
    return { kind: 'unknown', reason: error.message, ...mentions(sql, context) };
  }
}

function read(cursor: Cursor, sql: string, context: SqlContext): StatementEffect {
  if (cursor.atEnd()) return NOTHING;
  if (context.flavor === 'mariadb' && cursor.phrase('SET', 'STATEMENT')) skipSettings(cursor);
  if (cursor.isWord('ANALYZE') && context.flavor === 'mariadb') skipAnalyze(cursor);
  const first = cursor.peek();
  const verb = first.kind === 'symbol' ? first.text : first.upper;
  if (TRANSACTION_VERBS.has(verb)) return transactionStatement(cursor) ?? NOTHING;
  if (DATA_VERBS.has(verb)) return data(cursor, verb, sql, context);
  if (OF_NO_MATTER.has(verb)) return NOTHING;
  cursor.take();
  switch (verb) {
    case 'CREATE':
      return create(cursor);
    case 'ALTER':
      return alter(cursor);
    case 'DROP':
      return drop(cursor);
    case 'RENAME':
      return rename(cursor);
    case 'TRUNCATE':
      cursor.word('TABLE');
      return ended(cursor, { kind: 'truncate-table', table: cursor.tableName() });
    default:
      throw notUnderstood('the statement begins with a word that is not known');
  }
}

/** MariaDB's `SET STATEMENT max_statement_time = 1, … FOR statement`. */
function skipSettings(cursor: Cursor): void {
  while (!cursor.word('FOR')) {
    if (cursor.isSymbol('(')) cursor.parenthesised();
    else if (cursor.take().kind === 'end') throw cursor.unexpected();
  }
}

/** MariaDB's `ANALYZE [FORMAT = JSON] statement` runs a data statement too. */
function skipAnalyze(cursor: Cursor): void {
  const ahead = cursor.peek(1).upper === 'FORMAT' ? 4 : 1;
  if (!DATA_VERBS.has(cursor.peek(ahead).upper) || cursor.peek(ahead).upper === 'TABLE') return;
  for (let words = 0; words < ahead; words++) cursor.take();
}

/** The effect, when nothing but WAIT, NOWAIT, RESTRICT and CASCADE stands behind what was read. */
function ended(cursor: Cursor, effect: StatementEffect): StatementEffect {
  waitClause(cursor);
  cursor.anyWord('RESTRICT', 'CASCADE');
  cursor.expectEnd();
  return effect;
}

function data(cursor: Cursor, verb: string, sql: string, context: SqlContext): StatementEffect {
  const found = dataStatement(cursor);
  if (found === null) return NOTHING;
  if (found.table !== null) return { kind: 'statement-rows', verb, table: found.table };
  const { names, everything } = mentions(sql, context);
  return { kind: 'statement-rows-among', verb, names, everything: everything || found.calls };
}

function create(cursor: Cursor): StatementEffect {
  const orReplace = cursor.phrase('OR', 'REPLACE');
  if (cursor.word('TEMPORARY')) {
    cursor.expectWord('TABLE', 'SEQUENCE');
    return NOTHING;
  }
  if (cursor.word('TABLE')) return createTable(cursor, orReplace);
  if (cursor.anyWord('DATABASE', 'SCHEMA') !== '') return database(cursor, 'create-database', orReplace);
  cursor.anyWord('ONLINE', 'OFFLINE');
  if (isIndex(cursor)) return createIndex(cursor, orReplace);
  return otherObject(cursor);
}

function isIndex(cursor: Cursor): boolean {
  return cursor.isWord('INDEX') || (cursor.isWord('UNIQUE', 'FULLTEXT', 'SPATIAL', 'VECTOR') && cursor.peek(1).upper === 'INDEX');
}

/** `CREATE [UNIQUE] INDEX [IF NOT EXISTS] name [USING BTREE] ON t (parts) [options]`: an ALTER TABLE. */
function createIndex(cursor: Cursor, orReplace: boolean): StatementEffect {
  const kind: KeyDefinition['kind'] = cursor.take().upper === 'UNIQUE' ? 'unique' : 'index';
  cursor.word('INDEX');
  const ifNotExists = cursor.ifNotExists();
  const name = cursor.identifier();
  if (cursor.anyWord('USING', 'TYPE') !== '') cursor.identifier();
  cursor.expectWord('ON');
  const table = cursor.tableName();
  const key: KeyDefinition = { ...indexBody(cursor, kind), name, ifNotExists };
  trailingOptions(cursor);
  const drops = orReplace ? [{ kind: 'drop-key', name, ifExists: true } as const] : [];
  return alteration(cursor, table, [...drops, { kind: 'add-key', key }]);
}

function alteration(cursor: Cursor, table: TableName, operations: AlterTable['operations']): StatementEffect {
  return { kind: 'alter-table', table, ifExists: false, operations, renameTo: null, unlogged: null, other: null, context: cursor.context };
}

/** `ALGORITHM = INPLACE LOCK = NONE`, `WAIT 5` */
function trailingOptions(cursor: Cursor): void {
  while (cursor.anyWord('ALGORITHM', 'LOCK') !== '') {
    cursor.symbol('=');
    cursor.skipValue();
  }
  waitClause(cursor);
  cursor.expectEnd();
}

function database(cursor: Cursor, kind: 'create-database' | 'alter-database', orReplace: boolean): StatementEffect {
  cursor.ifNotExists();
  const named = cursor.isIdentifier() && charsetClause(cursor, NO_CHARSET) === null;
  const name = named ? cursor.databaseName() : cursor.context.database;
  let charset = NO_CHARSET;
  while (!cursor.atEnd()) {
    const clause = charsetClause(cursor, charset);
    if (clause !== null) charset = clause;
    else if (cursor.take().kind === 'end') break;
  }
  if (name === '') throw notUnderstood('a database is meant, and there is no default database');
  return { kind, database: name, charset, orReplace };
}

/** Words like DEFINER=… and ALGORITHM=… may stand before what is created or altered. */
function otherObject(cursor: Cursor): StatementEffect {
  for (let words = 0; words < 32 && !cursor.atEnd(); words++) {
    if (cursor.isWord('TABLE', 'INDEX', 'DATABASE', 'SCHEMA')) break;
    if (cursor.isWord(...OTHER_OBJECTS)) return NOTHING;
    if (cursor.isSymbol('(')) cursor.parenthesised();
    else cursor.take();
  }
  throw notUnderstood('what is created, altered or dropped is not known');
}

function alter(cursor: Cursor): StatementEffect {
  cursor.anyWord('ONLINE', 'OFFLINE');
  const ignore = cursor.word('IGNORE');
  if (cursor.word('TABLE')) return alterTable(cursor, ignore);
  if (cursor.anyWord('DATABASE', 'SCHEMA') !== '') return database(cursor, 'alter-database', false);
  return otherObject(cursor);
}

function drop(cursor: Cursor): StatementEffect {
  if (cursor.word('TEMPORARY')) {
    cursor.expectWord('TABLE', 'TABLES', 'SEQUENCE');
    return NOTHING;
  }
  if (cursor.anyWord('TABLE', 'TABLES') !== '') {
    const ifExists = cursor.ifExists();
    return ended(cursor, { kind: 'drop-tables', tables: tableNames(cursor), ifExists });
  }
  if (cursor.anyWord('DATABASE', 'SCHEMA') !== '') {
    cursor.ifExists();
    return ended(cursor, { kind: 'drop-database', database: cursor.databaseName() });
  }
  cursor.anyWord('ONLINE', 'OFFLINE');
  if (cursor.word('INDEX')) return dropIndex(cursor);
  return otherObject(cursor);
}

function tableNames(cursor: Cursor): TableName[] {
  const tables: TableName[] = [];
  do tables.push(cursor.tableName());
  while (cursor.symbol(','));
  return tables;
}

function dropIndex(cursor: Cursor): StatementEffect {
  const ifExists = cursor.ifExists();
  const name = cursor.identifier();
  cursor.expectWord('ON');
  const table = cursor.tableName();
  trailingOptions(cursor);
  return alteration(cursor, table, [{ kind: 'drop-key', name, ifExists }]);
}

function rename(cursor: Cursor): StatementEffect {
  if (cursor.isWord('USER')) return NOTHING;
  cursor.expectWord('TABLE', 'TABLES');
  const ifExists = cursor.ifExists();
  const renames: { from: TableName; to: TableName }[] = [];
  do {
    const from = cursor.tableName();
    waitClause(cursor);
    cursor.expectWord('TO');
    renames.push({ from, to: cursor.tableName() });
  } while (cursor.symbol(','));
  cursor.expectEnd();
  return { kind: 'rename-tables', renames, ifExists };
}
