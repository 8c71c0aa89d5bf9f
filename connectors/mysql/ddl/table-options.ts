import type { Cursor } from './cursor.ts';
import { charsetName } from './data-type.ts';

/** DEFAULT in place of a name. Names are in lower case. */
export const DEFAULT = 'DEFAULT';

/** The character set of a table, database or column as far as a statement says it: a name, `DEFAULT`, or null for nothing. */
export interface CharsetClause {
  readonly charset: string | null;
  readonly collation: string | null;
}

export const NO_CHARSET: CharsetClause = { charset: null, collation: null };

/**
 * `[DEFAULT] {CHARACTER SET | CHARSET} [=] name` or `[DEFAULT] COLLATE [=] name`, put over what was said so far. Null,
 * with nothing taken, where neither stands next.
 */
export function charsetClause(cursor: Cursor, so: CharsetClause): CharsetClause | null {
  const start = cursor.isWord('DEFAULT') ? 1 : 0;
  const word = cursor.peek(start).upper;
  const charset = word === 'CHARSET' || ((word === 'CHARACTER' || word === 'CHAR') && cursor.peek(start + 1).upper === 'SET');
  if (!charset && word !== 'COLLATE') return null;
  cursor.word('DEFAULT');
  if (cursor.take().upper.startsWith('CHAR') && word !== 'CHARSET') cursor.take();
  cursor.symbol('=');
  const name = cursor.word(DEFAULT) ? DEFAULT : charsetName(cursor);
  return charset ? { charset: name, collation: so.collation } : { charset: so.charset, collation: name };
}
