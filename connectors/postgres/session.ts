/**
 * Sessions with the source. Stream and copy alike run under the settings below, so that a value has the same bytes
 * whichever way it comes.
 */
import pg from 'pg';
import type { SourceConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { CANONICAL_SETTINGS } from '../../contracts/types/postgres-session.ts';
import type { Clock, Runtime } from '../../contracts/runtime.ts';
import { tlsOptions, tlsUse } from '../../contracts/types/postgres-tls.ts';
import { postgresError } from './errors.ts';
import { resolveOptions, type PostgresOptions } from './options.ts';
import { isWanted, parseAddress, passesOf, SERVER_ROLE_SQL, type Address, type HostAddress, type TargetSession } from '../../contracts/types/postgres-address.ts';
import { WireSocket } from './wire.ts';

/** Settings of every session, after those of the address: the canonical ones, and no limits of the role's. */
const SESSION_SETTINGS: ReadonlyMap<string, string> = new Map([
  ...CANONICAL_SETTINGS,
  // Limits of the role are for people, not for a copy that may take hours.
  ['statement_timeout', '0'],
  ['lock_timeout', '0'],
  ['idle_in_transaction_session_timeout', '0'],
]);

const END_LIMIT_MS = 2_000;

/** A row of a result: every value as the server's text. */
export type TextRow = Readonly<Record<string, string | null>>;

/** An open session with what is known of its server. Owned by who asked for it; disposing ends it. */
export interface Session extends AsyncDisposable {
  readonly client: pg.Client;
  readonly host: HostAddress;
  /** The server's process as it was named at connect; null: it was not. */
  readonly announcedPid: number | null;
  /** `server_version_num`: 180004. */
  readonly version: number;
  readonly inRecovery: boolean;
  /** False once it was lost. One with a standby is never: it may be promoted meanwhile, and the session would not know. */
  readonly isUsable: boolean;
  /** The options that the session was opened with. */
  readonly options: PostgresOptions;
  /** Rows as text. Aborting ends the session. @throws TidemarkError */
  query(text: string, values?: readonly unknown[]): Promise<TextRow[]>;
  /** As `query`, for a statement that comes again: its text must be one of a few. The server plans it once. */
  prepared(text: string, values: readonly unknown[]): Promise<TextRow[]>;
}

/** What `pg` needs for one more connection to the same host, over a socket that the caller owns. */
export interface WireConnection {
  readonly socket: WireSocket;
  readonly config: pg.ClientConfig;
}

/** Opens sessions with one source: reads secrets anew each time, tries every host, checks the role of the server. */
export class Endpoint {
  readonly #config: SourceConfig;
  readonly #runtime: Runtime;

  constructor(config: SourceConfig, runtime: Runtime) {
    this.#config = config;
    this.#runtime = runtime;
  }

  /** Settings as they are now. @throws TidemarkError `POSTGRES_URL`, `CONFIG_SECRET` */
  async options(): Promise<PostgresOptions> {
    const { name, options, freshOptions } = this.#config;
    return resolveOptions(name, freshOptions === undefined ? options : await freshOptions());
  }

  /**
   * A session with the first host that answers and has the wanted role; with `only` that one, and no other.
   * @throws TidemarkError `POSTGRES_UNREACHABLE`, `POSTGRES_POOLER`, `POSTGRES_ACCESS`, `POSTGRES_TLS`, `POSTGRES_NO_HOST`, `POSTGRES_VERSION`, `POSTGRES_URL`, `ABORTED`
   */
  async open(signal: AbortSignal, only: HostAddress | null = null): Promise<Session> {
    const options = await this.options();
    const address = parseAddress(options.url);
    let unreachable: TidemarkError | null = null;
    const wanted = address.target ?? 'any';
    for (const target of passesOf(wanted)) {
      for (const host of only === null ? address.hosts : [only]) {
        try {
          const session = await this.#openHost(options, address, host, signal);
          if (await hasRole(session, target)) return session;
          await session[Symbol.asyncDispose]();
        } catch (error) {
          const known = postgresError(error, { source: this.#config.name });
          if (known.code !== 'POSTGRES_UNREACHABLE') throw known;
          unreachable = known;
        }
      }
    }
    if (unreachable !== null) throw unreachable;
    throw new TidemarkError('POSTGRES_NO_HOST', `no host is ${wanted}`, { where: { source: this.#config.name } });
  }

  /** One more connection to `host`, for a replication session. Nothing is connected yet. */
  async wire(host: HostAddress): Promise<WireConnection> {
    const options = await this.options();
    return this.#wire(options, parseAddress(options.url), host);
  }

  async #openHost(options: PostgresOptions, address: Address, host: HostAddress, signal: AbortSignal): Promise<Session> {
    signal.throwIfAborted();
    const { socket, config } = await this.#wire(options, address, host);
    const client = new pg.Client(config);
    // The statements under way fail by themselves; without a listener the event would end the process.
    client.on('error', () => undefined);
    const abort = (): void => void socket.destroy(new TidemarkError('ABORTED', 'the session was asked to end'));
    signal.addEventListener('abort', abort, { once: true });
    const end = async (): Promise<void> => {
      signal.removeEventListener('abort', abort);
      await endClient(client, socket, this.#runtime.clock);
    };
    try {
      await client.connect();
      return await describe(client, host, options, end);
    } catch (error) {
      await end();
      if (signal.aborted) throw new TidemarkError('ABORTED', 'the session was asked to end', { cause: error });
      throw this.#rotating(postgresError(error, { source: this.#config.name }), options);
    }
  }

  async #wire(options: PostgresOptions, address: Address, host: HostAddress): Promise<WireConnection> {
    const password = options.passwordFile === null ? address.password : await this.#passwordOf(options.passwordFile);
    const socket = new WireSocket({ use: tlsUse(address), direct: address.directTls, options: await tlsOptions(address, this.#runtime.files) });
    const config: pg.ClientConfig = {
      host: host.host,
      port: host.port,
      user: address.user,
      database: address.database,
      // A function, so that `pg` never looks for a password elsewhere, and asks only if the server does.
      password: () => password ?? '',
      ssl: false,
      application_name: address.applicationName,
      options: `${address.options} ${settingsOption()}`.trim(),
      connectionTimeoutMillis: address.connectTimeoutMs,
      stream: () => socket,
      types: { getTypeParser: () => (value: string) => value },
    };
    return { socket, config };
  }

  async #passwordOf(file: string): Promise<string> {
    try {
      return (await this.#runtime.files.readFile(file)).toString('utf8').replace(/\r?\n$/, '');
    } catch (cause) {
      throw new TidemarkError('POSTGRES_ACCESS', `the password file ${file} cannot be read`, { cause, where: { source: this.#config.name } });
    }
  }

  /** A refused password is tried again where it can be changed without a restart. */
  #rotating(error: TidemarkError, options: PostgresOptions): TidemarkError {
    const canChange = this.#config.freshOptions !== undefined || options.passwordFile !== null;
    if (error.code !== 'POSTGRES_ACCESS' || !canChange) return error;
    return new TidemarkError(error.code, error.message, { where: error.where, cause: error.cause, retry: 'auto' });
  }
}

/** Limits that not every server knows, so that they cannot be set when the session begins. */
const NEWER_LIMITS = ['transaction_timeout', 'idle_session_timeout'];

function noLimit(name: string): string {
  return `CASE WHEN current_setting('${name}', true) <> '0' THEN set_config('${name}', '0', false) END AS ${name}`;
}

/** As a command line that the server splits at blanks; a backslash keeps one. */
function settingsOption(): string {
  return [...SESSION_SETTINGS].map(([name, value]) => `-c ${name}=${value.replaceAll(/[\\ ]/g, String.raw`\$&`)}`).join(' ');
}

async function describe(client: pg.Client, host: HostAddress, options: PostgresOptions, end: () => Promise<void>): Promise<Session> {
  const query = async (text: string, values: readonly unknown[] = []): Promise<TextRow[]> => {
    try {
      return values.length === 0 ? (await client.query<TextRow>(text)).rows : (await client.query<TextRow>(text, [...values])).rows;
    } catch (error) {
      throw postgresError(error);
    }
  };
  const names = new Map<string, string>();
  const prepared = async (text: string, values: readonly unknown[]): Promise<TextRow[]> => {
    const name = names.get(text) ?? `tidemark_${names.size}`;
    names.set(text, name);
    try {
      return (await client.query<TextRow>({ name, text, values: [...values] })).rows;
    } catch (error) {
      throw postgresError(error);
    }
  };
  const [row] = await query(`SELECT current_setting('server_version_num') AS version, pg_is_in_recovery() AS recovery,
    current_setting('IntervalStyle') AS style, current_setting('search_path') AS path, ${NEWER_LIMITS.map(noLimit).join(', ')}`);
  // Values would have other bytes than the stream's.
  if (row?.['style'] !== SESSION_SETTINGS.get('IntervalStyle') || row?.['path'] !== SESSION_SETTINGS.get('search_path')) {
    throw new TidemarkError('POSTGRES_POOLER', 'the settings of the session have no effect: something between the hub and the server drops them');
  }
  const version = Number(row?.['version']);
  if (!(version >= 130_000)) throw new TidemarkError('POSTGRES_VERSION', `the server's version is ${row?.['version'] ?? 'unknown'}`);
  const announcedPid = 'processID' in client && typeof client.processID === 'number' ? client.processID : null;
  const inRecovery = row?.['recovery'] === 't';
  let isLost = false;
  client.once('end', () => {
    isLost = true;
  });
  return {
    client, host, announcedPid, version, inRecovery, options, query, prepared,
    get isUsable() {
      return !isLost && !inRecovery;
    },
    [Symbol.asyncDispose]: end,
  };
}

/** Ends politely where the server listens, else by closing the socket. */
export async function endClient(client: pg.Client, socket: WireSocket, clock: Clock): Promise<void> {
  if (socket.destroyed || !socket.established) {
    socket.destroy();
    return;
  }
  const ended = new AbortController();
  socket.once('close', () => ended.abort());
  client.end().catch(() => socket.destroy());
  // The server closes its side at once unless it is stuck; nobody must wait for that.
  await clock.sleep(END_LIMIT_MS, ended.signal).then(() => socket.destroy(), () => undefined);
}

async function hasRole(session: Session, target: TargetSession): Promise<boolean> {
  if (target === 'any') return true;
  const [row] = await session.query(SERVER_ROLE_SQL);
  return isWanted({ inRecovery: row?.['recovery'] === 't', readOnly: row?.['read_only'] === 't' }, target);
}
