import type { Checkpoint } from '../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { type Applying, type BatchLimits, DEFAULT_LIMITS, type Sink, type SinkBatch, type SinkStart } from '../../contracts/sink.ts';
import { ApplyLine } from '../relational/apply-line.ts';
import { isFresh, type StoredCheckpoint } from '../relational/checkpoint.ts';
import { LiveNames } from '../relational/live-names.ts';
import type { Watchdog } from '../relational/watchdog.ts';
import { Applier } from './applier.ts';
import type { PreparedRows } from './batch-transaction.ts';
import { checkReplica } from './check.ts';
import { checkOtherHosts } from './check-hosts.ts';
import { sinkError } from './errors.ts';
import type { OwnCheckpoint } from './checkpoint-table.ts';
import { hasOwnTables, takeOver, type TakeOver } from './opening.ts';
import { type MysqlSinkOptions, resolveOptions } from './options.ts';
import { readServer, usesLoadData } from './server.ts';
import { Session, type SessionSettings } from './session.ts';
import { MysqlShadow } from './shadow.ts';
import { servedTarget, type SinkTarget, targetAt } from './sink-target.ts';
import { ReplicaSnapshot } from './snapshot.ts';
import { finishSwap, parseSwap } from './swap.ts';
import { watchThreads } from './watchdog.ts';

const OWNER_BYTES = 16;

/** Databases of a MySQL or MariaDB server that mirror tables of one log: each batch, of any number of tables, is one transaction. */
export class MysqlSink implements Sink {
  readonly kind = 'state';
  readonly limits: BatchLimits = { ...DEFAULT_LIMITS, stepsFirst: true };
  readonly handsNamesOn = true;
  /** A rebuild goes into a shadow beside the tables. */
  readonly inPlace = null;
  readonly shadow: MysqlShadow;
  readonly #config: SinkConfig;
  readonly #runtime: Runtime;
  readonly #target: SinkTarget;
  readonly #owner: string;
  #line: ApplyLine<PreparedRows> | null = null;
  #fence = 0;
  #live: LiveNames | null = null;

