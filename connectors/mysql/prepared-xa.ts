/**
 * XA transactions that are prepared and not finished at a position. Their rows are no part of the log before XA COMMIT, and
 * are then read from where the binlog has them: so each is named with that place.
 */
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { XaXid } from './binlog/small-events.ts';
import type { Xid } from './ddl/effects.ts';

export interface PreparedXa {
  /** `format:global:branch`, the parts in hexadecimal. */
  readonly xid: string;
  /** Its own GTID; '': it has none. */
  readonly gtid: string;
  /** Where its group of events begins, at the server of the position. */
  readonly file: string;
  readonly offset: number;
  /** MariaDB: the last GTID of each domain before it; else ''. */
  readonly after: string;
}

type Packed = readonly [xid: string, gtid: string, file: string, offset: number, after: string];

export function encodePrepared(prepared: readonly PreparedXa[]): Buffer {
  return Buffer.from(JSON.stringify(prepared.map(({ xid, gtid, file, offset, after }): Packed => [xid, gtid, file, offset, after])), 'utf8');
}

/** @throws TidemarkError `POSITION_SYNTAX` */
export function decodePrepared(bytes: Uint8Array): PreparedXa[] {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new TidemarkError('POSITION_SYNTAX', 'the prepared transactions of a position cannot be read', { cause });
  }
  if (!Array.isArray(value) || !value.every(isPacked)) throw new TidemarkError('POSITION_SYNTAX', 'the prepared transactions of a position cannot be read');
  return value.map(([xid, gtid, file, offset, after]) => ({ xid, gtid, file, offset, after }));
}

function isPacked(value: unknown): value is Packed {
  return (
    Array.isArray(value) && value.length === 5 && typeof value[0] === 'string' && typeof value[1] === 'string' && typeof value[2] === 'string' &&
    Number.isSafeInteger(value[3]) && typeof value[4] === 'string'
  );
}

/** The name of a transaction as its XA_PREPARE event has it. */
export function xidOfEvent({ format, global, branch }: XaXid): string {
  return `${format}:${global.toString('hex')}:${branch.toString('hex')}`;
}

/** As a statement has it. */
export function xidOfStatement({ format, global, branch }: Xid): string {
  return `${format}:${global}:${branch}`;
}
