/** What a server says of its binlog, in the few statements that a snapshot can afford. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { ServerPlace } from '../catalog/catalog-reading.ts';
import { serverErrorNumber } from '../errors.ts';
import { GtidSet } from '../gtid-set.ts';
import { isAtLeast } from '../server-version.ts';
import type { TextRow } from '../session.ts';
import type { RowSession } from './row-session.ts';
import { placeOf, type SourceView } from './source-view.ts';

export interface Executed {
  /** Its UUID. */
  readonly server: string;
  /** `gtid_mode` is ON. */
  readonly isByGtid: boolean;
  readonly executed: GtidSet;
}

const EXECUTED = 'SELECT @@GLOBAL.server_uuid AS server, @@GLOBAL.gtid_mode AS gtid_mode, @@GLOBAL.gtid_executed AS executed';
const OWNED = 'SELECT @@GLOBAL.gtid_owned AS owned, @@GLOBAL.gtid_mode AS gtid_mode, @@GLOBAL.server_uuid AS server';

/** Of MySQL. */
export async function readExecuted(session: RowSession): Promise<Executed> {
  const [row] = await session.query(EXECUTED);
  return executedOf(row);
}

function executedOf(row: TextRow | undefined): Executed {
  return { server: row?.['server'] ?? '', isByGtid: row?.['gtid_mode'] === 'ON', executed: GtidSet.parse(row?.['executed'] ?? '') };
}

/** What a MySQL has executed before `statements`, then those, then its end. Nothing of this client comes in between. */
export async function executedAround(session: RowSession, statements: readonly string[]): Promise<{ before: Executed; end: BinlogEnd }> {
  const answers = await session.batch([EXECUTED, ...statements, OWNED, statusStatement(session)]);
  const [owned, status] = answers.slice(-2);
  return { before: executedOf(answers[0]?.[0]), end: endOf(owned?.[0], statusOf(status?.[0])) };
}

export interface BinlogStatus {
  readonly end: ServerPlace;
  /** Of MySQL: what has been executed; empty without GTIDs. */
  readonly executed: GtidSet;
}

/** @throws TidemarkError `MYSQL_BINLOG_OFF`, `MYSQL_ACCESS` */
export async function readStatus(session: RowSession): Promise<BinlogStatus> {
  const [row] = await session.query(statusStatement(session));
  return statusOf(row);
}

function statusStatement({ session: { version } }: RowSession): string {
  return version.flavor === 'mysql' && isAtLeast(version, 8, 2, 0) ? 'SHOW BINARY LOG STATUS' : 'SHOW MASTER STATUS';
}

function statusOf(row: TextRow | undefined): BinlogStatus {
  if (row === undefined) throw new TidemarkError('MYSQL_BINLOG_OFF', 'the server writes no binlog');
  return { end: placeOf(row['File'], row['Position']), executed: GtidSet.parse(row['Executed_Gtid_Set'] ?? '') };
}

export type BinlogEnd = Pick<SourceView, 'server' | 'end' | 'endGtids'> & { readonly isByGtid: boolean };

/** The end of the binlog, at which is all that any snapshot shows now. */
export async function readEnd(session: RowSession): Promise<BinlogEnd> {
  if (session.session.version.flavor === 'mariadb') {
    const before = await readBinlogGtids(session);
    const { end } = await readStatus(session);
    const after = await readBinlogGtids(session);
    return { server: after.server, end, endGtids: before.gtids === after.gtids ? after.gtids : null, isByGtid: true };
  }
  const [owned, status] = await session.batch([OWNED, statusStatement(session)]);
  return endOf(owned?.[0], statusOf(status?.[0]));
}

/** `owned` was read first: who is not owned any more has been executed. */
function endOf(owned: TextRow | undefined, { end, executed }: BinlogStatus): BinlogEnd {
  const isByGtid = owned?.['gtid_mode'] === 'ON';
  return { server: owned?.['server'] ?? '', end, endGtids: isByGtid && (owned['owned'] ?? '') === '' ? executed : null, isByGtid };
}

/** Of MariaDB. */
export async function readBinlogGtids(session: RowSession): Promise<{ server: string; gtids: string }> {
  const [row] = await session.query('SELECT @@GLOBAL.server_id AS server, @@GLOBAL.gtid_binlog_pos AS gtids');
  return { server: row?.['server'] ?? '', gtids: row?.['gtids'] ?? '' };
}

/** Status variables by name, in lower case. */
export async function readCounters(session: RowSession, statement: string): Promise<ReadonlyMap<string, string>> {
  const rows = await session.query(statement);
  return new Map(rows.map((row: TextRow) => [(row['Variable_name'] ?? '').toLowerCase(), row['Value'] ?? '']));
}

const XA_DENIED = 1401;

/**
 * Names of the XA transactions that are prepared, those that are being committed just now among them. Null: the user may not
 * see them (MySQL: XA_RECOVER_ADMIN).
 */
export async function readPrepared(session: RowSession): Promise<ReadonlySet<string> | null> {
  try {
    const rows = await session.query('XA RECOVER');
    return new Set(rows.map((row) => `${row['formatID'] ?? ''}:${row['gtrid_length'] ?? ''}:${Buffer.from(row['data'] ?? '').toString('hex')}`));
  } catch (error) {
    if (serverErrorNumber(error) === XA_DENIED) return null;
    throw error;
  }
}
