import type { ErrorCode } from '../../contracts/errors/catalogue.ts';
import { TidemarkError, type ErrorWhere } from '../../contracts/errors/error.ts';

/** What an SQLSTATE, or a class of them (the first two characters), means to the connector. */
const STATES: Readonly<Record<string, ErrorCode>> = {
  '08': 'POSTGRES_UNREACHABLE',
  '28': 'POSTGRES_ACCESS',
  '42501': 'POSTGRES_ACCESS',
  '3D000': 'POSTGRES_ACCESS',
  '53300': 'POSTGRES_UNREACHABLE',
  '53400': 'POSTGRES_SLOT_LIMIT',
  '55006': 'POSTGRES_SLOT_ACTIVE',
  // Shutdown, crash, starting up, idle session ended.
  '57P01': 'POSTGRES_UNREACHABLE',
  '57P02': 'POSTGRES_UNREACHABLE',
  '57P03': 'POSTGRES_UNREACHABLE',
  '57P05': 'POSTGRES_UNREACHABLE',
  '58': 'POSTGRES_UNREACHABLE',
  XX: 'POSTGRES_UNREACHABLE',
};

const TLS_CODE = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH|EPROTO)/;

/** What `pg` says by itself when the server asks for a password that it does not have, or cannot prove that it knows it. */
const REFUSED = /^SASL: /;

/** What a pooler says of settings, or of replication, in the startup message. The server never says it. */
const POOLER = /unsupported startup parameter/i;

/**
 * What `pg` or the socket threw, as a TidemarkError. An error of the server keeps its text and SQLSTATE; a lost
 * connection is `POSTGRES_UNREACHABLE` (retry: auto).
 */
export function postgresError(error: unknown, where: ErrorWhere = {}): TidemarkError {
  if (error instanceof TidemarkError) return error.at(where);
  const text = error instanceof Error ? error.message : String(error);
  const state = sqlState(error);
  if (state === '08P01' && POOLER.test(text)) return new TidemarkError('POSTGRES_POOLER', `a pooler answers: ${text}`, { where, cause: error });
  if (state !== null) {
    const code = STATES[state] ?? STATES[state.slice(0, 2)] ?? 'POSTGRES_QUERY';
    return new TidemarkError(code, `${text} (SQLSTATE ${state})`, { where, cause: error });
  }
  const code = TLS_CODE.test(systemCode(error)) ? 'POSTGRES_TLS' : REFUSED.test(text) ? 'POSTGRES_ACCESS' : 'POSTGRES_UNREACHABLE';
  return new TidemarkError(code, text === '' ? systemCode(error) : text, { where, cause: error });
}

/** The SQLSTATE of an error that the server sent; null for any other error. */
export function sqlState(error: unknown): string | null {
  if (!(error instanceof Error) || !('severity' in error)) return null;
  const code = systemCode(error);
  return /^[0-9A-Z]{5}$/.test(code) ? code : null;
}

function systemCode(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

export function protocolError(what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('POSTGRES_PROTOCOL', what, cause === undefined ? {} : { cause });
}
