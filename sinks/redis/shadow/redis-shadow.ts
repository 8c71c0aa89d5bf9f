import type { SinkConfig } from '../../../contracts/config.ts';
import { asTidemarkError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { Finding } from '../../../contracts/finding.ts';
import type { ShadowRebuild, Swap, SwapProgress } from '../../../contracts/rebuild.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { Sink, SinkStart, TableSelector } from '../../../contracts/sink.ts';
import { checkRedis, infoOf } from '../check.ts';
import type { StoredCheckpoint } from '../checkpoint.ts';
import { Discovery } from '../discovery.ts';
import { ownKeys, type OtherSet } from '../open-store.ts';
import { readOptions, tableOptionsOf, type RedisOptions } from '../options.ts';
import { accepted, bytesOf } from '../server-error.ts';
import { firstForeign, OwnKeys, shownKey } from './own-keys.ts';
import { announceRows, removeSet } from './remove.ts';
import { evicts, readRoom, roomFinding, type ServerRoom } from './room.ts';
import { ShadowSink } from './shadow-sink.ts';
import { swapDatabases } from './swap.ts';
import { inTheWay, TwoDatabases } from './two-databases.ts';

export interface RedisShadowParts {
  readonly config: SinkConfig;
  readonly runtime: Runtime;
  /** Makes a sink of another set than the one that is served. */
  readonly sinkOf: (config: SinkConfig, set: OtherSet) => Sink;
  /** Who took the sink over last, if it then found no checkpoint that it could go on from. */
  readonly ownerOfNothing: () => string | null;
}

/** What the work on the two databases is given. */
interface Session {
  readonly databases: TwoDatabases;
  readonly options: RedisOptions;
}

/** What others write after the last look at the keys comes back to them, but is out of their sight for so long. */
const RECENT_MS = 10_000;

const MAKE_ROOM = 'Remove those keys or move them to another database, and try again; or cancel the rebuild, and take `shadow_db` out of the sink to rebuild it in place.';

/** A second set of a sink's rows, in another database of its server, put in place by SWAPDB (docs/sink-redis.md). */
export class RedisShadow implements ShadowRebuild {
  readonly takesTables = false;
  readonly #parts: RedisShadowParts;
  /** When all keys of both databases had been looked at, monotonic milliseconds; null: they have not been. */
  #provedAt: number | null = null;

  constructor(parts: RedisShadowParts) {
    this.#parts = parts;
  }

  async unfit(_tables: readonly TableSchema[], signal: AbortSignal): Promise<string | null> {
    const { cluster } = await this.#options();
    if (cluster !== null) return 'a Redis cluster has one database, and no SWAPDB';
    return this.#session(signal, async (session) => {
      const { databases } = session;
      const refusal = await databases.refusal();
      if (refusal !== null) return refusal;
      const evicting = evicts(await this.#room(session));
      if (evicting !== null) return evicting;
      const state = await databases.look();
      if (state.kind === 'foreign') return state.why;
      return this.#foreignIn(session, databases.live, () => undefined, signal);
    });
  }

  async check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
    const { config, runtime } = this.#parts;
    const errors = (await checkRedis(config, runtime, tables, signal)).filter(({ severity }) => severity === 'error');
    if (errors.length > 0) return errors;
    const room = await this.#session(signal, async (session) => roomFinding(await this.#room(session)));
    return [room, ...tables.flatMap((table) => expiryFinding(config, table))];
  }

  open(selects: TableSelector): Sink {
    const { config, sinkOf } = this.#parts;
    const database = Number(config.options['shadow_db']);
    // Nobody sees these rows yet: what is published waits for the swap.
    const optionsOf: SinkConfig['optionsOf'] = (table) => {
      const { publish: _publish, ...options } = tableOptionsOf(config, table);
      return options;
    };
    return new ShadowSink({
      inner: sinkOf({ ...config, tables: selects, optionsOf }, { database, role: 'shadow' }),
      clear: (start, signal) => this.#clear(start, signal),
      discard: (signal) => this.discard(signal),
    });
  }

  /** Looks at every key of both databases. */
  async finish(_tables: readonly TableSchema[], onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<void> {
    await this.#session(signal, (session) => this.#prove(session, onProgress, signal));
    this.#provedAt = this.#parts.runtime.clock.monotonic();
  }

  swap(request: Swap, signal: AbortSignal): Promise<void> {
    return this.#session(signal, async (session) => {
      const { databases } = session;
      const state = await databases.look();
      if (state.kind === 'set' && state.checkpoint.role === 'shadow' && !this.#isProved) await this.#prove(session, () => undefined, signal);
      this.#provedAt = null;
      await swapDatabases(databases, request, this.#newOwner(), this.#parts.ownerOfNothing());
    });
  }

  /** Who listens hears of the rows that are there now, and what was replaced goes. It is found again until it is gone. */
  async clear(onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<void> {
    // A server that has become a cluster has lost its other databases.
    if ((await this.#options()).cluster !== null) return;
    await this.#session(signal, async (session) => {
      const state = await session.databases.look();
      if (state.kind === 'set' && state.checkpoint.role === 'old') await this.#remove(session, state.checkpoint, onProgress, signal);
    });
  }

  async discard(signal: AbortSignal): Promise<void> {
    // A server that has become a cluster has lost its other databases.
    if ((await this.#options()).cluster !== null) return;
    await this.#session(signal, async (session) => {
      const state = await session.databases.look();
      if (state.kind === 'set') await this.#remove(session, state.checkpoint, () => undefined, signal);
    });
  }

  /** What is not this shadow, or was begun and has no checkpoint to go on from, is removed. */
  #clear(start: SinkStart, signal: AbortSignal): Promise<boolean> {
    return this.#session(signal, async (session) => {
      const state = await session.databases.look();
      if (state.kind === 'empty') return true;
      if (state.kind === 'foreign') throw inTheWay(state.why, MAKE_ROOM);
      const { checkpoint, keys } = state;
      if (checkpoint.role === 'shadow' && checkpoint.logId === start.logId && (checkpoint.applied !== null || keys === 1)) return keys === 1 && checkpoint.applied === null;
      await this.#remove(session, checkpoint, () => undefined, signal);
      return true;
    });
  }

  /** The last look is so recent that another one, which the sink would be held for, would hardly come closer to the swap. */
  get #isProved(): boolean {
    return this.#provedAt !== null && this.#parts.runtime.clock.monotonic() - this.#provedAt < RECENT_MS;
  }

  /** Both databases are the sink's own. @throws TidemarkError `REBUILD_IN_THE_WAY` */
  async #prove(session: Session, onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<void> {
    const { live, shadow } = session.databases;
    for (const database of [live, shadow]) {
      const why = await this.#foreignIn(session, database, onProgress, signal);
      if (why !== null) throw inTheWay(why, MAKE_ROOM);
    }
  }

  async #foreignIn({ databases, options }: Session, database: number, onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<string | null> {
    const { connection } = databases;
    await databases.select(database);
    const own = await OwnKeys.read(connection, options.prefix, this.#parts.config);
    const of = Number(accepted(await connection.call('DBSIZE'), connection.address));
    let done = 0;
    const count = (keys: number): void => onProgress({ step: `keys of database ${database}`, done: (done += keys), of });
    const foreign = await firstForeign(connection, own, count, signal);
    return foreign === null ? null : `database ${database} holds keys that are not the sink's, '${shownKey(foreign)}' among them`;
  }

  async #remove({ databases, options }: Session, stored: StoredCheckpoint, onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<void> {
    const { config, runtime } = this.#parts;
    const { connection, live, shadow } = databases;
    if (stored.role === 'old') {
      await databases.select(live);
      await announceRows(connection, await OwnKeys.read(connection, options.prefix, config), signal);
    }
    await databases.select(shadow);
    await removeSet({ config, options, logger: runtime.logger, connection, live, owner: this.#newOwner(), onProgress }, stored, signal);
  }

  async #room({ databases }: Session): Promise<ServerRoom> {
    const { connection, live, shadow } = databases;
    return readRoom(infoOf(bytesOf(await connection.call('INFO'), connection.address).toString('utf8')), live, shadow);
  }

  #newOwner(): string {
    return this.#parts.runtime.random.bytes(16).toString('hex');
  }

  async #options(): Promise<RedisOptions> {
    const { config } = this.#parts;
    return readOptions(config.name, (await config.freshOptions?.()) ?? config.options);
  }

  async #session<T>(signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T> {
    const { config, runtime } = this.#parts;
    try {
      const options = await this.#options();
      if (options.shadowDb === null) throw new TidemarkError('REDIS_SERVER', 'the sink has no `shadow_db`');
      const discovery = new Discovery(options, config.name, runtime.clock);
      await using connection = await discovery.holderOf(ownKeys(options.prefix).checkpoint, signal);
      const stop = (): void => connection.fail(new TidemarkError('ABORTED', 'a rebuild was asked to stop'));
      signal.addEventListener('abort', stop, { once: true });
      try {
        return await work({ options, databases: new TwoDatabases(connection, discovery.database, options.shadowDb, options) });
      } finally {
        signal.removeEventListener('abort', stop);
      }
    } catch (error) {
      throw asTidemarkError(error, signal.aborted ? 'ABORTED' : 'INTERNAL', { sink: config.name });
    }
  }
}

/** Rows are as old as their writing, also where nobody reads them yet. */
function expiryFinding(config: SinkConfig, table: TableSchema): Finding[] {
  const { ttl } = tableOptionsOf(config, table);
  if (ttl === undefined) return [];
  return [{
    severity: 'warning', code: 'rebuild-ttl', table: tableName(table),
    what: `rows expire ${ttl} ms after they are written, beside what is served too: those written earlier than that before the swap are gone by then`,
    remedy: 'Raise `ttl`, or take `shadow_db` out of the sink where the rebuild takes longer.',
  }];
}
