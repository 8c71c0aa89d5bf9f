import { setTimeout as delay } from 'node:timers/promises';
import { type MysqlReplica, type MysqlFollower, followPrimary, replicaOf } from '../../fixtures/mysql-replica.ts';
import { type MysqlOptions, type MysqlServer, startMysql } from '../../fixtures/mysql.ts';

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
    await this.#fence(old);
    await this.#following.caughtUp();
    if (how === 'crash') await old.stop('kill');
    await this.#following.promote();
    await setReadOnly(next, false);
    [this.#primary, this.#standby] = [next, old];
    if (how === 'crash') {
      await old.start();
      await setReadOnly(old, true);
    }
    this.#following = await followPrimary(old, next);
    await setLock(old, this.#writer, false);
  }

  /** A server that is read only may still end what was begun or prepared before: so nobody is let in, and whoever is in is thrown out. */
  async #fence(server: MysqlServer): Promise<void> {
    await setReadOnly(server, true);
    await setLock(server, this.#writer, true);
    while ((await endSessionsOf(server, this.#writer)) > 0) await delay(10);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#servers.disposeAsync();
  }
}

/** For all but administrators. */
async function setReadOnly(server: MysqlServer, isReadOnly: boolean): Promise<void> {
  await server.query(`SET GLOBAL read_only = ${isReadOnly ? 'ON' : 'OFF'}`);
}

/** At that server alone. */
async function setLock(server: MysqlServer, user: string, isLocked: boolean): Promise<void> {
  await server.query(`SET SESSION sql_log_bin = 0; ALTER USER ${user} ACCOUNT ${isLocked ? 'LOCK' : 'UNLOCK'}`);
}

const NO_SUCH_SESSION = 1094;

/** Answers how many there were. */
export async function endSessionsOf(server: MysqlServer, user: string): Promise<number> {
  await using session = await server.connect();
  const found = await session.query('SELECT id FROM information_schema.processlist WHERE user = ?', [user]);
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
