/**
 * Sessions with the source. Stream and copy alike run under the settings below, so that a value has the same bytes
 * whichever way it comes.
 */
import type { Connection } from 'mysql2/promise';
import type { SourceConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock, Runtime } from '../../contracts/runtime.ts';
import { formatMysqlHost, parseMysqlAddress, type MysqlHost } from '../../contracts/types/mysql-address.ts';
import { mysqlError } from './errors.ts';
import { logIn, type Login } from '../../contracts/types/mysql-login.ts';
import { resolveOptions, type MysqlOptions } from './options.ts';
import { isAtLeast, parseVersion, type ServerVersion } from './server-version.ts';

/** A row of a result: every value as the server's text, by the name of its column. */
export type TextRow = Readonly<Record<string, string | null>>;

/** An open session with what is known of its server. Owned by who asked for it; disposing ends it. */
export interface Session extends AsyncDisposable {
  readonly connection: Connection;
  readonly host: MysqlHost;
  readonly version: ServerVersion;
  /** The options that the session was opened with. */
  readonly options: MysqlOptions;
  /** The server's number for it (CONNECTION_ID()). */
  readonly id: number;
  /** Rows as text; `values` replace `?`. Aborting ends the session. @throws TidemarkError */
  query(text: string, values?: readonly unknown[]): Promise<TextRow[]>;
  /** As `query`, rows as lists of bytes, in the server's own charset where the session is raw. */
  buffers(text: string, values?: readonly unknown[]): Promise<(Buffer | null)[][]>;
}

export interface SessionKind {
  /** Texts come as they are stored, each column in its own charset. */
  readonly isRaw?: boolean;
  /** That host, and no other. */
  readonly only?: MysqlHost | null;
}

const END_LIMIT_MS = 2_000;
/** A copy may wait for the log for hours; the server would give up after a minute. In seconds. */
const SOCKET_TIMEOUT_S = 86_400;

/** Opens sessions with one source: reads secrets anew each time, tries every host. */
export class Endpoint {
  readonly #config: SourceConfig;
  readonly #runtime: Pick<Runtime, 'clock' | 'files'>;

  constructor(config: SourceConfig, runtime: Pick<Runtime, 'clock' | 'files'>) {
    this.#config = config;
    this.#runtime = runtime;
  }

  /** Settings as they are now. @throws TidemarkError `MYSQL_URL`, `CONFIG_SECRET` */
  async options(): Promise<MysqlOptions> {
    const { name, options, freshOptions } = this.#config;
    return resolveOptions(name, freshOptions === undefined ? options : await freshOptions());
  }

  /** The servers that the address names, in its order. @throws as `options` */
  async hosts(): Promise<readonly MysqlHost[]> {
    return parseMysqlAddress((await this.options()).url).hosts;
  }

