import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseLsn } from '../../connectors/postgres/position.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { type PostgresServer, startPostgres } from '../fixtures/embedded-postgres.ts';
import type { GuardedProcess } from '../fixtures/guarded-process.ts';
import { type HubProcess, type HubProcessOptions, spawnHubProcess, startHubProcess } from '../fixtures/hub-process.ts';
import { type RedisServer, startRedis } from '../fixtures/redis.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { mountSmallDisk, type SmallDisk } from '../fixtures/small-disk.ts';
import { type TcpProxy, startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { HARD_TABLES } from './hard-schema.ts';

/** Room for the log of many cycles, so that only faults fill it. */
const DATA_FOLDER_BYTES = 3 * 2 ** 29;
const FOLD_LIMIT_MS = 60_000;
const ENDING_MS = 10_000;

interface Parts {
  readonly source: PostgresServer;
  readonly replica: PostgresServer;
  readonly cache: RedisServer;
  readonly toSource: TcpProxy;
  readonly toReplica: TcpProxy;
  readonly toCache: TcpProxy;
  readonly disk: SmallDisk | null;
  readonly directory: string;
  readonly nodeArgs: readonly string[];
}

/**
 * A source, a replica, a cache, the network to each, and a hub whose data folder is a small disk of its own where that
 * can be had.
 */
export class CrashWorld implements AsyncDisposable {
  readonly source: PostgresServer;
  readonly replica: PostgresServer;
  readonly cache: RedisServer;
  readonly toSource: TcpProxy;
  readonly toReplica: TcpProxy;
  readonly toCache: TcpProxy;
  /** The hub's disk, to be filled; null where there is no right to mount one. */
  readonly disk: SmallDisk | null;
  readonly #parts: Parts;
  readonly #stack: AsyncDisposableStack;
  #hub: HubProcess | null = null;

  private constructor(parts: Parts, stack: AsyncDisposableStack) {
    ({ source: this.source, replica: this.replica, cache: this.cache, disk: this.disk } = parts);
    ({ toSource: this.toSource, toReplica: this.toReplica, toCache: this.toCache } = parts);
    this.#parts = parts;
    this.#stack = stack;
  }

  /** @param nodeArgs of the hub's process, such as `--import` of what makes it wrong */
  static async create(nodeArgs: readonly string[] = []): Promise<CrashWorld> {
    await using building = new AsyncDisposableStack();
    const directory = building.use(await temporaryDirectory('crash')).path;
    const disk = await mountSmallDisk(join(directory, 'data'), DATA_FOLDER_BYTES);
    if (disk !== null) building.use(disk);
    const [source, replica, cache] = await Promise.all([
      startPostgres({ databases: ['shop'] }).then((server) => building.use(server)),
      startPostgres({ databases: ['replica'] }).then((server) => building.use(server)),
      startRedis().then((server) => building.use(server)),
    ]);
    const toSource = building.use(await startTcpProxy(source.port));
    const toReplica = building.use(await startTcpProxy(replica.port));
    const toCache = building.use(await startTcpProxy(cache.port));
    await createShop(source.url('shop'), { customers: 200, products: 60, orders: 400 });
    await source.query(HARD_TABLES, [], 'shop');
    return new CrashWorld({ source, replica, cache, toSource, toReplica, toCache, disk, directory, nodeArgs }, building.move());
  }

  get dataFolder(): string {
    return join(this.#parts.directory, 'data');
  }

  get hub(): HubProcess {
    if (this.#hub === null) throw new Error('the hub has not been started');
    return this.#hub;
  }

  /** Starts the hub, unless it runs. */
  async startHub(): Promise<HubProcess> {
    if (this.#hub !== null && !this.#hub.hasEnded()) return this.#hub;
    this.#hub = await startHubProcess(this.#hubOptions());
    return this.#hub;
  }

  /** Starts a hub beside all waiting, to be killed by the caller while it starts. */
  spawnHub(): Promise<GuardedProcess> {
    return spawnHubProcess(this.#hubOptions());
  }

  /**
   * Folds history up to an offset, beside everything else. @returns the horizon afterwards, which is another one only where
   * the hub has folded more by itself; null: the hub died meanwhile
   */
  async fold(to: number): Promise<number | null> {
    const { hub } = this;
    let last = '';
    try {
      for await (const lines of hub.api.compact('shop', String(to), AbortSignal.timeout(FOLD_LIMIT_MS))) last = lines.trimEnd().split('\n').at(-1) ?? last;
    } catch (failure) {
      // What a hub that ends answers comes before its end.
      await Promise.race([hub.ended, delay(ENDING_MS)]);
      if (hub.hasEnded()) return null;
      if (failure instanceof TidemarkError && failure.code === 'LOG_BELOW_HORIZON') return failure.where.offset ?? null;
      throw failure;
    }
    const { done } = JSON.parse(last) as { done: { horizon: number } };
    return done.horizon;
  }

  /** Copies the hub's folder, dead, to where somebody can look at it. */
  async keep(to: string): Promise<void> {
    await this.#hub?.kill();
    await cp(this.#parts.directory, to, { recursive: true, filter: (path) => !path.endsWith('.sock') });
  }

  /** The network carries everything again, the disk has room, every server runs. */
  async undoFaults(): Promise<void> {
    for (const proxy of [this.toSource, this.toReplica, this.toCache]) proxy.resume();
    this.cache.thaw();
    await this.disk?.free();
  }

  /** What the slot of the hub holds as flushed; null while there is no slot. */
  async confirmedFlush(): Promise<number | null> {
    const rows = await this.source.query<{ lsn: string | null }>(
      "SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = 'tidemark_shop'", [], 'shop',
    );
    const lsn = rows[0]?.lsn ?? null;
    return lsn === null ? null : parseLsn(lsn);
  }

  async insertLsn(): Promise<string> {
    const [row] = await this.source.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], 'shop');
    return row?.lsn ?? '';
  }

  /** Identities (OIDs) of the tables that the hub is to follow. */
  async sourceTables(): Promise<string[]> {
    const rows = await this.source.query<{ oid: string }>(
      "SELECT oid::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'", [], 'shop',
    );
    return rows.map(({ oid }) => oid);
  }

  #hubOptions(): HubProcessOptions {
    const url = ({ port }: TcpProxy, database: string): string => `postgres://postgres@127.0.0.1:${port}/${database}`;
    return {
      directory: this.#parts.directory,
      nodeArgs: this.#parts.nodeArgs,
      config: {
        sources: { shop: { type: 'postgres', url: url(this.toSource, 'shop'), tables: ['public.*'], catalog_poll: '300ms' } },
        sinks: {
          replica: { type: 'postgres', from: 'shop', url: url(this.toReplica, 'replica'), tables: ['public.*'] },
          cache: { type: 'redis', from: 'shop', url: `redis://127.0.0.1:${this.toCache.port}`, tables: ['public.*', '!public.bag'] },
        },
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hub?.[Symbol.asyncDispose]();
    await this.#stack.disposeAsync();
  }
}
