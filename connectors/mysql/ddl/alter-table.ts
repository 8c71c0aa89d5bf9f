import { type SqlContext, type TableName, notUnderstood } from './context.ts';
import { type ColumnDefinition, type ColumnPlace, type DefaultClause, columnDefinition, columnPlace, defaultClause, references } from './column-definition.ts';
import { period } from './create-table.ts';
import type { Cursor } from './cursor.ts';
import { charsetName } from './data-type.ts';
import { type KeyDefinition, isKeyDefinition, keyDefinition } from './key-definition.ts';
import { type CharsetClause, DEFAULT, NO_CHARSET, charsetClause } from './table-options.ts';

/** What an ALTER TABLE does to columns and keys. Names are those of before the statement, but in a `place`. */
export type AlterOperation =
  | { readonly kind: 'add-column'; readonly column: ColumnDefinition; readonly place: ColumnPlace; readonly ifNotExists: boolean }
  | { readonly kind: 'drop-column'; readonly name: string; readonly ifExists: boolean }
  /** CHANGE and MODIFY: the column `name` becomes what is defined, its name too. */
  | { readonly kind: 'change-column'; readonly name: string; readonly column: ColumnDefinition; readonly place: ColumnPlace; readonly ifExists: boolean }
  | { readonly kind: 'rename-column'; readonly name: string; readonly to: string; readonly ifExists: boolean }
  | { readonly kind: 'set-default'; readonly name: string; readonly default: DefaultClause; readonly ifExists: boolean }
  | { readonly kind: 'set-visible'; readonly name: string; readonly visible: boolean }
  | { readonly kind: 'add-key'; readonly key: KeyDefinition }
  | { readonly kind: 'drop-key'; readonly name: string; readonly ifExists: boolean }
  /** DROP CONSTRAINT: of a key, a foreign key or a check. */
  | { readonly kind: 'drop-constraint'; readonly name: string; readonly ifExists: boolean }
  | { readonly kind: 'drop-primary-key' }
  | { readonly kind: 'rename-key'; readonly name: string; readonly to: string; readonly ifExists: boolean }
  /** Of the table: counts for columns added later. */
  | { readonly kind: 'default-charset'; readonly charset: CharsetClause }
  /** Of the table and of all its columns of text. */
  | { readonly kind: 'convert-charset'; readonly charset: CharsetClause }
  | { readonly kind: 'system-versioning'; readonly on: boolean };

/** Rows come or go without an event for each. */
export type UnloggedRows = 'partition dropped' | 'partition truncated' | 'partition exchanged' | 'partition converted' | 'tablespace' | 'duplicates dropped';

export interface AlterTable {
  readonly kind: 'alter-table';
  readonly table: TableName;
  /** MariaDB: nothing happens when there is no such table. */
  readonly ifExists: boolean;
  readonly operations: readonly AlterOperation[];
  /** The table is called so afterwards; null: as before. */
  readonly renameTo: TableName | null;
  /** Null: rows stay what they are, apart from what the operations do to their columns. */
  readonly unlogged: UnloggedRows | null;
  /** Another table whose rows come or go too: the one a partition is exchanged with, or becomes, or is made of. */
  readonly other: TableName | null;
  /** The storage engine that the table gets. Absent: the statement names none. */
  readonly engine?: string;
  readonly context: SqlContext;
}

interface Draft {
  readonly operations: AlterOperation[];
  renameTo: TableName | null;
  unlogged: UnloggedRows | null;
  other: TableName | null;
  engine?: string;
}

/** Behind `ALTER [ONLINE] [IGNORE] TABLE`. @throws TidemarkError `MYSQL_STATEMENT` */
export function alterTable(cursor: Cursor, ignore: boolean): AlterTable {
  const ifExists = cursor.ifExists();
  const table = cursor.tableName();
  waitClause(cursor);
  const draft: Draft = { operations: [], renameTo: null, unlogged: ignore ? 'duplicates dropped' : null, other: null };
  while (!cursor.atEnd()) {
    specification(cursor, draft);
    cursor.symbol(',');
  }
  if (ignore && draft.operations.every((operation) => operation.kind === 'default-charset')) draft.unlogged = null;
  return { kind: 'alter-table', table, ifExists, ...draft, context: cursor.context };
}

