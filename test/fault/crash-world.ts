import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { GuardedProcess } from '../fixtures/guarded-process.ts';
import { type HubProcess, type HubProcessOptions, spawnHubProcess, startHubProcess } from '../fixtures/hub-process.ts';
import { type RedisServer, startRedis } from '../fixtures/redis.ts';
import { mountSmallDisk, type SmallDisk } from '../fixtures/small-disk.ts';
import { type TcpProxy, startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { type CrashSource, startServers } from './crash-servers.ts';
import type { DatabaseServer, ReplicaServer, SourceServer } from './source-world.ts';

/** Room for the log of many cycles, so that only faults fill it. */
const DATA_FOLDER_BYTES = 3 * 2 ** 29;
const FOLD_LIMIT_MS = 60_000;
const ENDING_MS = 10_000;
const CACHE = 'cache';

interface Parts {
  readonly source: SourceServer;
  readonly replicas: readonly ReplicaServer[];
  readonly cache: RedisServer;
  readonly networks: ReadonlyMap<DatabaseServer | RedisServer, TcpProxy>;
  readonly disk: SmallDisk | null;
  readonly directory: string;
  readonly nodeArgs: readonly string[];
}

/**
 * A source, replicas, a cache, the network to each, and a hub whose data folder is a small disk of its own where that can
 * be had.
 */
export class CrashWorld implements AsyncDisposable {
  readonly source: SourceServer;
  readonly replicas: readonly ReplicaServer[];
  readonly cache: RedisServer;
  /** The hub's disk, to be filled; null where there is no right to mount one. */
  readonly disk: SmallDisk | null;
  readonly #parts: Parts;
  readonly #stack: AsyncDisposableStack;
  #hub: HubProcess | null = null;

  private constructor(parts: Parts, stack: AsyncDisposableStack) {
    ({ source: this.source, replicas: this.replicas, cache: this.cache, disk: this.disk } = parts);
    this.#parts = parts;
    this.#stack = stack;
  }

  /** @param nodeArgs of the hub's process, such as `--import` of what makes it wrong */
  static async create(kind: CrashSource = 'postgres', nodeArgs: readonly string[] = []): Promise<CrashWorld> {
    await using building = new AsyncDisposableStack();
    const directory = building.use(await temporaryDirectory('crash')).path;
    const disk = await mountSmallDisk(join(directory, 'data'), DATA_FOLDER_BYTES);
    if (disk !== null) building.use(disk);
    const { source, replicas } = building.use(await startServers(kind));
    const cache = building.use(await startRedis());
    const networks = new Map<DatabaseServer | RedisServer, TcpProxy>();
    for (const server of [source, ...replicas, cache]) networks.set(server, building.use(await startTcpProxy(server.port)));
    return new CrashWorld({ source, replicas, cache, networks, disk, directory, nodeArgs }, building.move());
  }

  /** Names of the sinks. */
  get sinks(): readonly string[] {
    return [...this.replicas.map(({ name }) => name), CACHE];
  }

  /** Between the hub and a server of this world. */
  networkTo(server: DatabaseServer | RedisServer): TcpProxy {
    const network = this.#parts.networks.get(server);
    if (network === undefined) throw new Error('the server is none of this world');
    return network;
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
    for (const network of this.#parts.networks.values()) network.resume();
    this.cache.thaw();
    await this.disk?.free();
  }

  #hubOptions(): HubProcessOptions {
    const { source, replicas, cache } = this;
    const everything = `${source.namespace}.*`;
    const port = (server: DatabaseServer | RedisServer): number => this.networkTo(server).port;
    return {
      directory: this.#parts.directory,
      nodeArgs: this.#parts.nodeArgs,
      config: {
        sources: { shop: { ...source.config(port(source)), tables: [everything] } },
        sinks: {
          ...Object.fromEntries(replicas.map((replica) => [replica.name, { from: 'shop', ...replica.config(port(replica)) }])),
          [CACHE]: { type: 'redis', from: 'shop', url: `redis://127.0.0.1:${port(cache)}`, tables: [everything, `!${source.namespace}.bag`] },
        },
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hub?.[Symbol.asyncDispose]();
    await this.#stack.disposeAsync();
  }
}
