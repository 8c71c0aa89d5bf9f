import { describe, expect, test } from 'vitest';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { mysqlError, serverErrorNumber } from '../../../connectors/mysql/errors.ts';
import { isAtLeast, parseVersion, versionName } from '../../../connectors/mysql/server-version.ts';

function thrown(message: string, more: { readonly code?: string; readonly errno?: number }): Error {
  return Object.assign(new Error(message), more);
}

test.each([
  [{ code: 'ER_ACCESS_DENIED_ERROR', errno: 1045 }, 'MYSQL_ACCESS', 'operator'],
  [{ code: 'ER_SPECIFIC_ACCESS_DENIED_ERROR', errno: 1227 }, 'MYSQL_ACCESS', 'operator'],
  [{ code: 'ER_CON_COUNT_ERROR', errno: 1040 }, 'MYSQL_UNREACHABLE', 'auto'],
  [{ code: 'ER_SERVER_SHUTDOWN', errno: 1053 }, 'MYSQL_UNREACHABLE', 'auto'],
  [{ code: 'ER_SECURE_TRANSPORT_REQUIRED', errno: 3159 }, 'MYSQL_TLS', 'operator'],
  [{ code: 'ER_PARSE_ERROR', errno: 1064 }, 'MYSQL_QUERY', 'operator'],
  [{ code: 'ECONNREFUSED', errno: -111 }, 'MYSQL_UNREACHABLE', 'auto'],
  [{ code: 'PROTOCOL_CONNECTION_LOST' }, 'MYSQL_UNREACHABLE', 'auto'],
  [{ code: 'HANDSHAKE_NO_SSL_SUPPORT' }, 'MYSQL_TLS', 'operator'],
  [{ code: 'AUTH_SWITCH_PLUGIN_ERROR' }, 'MYSQL_AUTH_PLUGIN', 'operator'],
] as const)('%j is %s', (parts, code, retry) => {
  expect(mysqlError(thrown('what it says', parts), { source: 'shop' })).toMatchObject({ code, retry, where: { source: 'shop' } });
});

test('a cut while TLS begins is no fault of the certificate', () => {
  expect(mysqlError(thrown('Client network socket disconnected before secure TLS connection was established', { code: 'HANDSHAKE_SSL_ERROR' })).code).toBe('MYSQL_UNREACHABLE');
  expect(mysqlError(thrown('self-signed certificate', { code: 'HANDSHAKE_SSL_ERROR' })).code).toBe('MYSQL_TLS');
});

test('the number of the server\'s error is kept, also through a TidemarkError', () => {
  const error = mysqlError(thrown('Access denied', { errno: 1045 }));
  expect(error.message).toBe('Access denied (error 1045)');
  expect(serverErrorNumber(error)).toBe(1045);
  expect(serverErrorNumber(mysqlError(thrown('x', { errno: -111 })))).toBeNull();
  expect(serverErrorNumber(new TidemarkError('INTERNAL', 'x'))).toBeNull();
});

describe('versions', () => {
  test.each([
    ['8.0.15', 'mysql', 8, 0, 15], ['9.7.4-2', 'mysql', 9, 7, 4], ['8.0.39-commercial', 'mysql', 8, 0, 39], ['8.0.36-28.1', 'mysql', 8, 0, 36],
    ['10.11.18-MariaDB-0+deb12u1-log', 'mariadb', 10, 11, 18], ['11.8.6-MariaDB-0+deb13u1 from Debian-log', 'mariadb', 11, 8, 6],
  ] as const)('%s', (text, flavor, major, minor, patch) => {
    expect(parseVersion(text)).toEqual({ flavor, major, minor, patch, text });
  });

  test.each(['5.7.44-log', '10.5.29-MariaDB', '8.0.11-TiDB-v7.5.0', '8.0.30-Vitess', '', 'nonsense'])('refuses %j', (text) => {
    expect(() => parseVersion(text)).toThrow(expect.objectContaining({ code: 'MYSQL_VERSION' }));
  });

  test('are compared part by part', () => {
    const version = parseVersion('8.4.3');
    expect(versionName(version)).toBe('MySQL 8.4.3');
    expect([[8, 4, 3], [8, 4, 2], [8, 3, 9], [7, 9, 9]].every(([a = 0, b = 0, c = 0]) => isAtLeast(version, a, b, c))).toBe(true);
    expect([[8, 4, 4], [8, 5, 0], [9, 0, 0]].some(([a = 0, b = 0, c = 0]) => isAtLeast(version, a, b, c))).toBe(false);
  });
});