/** MariaDB's `WAIT 5` and `NOWAIT`. */
export function waitClause(cursor: Cursor): void {
  if (cursor.word('WAIT')) cursor.skipValue();
  else cursor.word('NOWAIT');
}

function specification(cursor: Cursor, draft: Draft): void {
  const clause = charsetOption(cursor);
  if (clause !== null) draft.operations.push({ kind: 'default-charset', charset: clause });
  else if (cursor.isWord('ENGINE', 'TYPE')) engine(cursor, draft);
  else if (cursor.isSymbol('=', 1)) option(cursor);
  else if (cursor.word('ADD')) add(cursor, draft);
  else if (cursor.word('DROP')) drop(cursor, draft);
  else if (cursor.word('CHANGE')) change(cursor, draft, true);
  else if (cursor.word('MODIFY')) change(cursor, draft, false);
  else if (cursor.word('ALTER')) alter(cursor, draft);
  else if (cursor.word('RENAME')) rename(cursor, draft);
  else if (cursor.word('CONVERT')) convert(cursor, draft);
  else if (cursor.phrase('ORDER', 'BY')) orderBy(cursor);
  else if (cursor.isPhrase('PARTITION', 'BY') || cursor.isPhrase('REMOVE', 'PARTITIONING')) cursor.skipAll();
  else if (cursor.isWord('TRUNCATE', 'EXCHANGE', 'DISCARD', 'IMPORT')) partitionCommand(cursor, draft);
  else if (cursor.isWord('REORGANIZE', 'COALESCE', 'REBUILD', 'OPTIMIZE', 'ANALYZE', 'CHECK', 'REPAIR')) otherPartitionCommand(cursor);
  else if (cursor.anyWord('FORCE', 'SECONDARY_LOAD', 'SECONDARY_UNLOAD', 'NOWAIT') !== '') return;
  else if (cursor.anyWord('ENABLE', 'DISABLE') !== '') cursor.expectWord('KEYS');
  else if (cursor.anyWord('WITH', 'WITHOUT') !== '') cursor.expectWord('VALIDATION');
  else plainOption(cursor);
}

/** `DEFAULT CHARSET=latin1 COLLATE latin1_bin`: the clauses side by side are one. */
function charsetOption(cursor: Cursor): CharsetClause | null {
  let clause = charsetClause(cursor, NO_CHARSET);
  for (let more = clause; more !== null; more = charsetClause(cursor, more)) clause = more;
  return clause;
}

function engine(cursor: Cursor, draft: Draft): void {
  cursor.take();
  cursor.symbol('=');
  draft.engine = cursor.peek().text;
  cursor.skipValue();
}

function option(cursor: Cursor): void {
  cursor.identifier();
  cursor.take();
  cursor.skipValue();
}

/** Options that take their value without `=`: `ENGINE InnoDB`, `COMMENT 'x'`, `ROW_FORMAT DYNAMIC`, … */
const OPTIONS: ReadonlySet<string> = new Set([
  'ALGORITHM', 'LOCK', 'AUTO_INCREMENT', 'AUTOEXTEND_SIZE', 'AVG_ROW_LENGTH', 'CHECKSUM', 'TABLE_CHECKSUM', 'COMMENT', 'COMPRESSION', 'CONNECTION',
  'DELAY_KEY_WRITE', 'ENCRYPTION', 'ENGINE_ATTRIBUTE', 'INSERT_METHOD', 'KEY_BLOCK_SIZE', 'MAX_ROWS', 'MIN_ROWS', 'PACK_KEYS', 'PAGE_CHECKSUM', 'PASSWORD', 'ROW_FORMAT',
  'SECONDARY_ENGINE', 'SECONDARY_ENGINE_ATTRIBUTE', 'SEQUENCE', 'STATS_AUTO_RECALC', 'STATS_PERSISTENT', 'STATS_SAMPLE_PAGES', 'STORAGE', 'TABLESPACE',
  'TRANSACTIONAL', 'UNION', 'WAIT',
]);

