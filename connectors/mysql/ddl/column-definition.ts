import { notUnderstood } from './context.ts';
import type { Cursor } from './cursor.ts';
import { type DataType, charsetName, dataType } from './data-type.ts';
import { type KeyDefinition, keyParts } from './key-definition.ts';
import { type Literal, literal } from './literal.ts';

export type DefaultClause = { readonly kind: 'none' } | { readonly kind: 'expression' } | { readonly kind: 'literal'; readonly literal: Literal };

/** A column as CREATE TABLE or ALTER TABLE defines it. */
export interface ColumnDefinition {
  readonly name: string;
  readonly type: DataType;
  /** Null: not said. */
  readonly nullable: boolean | null;
  readonly default: DefaultClause;
  readonly generated: 'no' | 'stored' | 'virtual';
  /** MariaDB's system versioning: this column says from when, or until when, a row version counts. */
  readonly rowBound: 'start' | 'end' | null;
  readonly invisible: boolean;
  readonly autoIncrement: boolean;
  /** PRIMARY KEY, UNIQUE: keys of this column alone, in the order they stand. */
  readonly keys: readonly KeyDefinition[];
  /** A foreign key of this column alone changes rows of the table. Absent: none does. */
  readonly cascades?: boolean;
}

/** Where a new or changed column is put; null: at the end, or where it stands. */
export type ColumnPlace = { readonly kind: 'first' } | { readonly kind: 'after'; readonly column: string } | null;

interface Draft {
  nullable: boolean | null;
  default: DefaultClause;
  generated: 'no' | 'stored' | 'virtual';
  rowBound: 'start' | 'end' | null;
  invisible: boolean;
  autoIncrement: boolean;
  collation: string | null;
  charset: string | null;
  json: boolean;
  readonly keys: KeyDefinition[];
  cascades?: boolean;
}

/** Behind the column's name: type and attributes, up to what can be none. @throws TidemarkError `MYSQL_STATEMENT` */
export function columnDefinition(cursor: Cursor, name: string): ColumnDefinition {
  const type = dataType(cursor);
  const draft: Draft = {
    nullable: null, default: { kind: 'none' }, generated: 'no', rowBound: null, invisible: false, autoIncrement: false,
    collation: null, charset: null, json: type.json, keys: [],
  };
  if (type.serial) serial(name, draft);
  while (!atDefinitionEnd(cursor)) attribute(cursor, name, draft);
  const { collation, charset, json, ...rest } = draft;
  return { name, type: { ...type, collation: collation ?? type.collation, charset: charset ?? type.charset, json }, ...rest };
}

function serial(name: string, draft: Draft): void {
  draft.nullable = false;
  draft.autoIncrement = true;
  draft.keys.push(inlineKey('unique', name));
}

function inlineKey(kind: 'primary' | 'unique', column: string): KeyDefinition {
  return { kind, name: null, parts: [{ column, length: null }], ifNotExists: false, generated: false };
}

function atDefinitionEnd(cursor: Cursor): boolean {
  return (
    cursor.atEnd() || cursor.isSymbol(',') || cursor.isSymbol(')') || cursor.isWord('FIRST', 'AFTER') ||
    cursor.isPhrase('PARTITION', 'BY') || cursor.isPhrase('REMOVE', 'PARTITIONING')
  );
}

function attribute(cursor: Cursor, name: string, draft: Draft): void {
  if (cursor.word('NULL')) draft.nullable = true;
  else if (cursor.phrase('NOT', 'NULL')) draft.nullable = false;
  else if (cursor.phrase('NOT', 'SECONDARY')) return;
  else if (cursor.word('DEFAULT')) draft.default = defaultClause(cursor);
  else if (cursor.phrase('ON', 'UPDATE')) timeFunction(cursor);
  else if (cursor.word('AUTO_INCREMENT')) draft.autoIncrement = true;
  else if (cursor.phrase('SERIAL', 'DEFAULT', 'VALUE')) serial(name, draft);
  else if (cursor.word('UNIQUE')) {
    cursor.anyWord('KEY', 'INDEX');
    draft.keys.push(inlineKey('unique', name));
  } else if (cursor.phrase('PRIMARY', 'KEY') || cursor.word('KEY')) draft.keys.push(inlineKey('primary', name));
  else if (cursor.word('VISIBLE')) draft.invisible = false;
  else if (cursor.word('INVISIBLE')) draft.invisible = true;
  else if (cursor.word('COLLATE')) draft.collation = charsetName(cursor);
  else if (cursor.phrase('CHARACTER', 'SET') || cursor.word('CHARSET')) draft.charset = charsetName(cursor);
  else if (cursor.phrase('GENERATED', 'ALWAYS') || cursor.isWord('AS')) generated(cursor, draft);
  else if (!constraint(cursor, name, draft)) option(cursor);
}

