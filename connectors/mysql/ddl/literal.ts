import type { Cursor } from './cursor.ts';
import type { Token } from './tokens.ts';

/** A constant as it stands in the statement. Numbers keep their digits, with `-` where it is below zero. */
export type Literal =
  | { readonly kind: 'null' }
  | { readonly kind: 'text'; readonly text: string; readonly charset: string | null }
  | { readonly kind: 'number'; readonly text: string }
  /** TRUE and FALSE are numbers. `hex` has an even number of digits. */
  | { readonly kind: 'hex'; readonly hex: string }
  | { readonly kind: 'bits'; readonly bits: string };

/** The constant that stands next; null, with nothing taken, when there is none. */
export function literal(cursor: Cursor): Literal | null {
  const sign = cursor.isSymbol('-') || cursor.isSymbol('+') ? 1 : 0;
  if (sign === 1) {
    if (cursor.peek(1).kind !== 'number') return null;
    const negative = cursor.take().text === '-';
    return { kind: 'number', text: (negative ? '-' : '') + cursor.take().text };
  }
  const token = cursor.peek();
  switch (token.kind) {
    case 'number':
      return { kind: 'number', text: cursor.take().text };
    case 'string':
      return strings(cursor, null);
    case 'hex':
    case 'bits':
      return digits(cursor.take());
    case 'national':
      cursor.take();
      return strings(cursor, 'utf8mb3');
    case 'introducer': {
      cursor.take();
      if (cursor.peek().kind === 'string') return strings(cursor, token.text.toLowerCase());
      return digits(cursor.take());
    }
    case 'word':
      return wordLiteral(cursor);
    case 'name':
    case 'symbol':
    case 'broken':
    case 'end':
      return null;
  }
}

function wordLiteral(cursor: Cursor): Literal | null {
  if (cursor.word('NULL')) return { kind: 'null' };
  if (cursor.word('TRUE')) return { kind: 'number', text: '1' };
  if (cursor.word('FALSE')) return { kind: 'number', text: '0' };
  // DATE'2026-01-01', TIME'…' and TIMESTAMP'…'.
  if (cursor.isWord('DATE', 'TIME', 'TIMESTAMP') && cursor.peek(1).kind === 'string') {
    cursor.take();
    return strings(cursor, null);
  }
  return null;
}

/** Strings side by side are one. */
function strings(cursor: Cursor, charset: string | null): Literal {
  let text = '';
  while (cursor.peek().kind === 'string') text += cursor.take().text;
  return { kind: 'text', text, charset };
}

function digits(token: Token): Literal {
  if (token.kind === 'bits') return { kind: 'bits', bits: token.text };
  return { kind: 'hex', hex: (token.text.length % 2 === 0 ? '' : '0') + token.text.toLowerCase() };
}

/** The text of a string literal that must stand next (a member of an enum). */
export function expectString(cursor: Cursor): Literal {
  const found = literal(cursor);
  if (found === null || found.kind === 'null' || found.kind === 'number') throw cursor.unexpected();
  return found;
}
