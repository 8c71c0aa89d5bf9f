import type { ServerVersion } from '../../contracts/types/mysql-version.ts';
import type { StatementLimits } from './row-text.ts';

/** One thing to be sent. */
export interface Statement {
  readonly sql: string | Buffer;
  /** Rows of a LOAD DATA LOCAL. */
  readonly data: readonly Buffer[] | null;
  /** It writes no values: what it warns of says nothing of them. */
  readonly mayWarn: boolean;
}

/** What the statements of an opening are made by. */
export interface WriteRules {
  /** Rows go by LOAD DATA LOCAL where they are many. */
  readonly loadData: boolean;
  readonly version: ServerVersion;
  /** The longest statement that the server takes, bytes. */
  readonly maxStatement: number;
  readonly ownDatabase: string;
}

/** A statement that is long enough gains nothing by more rows. */
const ENOUGH_BYTES = 1 << 20;
/** What a packet has besides the statement. */
const PACKET_ROOM = 64;

export function plain(sql: string | Buffer): Statement {
  return { sql, data: null, mayWarn: false };
}

/** A statement on a temporary table as a whole. */
export function aside(sql: string): Statement {
  return { sql, data: null, mayWarn: true };
}

export function statementLimits({ maxStatement }: WriteRules, rows: number): StatementLimits {
  const most = Math.max(1_024, maxStatement - PACKET_ROOM);
  return { most, enough: Math.min(ENOUGH_BYTES, most >> 1), rows };
}
