import { setTimeout as delay } from 'node:timers/promises';
import { type MysqlReplica, type MysqlFollower, followPrimary, replicaOf } from '../../fixtures/mysql-replica.ts';
import { type MysqlOptions, type MysqlServer, startMysql } from '../../fixtures/mysql.ts';

/** Of each step of a failover. */
const STEP_LIMIT_MS = 150_000;
/** A step that waits for a lock gives it up by then; the servers' own limit is a year. */
const LOCK_LIMIT_S = 60;
/** What a session is called while it logs in. */
const UNNAMED = 'unauthenticated user';

/** Two servers, of which one is a replica of the other by GTIDs. Which is which changes. */
export class MysqlPair implements AsyncDisposable {
  #primary: MysqlServer;
  #standby: MysqlServer;
  #following: MysqlFollower;
  /** The user that writes. */
  readonly #writer: string;
  readonly #servers: AsyncDisposableStack;

  private constructor(primary: MysqlServer, standby: MysqlReplica, writer: string, servers: AsyncDisposableStack) {
    this.#writer = writer;
    this.#primary = primary;
    this.#standby = standby.server;
    this.#following = standby;
    this.#servers = servers;
  }

  /** @param writer the user that writes, made by the caller */
  static async start(options: MysqlOptions, writer: string): Promise<MysqlPair> {
    await using starting = new AsyncDisposableStack();
    const primary = starting.use(await startMysql(options));
    const { version: _, databases: __, ...same } = options;
    const standby = starting.use(await replicaOf(primary, same));
    await setReadOnly(standby.server, true);
    return new MysqlPair(primary, standby, writer, starting.move());
  }

  get primary(): MysqlServer {
    return this.#primary;
  }

  get standby(): MysqlServer {
    return this.#standby;
  }

  /** Resolves when the standby has all that the primary has by now. */
  standbyCaughtUp(): Promise<void> {
    return this.#following.caughtUp();
  }

  /**
   * The standby takes over with all that was committed: before that the primary takes no more writes, then it dies or goes
   * on as the standby's replica.
   */
  async failOver(how: 'crash' | 'order'): Promise<void> {
    const [old, next] = [this.#primary, this.#standby];
    await this.#within('the primary takes no more writes', () => this.#fence(old));
    await this.#within('the standby has all', () => this.#following.caughtUp());
    if (how === 'crash') await this.#within('the primary is dead', () => old.stop('kill'));
    await this.#within('the standby is promoted', () => this.#following.promote());
    await this.#within('the standby takes writes', () => setReadOnly(next, false));
    [this.#primary, this.#standby] = [next, old];
    if (how === 'crash') {
      await old.start();
      await this.#within('the old primary is read only', () => setReadOnly(old, true));
    }
    this.#following = await this.#within('the old primary follows', () => followPrimary(old, next));
    await this.#within('writers are let in at the old primary', () => setLock(old, this.#writer, false));
  }

  /**
   * A server that is read only may still end what was begun or prepared before: so nobody is let in, and whoever is in, or
   * was let in and has no name yet, is thrown out.
   */
  async #fence(server: MysqlServer): Promise<void> {
    await setReadOnly(server, true);
    await setLock(server, this.#writer, true);
    const until = performance.now() + STEP_LIMIT_MS;
    while ((await endSessionsOf(server, this.#writer, UNNAMED)) > 0) {
      if (performance.now() > until) throw new Error(`sessions of ${this.#writer} do not end`);
      await delay(10);
    }
  }

  /** A server that never answers is no reason to wait for ever: what both of them are at is told. */
  async #within<T>(what: string, step: () => Promise<T>): Promise<T> {
    const over = new AbortController();
    const late = delay(STEP_LIMIT_MS, null, { signal: over.signal }).then(async () => {
      const servers = await Promise.all([this.#primary, this.#standby].map(async (server) => `port ${server.port}: ${await sessionsOf(server)}`));
      throw new Error(`not after ${STEP_LIMIT_MS} ms: ${what}\n${servers.join('\n')}`);
    });
    try {
      return await Promise.race([step(), late]);
    } catch (error) {
      throw new Error(`no failover: ${what}`, { cause: error });
    } finally {
      over.abort();
      late.catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#servers.disposeAsync();
  }
}

/** For all but administrators. It waits for every statement that writes, and for locks of whole tables. */
async function setReadOnly(server: MysqlServer, isReadOnly: boolean): Promise<void> {
  await server.query(`SET SESSION lock_wait_timeout = ${LOCK_LIMIT_S}; SET GLOBAL read_only = ${isReadOnly ? 'ON' : 'OFF'}`);
}

/** At that server alone. */
async function setLock(server: MysqlServer, user: string, isLocked: boolean): Promise<void> {
  await server.query(`SET SESSION sql_log_bin = 0, SESSION lock_wait_timeout = ${LOCK_LIMIT_S}; ALTER USER ${user} ACCOUNT ${isLocked ? 'LOCK' : 'UNLOCK'}`);
}

const NO_SUCH_SESSION = 1094;

/** Answers how many there were. */
export async function endSessionsOf(server: MysqlServer, ...users: readonly string[]): Promise<number> {
  await using session = await server.connect();
  const found = await session.query('SELECT id FROM information_schema.processlist WHERE user IN (?)', [users]);
  for (const { id } of found) {
    try {
      await session.query('KILL ?', [Number(id)]);
    } catch (error) {
      // It has ended by itself meanwhile.
      if (!(error instanceof Error && 'errno' in error && error.errno === NO_SUCH_SESSION)) throw error;
    }
  }
  return found.length;
}

/** For people. */
async function sessionsOf(server: MysqlServer): Promise<string> {
  try {
    return JSON.stringify(await server.query('SHOW FULL PROCESSLIST'));
  } catch (error) {
    return `does not answer: ${String(error)}`;
  }
}
