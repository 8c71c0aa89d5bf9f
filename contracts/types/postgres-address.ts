/**
 * The address of a Postgres server as libpq writes it: `postgres://user:password@host1:5432,host2:5433/database?sslmode=...`.
 * Understood parameters: sslmode, sslrootcert, sslcert, sslkey, sslnegotiation, target_session_attrs, connect_timeout,
 * application_name, options, host, port, user, password, dbname. Unknown ones are refused, so that a misspelt
 * `sslmode` never means "no TLS".
 */
import { TidemarkError } from '../errors/error.ts';

export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

export type TargetSession = 'any' | 'read-write' | 'read-only' | 'primary' | 'standby' | 'prefer-standby';

export interface HostAddress {
  /** A name, an address, or the directory of a unix socket. */
  readonly host: string;
  readonly port: number;
}

export interface Address {
  readonly hosts: readonly HostAddress[];
  readonly user: string;
  /** Undefined: none given (the password file of the options, or a method without password). */
  readonly password: string | undefined;
  readonly database: string;
  readonly sslMode: SslMode;
  /** Paths of PEM files. */
  readonly rootCertificate: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  /** TLS without asking first (PostgreSQL 17 and newer). */
  readonly directTls: boolean;
  /** Null: the address does not say. */
  readonly target: TargetSession | null;
  readonly connectTimeoutMs: number;
  readonly applicationName: string;
  /** Command-line options for the session, before the connector's own. */
  readonly options: string;
}

const SSL_MODES: ReadonlySet<string> = new Set<SslMode>(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']);
const TARGETS: ReadonlySet<string> = new Set<TargetSession>(['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby']);
const PARAMETERS: ReadonlySet<string> = new Set([
  'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'sslnegotiation', 'target_session_attrs', 'connect_timeout',
  'application_name', 'options', 'host', 'port', 'user', 'password', 'dbname',
]);
const DEFAULT_PORT = 5432;
const DEFAULT_CONNECT_TIMEOUT_MS = 15_000;

/** @throws TidemarkError `POSTGRES_URL`; its text never holds the password */
export function parseAddress(url: string): Address {
  const match = /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url);
  if (match === null) throw invalid('it does not begin with postgres://, or has a part that is not understood');
  const [, credentials = '', authority = '', path = '', query = ''] = match;
  const parameters = parametersOf(query);
  const colon = credentials.indexOf(':');
  const user = parameters.get('user') ?? decode(colon < 0 ? credentials : credentials.slice(0, colon));
  const password = parameters.get('password') ?? (colon < 0 ? undefined : decode(credentials.slice(colon + 1)));
  if (user === '') throw invalid('it names no user');
  return {
    hosts: hostsOf(parameters, authority),
    user,
    password,
    database: (parameters.get('dbname') ?? decode(path)) || user,
    sslMode: sslModeOf(parameters),
    rootCertificate: parameters.get('sslrootcert'),
    certificate: parameters.get('sslcert'),
    key: parameters.get('sslkey'),
    directTls: parameters.get('sslnegotiation') === 'direct',
    target: parameters.has('target_session_attrs') ? oneOf<TargetSession>(parameters, 'target_session_attrs', TARGETS, 'any') : null,
    connectTimeoutMs: timeoutOf(parameters.get('connect_timeout')),
    applicationName: parameters.get('application_name') ?? 'tidemark',
    options: parameters.get('options') ?? '',
  };
}

/** What a session must know of its server for `isWanted`: one row of SERVER_ROLE_SQL, as text or parsed. */
export interface ServerRole {
  readonly inRecovery: boolean;
  /** Transactions are read-only unless they say otherwise. */
  readonly readOnly: boolean;
}

/** Answers `recovery` and `read_only` as `t` or `f`. */
export const SERVER_ROLE_SQL = `SELECT left(pg_catalog.pg_is_in_recovery()::text, 1) AS recovery,
  CASE pg_catalog.current_setting('transaction_read_only') WHEN 'on' THEN 't' ELSE 'f' END AS read_only`;

/** What to look for, one after the other, over all hosts each: `prefer-standby` takes anything the second time. */
export function passesOf(target: TargetSession): TargetSession[] {
  return target === 'prefer-standby' ? ['standby', 'any'] : [target];
}

/** Whether a server is what `target_session_attrs` asks for, as libpq sees it. */
export function isWanted(server: ServerRole, target: TargetSession): boolean {
  switch (target) {
    case 'any':
      return true;
    case 'primary':
      return !server.inRecovery;
    case 'standby':
    case 'prefer-standby':
      return server.inRecovery;
    case 'read-only':
      return server.inRecovery || server.readOnly;
    case 'read-write':
      return !server.inRecovery && !server.readOnly;
  }
}

function parametersOf(query: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const part of query.split('&')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = decode(equals < 0 ? part : part.slice(0, equals));
    if (!PARAMETERS.has(name)) throw invalid(`its parameter '${name}' is not known`);
    parameters.set(name, equals < 0 ? '' : decode(part.slice(equals + 1)));
  }
  return parameters;
}

function hostsOf(parameters: ReadonlyMap<string, string>, authority: string): HostAddress[] {
  const inQuery = parameters.get('host');
  const ports = parameters.get('port')?.split(',') ?? [];
  const entries = (inQuery ?? authority).split(',');
  return entries.map((entry, index) => {
    const match = inQuery === undefined ? /^(\[[0-9a-fA-F:.]+\]|[^:[\]]*)(?::([0-9]+))?$/.exec(entry) : ['', entry, undefined];
    if (match === null) throw invalid('one of its hosts is not understood');
    const port = match[2] ?? ports[ports.length === 1 ? 0 : index] ?? String(DEFAULT_PORT);
    const number = Number(port);
    if (!/^[0-9]+$/.test(port) || number < 1 || number > 65_535) throw invalid('one of its ports is not a port');
    const host = decode(match[1] ?? '').replace(/^\[(.*)\]$/, '$1');
    return { host: host === '' ? 'localhost' : host, port: number };
  });
}

function oneOf<T extends string>(parameters: ReadonlyMap<string, string>, name: string, known: ReadonlySet<string>, fallback: T): T {
  const value = parameters.get(name);
  if (value === undefined) return fallback;
  const is = (text: string): text is T => known.has(text);
  if (!is(value)) throw invalid(`its ${name} '${value}' is not one of ${[...known].join(', ')}`);
  return value;
}

/** The system's root certificates vouch for half the world, so that with them only the name proves anything. */
function sslModeOf(parameters: ReadonlyMap<string, string>): SslMode {
  const system = parameters.get('sslrootcert') === 'system';
  const mode = oneOf<SslMode>(parameters, 'sslmode', SSL_MODES, system ? 'verify-full' : 'prefer');
  if (system && mode !== 'verify-full') throw invalid(`sslrootcert=system wants sslmode=verify-full, not ${mode}`);
  return mode;
}

function timeoutOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_CONNECT_TIMEOUT_MS;
  if (!/^[0-9]+$/.test(text)) throw invalid('its connect_timeout is not a number of seconds');
  // As in libpq: 0 is no limit, which this program does not have, and less than two seconds is two.
  return text === '0' ? DEFAULT_CONNECT_TIMEOUT_MS : Math.max(2, Number(text)) * 1000;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid('it has a % that is not followed by two hexadecimal digits');
  }
}

function invalid(why: string): TidemarkError {
  return new TidemarkError('POSTGRES_URL', `the address cannot be read: ${why}`);
}
