import { foldCase, notUnderstood } from './context.ts';
import type { Cursor } from './cursor.ts';
import type { TransactionEffect, Xid } from './effects.ts';

/** Verbs that {@link transactionStatement} reads. START is also a verb of replication. */
export const TRANSACTION_VERBS: ReadonlySet<string> = new Set(['BEGIN', 'START', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE', 'XA']);

/** Null: `START REPLICA` and the like. @throws TidemarkError `MYSQL_STATEMENT` */
export function transactionStatement(cursor: Cursor): TransactionEffect | null {
  const verb = cursor.take().upper;
  switch (verb) {
    case 'BEGIN':
      cursor.word('WORK');
      cursor.expectEnd();
      return { kind: 'transaction', action: 'begin' };
    case 'START':
      if (!cursor.word('TRANSACTION')) return null;
      cursor.skipAll();
      return { kind: 'transaction', action: 'begin' };
    case 'COMMIT':
      return { kind: 'transaction', action: ending(cursor, 'commit') };
    case 'ROLLBACK':
      return rollback(cursor);
    case 'SAVEPOINT':
      return { kind: 'transaction', action: 'savepoint', savepoint: savepoint(cursor) };
    case 'RELEASE':
      cursor.expectWord('SAVEPOINT');
      return { kind: 'transaction', action: 'release', savepoint: savepoint(cursor) };
    default:
      return xaStatement(cursor);
  }
}

/** `WORK`, `AND [NO] CHAIN`, `[NO] RELEASE` */
function ending<A>(cursor: Cursor, action: A): A {
  while (cursor.anyWord('WORK', 'AND', 'NO', 'CHAIN', 'RELEASE') !== '') continue;
  cursor.expectEnd();
  return action;
}

function rollback(cursor: Cursor): TransactionEffect {
  cursor.word('WORK');
  if (!cursor.word('TO')) return { kind: 'transaction', action: ending(cursor, 'rollback') };
  if (cursor.isWord('SAVEPOINT') && cursor.peek(1).kind !== 'end') cursor.take();
  return { kind: 'transaction', action: 'rollback-to', savepoint: savepoint(cursor) };
}

function savepoint(cursor: Cursor): string {
  const name = foldCase(cursor.identifier());
  cursor.expectEnd();
  return name;
}

const XA_ACTIONS = { START: 'xa-start', BEGIN: 'xa-start', END: 'xa-end', PREPARE: 'xa-prepare', ROLLBACK: 'xa-rollback' } as const;

/** `XA COMMIT x'676c6f62616c',x'6272616e6368',1 ONE PHASE` */
function xaStatement(cursor: Cursor): TransactionEffect {
  const verb = cursor.expectWord('START', 'BEGIN', 'END', 'PREPARE', 'COMMIT', 'ROLLBACK');
  const xid = xidOf(cursor);
  if (verb === 'COMMIT') {
    const onePhase = cursor.phrase('ONE', 'PHASE');
    cursor.expectEnd();
    return { kind: 'transaction', action: 'xa-commit', xid, onePhase };
  }
  cursor.skipAll();
  const action = Object.entries(XA_ACTIONS).find(([name]) => name === verb)?.[1];
  if (action === undefined) throw cursor.unexpected();
  return { kind: 'transaction', action, xid };
}

function xidOf(cursor: Cursor): Xid {
  const global = xidPart(cursor);
  const branch = cursor.symbol(',') ? xidPart(cursor) : '';
  const format = cursor.symbol(',') ? Number(cursor.take().text) : 1;
  if (!Number.isSafeInteger(format)) throw notUnderstood('the format of an XA transaction is not a number');
  return { format, global, branch };
}

function xidPart(cursor: Cursor): string {
  const token = cursor.take();
  if (token.kind === 'hex') return token.text.toLowerCase();
  if (token.kind === 'string') return Buffer.from(token.text, 'utf8').toString('hex');
  throw notUnderstood('the name of an XA transaction is not known');
}
