import { execFileSync } from 'node:child_process';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type PostgresServer, startPostgres } from '../fixtures/embedded-postgres.ts';
import { type HubProcess, startHubProcess } from '../fixtures/hub-process.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { type TcpProxy, startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';

const DATA_FOLDER_BYTES = 2 ** 30;

/** A source, a replica, the network to each, and a hub whose data folder is a small disk of its own where that can be had. */
export class CrashWorld implements AsyncDisposable {
  readonly source: PostgresServer;
  readonly replica: PostgresServer;
  readonly toSource: TcpProxy;
  readonly toReplica: TcpProxy;
  /** Whether the hub's folder is on a disk that can be filled up. */
  readonly smallDisk: boolean;
  readonly #directory: string;
  readonly #stack: AsyncDisposableStack;
  #hub: HubProcess | null = null;

  private constructor(parts: {
    source: PostgresServer;
    replica: PostgresServer;
    toSource: TcpProxy;
    toReplica: TcpProxy;
    smallDisk: boolean;
    directory: string;
    stack: AsyncDisposableStack;
  }) {
    this.source = parts.source;
    this.replica = parts.replica;
    this.toSource = parts.toSource;
    this.toReplica = parts.toReplica;
    this.smallDisk = parts.smallDisk;
    this.#directory = parts.directory;
    this.#stack = parts.stack;
  }

  static async create(): Promise<CrashWorld> {
    await using building = new AsyncDisposableStack();
    const directory = building.use(await temporaryDirectory('crash')).path;
    const smallDisk = mountSmallDisk(directory, building);
    const source = building.use(await startPostgres({ databases: ['shop'] }));
    const replica = building.use(await startPostgres({ databases: ['replica'] }));
    const toSource = building.use(await startTcpProxy(source.port));
    const toReplica = building.use(await startTcpProxy(replica.port));
    await createShop(source.url('shop'), { customers: 200, products: 60, orders: 400 });
    const stack = building.move();
    return new CrashWorld({ source, replica, toSource, toReplica, smallDisk, directory, stack });
  }

  get dataFolder(): string {
    return join(this.#directory, 'data');
  }

  get hub(): HubProcess {
    if (this.#hub === null) throw new Error('the hub has not been started');
    return this.#hub;
  }

  /** Starts the hub, unless it runs. */
  async startHub(): Promise<HubProcess> {
    if (this.#hub !== null && !this.#hub.hasEnded()) return this.#hub;
    this.#hub = await startHubProcess({
      directory: this.#directory,
      config: {
        sources: {
          shop: { type: 'postgres', url: `postgres://postgres@127.0.0.1:${this.toSource.port}/shop`, tables: ['public.*'] },
        },
        sinks: {
          replica: { type: 'postgres', from: 'shop', url: `postgres://postgres@127.0.0.1:${this.toReplica.port}/replica`, tables: ['public.*'] },
        },
      },
    });
    return this.#hub;
  }

  /** Fills the hub's disk to the last byte, whatever the hub writes meanwhile. */
  async fillDisk(): Promise<void> {
    const chunk = Buffer.alloc(4 << 20);
    await using ballast = await open(this.#ballast, 'w');
    try {
      for (;;) await ballast.appendFile(chunk);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    }
  }

  async freeDisk(): Promise<void> {
    await rm(this.#ballast, { force: true });
  }

  /** The network carries everything again, and the disk has room. */
  async undoFaults(): Promise<void> {
    this.toSource.resume();
    this.toReplica.resume();
    await this.freeDisk();
  }

  /** What the slot of the hub holds as flushed, as LSN text. */
  async confirmedFlush(): Promise<string> {
    const rows = await this.source.query<{ lsn: string }>(
      "SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_type = 'logical' AND NOT temporary", [], 'shop',
    );
    if (rows.length !== 1 || rows[0] === undefined) throw new Error(`the source has ${rows.length} logical slots`);
    return rows[0].lsn;
  }

  async insertLsn(): Promise<string> {
    const [row] = await this.source.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], 'shop');
    return row?.lsn ?? '';
  }

  get #ballast(): string {
    return join(this.dataFolder, 'ballast');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hub?.[Symbol.asyncDispose]();
    await this.#stack.disposeAsync();
  }
}

/** A memory disk as the hub's data folder; needs the right to mount. */
function mountSmallDisk(directory: string, owner: AsyncDisposableStack): boolean {
  const folder = join(directory, 'data');
  execFileSync('mkdir', ['-p', folder]);
  if (process.getuid?.() !== 0) return false;
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DATA_FOLDER_BYTES},mode=700`, 'tidemark-crash', folder]);
  owner.defer(() => {
    execFileSync('umount', ['--lazy', folder]);
  });
  return true;
}
