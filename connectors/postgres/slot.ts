/** The replication slot: looked at, made, refused. Decisions are functions of what the server says of it. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';
import { postgresError, sqlState } from './errors.ts';
import { formatLsn, parseLsn, type Lsn } from './position.ts';
import type { Session } from './session.ts';
import { quoteLiteral } from './catalog/source-table.ts';

export interface SlotState {
  readonly name: string;
  readonly type: string;
  readonly plugin: string | null;
  readonly database: string | null;
  readonly temporary: boolean;
  readonly active: boolean;
  readonly activePid: number | null;
  /** Where the stream goes on; null until the slot is ready. */
  readonly confirmed: Lsn | null;
  readonly restart: Lsn | null;
  readonly walStatus: string | null;
  /** Why it was invalidated (PostgreSQL 16 and newer say so). */
  readonly invalidation: string | null;
  readonly failover: boolean;
  /** It decodes transactions when they are prepared, which cannot be taken back. */
  readonly twoPhase: boolean;
  /** WAL that the server keeps for it, in bytes. */
  readonly retained: number | null;
}

/** Null: there is no such slot. */
export async function readSlot(session: Session, name: string): Promise<SlotState | null> {
  const { version } = session;
  const [row] = await session.query(
    `SELECT slot_type, plugin, database, temporary, active, active_pid, confirmed_flush_lsn, restart_lsn, wal_status,
            ${version >= 170_000 ? 'invalidation_reason' : version >= 160_000 ? "CASE WHEN conflicting THEN 'conflict with recovery' END" : 'NULL'} AS invalidation,
            ${version >= 170_000 ? 'failover' : 'false'} AS failover, ${version >= 140_000 ? 'two_phase' : 'false'} AS two_phase,
            pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn) AS retained
       FROM pg_replication_slots WHERE slot_name = $1`,
    [name],
  );
  if (row === undefined) return null;
  const lsn = (value: string | null | undefined): Lsn | null => (value === null || value === undefined ? null : parseLsn(value));
  const retained = numberOf(row['retained']);
  return {
    name,
    type: row['slot_type'] ?? '',
    plugin: row['plugin'] ?? null,
    database: row['database'] ?? null,
    temporary: row['temporary'] === 't',
    active: row['active'] === 't',
    activePid: numberOf(row['active_pid']),
    confirmed: lsn(row['confirmed_flush_lsn']),
    restart: lsn(row['restart_lsn']),
    walStatus: row['wal_status'] ?? null,
    invalidation: row['invalidation'] ?? null,
    failover: row['failover'] === 't',
    twoPhase: row['two_phase'] === 't',
    retained: retained === null ? null : Math.max(0, retained),
  };
}

function numberOf(value: string | null | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}

/**
 * Why the slot cannot be used; null: it can.
 * @param position where the log is; null: a new log, which begins wherever the slot is
 */
export function slotFault(slot: SlotState, database: string, position: Lsn | null): TidemarkError | null {
  const { name } = slot;
  const drop = `SELECT pg_drop_replication_slot(${quoteLiteral(name)})`;
  if (slot.type !== 'logical' || slot.plugin !== 'pgoutput' || slot.database !== database || slot.temporary || slot.twoPhase) {
    const is = slot.twoPhase ? 'one that decodes prepared transactions' : slot.type !== 'logical' ? slot.type : slot.temporary ? 'temporary' : `for plugin ${slot.plugin ?? '?'} in database ${slot.database ?? '?'}`;
    return new TidemarkError('POSTGRES_SLOT_FOREIGN', `the slot ${name} is ${is}`, {
      remedy: `Choose another name with \`slot\`, or, if nobody uses it: ${drop}`,
    });
  }
  if (slot.walStatus === 'lost' || slot.invalidation !== null || slot.restart === null) {
    const { why, avoid } = causeOf(slot.invalidation);
    return new TidemarkError('POSTGRES_SLOT_LOST', `the slot ${name} was invalidated: ${why}`, {
      remedy: `Drop it (${drop}), or let \`tidemark source resync NAME\` do that: a \`gap\` is recorded and the tables are copied again. ${avoid}`,
    });
  }
  if (position !== null && slot.confirmed !== null && slot.confirmed > position) {
    return new TidemarkError(
      'POSTGRES_SLOT_AHEAD',
      `the slot ${name} was moved on to ${formatLsn(slot.confirmed)}, the log is at ${formatLsn(position)}`,
      { where: { position: formatLsn(position) } },
    );
  }
  return null;
}

