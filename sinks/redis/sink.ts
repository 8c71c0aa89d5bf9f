import type { Checkpoint } from '../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../contracts/config.ts';
import { asTidemarkError, TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import { BEFORE_ALL } from '../../contracts/offset.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { ShadowRebuild } from '../../contracts/rebuild.ts';
import type { Applying, BatchLimits, InPlaceRebuild, Sink, SinkBatch, SinkStart } from '../../contracts/sink.ts';
import { Applier } from './applier.ts';
import { ApplyQueue } from './apply-queue.ts';
import { checkRedis } from './check.ts';
import type { RebuildState } from './checkpoint.ts';
import { Discovery } from './discovery.ts';
import { AT_START } from './fenced-store.ts';
import { openStore, ownKeys, type OpenedStore, type OtherSet } from './open-store.ts';
import { MAX_TRANSACTION, readOptions, type RedisOptions } from './options.ts';
import { beginRebuild, sweep } from './rebuild.ts';
import { arrayOf, bytesOf } from './server-error.ts';
import { RedisShadow } from './shadow/redis-shadow.ts';
import { RedisSnapshot } from './snapshot.ts';
import type { Store } from './store.ts';
import { parseStoredTable, TableSet, whyOutdated, type StoredTable } from './table-set.ts';

/** What is held from one opening to the next. */
interface Session {
  readonly store: Store;
  readonly options: RedisOptions;
  readonly fence: number;
  readonly stored: ReadonlyMap<number, StoredTable>;
  rebuild: RebuildState | null;
  tables: TableSet;
  queue: ApplyQueue;
}

/**
 * Mirrors tables as keys of a Redis server or cluster; docs/sink-redis.md says what becomes of what. Its checkpoint may
 * stand anywhere in the log, inside a transaction too.
 */
export class RedisSink implements Sink {
  readonly kind = 'state';
  readonly limits: BatchLimits = { wholeTransactions: false, maxKeys: MAX_TRANSACTION };
  readonly inPlace: InPlaceRebuild = {
    begin: (start, signal) => this.#begin(start, signal),
    pending: (signal) => this.#pending(signal),
    sweep: (signal) => this.#sweep(signal),
  };
  readonly shadow?: ShadowRebuild;
  readonly #config: SinkConfig;
  readonly #runtime: Runtime;
  /** Null: the sink is the one that is served. */
  readonly #set: OtherSet | null;
  #session: Session | null = null;
  /** Of the last opening that found no checkpoint to go on from. */
  #ownerOfNothing: string | null = null;

  constructor(config: SinkConfig, runtime: Runtime, set: OtherSet | null = null) {
    this.#config = config;
    this.#runtime = runtime;
    this.#set = set;
    if (set !== null || config.options['shadow_db'] === undefined) return;
    this.shadow = new RedisShadow({
      config, runtime,
      sinkOf: (own, other) => new RedisSink(own, runtime, other),
      ownerOfNothing: () => this.#ownerOfNothing,
    });
  }

  async check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
    return checkRedis(this.#config, this.#runtime, tables, signal);
  }

  async open(start: SinkStart, signal: AbortSignal): Promise<Checkpoint | null> {
    await this.#close(new TidemarkError('ABORTED', 'the sink is opened again'));
    try {
      const options = await this.#options();
      const owner = this.#runtime.random.bytes(16).toString('hex');
      const opened = await openStore({
        options,
        owner,
        discovery: this.#discovery(options),
        clock: this.#runtime.clock,
        logId: start.logId,
        role: this.#set?.role ?? null,
        token: () => this.#runtime.random.bytes(8).toString('hex'),
        signal,
      });
      const checkpoint = await this.#begun(opened, options, start);
      this.#ownerOfNothing = checkpoint === null ? owner : null;
      return checkpoint;
    } catch (error) {
      throw this.#failure(error, signal);
    }
  }

  apply(batch: SinkBatch, signal: AbortSignal): Applying {
    if (this.#session !== null) return this.#session.queue.add(batch, signal);
    const failure = new TidemarkError('SINK_UNREACHABLE', 'the sink is not open', { where: { sink: this.#config.name } });
    const [accepted, durable] = [Promise.reject(failure), Promise.reject(failure)];
    accepted.catch(() => undefined);
    durable.catch(() => undefined);
    return { accepted, durable };
  }

  async snapshot(start: SinkStart, signal: AbortSignal): Promise<RedisSnapshot> {
    try {
      const options = await this.#options();
      return await RedisSnapshot.open({ config: this.#config, start, options, discovery: this.#discovery(options), clock: this.#runtime.clock }, signal);
    } catch (error) {
      throw this.#failure(error, signal);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close(new TidemarkError('ABORTED', 'the sink is closed', { where: { sink: this.#config.name } }));
  }

  /** Holds the opened store, and decides what its checkpoint is worth. */
  async #begun(opened: OpenedStore, options: RedisOptions, start: SinkStart): Promise<Checkpoint | null> {
    const { store, fence, rebuild } = opened;
    try {
      const stored = await readStoredTables(store, ownKeys(options.prefix).tables);
      const progress = opened.applied ?? AT_START;
      const tables = new TableSet(this.#config, start.catalog, progress.offset, options.prefix, progress.cursor === null ? null : stored);
      const queue = this.#queue(store, tables, options, progress.offset);
      this.#session = { store, options, fence, stored, rebuild, tables, queue };
      const why = this.#whyRebuild(opened, stored, tables, start);
      if (why === null) return { logId: start.logId, fence, ...progress };
      this.#runtime.logger.log('info', 'redis.no-checkpoint', { fence, why });
      return null;
    } catch (error) {
      this.#session = null;
      await store[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Why the rows that are there cannot be gone on from; null when they can. */
  #whyRebuild(opened: OpenedStore, stored: ReadonlyMap<number, StoredTable>, tables: TableSet, start: SinkStart): string | null {
    const { applied, lostPart, rebuild } = opened;
    if (rebuild === 'marking') return 'a rebuild had begun to list the keys';
    if (applied === null) return lostPart ? 'a part of the server has lost its own, or went back too far' : 'there is none';
    return whyOutdated(stored, start.catalog, this.#config, tables);
  }

  async #begin(start: SinkStart, signal: AbortSignal): Promise<Checkpoint> {
    if (this.#session === null || this.#session.queue.failure !== null) await this.open(start, signal);
    const session = this.#opened();
    const { store, options, stored, fence } = session;
    try {
      await session.queue.drained();
      const tables = new TableSet(this.#config, start.catalog, BEFORE_ALL, options.prefix);
      session.rebuild = 'marking';
      await beginRebuild({ store, tables, stored, tablesKey: ownKeys(options.prefix).tables, logger: this.#runtime.logger }, signal);
      session.rebuild = 'replaying';
      session.tables = tables;
      session.queue = this.#queue(store, tables, options, BEFORE_ALL);
      return { logId: start.logId, fence, ...AT_START };
    } catch (error) {
      session.queue.fail(error);
      throw this.#failure(error, signal);
    }
  }

  /** Asks the open session, or looks at the server. */
  async #pending(signal: AbortSignal): Promise<boolean> {
    if (this.#session !== null) return this.#session.rebuild !== null;
    try {
      const options = await this.#options();
      return await this.#discovery(options).rebuildPending(ownKeys(options.prefix).checkpoint, signal);
    } catch (error) {
      throw this.#failure(error, signal);
    }
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const session = this.#opened();
    try {
      await session.queue.drained();
      await sweep(session.store, session.tables, this.#runtime.logger, signal);
      session.rebuild = null;
    } catch (error) {
      session.queue.fail(error);
      throw this.#failure(error, signal);
    }
  }

  #opened(): Session {
    if (this.#session === null) throw new TidemarkError('SINK_UNREACHABLE', 'the sink is not open', { where: { sink: this.#config.name } });
    return this.#session;
  }

  #queue(store: Store, tables: TableSet, options: RedisOptions, at: number): ApplyQueue {
    const { name } = this.#config;
    const applier = new Applier(store, tables, ownKeys(options.prefix).tables, this.#runtime.logger);
    return new ApplyQueue(store, applier, at, name);
  }

  async #options(): Promise<RedisOptions> {
    return readOptions(this.#config.name, (await this.#config.freshOptions?.()) ?? this.#config.options);
  }

  #discovery(options: RedisOptions): Discovery {
    return new Discovery(options, this.#config.name, this.#runtime.clock, this.#set?.database ?? null);
  }

  #failure(error: unknown, signal: AbortSignal): TidemarkError {
    const where = { sink: this.#config.name };
    if (signal.aborted && !(error instanceof TidemarkError)) return new TidemarkError('ABORTED', 'the sink was asked to stop', { where, cause: error });
    return asTidemarkError(error, 'INTERNAL', where);
  }

  async #close(reason: TidemarkError): Promise<void> {
    const session = this.#session;
    this.#session = null;
    if (session === null) return;
    session.queue.fail(reason);
    await session.store[Symbol.asyncDispose]();
  }
}

async function readStoredTables(store: Store, key: string): Promise<ReadonlyMap<number, StoredTable>> {
  const { connection } = store.control;
  const flat = arrayOf(await connection.call('HGETALL', key), connection.address);
  const stored = new Map<number, StoredTable>();
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const tableId = Number(bytesOf(flat[i] ?? null, connection.address).toString('latin1'));
    stored.set(tableId, parseStoredTable(bytesOf(flat[i + 1] ?? null, connection.address)));
  }
  return stored;
}