function generated(cursor: Cursor, draft: Draft): void {
  cursor.expectWord('AS');
  if (cursor.word('ROW')) {
    draft.rowBound = cursor.expectWord('START', 'END') === 'START' ? 'start' : 'end';
    draft.generated = 'stored';
    draft.nullable = false;
    return;
  }
  cursor.parenthesised();
  const kind = cursor.anyWord('VIRTUAL', 'STORED', 'PERSISTENT');
  draft.generated = kind === 'STORED' || kind === 'PERSISTENT' ? 'stored' : 'virtual';
}

/** CHECK and REFERENCES, which change neither shape nor keys. `CHECK (json_valid(column))` is how MariaDB says JSON. */
function constraint(cursor: Cursor, name: string, draft: Draft): boolean {
  if (cursor.word('CONSTRAINT')) {
    if (!cursor.isWord('CHECK', 'UNIQUE', 'PRIMARY', 'REFERENCES')) cursor.identifier();
    return true;
  }
  if (cursor.word('CHECK')) {
    const tokens = cursor.parenthesised();
    if (tokens.length === 4 && tokens[0]?.upper === 'JSON_VALID' && tokens[2]?.text.toLowerCase() === name.toLowerCase()) {
      draft.json = cursor.context.flavor === 'mariadb';
    }
    cursor.word('NOT');
    cursor.word('ENFORCED');
    return true;
  }
  if (!cursor.isWord('REFERENCES')) return false;
  const cascades = references(cursor);
  const { flavor, version } = cursor.context;
  if (cascades && (flavor === 'mariadb' || version >= FIRST_WITH_COLUMN_REFERENCES)) draft.cascades = true;
  return true;
}

/** MySQL before 9.0 takes no notice of REFERENCES behind a column. */
const FIRST_WITH_COLUMN_REFERENCES = 90_000;

/** `REFERENCES t (a, b) MATCH FULL ON DELETE SET NULL ON UPDATE CASCADE`: true when what it says may change rows. */
export function references(cursor: Cursor): boolean {
  cursor.expectWord('REFERENCES');
  cursor.tableName();
  if (cursor.isSymbol('(')) keyParts(cursor);
  let cascades = false;
  for (;;) {
    if (cursor.word('MATCH')) cursor.expectWord('FULL', 'PARTIAL', 'SIMPLE');
    else if (!cursor.isPhrase('ON', 'DELETE') && !cursor.isPhrase('ON', 'UPDATE')) return cascades;
    else if (referenceCascades(cursor)) cascades = true;
  }
}

function referenceCascades(cursor: Cursor): boolean {
  cursor.take();
  cursor.take();
  const action = cursor.expectWord('RESTRICT', 'CASCADE', 'SET', 'NO');
  if (action === 'SET') cursor.expectWord('NULL', 'DEFAULT');
  else if (action === 'NO') cursor.expectWord('ACTION');
  return action === 'CASCADE' || action === 'SET';
}

const WORD_OPTIONS: ReadonlySet<string> = new Set(['COMMENT', 'COLUMN_FORMAT', 'STORAGE', 'ENGINE_ATTRIBUTE', 'SECONDARY_ENGINE_ATTRIBUTE', 'SRID', 'REF_SYSTEM_ID']);

/** What is of no matter here: comments, storage, and the attributes that engines of MariaDB define (`name = value`). */
function option(cursor: Cursor): void {
  const token = cursor.peek();
  if (token.kind === 'word' && WORD_OPTIONS.has(token.upper)) {
    cursor.take();
    cursor.symbol('=');
    cursor.skipValue();
  } else if (cursor.isPhrase('WITH', 'SYSTEM', 'VERSIONING') || cursor.isPhrase('WITHOUT', 'SYSTEM', 'VERSIONING')) {
    for (let words = 0; words < 3; words++) cursor.take();
  } else if (cursor.isIdentifier() && cursor.isSymbol('=', 1)) {
    cursor.take();
    cursor.take();
    cursor.skipValue();
  } else {
    throw notUnderstood('a column has an attribute that is not known');
  }
}

/** CURRENT_TIMESTAMP, NOW(3), …: functions whose value is the moment's. */
function timeFunction(cursor: Cursor): void {
  cursor.identifier();
  if (cursor.isSymbol('(')) cursor.parenthesised();
}

/** Behind DEFAULT. MariaDB takes functions without parentheses around them too. */
export function defaultClause(cursor: Cursor): DefaultClause {
  if (cursor.isSymbol('(')) {
    // MariaDB keeps `(5)` as the constant it is, MySQL as an expression: either way values come with the rows.
    cursor.parenthesised();
    return { kind: 'expression' };
  }
  const found = literal(cursor);
  if (found !== null) return { kind: 'literal', literal: found };
  if (cursor.phrase('NEXT', 'VALUE', 'FOR')) {
    cursor.tableName();
    return { kind: 'expression' };
  }
  cursor.columnName();
  if (cursor.isSymbol('(')) cursor.parenthesised();
  return { kind: 'expression' };
}

/** `FIRST`, `AFTER column`, or nothing. */
export function columnPlace(cursor: Cursor): ColumnPlace {
  if (cursor.word('FIRST')) return { kind: 'first' };
  if (cursor.word('AFTER')) return { kind: 'after', column: cursor.columnName() };
  return null;
}
