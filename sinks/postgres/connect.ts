/** Connecting to the replica: address, secrets, TLS, the one of several hosts that takes writes. */
import pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { FileSystem } from '../../contracts/runtime.ts';
import { type Address, type HostAddress, isWanted, parseAddress, passesOf, SERVER_ROLE_SQL, type TargetSession } from '../../contracts/types/postgres-address.ts';
import { type TlsOptions, tlsOptions, tlsUse } from '../../contracts/types/postgres-tls.ts';
import { sinkError } from './errors.ts';

const KEEPALIVE_IDLE_MS = 30_000;

export interface ConnectSettings {
  readonly url: string;
  /** A file that holds the password, read at each connect; null: the password of the address. */
  readonly passwordFile: string | null;
  /** What is refused now may be right at the next connect: secrets are read again. */
  readonly secretsChange: boolean;
  /** Shown in pg_stat_activity, unless the address names another. */
  readonly applicationName: string;
}

/**
 * A client that is connected to the first host of the address that answers and is what `target_session_attrs` asks for;
 * where the address names several hosts and does not say, the first that takes writes.
 * @param prepare run on each client before it connects: attach listeners there
 * @throws TidemarkError `SINK_UNREACHABLE`, `REPLICA_DENIED`, `POSTGRES_URL`, `POSTGRES_TLS`, `ABORTED`
 */
export async function connectClient(settings: ConnectSettings, files: FileSystem, signal: AbortSignal, prepare: (client: pg.Client) => void): Promise<pg.Client> {
  const address = parseAddress(settings.url);
  const password = settings.passwordFile === null ? address.password : await readPassword(files, settings.passwordFile);
  const tls = await tlsOptions(address, files);
  const wanted = wantedOf(address);
  let last: TidemarkError | null = null;
  for (const target of passesOf(wanted)) {
    for (const host of address.hosts) {
      try {
        const client = await connectHost({ address, host, password, tls, applicationName: settings.applicationName }, signal, prepare);
        if (await hasRole(client, target)) return client;
        last ??= new TidemarkError('SINK_UNREACHABLE', `no host that answers is ${target}, as target_session_attrs asks for`);
        await client.end();
      } catch (error) {
        const failure = sinkError(error);
        if (failure.code !== 'SINK_UNREACHABLE') throw settings.secretsChange ? rotating(failure) : failure;
        last = failure;
      }
    }
  }
  throw last ?? new TidemarkError('SINK_UNREACHABLE', 'the address names no host');
}

/** A refused login is tried again where the password can be changed without a restart. */
function rotating(error: TidemarkError): TidemarkError {
  if (error.code !== 'REPLICA_DENIED') return error;
  return new TidemarkError(error.code, error.message, { where: error.where, cause: error.cause, remedy: error.remedy, retry: 'auto' });
}

/** @throws TidemarkError `POSTGRES_URL` for a role that nothing can be written to */
function wantedOf({ target, hosts }: Address): TargetSession {
  if (target === null) return hosts.length > 1 ? 'read-write' : 'any';
  if (target !== 'standby' && target !== 'prefer-standby' && target !== 'read-only') return target;
  throw new TidemarkError('POSTGRES_URL', `target_session_attrs is ${target}, and a sink writes`, {
    remedy: 'Use `read-write`, `primary` or `any` in the `url` of the sink.',
  });
}

interface HostPlan {
  readonly address: Address;
  readonly host: HostAddress;
  readonly password: string | undefined;
  readonly tls: TlsOptions;
  readonly applicationName: string;
}

async function connectHost(plan: HostPlan, signal: AbortSignal, prepare: (client: pg.Client) => void): Promise<pg.Client> {
  const { address, host } = plan;
  const use = host.host.startsWith('/') ? 'never' : tlsUse(address);
  try {
    return await connectOnce(plan, use !== 'never', signal, prepare);
  } catch (error) {
    if (!isWithoutTls(error)) throw error;
    if (use !== 'try') throw new TidemarkError('POSTGRES_TLS', `${host.host} offers no TLS, and sslmode is ${address.sslMode}`, { cause: error });
    return connectOnce(plan, false, signal, prepare);
  }
}

async function connectOnce(plan: HostPlan, secure: boolean, signal: AbortSignal, prepare: (client: pg.Client) => void): Promise<pg.Client> {
  const { address, host, password, tls } = plan;
  const client = new pg.Client({
    host: host.host,
    port: host.port,
    user: address.user,
    database: address.database,
    // A function, so that the driver looks for a password nowhere else, and asks only if the server does.
    password: () => password ?? '',
    ssl: secure ? tls : false,
    ...(secure && address.directTls ? { sslnegotiation: 'direct' as const } : {}),
    application_name: address.applicationName === DEFAULT_NAME ? plan.applicationName : address.applicationName,
    ...(address.options === '' ? {} : { options: address.options }),
    connectionTimeoutMillis: address.connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_IDLE_MS,
  });
  prepare(client);
  const stop = (): void => void client.connection.stream.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    if (signal.aborted) throw new TidemarkError('ABORTED', 'asked to stop before connecting');
    await client.connect();
    return client;
  } catch (error) {
    stop();
    if (signal.aborted) throw new TidemarkError('ABORTED', 'asked to stop while connecting', { cause: error });
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** What `parseAddress` gives where the address names no application. */
const DEFAULT_NAME = 'tidemark';

/** A client that cannot tell is broken off. */
async function hasRole(client: pg.Client, target: TargetSession): Promise<boolean> {
  if (target === 'any') return true;
  try {
    return await isServer(client, target);
  } catch (error) {
    client.connection.stream.destroy();
    throw error;
  }
}

async function isServer(client: pg.Client, target: TargetSession): Promise<boolean> {
  const { rows } = await client.query<{ recovery: string; read_only: string }>(SERVER_ROLE_SQL);
  return isWanted({ inRecovery: rows[0]?.recovery === 't', readOnly: rows[0]?.read_only === 't' }, target);
}

/** The driver's own text, which it gives no code. */
function isWithoutTls(error: unknown): boolean {
  return error instanceof Error && error.message === 'The server does not support SSL connections';
}

async function readPassword(files: FileSystem, path: string): Promise<string> {
  try {
    return (await files.readFile(path)).toString('utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    throw new TidemarkError('REPLICA_DENIED', `the password file ${path} cannot be read`, { cause });
  }
}
