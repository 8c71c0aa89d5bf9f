/** One connection to the replica: statements are bytes, and what they answer is bytes. */
import type { Connection, QueryOptions, ResultSetHeader } from 'mysql2';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock, FileSystem } from '../../contracts/runtime.ts';
import { formatMysqlHost, type MysqlAddress, type MysqlHost, parseMysqlAddress } from '../../contracts/types/mysql-address.ts';
import { mysqlError } from '../../contracts/types/mysql-errors.ts';
import { logIn, type Login } from '../../contracts/types/mysql-login.ts';
import { parseVersion, type ServerVersion } from '../../contracts/types/mysql-version.ts';
import type { Watchdog } from '../relational/watchdog.ts';
import { sinkError } from './errors.ts';
import { leavingNothing, loadStream } from './local-load.ts';
import { REPLICA_SESSION_SQL } from './types/replica-server.ts';

/** A row of a result: every value as the server's text, by the name of its column. */
export type TextRow = Readonly<Record<string, string | null>>;

/** What a statement did. */
export interface Done {
  /** Rows that it found or changed, as the server counts them. */
  readonly rows: number;
  /** Warnings and notes. */
  readonly warnings: number;
}

export interface SessionSettings {
  readonly url: string;
  /** A file that holds the password, read at each connect; null: the password of the address. */
  readonly passwordFile: string | null;
  /** What is refused now may be right at the next connect: secrets are read again. */
  readonly secretsChange: boolean;
  /** Only this one of the hosts. Left out: the first that answers and takes writes; where none does, the first that answers. */
  readonly host?: MysqlHost;
}

/** What sessions need of the world. */
export interface SessionPorts {
  readonly clock: Clock;
  readonly files: Pick<FileSystem, 'readFile'>;
  /** Looks after each statement. Left out: nobody does. */
  readonly watchdog?: Watchdog<Session>;
}

/** How long a server may take to close its side before the connection is broken. */
const END_LIMIT_MS = 2_000;
/** A sink may have nothing to do for days. In seconds. */
const SOCKET_TIMEOUT_S = 2_000_000;
/** Of the driver: text goes out byte for byte. */
const BINARY = 63;
/** How long a statement on rows waits for a lock. In seconds. */
const LOCK_WAIT_S = 30;

/** Owned by who opened it; disposing ends it, whatever it is doing. */
export class Session implements AsyncDisposable {
  readonly version: ServerVersion;
  /** The server's number for it (CONNECTION_ID()). */
  readonly id: number;
  /** The server that it is connected to. */
  readonly host: MysqlHost;
  readonly #login: Login;
  readonly #clock: Clock;
  readonly #watchdog: Watchdog<Session> | null;
  #lost: TidemarkError | null = null;
  #ending = false;
  #streaming = 0;

