/** What the replica's errors mean to the hub, by SQLSTATE. */
import type { ErrorCode } from '../../contracts/errors/catalogue.ts';
import { type ErrorWhere, TidemarkError } from '../../contracts/errors/error.ts';
import { PipelineFailure } from './pipeline.ts';

const UNREACHABLE_ERRNO: ReadonlySet<string> = new Set([
  'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOENT',
]);

/** Codes by SQLSTATE, the whole or its class; the longest that fits counts. */
const BY_STATE: ReadonlyMap<string, ErrorCode> = new Map<string, ErrorCode>([
  ['08', 'SINK_UNREACHABLE'],
  ['57', 'SINK_UNREACHABLE'],
  ['25006', 'SINK_UNREACHABLE'], // read only: a standby, or a primary that was just demoted
  ['40', 'REPLICA_BUSY'],
  ['55P03', 'REPLICA_BUSY'],
  ['57014', 'REPLICA_BUSY'],
  ['53', 'REPLICA_FULL'],
  ['58', 'REPLICA_FULL'],
  ['28', 'REPLICA_DENIED'],
  ['3D000', 'REPLICA_DENIED'],
  ['42501', 'REPLICA_DENIED'],
  ['22', 'SINK_DATA'],
  ['23', 'SINK_DATA'],
  ['21', 'SINK_DATA'],
  ['54', 'SINK_DATA'], // a row or an index entry larger than a page can hold
  ['2BP01', 'REPLICA_SHAPE'], // views or foreign keys of the replica's own depend on what is to change
  ['0A000', 'REPLICA_SHAPE'],
  ['42703', 'REPLICA_SHAPE'],
  ['42P01', 'REPLICA_SHAPE'],
  ['42P10', 'REPLICA_SHAPE'],
  ['42804', 'REPLICA_SHAPE'],
  ['42846', 'REPLICA_SHAPE'],
  ['428C9', 'REPLICA_SHAPE'],
  ['42704', 'REPLICA_TYPE'],
]);

/** The five letters of a server's error; null for anything else. */
export function sqlState(error: unknown): string | null {
  const inner = error instanceof PipelineFailure ? error.cause : error;
  if (!(inner instanceof Error) || !('code' in inner) || typeof inner.code !== 'string') return null;
  return /^[0-9A-Z]{5}$/.test(inner.code) && 'severity' in inner ? inner.code : null;
}

/** A unique or an exclusion constraint was violated. */
export function isViolation(error: unknown): boolean {
  const state = sqlState(error);
  return state === '23505' || state === '23P01';
}

/**
 * `error` as what it means to the hub. An error without an SQLSTATE is one of the connection.
 * The server's `detail` is left out, since it may hold values of rows, but for the errors where it names objects.
 */
export function sinkError(error: unknown, where: ErrorWhere = {}): TidemarkError {
  if (error instanceof TidemarkError) return error.at(where);
  const inner = error instanceof PipelineFailure ? error.cause : error;
  const state = sqlState(inner);
  const text = inner instanceof Error ? inner.message : String(inner);
  if (state !== null) {
    const what = `${text}${dependents(state, inner)} (SQLSTATE ${state})`;
    return new TidemarkError(codeOf(state), what, { where: { ...where, ...columnOf(inner) }, cause: inner });
  }
  if (isTlsError(inner)) return new TidemarkError('POSTGRES_TLS', text, { where, cause: inner });
  if (isConnectionError(inner)) return new TidemarkError('SINK_UNREACHABLE', text, { where, cause: inner });
  return new TidemarkError('INTERNAL', text, { where, cause: inner });
}

function dependents(state: string, error: unknown): string {
  if (state !== '2BP01' && state !== '0A000') return '';
  return error instanceof Error && 'detail' in error && typeof error.detail === 'string' ? `: ${error.detail.replaceAll('\n', '; ')}` : '';
}

/** The column that the server names, where it names one. */
function columnOf(error: unknown): ErrorWhere {
  return error instanceof Error && 'column' in error && typeof error.column === 'string' && error.column !== '' ? { column: error.column } : {};
}

function codeOf(state: string): ErrorCode {
  return BY_STATE.get(state) ?? BY_STATE.get(state.slice(0, 2)) ?? 'REPLICA_STATEMENT';
}

/** The certificate or the handshake was not accepted: Node's own codes. */
function isTlsError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(error.code);
}

function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('code' in error && typeof error.code === 'string' && UNREACHABLE_ERRNO.has(error.code)) return true;
  if (error instanceof AggregateError) return error.errors.every(isConnectionError);
  // The driver's own texts for a connection that is gone.
  return /connection terminated|timeout expired|not queryable|client was closed|establishing an SSL|not support SSL|socket/i.test(error.message);
}