  /** @param target the tables and the checkpoint that are written to, if they are not those that readers use */
  constructor(config: SinkConfig, runtime: Runtime, target: SinkTarget = servedTarget(config)) {
    this.#config = config;
    this.#target = target;
    this.#runtime = runtime;
    this.#owner = runtime.random.bytes(OWNER_BYTES).toString('hex');
    this.shadow = new MysqlShadow({
      config,
      owner: this.#owner,
      sinkOf: (of, other) => new MysqlSink(of, runtime, other),
      options: async () => (await this.#settings()).options,
      watchdog: async () => this.#watch((await this.#settings()).session),
      open: async (watchdog, signal) => Session.open((await this.#settings()).session, { clock: runtime.clock, files: runtime.files, watchdog }, signal),
    });
  }

  async check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
    const { sink } = this.#target;
    try {
      const { options, session: settings } = await this.#settings();
      await using session = await Session.open(settings, this.#runtime, signal);
      const findings = await session.within(signal, () => checkReplica({ session, options, target: this.#target }, tables));
      return [...findings, ...(await checkOtherHosts({ session, options, target: this.#target }, tables, (host) => Session.open({ ...settings, host }, this.#runtime, signal)))];
    } catch (error) {
      const failure = sinkError(error, { sink });
      if (failure.code === 'ABORTED') throw failure;
      return [{ severity: 'error', code: 'replica-reach', what: failure.message, remedy: failure.remedy }];
    }
  }

  async open(start: SinkStart, signal: AbortSignal): Promise<Checkpoint | null> {
    await this.#close();
    try {
      const opened = await this.#open(start, signal);
      const { logId, epoch, offset, position, cursor, fence } = opened;
      return isFresh(opened) ? null : { logId, epoch, offset, position, cursor, fence };
    } catch (error) {
      throw this.#noted(sinkError(error, { sink: this.#target.sink }));
    }
  }

  async rewind({ catalog }: SinkStart, signal: AbortSignal): Promise<boolean> {
    try {
      const stored = (await this.#line?.rewind(signal)) ?? null;
      if (stored === null) return false;
      this.#live?.begin(catalog, stored.offset);
      return true;
    } catch (error) {
      throw sinkError(error, { sink: this.#target.sink });
    }
  }

  apply(batch: SinkBatch, signal: AbortSignal): Applying {
    if (this.#line === null) return refused(new TidemarkError('INTERNAL', 'a sink that is not open was given a batch'));
    try {
      this.#live?.follow(batch);
    } catch (error) {
      return refused(sinkError(error, { sink: this.#target.sink }));
    }
    const applying = this.#line.apply(batch, signal);
    applying.durable.catch((error: unknown) => this.#noted(sinkError(error)));
    return applying;
  }

  async snapshot(start: SinkStart, signal: AbortSignal): Promise<ReplicaSnapshot> {
    const { options, session } = await this.#settings();
    return ReplicaSnapshot.open(
      { target: this.#target, ownDatabase: options.ownDatabase, logId: start.logId, clock: this.#runtime.clock, open: (stop, host) => Session.open(host === undefined ? session : { ...session, host }, this.#runtime, stop) },
      signal,
    );
  }

  /** Who is told that another hub owns the sink comes back only when somebody decides so: the next opening takes it over. */
  #noted(error: TidemarkError): TidemarkError {
    if (error.code === 'SINK_FENCED') this.#fence = 0;
    return error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  /** What a swap has left that was cut short comes first: the checkpoint may be another one then. */
  async #takeOver(session: Session, request: TakeOver): Promise<OwnCheckpoint> {
    if (await hasOwnTables(session, request.ownDatabase)) await finishSwap(session, request.ownDatabase, request.sink);
    const opened = await takeOver(session, request);
    if (parseSwap(opened.intent) !== null) throw new TidemarkError('REPLICA_BUSY', 'a rebuild is being put in place');
    return opened;
  }

  async #close(): Promise<void> {
    const line = this.#line;
    this.#line = null;
    await line?.[Symbol.asyncDispose]();
  }

  /** As they are now: secrets may have been changed. @throws TidemarkError `CONFIG_VALUE`, `CONFIG_SECRET` */
  async #settings(): Promise<{ readonly options: MysqlSinkOptions; readonly session: SessionSettings }> {
    const { name, options: first, freshOptions } = this.#config;
    const options = resolveOptions(name, freshOptions === undefined ? first : await freshOptions());
    const { url, passwordFile } = options;
    return { options, session: { url, passwordFile, secretsChange: freshOptions !== undefined || passwordFile !== null } };
  }

  /** Owned by the caller. */
  #watch(settings: SessionSettings): Watchdog<Session> {
    return watchThreads(this.#runtime.clock, (host, signal) => Session.open({ ...settings, host }, this.#runtime, signal));
  }

  async #open(start: SinkStart, signal: AbortSignal): Promise<StoredCheckpoint> {
    const { sink } = this.#target;
    const { options, session: settings } = await this.#settings();
    const { ownDatabase, lockTimeoutMs } = options;
    await using stack = new AsyncDisposableStack();
    const watchdog = stack.use(this.#watch(settings));
    const ports = { clock: this.#runtime.clock, files: this.#runtime.files, watchdog };
    const session = stack.use(await Session.open(settings, ports, signal));
    const server = await session.within(signal, () => readServer(session));
    const loadData = usesLoadData(options.loadWay, server);
    const request = { sink, ownDatabase, logId: start.logId, owner: this.#owner, ownFence: this.#fence };
    const opened = await session.within(signal, () => this.#takeOver(session, request));
    this.#fence = opened.fence;
    const target = targetAt(server, this.#target);
    this.#live = new LiveNames(target.names);
    this.#live.begin(start.catalog, opened.offset);
    const open = (stop: AbortSignal): Promise<Session> => Session.open({ ...settings, host: session.host }, ports, stop);
    const side = stack.use(await open(signal));
    const rules = { loadData, version: server.types.version, maxStatement: server.maxStatement, ownDatabase };
    this.#line = new ApplyLine(new Applier({ target, session, side, open, watchdog, server, rules, opened, lockTimeoutMs }), sink, opened);
    stack.move();
    return opened;
  }
}

function refused(error: TidemarkError): Applying {
  const refusal = Promise.reject<never>(error);
  refusal.catch(() => undefined);
  return { accepted: refusal, durable: refusal };
}