function plainOption(cursor: Cursor): void {
  if (cursor.phrase('DATA', 'DIRECTORY') || cursor.phrase('INDEX', 'DIRECTORY')) {
    cursor.symbol('=');
    cursor.skipValue();
    return;
  }
  if (!OPTIONS.has(cursor.peek().upper)) throw notUnderstood('ALTER TABLE has a clause that is not known');
  cursor.take();
  cursor.skipValue();
}

function add(cursor: Cursor, draft: Draft): void {
  if (cursor.isWord('PARTITION')) return cursor.skipAll();
  if (cursor.phrase('SYSTEM', 'VERSIONING')) {
    draft.operations.push({ kind: 'system-versioning', on: true });
    return;
  }
  if (cursor.isPhrase('PERIOD', 'FOR')) return period(cursor);
  if (isKeyDefinition(cursor)) return addKey(cursor, draft);
  cursor.word('COLUMN');
  const ifNotExists = cursor.ifNotExists();
  if (!cursor.symbol('(')) return addColumn(cursor, draft, ifNotExists);
  do {
    if (cursor.isPhrase('PERIOD', 'FOR')) period(cursor);
    else if (isKeyDefinition(cursor)) addKey(cursor, draft);
    else addColumn(cursor, draft, ifNotExists);
  } while (cursor.symbol(','));
  cursor.expectSymbol(')');
}

function addKey(cursor: Cursor, draft: Draft): void {
  const key = keyDefinition(cursor, references);
  if (key !== null) draft.operations.push({ kind: 'add-key', key });
}

function addColumn(cursor: Cursor, draft: Draft, ifNotExists: boolean): void {
  const column = columnDefinition(cursor, cursor.identifier());
  draft.operations.push({ kind: 'add-column', column, place: columnPlace(cursor), ifNotExists });
}

function change(cursor: Cursor, draft: Draft, renames: boolean): void {
  cursor.word('COLUMN');
  const ifExists = cursor.ifExists();
  const name = cursor.columnName();
  const column = columnDefinition(cursor, renames ? cursor.identifier() : name);
  draft.operations.push({ kind: 'change-column', name, column, place: columnPlace(cursor), ifExists });
}

function drop(cursor: Cursor, draft: Draft): void {
  const { operations } = draft;
  if (cursor.phrase('PRIMARY', 'KEY')) operations.push({ kind: 'drop-primary-key' });
  else if (cursor.phrase('SYSTEM', 'VERSIONING')) operations.push({ kind: 'system-versioning', on: false });
  else if (cursor.isWord('PARTITION')) {
    draft.unlogged = 'partition dropped';
    cursor.skipAll();
  } else if (cursor.phrase('PERIOD', 'FOR')) {
    cursor.ifExists();
    cursor.identifier();
  } else if (cursor.anyWord('INDEX', 'KEY') !== '') dropNamed(cursor, operations, 'drop-key');
  else if (cursor.word('CONSTRAINT')) dropNamed(cursor, operations, 'drop-constraint');
  else if (cursor.phrase('FOREIGN', 'KEY') || cursor.word('CHECK')) {
    cursor.ifExists();
    cursor.identifier();
  } else {
    cursor.word('COLUMN');
    dropNamed(cursor, operations, 'drop-column');
    cursor.anyWord('RESTRICT', 'CASCADE');
  }
}

function dropNamed(cursor: Cursor, operations: AlterOperation[], kind: 'drop-key' | 'drop-constraint' | 'drop-column'): void {
  const ifExists = cursor.ifExists();
  const name = kind === 'drop-column' ? cursor.columnName() : cursor.identifier();
  operations.push({ kind, name, ifExists });
}