/** Why a slot was invalidated, and what keeps it from happening again. @param reason as the server says it; null: an older one, which does not */
function causeOf(reason: string | null): { readonly why: string; readonly avoid: string } {
  switch (reason) {
    case null:
    case 'wal_removed':
      return { why: 'WAL that it needs was removed', avoid: 'A larger `max_slot_wal_keep_size`, or -1, keeps WAL for longer.' };
    case 'idle_timeout':
      return { why: 'nobody read from it for longer than `idle_replication_slot_timeout`', avoid: '`idle_replication_slot_timeout = 0` lets the hub be away.' };
    case 'wal_level_insufficient':
      return { why: 'the primary stopped writing logical WAL', avoid: 'Keep `wal_level = logical` at the primary.' };
    case 'rows_removed':
    case 'conflict with recovery':
      return { why: 'the primary removed catalog rows that it needs', avoid: '`hot_standby_feedback = on` and a physical slot for the standby keep them.' };
    default:
      return { why: reason.replaceAll('_', ' '), avoid: '' };
  }
}

/**
 * Makes the slot. Waits at the server until every transaction that was running has ended. On 17 and newer a slot can be
 * kept in step on standbys.
 * @throws TidemarkError `POSTGRES_SLOT_LIMIT`, `POSTGRES_WAL_LEVEL`, `POSTGRES_STANDBY`, `POSTGRES_ACCESS`
 */
export async function createSlot(session: Session, name: string, failover: boolean): Promise<void> {
  const sql = failover && session.version >= 170_000
    ? `SELECT pg_create_logical_replication_slot($1, 'pgoutput', failover => true)`
    : `SELECT pg_create_logical_replication_slot($1, 'pgoutput')`;
  try {
    await session.client.query(sql, [name]);
  } catch (error) {
    // 55000: wal_level is too low. 42710: somebody made it at the same moment.
    if (sqlState(error) === '42710') return;
    if (sqlState(error) === '55000' || sqlState(error) === '0A000') {
      if (session.inRecovery) throw standbyRefusal(session.version, error);
      throw new TidemarkError('POSTGRES_WAL_LEVEL', error instanceof Error ? error.message : 'logical decoding is not possible', { cause: error });
    }
    throw postgresError(error);
  }
}

function standbyRefusal(version: number, cause: unknown): TidemarkError {
  const why = version < 160_000 ? 'it is older than PostgreSQL 16' : cause instanceof Error ? cause.message : 'logical decoding is not possible';
  return new TidemarkError('POSTGRES_STANDBY', `changes cannot be read from this standby: ${why}`, { cause });
}

/** A connection that was closed a moment ago is still known to the server. */
const RELEASE_LIMIT_MS = 10_000;
const RELEASE_STEP_MS = 50;

/**
 * Drops the slot; nothing when there is none. Waits a little for a reader that is ending.
 * @throws TidemarkError `POSTGRES_SLOT_ACTIVE` when somebody goes on reading from it
 */
export async function dropSlot(session: Session, name: string, clock: Clock, signal: AbortSignal): Promise<void> {
  for (let waited = 0; ; waited += RELEASE_STEP_MS) {
    const slot = await readSlot(session, name);
    if (slot === null) return;
    try {
      await session.query('SELECT pg_drop_replication_slot($1)', [name]);
      return;
    } catch (error) {
      const known = postgresError(error);
      if (known.code !== 'POSTGRES_SLOT_ACTIVE' || waited >= RELEASE_LIMIT_MS) throw known;
    }
    await clock.sleep(RELEASE_STEP_MS, signal);
  }
}
