import { lsnOfPosition, parseLsn, postgresPositions } from '../../../connectors/postgres/position.ts';
import type { Random } from '../../../contracts/runtime.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { archiveOrders, createShop } from '../../fixtures/shop/schema.ts';
import { startShopWorkload } from '../../fixtures/shop/workload.ts';
import { type HardWorkload, below, startHardWorkload } from '../hard-workload.ts';
import type { ReplicaServer, ReplicaView, SourceServer, View, WorkloadStart } from '../source-world.ts';
import { hardPostgres } from './hard-mix.ts';
import { HARD_TABLES, SHAPE_CHANGES } from './hard-schema.ts';
import { openPostgresView } from './view.ts';

const DATABASE = 'shop';
const MOST_TRIES = 10;

const urlAt = (port: number, database: string): string => `postgres://postgres@127.0.0.1:${port}/${database}`;

abstract class LocalPostgres {
  readonly dialect = 'postgres';
  protected readonly server: PostgresServer;

  constructor(server: PostgresServer) {
    this.server = server;
  }

  get port(): number {
    return this.server.port;
  }

  restart(how: 'crash' | 'order'): Promise<void> {
    return this.server.restart(how === 'crash' ? 'immediate' : 'fast');
  }

  async endSessions(): Promise<void> {
    await this.server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tidemark%'");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

export class PostgresSource extends LocalPostgres implements SourceServer {
  readonly positions = postgresPositions;
  readonly namespace = 'public';

  /** With the shop and the hard tables in it. */
  static async start(): Promise<PostgresSource> {
    const server = await startPostgres({ databases: [DATABASE] });
    try {
      await createShop(server.url(DATABASE), { customers: 200, products: 60, orders: 400 });
      await server.query(HARD_TABLES, [], DATABASE);
      return new PostgresSource(server);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  view(): Promise<View> {
    return openPostgresView(this.server, DATABASE, this.namespace);
  }

  config(port: number): Readonly<Record<string, unknown>> {
    return { type: 'postgres', url: urlAt(port, DATABASE), catalog_poll: '300ms' };
  }

  startShop({ seed, transactionsPerSecond }: WorkloadStart): ReturnType<typeof startShopWorkload> {
    return startShopWorkload({ url: this.server.url(DATABASE), writers: 2, transactionsPerSecond, seed, reconnect: true });
  }

  startHard(seed: number): HardWorkload {
    return startHardWorkload(hardPostgres(this.server.url(DATABASE)), seed);
  }

  async prepare(mostOrders: number): Promise<void> {
    await using session = await this.server.connect(DATABASE);
    await archiveOrders(session, mostOrders);
  }

  /** Writers hold locks: it is tried until it gets through. */
  async changeShape(random: Random): Promise<void> {
    const change = SHAPE_CHANGES[below(random, SHAPE_CHANGES.length)];
    if (change === undefined) return;
    await using session = await this.server.connect(DATABASE);
    await session.query("SET lock_timeout = '2s'; SET deadlock_timeout = '50ms'");
    for (let attempt = 1; ; attempt++) {
      try {
        await session.query(['BEGIN', ...change.statements(`c${below(random, 1_000_000)}`), 'COMMIT'].join('; '));
        return;
      } catch (error) {
        await session.query('ROLLBACK');
        if (attempt === MOST_TRIES) throw new Error(`${change.name}: not in ${attempt} tries`, { cause: error });
      }
    }
  }

  async end(): Promise<string> {
    const [row] = await this.server.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], DATABASE);
    return `lsn:${row?.lsn ?? ''}`;
  }

  /** What the slot of the hub holds as flushed is in the log. */
  async lostBehind(position: Uint8Array | null): Promise<string | null> {
    const rows = await this.server.query<{ lsn: string | null }>(
      "SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = 'tidemark_shop'", [], DATABASE,
    );
    const lsn = rows[0]?.lsn ?? null;
    if (lsn === null || position === null) return null;
    const [confirmed, reached] = [parseLsn(lsn), lsnOfPosition(position)];
    return confirmed <= reached ? null : `the slot is confirmed up to ${confirmed}, the log ends at ${reached}: ${confirmed - reached} bytes are lost`;
  }
}

const REPLICA_DATABASE = 'replica';

export class PostgresReplica extends LocalPostgres implements ReplicaServer {
  readonly name: string;
  readonly #namespace: string;

  constructor(server: PostgresServer, name: string, namespace: string) {
    super(server);
    this.name = name;
    this.#namespace = namespace;
  }

  /** @param namespace of the source's tables, which the replica's have too */
  static async start(name: string, namespace: string): Promise<PostgresReplica> {
    return new PostgresReplica(await startPostgres({ databases: [REPLICA_DATABASE] }), name, namespace);
  }

  view(): Promise<ReplicaView> {
    return openPostgresView(this.server, REPLICA_DATABASE, this.#namespace, this.name);
  }

  config(port: number): Readonly<Record<string, unknown>> {
    return { type: 'postgres', url: urlAt(port, REPLICA_DATABASE), tables: [`${this.#namespace}.*`] };
  }

  async addUnique(): Promise<void> {
    await this.server.query(`ALTER TABLE ${this.#namespace}.counters ADD CONSTRAINT one_slot UNIQUE (slot)`, [], REPLICA_DATABASE);
  }
}

