import { notUnderstood } from './context.ts';
import type { Cursor } from './cursor.ts';

/** `column` null: an expression (MySQL's functional index). `length`: characters or bytes of a prefix; null: the whole value. */
export interface KeyPartDefinition {
  readonly column: string | null;
  readonly length: number | null;
}

export interface KeyDefinition {
  readonly kind: 'primary' | 'unique' | 'index';
  /** Null: the server gives it one. */
  readonly name: string | null;
  readonly parts: readonly KeyPartDefinition[];
  readonly ifNotExists: boolean;
  /** Made by the server for a foreign key, where no other index serves it. */
  readonly generated: boolean;
  /** Of a foreign key: what changes rows of the parent changes rows of this table. Absent: it does not. */
  readonly cascades?: boolean;
}

/** `(a, b(10) DESC, (lower(c)))` @throws TidemarkError `MYSQL_STATEMENT` */
export function keyParts(cursor: Cursor): readonly KeyPartDefinition[] {
  cursor.expectSymbol('(');
  const parts: KeyPartDefinition[] = [];
  do parts.push(keyPart(cursor));
  while (cursor.symbol(','));
  cursor.expectSymbol(')');
  return parts;
}

function keyPart(cursor: Cursor): KeyPartDefinition {
  if (cursor.isSymbol('(')) {
    cursor.parenthesised();
    cursor.anyWord('ASC', 'DESC');
    return { column: null, length: null };
  }
  const column = cursor.identifier();
  let length: number | null = null;
  if (cursor.symbol('(')) {
    const size = cursor.take();
    if (size.kind !== 'number') throw notUnderstood('a part of a key has a length that is not a number');
    length = Number(size.text);
    cursor.expectSymbol(')');
  }
  cursor.anyWord('ASC', 'DESC');
  if (cursor.isWord('WITHOUT')) throw notUnderstood('a key is WITHOUT OVERLAPS');
  return { column, length };
}

const INDEX_OPTIONS: ReadonlySet<string> = new Set(['KEY_BLOCK_SIZE', 'COMMENT', 'ENGINE_ATTRIBUTE', 'SECONDARY_ENGINE_ATTRIBUTE', 'DISTANCE', 'M']);

/** Options behind the columns of an index. */
function indexOptions(cursor: Cursor): void {
  for (;;) {
    if (cursor.phrase('WITH', 'PARSER')) cursor.identifier();
    else if (cursor.anyWord('USING', 'TYPE') !== '') cursor.identifier();
    else if (cursor.anyWord('VISIBLE', 'INVISIBLE', 'IGNORED', 'CLUSTERING') !== '' || cursor.phrase('NOT', 'IGNORED')) continue;
    else if (INDEX_OPTIONS.has(cursor.peek().upper) || cursor.isSymbol('=', 1)) {
      cursor.identifier();
      cursor.symbol('=');
      cursor.skipValue();
    } else return;
  }
}

/** Whether what stands next begins a key or a constraint in a list of columns. */
export function isKeyDefinition(cursor: Cursor): boolean {
  if (cursor.isWord('PRIMARY')) return cursor.isPhrase('PRIMARY', 'KEY');
  return cursor.isWord('CONSTRAINT', 'KEY', 'INDEX', 'UNIQUE', 'FULLTEXT', 'SPATIAL', 'FOREIGN', 'CHECK') || cursor.isPhrase('VECTOR', 'INDEX') || cursor.isPhrase('VECTOR', 'KEY');
}

/**
 * A key or constraint in a list of columns, or behind ADD. Null: a constraint that makes no key (CHECK).
 * @throws TidemarkError `MYSQL_STATEMENT`
 */
export function keyDefinition(cursor: Cursor, references: (cursor: Cursor) => boolean): KeyDefinition | null {
  const constraint = constraintName(cursor);
  if (cursor.phrase('PRIMARY', 'KEY')) return { ...indexBody(cursor, 'primary'), name: null };
  if (cursor.word('UNIQUE')) {
    cursor.anyWord('INDEX', 'KEY');
    const body = indexBody(cursor, 'unique');
    return { ...body, name: body.name ?? constraint };
  }
  if (cursor.word('CHECK')) {
    cursor.parenthesised();
    cursor.word('NOT');
    cursor.word('ENFORCED');
    return null;
  }
  if (cursor.phrase('FOREIGN', 'KEY')) {
    const ifNotExists = cursor.ifNotExists();
    const index = cursor.isSymbol('(') ? null : cursor.identifier();
    const parts = keyParts(cursor);
    const cascades = references(cursor);
    return { kind: 'index', name: constraint ?? index, parts, ifNotExists, generated: true, ...(cascades ? { cascades } : {}) };
  }
  if (cursor.anyWord('FULLTEXT', 'SPATIAL', 'VECTOR') !== '') cursor.anyWord('INDEX', 'KEY');
  else cursor.expectWord('INDEX', 'KEY');
  return indexBody(cursor, 'index');
}

function constraintName(cursor: Cursor): string | null {
  if (!cursor.word('CONSTRAINT')) return null;
  cursor.ifNotExists();
  return cursor.isWord('PRIMARY', 'UNIQUE', 'FOREIGN', 'CHECK') ? null : cursor.identifier();
}

/** `[IF NOT EXISTS] [name] [USING BTREE] (parts) [options]` */
export function indexBody(cursor: Cursor, kind: KeyDefinition['kind']): KeyDefinition {
  const ifNotExists = cursor.ifNotExists();
  const name = cursor.isSymbol('(') || cursor.isWord('USING', 'TYPE') ? null : cursor.identifier();
  if (cursor.anyWord('USING', 'TYPE') !== '') cursor.identifier();
  const parts = keyParts(cursor);
  indexOptions(cursor);
  return { kind, name, parts, ifNotExists, generated: false };
}
