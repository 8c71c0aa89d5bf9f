/** Connecting to the replica: address, secrets, TLS, the one of several hosts that takes writes. */
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { FileSystem } from '../../contracts/runtime.ts';
import { type Address, type HostAddress, parseAddress } from '../../contracts/types/postgres-address.ts';
import { sinkError } from './errors.ts';

const KEEPALIVE_IDLE_MS = 30_000;

export interface ConnectSettings {
  readonly url: string;
  /** A file that holds the password, read at each connect; null: the password of the address. */
  readonly passwordFile: string | null;
  /** Shown in pg_stat_activity, unless the address names another. */
  readonly applicationName: string;
}

/**
 * A client that is connected to the first host of the address that answers and takes writes.
 * @param prepare run on each client before it connects: attach listeners there
 * @throws TidemarkError `SINK_UNREACHABLE`, `REPLICA_DENIED`, `POSTGRES_URL`, `POSTGRES_TLS`, `ABORTED`
 */
export async function connectClient(settings: ConnectSettings, files: FileSystem, signal: AbortSignal, prepare: (client: pg.Client) => void): Promise<pg.Client> {
  const address = parseAddress(settings.url);
  const password = settings.passwordFile === null ? address.password : await readPassword(files, settings.passwordFile);
  const tls = await tlsOptions(address, files);
  let last: TidemarkError | null = null;
  for (const host of address.hosts) {
    try {
      return await connectHost({ address, host, password, tls, applicationName: settings.applicationName }, signal, prepare);
    } catch (error) {
      const failure = sinkError(error);
      if (failure.code !== 'SINK_UNREACHABLE') throw failure;
      last = failure;
    }
  }
  throw last ?? new TidemarkError('SINK_UNREACHABLE', 'the address names no host');
}

interface HostPlan {
  readonly address: Address;
  readonly host: HostAddress;
  readonly password: string | undefined;
  readonly tls: ConnectionOptions;
  readonly applicationName: string;
}

async function connectHost(plan: HostPlan, signal: AbortSignal, prepare: (client: pg.Client) => void): Promise<pg.Client> {
  const { address, host } = plan;
  const mode = host.host.startsWith('/') || address.sslMode === 'allow' ? 'disable' : address.sslMode;
  let client: pg.Client;
  try {
    client = await connectOnce(plan, mode !== 'disable', signal, prepare);
  } catch (error) {
    if (!isWithoutTls(error)) throw error;
    if (mode !== 'prefer') throw new TidemarkError('POSTGRES_TLS', `${host.host} offers no TLS, and sslmode is ${mode}`, { cause: error });
    client = await connectOnce(plan, false, signal, prepare);
  }
  if (address.hosts.length === 1 || (await takesWrites(client))) return client;
  await client.end();
  throw new TidemarkError('SINK_UNREACHABLE', `${host.host} is a standby`);
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

async function takesWrites(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ standby: boolean }>('SELECT pg_catalog.pg_is_in_recovery() AS standby');
  return rows[0]?.standby === false;
}

/** The driver's own text, which it gives no code. */
function isWithoutTls(error: unknown): boolean {
  return error instanceof Error && error.message === 'The server does not support SSL connections';
}

/** `require` without a root certificate encrypts and checks nothing, as in libpq. */
async function tlsOptions(address: Address, files: FileSystem): Promise<ConnectionOptions> {
  const [ca, cert, key] = await Promise.all([address.rootCertificate, address.certificate, address.key].map((path) => readPem(files, path)));
  const chain = address.sslMode === 'verify-ca' || (address.sslMode === 'require' && ca !== undefined);
  return {
    rejectUnauthorized: address.sslMode === 'verify-full' || chain,
    ...(chain ? { checkServerIdentity: () => undefined } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

async function readPem(files: FileSystem, path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined || path === 'system') return undefined;
  try {
    return await files.readFile(path);
  } catch (cause) {
    throw new TidemarkError('POSTGRES_TLS', `the file ${path} cannot be read`, { cause });
  }
}

async function readPassword(files: FileSystem, path: string): Promise<string> {
  try {
    return (await files.readFile(path)).toString('utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    throw new TidemarkError('REPLICA_DENIED', `the password file ${path} cannot be read`, { cause });
  }
}
