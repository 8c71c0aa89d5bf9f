import { setTimeout as delay } from 'node:timers/promises';
import { mysqlPositions } from '../../../connectors/mysql/position.ts';
import type { Random } from '../../../contracts/runtime.ts';
import { type MysqlFlavor, type MysqlServer, type MysqlVersion, startMysql } from '../../fixtures/mysql.ts';
import { type MysqlSession, openMysqlSession } from '../../fixtures/mysql-session.ts';
import { archiveMysqlOrders, createMysqlShop } from '../../fixtures/shop/mysql-schema.ts';
import { startMysqlShopWorkload } from '../../fixtures/shop/mysql-workload.ts';
import type { ShopWorkload } from '../../fixtures/shop/writers.ts';
import { type HardWorkload, below, startHardWorkload } from '../hard-workload.ts';
import type { ReplicaServer, ReplicaView, SourceServer, View, WorkloadStart } from '../source-world.ts';
import { hardMysql } from './hard-mix.ts';
import { SHAPE_CHANGES, createHardTables } from './hard-schema.ts';
import { MysqlPair, endSessionsOf } from './pair.ts';
import { MysqlReplicaView, MysqlView } from './view.ts';

const DATABASE = 'shop';
/** The hub's user: with the rights that the connector asks for, and no others. */
const HUB = 'hub';
/** The application's: a server that is read only takes no writes from it. */
const APPLICATION = 'application';
/** A failover on the way keeps everybody out until it is done. */
const CHANGE_LIMIT_MS = 240_000;
const TRY_AGAIN_MS = 200;
const VERSIONS: Readonly<Record<MysqlFlavor, MysqlVersion>> = { mysql: 'mysql-9', mariadb: 'mariadb-11.8' };
/** A file has few transactions: streams meet the end of one all the time. */
const COMMON_SETTINGS = { max_binlog_size: 1 << 20, innodb_lock_wait_timeout: 5 };
/** Of MySQL the least that a server can write; sessions may write more. */
const SETTINGS = { mysql: { ...COMMON_SETTINGS, binlog_row_image: 'MINIMAL' }, mariadb: COMMON_SETTINGS } as const;

const RIGHTS: Readonly<Record<MysqlFlavor, string>> = {
  mysql: `GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT, XA_RECOVER_ADMIN ON *.* TO ${HUB};
          GRANT ALL ON ${DATABASE}.* TO ${APPLICATION}; GRANT XA_RECOVER_ADMIN, SESSION_VARIABLES_ADMIN ON *.* TO ${APPLICATION}`,
  mariadb: `GRANT SELECT, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO ${HUB};
            GRANT ALL ON ${DATABASE}.* TO ${APPLICATION}; GRANT BINLOG ADMIN ON *.* TO ${APPLICATION}`,
};

/** A primary and a standby. */
export class MysqlSource implements SourceServer {
  readonly dialect = 'mysql';
  readonly positions = mysqlPositions;
  readonly namespace = DATABASE;
  readonly #pair: MysqlPair;

  private constructor(pair: MysqlPair) {
    this.#pair = pair;
  }