function alter(cursor: Cursor, draft: Draft): void {
  if (cursor.anyWord('INDEX', 'KEY') !== '') {
    cursor.ifExists();
    cursor.identifier();
    if (cursor.anyWord('VISIBLE', 'INVISIBLE', 'IGNORED') === '' && !cursor.phrase('NOT', 'IGNORED')) throw cursor.unexpected();
    return;
  }
  if (cursor.anyWord('CHECK', 'CONSTRAINT') !== '') {
    cursor.identifier();
    cursor.word('NOT');
    cursor.expectWord('ENFORCED');
    return;
  }
  cursor.word('COLUMN');
  const ifExists = cursor.ifExists();
  const name = cursor.columnName();
  if (cursor.phrase('DROP', 'DEFAULT')) draft.operations.push({ kind: 'set-default', name, default: { kind: 'none' }, ifExists });
  else if (cursor.phrase('SET', 'DEFAULT')) draft.operations.push({ kind: 'set-default', name, default: defaultClause(cursor), ifExists });
  else if (cursor.word('SET')) draft.operations.push({ kind: 'set-visible', name, visible: cursor.expectWord('VISIBLE', 'INVISIBLE') === 'VISIBLE' });
  else throw cursor.unexpected();
}

function rename(cursor: Cursor, draft: Draft): void {
  if (cursor.isWord('COLUMN', 'INDEX', 'KEY')) {
    const kind = cursor.take().upper === 'COLUMN' ? 'rename-column' : 'rename-key';
    const ifExists = cursor.ifExists();
    const name = kind === 'rename-column' ? cursor.columnName() : cursor.identifier();
    cursor.expectWord('TO');
    draft.operations.push({ kind, name, to: cursor.identifier(), ifExists });
    return;
  }
  if (!cursor.symbol('=')) cursor.anyWord('TO', 'AS');
  draft.renameTo = cursor.tableName();
}

function convert(cursor: Cursor, draft: Draft): void {
  if (cursor.isWord('PARTITION', 'TABLE')) {
    draft.unlogged = 'partition converted';
    if (cursor.take().upper === 'PARTITION') {
      cursor.identifier();
      cursor.expectWord('TO');
      cursor.expectWord('TABLE');
    }
    draft.other = cursor.tableName();
    cursor.skipAll();
    return;
  }
  cursor.expectWord('TO');
  if (!cursor.phrase('CHARACTER', 'SET') && !cursor.phrase('CHAR', 'SET')) cursor.expectWord('CHARSET');
  const charset = cursor.word(DEFAULT) ? DEFAULT : charsetName(cursor);
  const collation = cursor.word('COLLATE') ? (cursor.symbol('='), charsetName(cursor)) : null;
  draft.operations.push({ kind: 'convert-charset', charset: { charset, collation } });
}

/** `a, b DESC`: what stands behind a comma is another column unless it cannot be one. */
function orderBy(cursor: Cursor): void {
  for (;;) {
    cursor.columnName();
    cursor.anyWord('ASC', 'DESC');
    if (!cursor.isSymbol(',')) return;
    const behind = cursor.peek(2);
    const ends = behind.kind === 'end' || (behind.kind === 'symbol' && /^[,.;]$/.test(behind.text)) || ['ASC', 'DESC'].includes(behind.upper);
    if (!ends || cursor.peek(1).upper === 'FORCE') return;
    cursor.take();
  }
}

/** TRUNCATE, EXCHANGE, DISCARD and IMPORT: rows come or go. */
function partitionCommand(cursor: Cursor, draft: Draft): void {
  const verb = cursor.take().upper;
  if (verb === 'DISCARD' || verb === 'IMPORT') {
    draft.unlogged = 'tablespace';
    if (!cursor.isWord('TABLESPACE', 'PARTITION')) throw cursor.unexpected();
  } else {
    draft.unlogged = verb === 'TRUNCATE' ? 'partition truncated' : 'partition exchanged';
    if (!cursor.isWord('PARTITION')) throw cursor.unexpected();
  }
  if (verb === 'EXCHANGE') {
    cursor.take();
    cursor.identifier();
    cursor.expectWord('WITH');
    cursor.expectWord('TABLE');
    draft.other = cursor.tableName();
  }
  cursor.skipAll();
}

/** Commands that move rows between partitions, or leave them. */
function otherPartitionCommand(cursor: Cursor): void {
  cursor.take();
  if (!cursor.isWord('PARTITION')) throw cursor.unexpected();
  cursor.skipAll();
}