  /**
   * A session with the first host that answers. It ends when `signal` aborts.
   * @throws TidemarkError `MYSQL_UNREACHABLE`, `MYSQL_ACCESS`, `MYSQL_AUTH_PLUGIN`, `MYSQL_TLS`, `MYSQL_VERSION`, `MYSQL_PROXY`, `MYSQL_URL`, `ABORTED`
   */
  async open(signal: AbortSignal, kind: SessionKind = {}): Promise<Session> {
    const { login, host, options } = await this.#logIn(signal, kind.only ?? null);
    const abort = (): void => void login.socket.destroy(new TidemarkError('ABORTED', 'the session was asked to end'));
    signal.addEventListener('abort', abort, { once: true });
    const end = async (): Promise<void> => {
      signal.removeEventListener('abort', abort);
      await endConnection(login, this.#runtime.clock);
    };
    try {
      if (signal.aborted) throw new TidemarkError('ABORTED', 'the session was asked to end');
      return await begin(login, host, options, kind.isRaw === true, signal, end);
    } catch (error) {
      await end();
      throw mysqlError(error, { source: this.#config.name });
    }
  }

  /** A connection that has logged in and nothing else, for a binlog dump. Aborting does not end it once it is there. @throws as `open` */
  async wire(signal: AbortSignal, only: MysqlHost | null = null): Promise<Login & { readonly host: MysqlHost }> {
    const { login, host } = await this.#logIn(signal, only);
    return { ...login, host };
  }

  async #logIn(signal: AbortSignal, only: MysqlHost | null): Promise<{ login: Login; host: MysqlHost; options: MysqlOptions }> {
    const options = await this.options();
    const address = parseMysqlAddress(options.url);
    const password = options.passwordFile === null ? address.password : await this.#passwordOf(options.passwordFile);
    const failures: TidemarkError[] = [];
    for (const host of only === null ? address.hosts : [only]) {
      try {
        return { login: await logIn(address, host, password, this.#runtime.files, signal), host, options };
      } catch (error) {
        const known = this.#rotating(mysqlError(error, { source: this.#config.name }), options);
        if (known.code !== 'MYSQL_UNREACHABLE') throw known;
        failures.push(new TidemarkError(known.code, `${formatMysqlHost(host)}: ${known.message}`, { where: known.where, cause: known.cause }));
      }
    }
    const [first] = failures;
    if (first === undefined) throw new TidemarkError('MYSQL_URL', 'the address names no host', { where: { source: this.#config.name } });
    if (failures.length === 1) throw first;
    throw new TidemarkError(first.code, failures.map(({ message }) => message).join('; '), { where: first.where, cause: first.cause });
  }

  async #passwordOf(file: string): Promise<string> {
    try {
      return (await this.#runtime.files.readFile(file)).toString('utf8').replace(/\r?\n$/, '');
    } catch (cause) {
      throw new TidemarkError('MYSQL_ACCESS', `the password file ${file} cannot be read`, { cause, where: { source: this.#config.name } });
    }
  }

  /** A refused password is tried again where it can be changed without a restart. */
  #rotating(error: TidemarkError, options: MysqlOptions): TidemarkError {
    const canChange = this.#config.freshOptions !== undefined || options.passwordFile !== null;
    if (error.code !== 'MYSQL_ACCESS' || !canChange) return error;
    return new TidemarkError(error.code, error.message, { where: error.where, cause: error.cause, retry: 'auto' });
  }
}

/** Settings of every session: none of the server's or the user's own has a say in what bytes a value has. */
function settingsFor(version: ServerVersion, isRaw: boolean): string {
  const settings = [
    `time_zone = '+00:00'`,
    `sql_mode = ''`,
    'autocommit = 1',
    'completion_type = 0',
    'sql_big_selects = 1',
    `net_read_timeout = ${SOCKET_TIMEOUT_S}`,
    `net_write_timeout = ${SOCKET_TIMEOUT_S}`,
    `wait_timeout = ${SOCKET_TIMEOUT_S}`,
    'sql_select_limit = DEFAULT',
    'sql_quote_show_create = 1',
    version.flavor === 'mysql' ? 'max_execution_time = 0' : 'max_statement_time = 0',
    `character_set_results = ${isRaw ? 'NULL' : 'utf8mb4'}`,
  ];
  // A key that the server has added by itself is a key.
  if (version.flavor === 'mysql' && isAtLeast(version, 8, 0, 30)) settings.push('show_gipk_in_create_table_and_information_schema = ON');
  return `SET ${settings.map((setting) => `SESSION ${setting}`).join(', ')}`;
}

async function begin(login: Login, host: MysqlHost, options: MysqlOptions, isRaw: boolean, signal: AbortSignal, end: () => Promise<void>): Promise<Session> {
  const connection = login.connection.promise();
  const ask = async <T>(run: () => Promise<[T, unknown]>): Promise<T> => {
    try {
      return (await run())[0];
    } catch (error) {
      if (signal.aborted) throw new TidemarkError('ABORTED', 'the session was asked to end');
      throw mysqlError(error);
    }
  };
  const query = async (sql: string, values: readonly unknown[] = []): Promise<TextRow[]> => {
    const rows = await ask(() => connection.query({ sql, values: [...values], typeCast: (field) => field.buffer()?.toString('utf8') ?? null }));
    return isList<TextRow>(rows) ? rows : [];
  };
  const buffers = async (sql: string, values: readonly unknown[] = []): Promise<(Buffer | null)[][]> => {
    const rows = await ask(() => connection.query({ sql, values: [...values], rowsAsArray: true, typeCast: (field) => field.buffer() }));
    return isList<(Buffer | null)[]>(rows) ? rows : [];
  };
  const [first] = await query('SELECT VERSION() AS version, CONNECTION_ID() AS id');
  const version = parseVersion(first?.['version'] ?? '');
  await query(settingsFor(version, isRaw));
  await query('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
  // Values would have other bytes than the stream's.
  const [kept] = await query('SELECT @@SESSION.time_zone AS zone, @@SESSION.sql_mode AS mode, CONNECTION_ID() AS id');
  if (kept?.['zone'] !== '+00:00' || kept['mode'] !== '' || kept['id'] !== first?.['id']) {
    throw new TidemarkError('MYSQL_PROXY', 'the settings of the session have no effect: something between the hub and the server drops them, or shares sessions');
  }
  return { connection, host, version, options, id: Number(first?.['id']), query, buffers, [Symbol.asyncDispose]: end };
}

/** False for a statement that answers without rows. Of rows, the cast above decides what is in them. */
function isList<Row>(answer: unknown): answer is Row[] {
  return Array.isArray(answer);
}

/** Ends politely where the server listens, else by closing the socket. */
async function endConnection({ connection, socket }: Login, clock: Clock): Promise<void> {
  if (socket.destroyed) return;
  const ended = new AbortController();
  socket.once('close', () => ended.abort());
  connection.end(() => socket.destroy());
  // The server closes its side at once unless it is stuck; nobody must wait for that.
  await clock.sleep(END_LIMIT_MS, ended.signal).then(() => socket.destroy(), () => undefined);
}
