/**
 * The address of a MySQL or MariaDB server: `mysql://user:password@host1:3306,host2:3307/database?ssl-mode=verify_identity`.
 * Understood parameters, named as the options of the server's own clients: ssl-mode, ssl-ca, ssl-cert, ssl-key,
 * server-public-key, get-server-public-key, connect-timeout, socket, user, password. Unknown ones are refused, so that a
 * misspelt `ssl-mode` never means "no TLS".
 */
import { TidemarkError } from '../errors/error.ts';

export type MysqlSslMode = 'disabled' | 'preferred' | 'required' | 'verify_ca' | 'verify_identity';

export interface MysqlHost {
  /** A name or an address. */
  readonly host: string;
  readonly port: number;
  /** Path of a unix socket, in place of host and port; null: none. */
  readonly socket: string | null;
}

export interface MysqlAddress {
  readonly hosts: readonly MysqlHost[];
  readonly user: string;
  /** Undefined: none given. */
  readonly password: string | undefined;
  /** '': none. */
  readonly database: string;
  readonly sslMode: MysqlSslMode;
  /** Paths of PEM files. */
  readonly sslCa: string | undefined;
  readonly sslCert: string | undefined;
  readonly sslKey: string | undefined;
  /** Path of the PEM file with the server's RSA key, to log in without TLS. */
  readonly serverPublicKey: string | undefined;
  /** Without TLS, take the server's RSA key from the server itself, whoever answers. */
  readonly takesPublicKey: boolean;
  readonly connectTimeoutMs: number;
}

const MODES: ReadonlySet<string> = new Set<MysqlSslMode>(['disabled', 'preferred', 'required', 'verify_ca', 'verify_identity']);
const PARAMETERS: ReadonlySet<string> = new Set([
  'ssl-mode', 'ssl-ca', 'ssl-cert', 'ssl-key', 'server-public-key', 'get-server-public-key', 'connect-timeout', 'socket', 'user', 'password',
]);
const DEFAULT_PORT = 3306;
const DEFAULT_CONNECT_TIMEOUT_S = 15;

/** @throws TidemarkError `MYSQL_URL`; its text never holds the password */
export function parseMysqlAddress(url: string): MysqlAddress {
  const match = /^(?:mysql|mariadb):\/\/(?:([^@/?#]*)@)?([^/?#]*)(?:\/([^?#/]*))?(?:\?([^#]*))?$/.exec(url);
  if (match === null) throw invalid('it does not begin with mysql:// or mariadb://, or has a part that is not understood');
  const [, credentials = '', authority = '', database = '', query = ''] = match;
  const parameters = parametersOf(query);
  const colon = credentials.indexOf(':');
  const user = parameters.get('user') ?? decode(colon < 0 ? credentials : credentials.slice(0, colon));
  if (user === '') throw invalid('it names no user');
  const socket = parameters.get('socket');
  return {
    hosts: socket === undefined ? authority.split(',').map(hostOf) : [{ host: 'localhost', port: DEFAULT_PORT, socket }],
    user,
    password: parameters.get('password') ?? (colon < 0 ? undefined : decode(credentials.slice(colon + 1))),
    database: decode(database),
    sslMode: sslModeOf(parameters),
    sslCa: parameters.get('ssl-ca'),
    sslCert: parameters.get('ssl-cert'),
    sslKey: parameters.get('ssl-key'),
    serverPublicKey: parameters.get('server-public-key'),
    takesPublicKey: flagOf(parameters, 'get-server-public-key'),
    connectTimeoutMs: secondsOf(parameters.get('connect-timeout')) * 1000,
  };
}

/** `db1:3306`, or the path of the socket. */
export function formatMysqlHost({ host, port, socket }: MysqlHost): string {
  return socket ?? `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function parametersOf(query: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const part of query.split('&')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = decode(equals < 0 ? part : part.slice(0, equals)).toLowerCase().replaceAll('_', '-');
    if (!PARAMETERS.has(name)) throw invalid(`its parameter '${name}' is not known`);
    parameters.set(name, equals < 0 ? '' : decode(part.slice(equals + 1)));
  }
  return parameters;
}

function hostOf(entry: string): MysqlHost {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]*)(?::([0-9]+))?$/.exec(entry);
  const port = Number(match?.[2] ?? DEFAULT_PORT);
  if (match === null || port < 1 || port > 65_535) throw invalid('one of its hosts or ports is not understood');
  const host = decode(match[1] ?? '').replace(/^\[(.*)\]$/, '$1');
  return { host: host === '' ? 'localhost' : host, port, socket: null };
}

function sslModeOf(parameters: ReadonlyMap<string, string>): MysqlSslMode {
  const is = (text: string): text is MysqlSslMode => MODES.has(text);
  const ca = parameters.has('ssl-ca');
  const mode = parameters.get('ssl-mode')?.toLowerCase().replaceAll('-', '_') ?? (ca ? 'verify_ca' : 'preferred');
  if (!is(mode)) throw invalid(`its ssl-mode is not one of ${[...MODES].join(', ')}`);
  if (ca && (mode === 'disabled' || mode === 'preferred' || mode === 'required')) throw invalid(`with ssl-mode=${mode} the certificate is not checked: ssl-ca wants verify_ca or verify_identity`);
  return mode;
}

function flagOf(parameters: ReadonlyMap<string, string>, name: string): boolean {
  const value = parameters.get(name);
  if (value === undefined || value === 'false' || value === '0') return false;
  if (value === '' || value === 'true' || value === '1') return true;
  throw invalid(`its ${name} is neither true nor false`);
}

function secondsOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_CONNECT_TIMEOUT_S;
  if (!/^[1-9][0-9]{0,4}$/.test(text)) throw invalid('its connect-timeout is not a number of seconds');
  return Number(text);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid('it has a % that is not followed by two hexadecimal digits');
  }
}

function invalid(why: string): TidemarkError {
  return new TidemarkError('MYSQL_URL', `the address cannot be read: ${why}`);
}