  /** With the shop and the hard tables in it. */
  static async start(flavor: MysqlFlavor): Promise<MysqlSource> {
    const pair = await MysqlPair.start({ version: VERSIONS[flavor], databases: [DATABASE], settings: SETTINGS[flavor] }, APPLICATION);
    try {
      const { primary } = pair;
      await primary.query(`CREATE USER ${HUB}, ${APPLICATION}; ${RIGHTS[flavor]}`);
      await using session = await primary.connect(DATABASE);
      await createMysqlShop(session, { customers: 200, products: 60, orders: 400 });
      await createHardTables(session);
      await pair.standbyCaughtUp();
      return new MysqlSource(pair);
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
  }

  get port(): number {
    return this.#pair.primary.port;
  }

  get standbyPort(): number {
    return this.#pair.standby.port;
  }

  restart(how: 'crash' | 'order'): Promise<void> {
    return this.#pair.primary.restart(how === 'crash' ? 'kill' : 'term');
  }

  /** From here on `port` is the other server's. */
  failOver(how: 'crash' | 'order'): Promise<void> {
    return this.#pair.failOver(how);
  }

  standbyCaughtUp(): Promise<void> {
    return this.#pair.standbyCaughtUp();
  }

  async rotate(): Promise<void> {
    await this.#pair.primary.query('FLUSH BINARY LOGS');
  }

  async endSessions(): Promise<void> {
    for (const server of [this.#pair.primary, this.#pair.standby]) await endSessionsOf(server, HUB);
  }

  async view(): Promise<View> {
    return MysqlView.open(await this.#pair.primary.connect(DATABASE), DATABASE);
  }

  async viewStandby(): Promise<View> {
    return MysqlView.open(await this.#pair.standby.connect(DATABASE), DATABASE);
  }

  /** Names of XA transactions that nobody has ended. */
  async preparedXa(): Promise<string[]> {
    return (await this.#pair.primary.query('XA RECOVER')).map((row) => row['data'] ?? '');
  }

  config(port: number): Readonly<Record<string, unknown>> {
    return { type: 'mysql', url: `mysql://${HUB}@127.0.0.1:${port}/`, heartbeat: '1s' };
  }

  startShop({ seed, transactionsPerSecond }: WorkloadStart): ShopWorkload {
    return startMysqlShopWorkload({ connect: () => this.#connect(), writers: 2, transactionsPerSecond, seed, reconnect: true });
  }

  startHard(seed: number): HardWorkload {
    return startHardWorkload(hardMysql(this.#pair.primary.flavor, () => this.#connect()), seed);
  }

  async prepare(mostOrders: number, random: Random): Promise<void> {
    const { primary } = this.#pair;
    if (primary.flavor === 'mariadb') await primary.query(`SET GLOBAL log_bin_compress = ${below(random, 2)}, GLOBAL log_bin_compress_min_len = 100`);
    await using session = await primary.connect(DATABASE);
    await archiveMysqlOrders(session, mostOrders);
  }

  /** Writers hold locks, and the server may be dying: it is tried until it gets through. */
  async changeShape(random: Random): Promise<void> {
    const change = SHAPE_CHANGES[below(random, SHAPE_CHANGES.length)];
    if (change === undefined) return;
    const until = performance.now() + CHANGE_LIMIT_MS;
    for (;;) {
      try {
        await using session = await this.#connect();
        await session.query('SET SESSION lock_wait_timeout = 2');
        for (const statement of await change.statements(session, `c${below(random, 1_000_000)}`)) await session.query(statement);
        return;
      } catch (error) {
        if (performance.now() > until) throw new Error(`${change.name}: not in ${CHANGE_LIMIT_MS} ms`, { cause: error });
        await delay(TRY_AGAIN_MS);
      }
    }
  }

  async end(): Promise<string> {
    const { primary } = this.#pair;
    const [row] = await primary.query(primary.flavor === 'mysql' ? 'SELECT @@GLOBAL.gtid_executed AS gtids' : 'SELECT @@GLOBAL.gtid_binlog_pos AS gtids');
    return `gtid:${(row?.['gtids'] ?? '').replaceAll(/\s/g, '')}`;
  }

  /** A binlog is kept for its time, whatever anybody has read. */
  lostBehind(): Promise<null> {
    return Promise.resolve(null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pair[Symbol.asyncDispose]();
  }

  /** With the primary, whichever it is now. */
  #connect(): Promise<MysqlSession> {
    return openMysqlSession({ host: '127.0.0.1', port: this.#pair.primary.port, user: APPLICATION, database: DATABASE });
  }
}

const SINK_RIGHTS = 'SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, CREATE TEMPORARY TABLES';

/** With the database that the source's tables are in, empty. */
export class MysqlReplica implements ReplicaServer {
  readonly dialect = 'mysql';
  readonly name: string;
  readonly #server: MysqlServer;

  private constructor(server: MysqlServer, name: string) {
    this.#server = server;
    this.name = name;
  }

  static async start(name: string, flavor: MysqlFlavor): Promise<MysqlReplica> {
    const server = await startMysql({ version: VERSIONS[flavor], databases: [DATABASE] });
    try {
      await server.query(`CREATE USER ${HUB}; GRANT ${SINK_RIGHTS} ON ${DATABASE}.* TO ${HUB}; GRANT ${SINK_RIGHTS} ON tidemark.* TO ${HUB}`);
      return new MysqlReplica(server, name);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get port(): number {
    return this.#server.port;
  }

  restart(how: 'crash' | 'order'): Promise<void> {
    return this.#server.restart(how === 'crash' ? 'kill' : 'term');
  }

  async endSessions(): Promise<void> {
    await endSessionsOf(this.#server, HUB);
  }

  async view(): Promise<ReplicaView> {
    return MysqlReplicaView.openFor(this.name, await this.#server.connect(DATABASE), DATABASE);
  }

  config(port: number): Readonly<Record<string, unknown>> {
    return { type: 'mysql', url: `mysql://${HUB}@127.0.0.1:${port}/`, tables: [`${DATABASE}.*`] };
  }

  async addUnique(): Promise<void> {
    await this.#server.query('ALTER TABLE counters ADD UNIQUE one_slot (slot)', DATABASE);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}