  private constructor({ login, host }: Connected, { clock, watchdog }: SessionPorts, version: ServerVersion, id: number) {
    this.#login = login;
    this.#clock = clock;
    this.#watchdog = watchdog ?? null;
    this.host = host;
    this.version = version;
    this.id = id;
    const lose = (error: TidemarkError): void => {
      if (!this.#ending) this.#lost ??= error;
    };
    login.connection.on('error', (error) => lose(sinkError(mysqlError(error))));
    login.socket.once('close', () => lose(new TidemarkError('SINK_UNREACHABLE', 'the replica closed the connection')));
  }

  /**
   * Connects to the host of the settings, and sets what makes values canonical.
   * @throws TidemarkError `SINK_UNREACHABLE`, `REPLICA_DENIED`, `REPLICA_POOLED`, `MYSQL_URL`, `MYSQL_TLS`, `MYSQL_VERSION`, `ABORTED`
   */
  static async open(settings: SessionSettings, ports: SessionPorts, signal: AbortSignal): Promise<Session> {
    const address = parseMysqlAddress(settings.url);
    const password = await passwordOf(settings, address, ports.files);
    const hosts = settings.host === undefined ? address.hosts : [settings.host];
    const failures: TidemarkError[] = [];
    let readOnly: Session | null = null;
    for (const host of hosts) {
      try {
        const session = await Session.#at({ address, host, password }, ports, signal);
        if (hosts.length === 1 || !(await session.#isReadOnly(signal))) {
          await readOnly?.[Symbol.asyncDispose]();
          return session;
        }
        if (readOnly === null) readOnly = session;
        else await session[Symbol.asyncDispose]();
      } catch (error) {
        const failure = sinkError(error);
        if (failure.code !== 'SINK_UNREACHABLE') throw settings.secretsChange ? rotating(failure) : failure;
        failures.push(new TidemarkError(failure.code, `${formatMysqlHost(host)}: ${failure.message}`, { cause: failure.cause }));
      }
    }
    if (readOnly !== null) return readOnly;
    throw new TidemarkError('SINK_UNREACHABLE', failures.map(({ message }) => message).join('; '), { cause: failures[0] });
  }

  static async #at(target: Target, ports: SessionPorts, signal: AbortSignal): Promise<Session> {
    const { address, host, password } = target;
    const login = await logIn({ ...address, database: '' }, host, password, ports.files, signal, { loadsData: true, severalStatements: true });
    try {
      const [first] = await queryRows(login.connection, 'SELECT VERSION() AS version, CONNECTION_ID() AS id');
      const version = parseVersion(first?.['version'] ?? '');
      const session = new Session({ login, host }, ports, version, Number(first?.['id']));
      await session.within(signal, () => session.#begin());
      return session;
    } catch (error) {
      login.socket.destroy();
      throw sinkError(error);
    }
  }

  /** Why the connection is gone; null while it stands. */
  get lost(): TidemarkError | null {
    return this.#lost;
  }

  /** Bytes that wait to be sent. */
  get unsent(): number {
    return this.#login.socket.writableLength;
  }

  /** A statement, or several with `;` between: what the last one did. @throws the server's error */
  async run(sql: string | Uint8Array): Promise<Done> {
    const done = await this.runAll(sql);
    return done.at(-1) ?? { rows: 0, warnings: 0 };
  }

  /** What each of several statements did. */
  async runAll(sql: string | Uint8Array): Promise<Done[]> {
    const answer = await this.#send({ sql: asSent(sql) });
    return (isList<unknown>(answer) ? answer : [answer]).flatMap((one) => (isDone(one) ? [{ rows: one.affectedRows, warnings: warningsOf(one) }] : []));
  }

  /** LOAD DATA LOCAL: the server is given `data`, whatever it asks for. */
  async load(sql: string | Uint8Array, data: readonly Uint8Array[]): Promise<Done> {
    const answer = await leavingNothing(this.#login.connection, () => this.#send({ sql: asSent(sql), infileStreamFactory: () => loadStream(data) }));
    return isDone(answer) ? { rows: answer.affectedRows, warnings: warningsOf(answer) } : { rows: 0, warnings: 0 };
  }

  /** Rows as text. */
  rows(sql: string): Promise<TextRow[]> {
    return this.#watched(() => queryRows(this.#login.connection, sql));
  }

  /** Rows as lists of bytes, in the text protocol. */
  async buffers(sql: string | Uint8Array): Promise<(Buffer | null)[][]> {
    const rows = await this.#send({ sql: asSent(sql), rowsAsArray: true, typeCast: (field) => field.buffer() });
    return isList<(Buffer | null)[]>(rows) ? rows : [];
  }

  /**
   * Rows one by one, as they come; not asking for the next ones holds the server back. When the loop is left early, the
   * rest still comes and is dropped: the statement is to be killed then.
   */
  stream(sql: string | Uint8Array): AsyncIterable<(Buffer | null)[]> {
    const query = this.#login.connection.query({ sql: asSent(sql), rowsAsArray: true, typeCast: (field) => field.buffer() });
    this.#streaming++;
    const over = (): void => {
      this.#streaming--;
      for (const event of ['end', 'error']) query.off(event, over);
    };
    for (const event of ['end', 'error']) query.on(event, over);
    return query.stream({ highWaterMark: 1_000 });
  }

  /** True while rows of a stream are to come. */
  get isBusy(): boolean {
    return this.#streaming > 0;
  }

  /** Breaks the connection at once: what is under way fails with `reason`. */
  cut(reason: TidemarkError): void {
    this.#lost ??= reason;
    this.#login.socket.destroy(reason);
  }

  /** Runs `work`; when `signal` aborts meanwhile the connection is broken. @throws TidemarkError `ABORTED` then */
  async within<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const stop = (): void => this.cut(new TidemarkError('ABORTED', 'asked to stop'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    try {
      return await work();
    } catch (error) {
      throw signal.aborted && this.#lost !== null ? this.#lost : error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    const { connection, socket } = this.#login;
    if (this.#lost !== null || socket.destroyed) {
      socket.destroy();
      return;
    }
    const ended = new AbortController();
    socket.once('close', () => ended.abort());
    connection.end(() => socket.destroy());
    // Nobody must wait for a server that is stuck or behind a network that is.
    await this.#clock.sleep(END_LIMIT_MS, ended.signal).then(() => socket.destroy(), () => undefined);
  }

  #send(options: QueryOptions): Promise<unknown> {
    return this.#watched(() => send(this.#login.connection, options));
  }

  #watched<T>(work: () => Promise<T>): Promise<T> {
    return this.#watchdog === null ? work() : this.#watchdog.during(this, work);
  }

  async #isReadOnly(signal: AbortSignal): Promise<boolean> {
    try {
      const [row] = await this.within(signal, () => this.rows('SELECT @@GLOBAL.read_only AS state'));
      return !/^(?:0|OFF)$/i.test(row?.['state'] ?? '');
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** In few messages: on a busy machine each costs what the server takes to come to it. */
  async #begin(): Promise<void> {
    const known = new Set((await this.rows(`SHOW SESSION VARIABLES WHERE Variable_name IN (${Object.keys(SETTINGS).map((name) => `'${name}'`).join(', ')})`)).map((row) => row['Variable_name']));
    const settings = Object.entries(SETTINGS).filter(([name]) => known.has(name));
    const settingsSql = `SET ${settings.map(([name, value]) => `SESSION ${name} = ${value}`).join(', ')}`;
    await this.run(['SET NAMES utf8mb4', REPLICA_SESSION_SQL, settingsSql, 'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED'].join('; '));
    // Names and texts go out as UTF-8, which `asSent` has made bytes of; values may be any bytes. The driver sets this by
    // itself when the server tells it of another charset.
    this.#login.connection.config.charsetNumber = BINARY;
    const [kept] = await this.rows('SELECT @@SESSION.time_zone AS zone, @@SESSION.foreign_key_checks AS checks, CONNECTION_ID() AS id');
    if (kept?.['zone'] !== '+00:00' || kept['checks'] !== '0' || kept['id'] !== String(this.id)) {
      throw new TidemarkError('REPLICA_POOLED', 'the settings of the session have no effect: something between the hub and the replica drops them, or shares sessions', {
        remedy: 'Give the sink the address of the server itself.',
      });
    }
  }
}

/** No limits that are meant for people, nothing that keeps rows out, and look-ups by key whatever their number. */
const SETTINGS: Readonly<Record<string, string>> = {
  autocommit: '1',
  completion_type: '0',
  idle_transaction_timeout: '0',
  idle_write_transaction_timeout: '0',
  foreign_key_checks: '0',
  unique_checks: '1',
  innodb_lock_wait_timeout: String(LOCK_WAIT_S),
  lock_wait_timeout: String(SOCKET_TIMEOUT_S),
  net_read_timeout: String(SOCKET_TIMEOUT_S),
  net_write_timeout: String(SOCKET_TIMEOUT_S),
  wait_timeout: String(SOCKET_TIMEOUT_S),
  max_execution_time: '0',
  max_statement_time: '0',
  sql_safe_updates: '0',
  sql_select_limit: 'DEFAULT',
  sql_notes: '1',
  sql_quote_show_create: '1',
  range_optimizer_max_mem_size: '0',
  in_predicate_conversion_threshold: '0',
  cte_max_recursion_depth: '4294967295',
  max_recursive_iterations: '4294967295',
  show_gipk_in_create_table_and_information_schema: '1',
};

interface Connected {
  readonly login: Login;
  readonly host: MysqlHost;
}

interface Target {
  readonly address: MysqlAddress;
  readonly host: MysqlHost;
  readonly password: string | undefined;
}

async function passwordOf({ passwordFile }: SessionSettings, address: MysqlAddress, files: SessionPorts['files']): Promise<string | undefined> {
  if (passwordFile === null) return address.password;
  try {
    return (await files.readFile(passwordFile)).toString('utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    throw new TidemarkError('REPLICA_DENIED', `the password file ${passwordFile} cannot be read`, { cause });
  }
}

/** A refused login is tried again where the password can be changed without a restart. */
function rotating(error: TidemarkError): TidemarkError {
  if (error.code !== 'REPLICA_DENIED') return error;
  return new TidemarkError(error.code, error.message, { where: error.where, cause: error.cause, remedy: error.remedy, retry: 'auto' });
}

/** The driver makes a byte of each character. */
function asSent(sql: string | Uint8Array): string {
  return (typeof sql === 'string' ? Buffer.from(sql, 'utf8') : Buffer.from(sql.buffer, sql.byteOffset, sql.byteLength)).toString('latin1');
}

function send(connection: Connection, options: QueryOptions): Promise<unknown> {
  return new Promise((resolve, reject) => {
    connection.query(options, (error, result) => (error === null ? resolve(result) : reject(error)));
  });
}

async function queryRows(connection: Connection, sql: string): Promise<TextRow[]> {
  const rows = await send(connection, { sql: asSent(sql), typeCast: (field) => field.buffer()?.toString('utf8') ?? null });
  return isList<TextRow>(rows) ? rows : [];
}

/** False for a statement that answers without rows. Of rows, the cast decides what is in them. */
function isList<Row>(answer: unknown): answer is Row[] {
  return Array.isArray(answer);
}

function isDone(answer: unknown): answer is ResultSetHeader {
  return typeof answer === 'object' && answer !== null && 'affectedRows' in answer && typeof answer.affectedRows === 'number';
}

function warningsOf(answer: ResultSetHeader): number {
  const { warningStatus }: { warningStatus?: unknown } = answer;
  return typeof warningStatus === 'number' ? warningStatus : 0;
}
