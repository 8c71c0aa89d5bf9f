import type { ErrorCode } from '../errors/catalogue.ts';
import { TidemarkError, type ErrorWhere } from '../errors/error.ts';

/** What a number of the server's own errors means to the connector. */
const NUMBERS: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  // User, password, database, host, expired or locked account, privileges.
  ...[1044, 1045, 1049, 1129, 1130, 1142, 1143, 1227, 1370, 1410, 1698, 1820, 1862, 3118, 3878, 3955, 4151].map((number) => [number, 'MYSQL_ACCESS'] as const),
  [1251, 'MYSQL_AUTH_PLUGIN'],
  [1524, 'MYSQL_AUTH_PLUGIN'],
  [3159, 'MYSQL_TLS'],
  // Too many connections, of all or of the user; shutdown; a connection that was lost or killed; starting up.
  ...[1040, 1041, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1317, 1927, 3169, 4031].map((number) => [number, 'MYSQL_UNREACHABLE'] as const),
  [1372, 'MYSQL_SERVER_ID'],
  [1381, 'MYSQL_BINLOG_OFF'],
]);

/** Codes that the driver gives its own errors. */
const CODES: ReadonlyMap<string, ErrorCode> = new Map<string, ErrorCode>([
  ['HANDSHAKE_NO_SSL_SUPPORT', 'MYSQL_TLS'],
  ['HANDSHAKE_SSL_ERROR', 'MYSQL_TLS'],
  ['AUTH_SWITCH_PLUGIN_ERROR', 'MYSQL_AUTH_PLUGIN'],
  ['MYSQL_CLEAR_PASSWORD_NOT_ENABLED', 'MYSQL_AUTH_PLUGIN'],
  ['MYSQL_AUTH_PLUGIN', 'MYSQL_AUTH_PLUGIN'],
  ['HANDSHAKE_UNKNOWN_ERROR', 'MYSQL_PROTOCOL'],
  ['PROTOCOL_PACKETS_OUT_OF_ORDER', 'MYSQL_PROTOCOL'],
]);

/** A connection that is cut while TLS begins: nothing is wrong with the certificate. */
const CUT = /before secure TLS connection|ECONNRESET|EPIPE|ETIMEDOUT|socket hang up/i;

/**
 * What the driver or the socket threw, as a TidemarkError. An error of the server keeps its text and number; a lost
 * connection is `MYSQL_UNREACHABLE` (retry: auto).
 */
export function mysqlError(error: unknown, where: ErrorWhere = {}): TidemarkError {
  if (error instanceof TidemarkError) return error.at(where);
  const text = error instanceof Error ? error.message : String(error);
  const number = serverErrorNumber(error);
  if (number !== null) return new TidemarkError(NUMBERS.get(number) ?? 'MYSQL_QUERY', `${text} (error ${number})`, { where, cause: error });
  const name = stringOf(error, 'code');
  const code = CODES.get(name) ?? 'MYSQL_UNREACHABLE';
  return new TidemarkError(code === 'MYSQL_TLS' && CUT.test(text) ? 'MYSQL_UNREACHABLE' : code, text === '' ? name : text, { where, cause: error });
}

/** The number of an error that the server sent; null for any other error. */
export function serverErrorNumber(error: unknown): number | null {
  if (error instanceof TidemarkError) return serverErrorNumber(error.cause);
  if (typeof error !== 'object' || error === null || !('errno' in error) || typeof error.errno !== 'number') return null;
  // Numbers of the operating system are negative.
  return error.errno > 0 ? error.errno : null;
}

function stringOf(error: unknown, name: 'code'): string {
  return typeof error === 'object' && error !== null && name in error && typeof error[name] === 'string' ? error[name] : '';
}
