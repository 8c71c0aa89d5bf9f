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
import { Applier } from './applier.ts';
import type { PreparedRows } from './batch-transaction.ts';
import { checkReplica } from './check.ts';
import { sinkError } from './errors.ts';
import { takeOver } from './opening.ts';
import { Session, type SessionSettings } from './session.ts';
import { ReplicaSchemas } from './replica-schemas.ts';
import { PostgresShadow } from './shadow/postgres-shadow.ts';
import { holdTriggers, sinkSettings } from './sink-session.ts';
import { servedTarget, type SinkTarget } from './sink-target.ts';
import { ReplicaSnapshot } from './snapshot.ts';
import { watchBackends } from './watchdog.ts';

const OWNER_BYTES = 16;

/** A Postgres database that mirrors tables of one log: each batch, of any number of tables, is one transaction. */
export class PostgresSink implements Sink {
  readonly kind = 'state';
  readonly limits: BatchLimits = DEFAULT_LIMITS;
  readonly handsNamesOn = true;
  /** A rebuild goes into a shadow beside the tables. */
  readonly inPlace = null;
  readonly shadow: PostgresShadow;
  readonly #config: SinkConfig;
  readonly #runtime: Runtime;
  readonly #target: SinkTarget;
  readonly #schemas: ReplicaSchemas;
  readonly #live: LiveNames;
  readonly #owner: string;
  #line: ApplyLine<PreparedRows> | null = null;
  #fence = 0;

  /** @param target the tables and the checkpoint that are written to, if they are not those that readers use */
  constructor(config: SinkConfig, runtime: Runtime, target: SinkTarget = servedTarget(config)) {
    this.#config = config;
    this.#target = target;
    this.#runtime = runtime;
    this.#schemas = new ReplicaSchemas(config);
    this.#live = new LiveNames(target.names);
    this.#owner = runtime.random.bytes(OWNER_BYTES).toString('hex');
    this.shadow = new PostgresShadow({ config, runtime, owner: this.#owner, schemas: this.#schemas, sinkOf: (of, other) => new PostgresSink(of, runtime, other) });
  }

  async check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
    const { sink, names } = this.#target;
    try {
      await using session = await Session.open((await sinkSettings(this.#config)).session, this.#runtime, signal);
      return await session.within(signal, () => checkReplica({ session, sink, names, schemas: this.#schemas }, tables));
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
      this.#live.begin(catalog, stored.offset);
      return true;
    } catch (error) {
      throw sinkError(error, { sink: this.#target.sink });
    }
  }

  apply(batch: SinkBatch, signal: AbortSignal): Applying {
    if (this.#line === null) return refused(new TidemarkError('INTERNAL', 'a sink that is not open was given a batch'));
    let fitted: SinkBatch;
    try {
      this.#live.follow(batch);
      fitted = this.#schemas.batch(batch);
    } catch (error) {
      return refused(sinkError(error, { sink: this.#target.sink }));
    }
    const applying = this.#line.apply(fitted, signal);
    applying.durable.catch((error: unknown) => this.#noted(sinkError(error)));
    return applying;
  }

  async snapshot(start: SinkStart, signal: AbortSignal): Promise<ReplicaSnapshot> {
    const { session } = await sinkSettings(this.#config);
    const settings = { ...session, applicationName: `${session.applicationName} (verify)` };
    return ReplicaSnapshot.open({ target: this.#target, schemas: this.#schemas, logId: start.logId, clock: this.#runtime.clock, open: (stop) => Session.open(settings, this.#runtime, stop) }, signal);
  }

  /** Who is told that another hub owns the sink comes back only when somebody decides so: the next opening takes it over. */
  #noted(error: TidemarkError): TidemarkError {
    if (error.code === 'SINK_FENCED') this.#fence = 0;
    return error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  async #close(): Promise<void> {
    const line = this.#line;
    this.#line = null;
    await line?.[Symbol.asyncDispose]();
  }

  async #open(start: SinkStart, signal: AbortSignal): Promise<StoredCheckpoint> {
    const { sink } = this.#target;
    const settings = await sinkSettings(this.#config);
    const named = (suffix: string): SessionSettings => ({ ...settings.session, applicationName: `${settings.session.applicationName}${suffix}` });
    await using stack = new AsyncDisposableStack();
    // The applying session does not wait for the disk: the flusher does, on the other one.
    const session = stack.use(await Session.open({ ...settings.session, synchronousCommit: 'off' }, this.#runtime, signal));
    const enforced = !(await session.within(signal, () => holdTriggers(session)));
    const request = { sink, logId: start.logId, owner: this.#owner, ownFence: this.#fence };
    const opened = await session.within(signal, () => takeOver(session, request));
    this.#fence = opened.fence;
    this.#live.begin(start.catalog, opened.offset);
    const side = stack.use(await Session.open(named(' (catalog)'), this.#runtime, signal));
    await side.within(signal, () => this.#schemas.learn(side.client));
    const watchdog = watchBackends(this.#runtime.clock, (limit) => Session.open(named(' (probe)'), this.#runtime, limit));
    const { synchronousCommit, lockTimeoutMs } = settings;
    const applier = new Applier({ target: this.#target, session, side, opened, synchronousCommit, watchdog, clock: this.#runtime.clock, lockTimeoutMs, enforced });
    this.#line = new ApplyLine(applier, sink, opened);
    stack.move();
    return opened;
  }
}

function refused(error: TidemarkError): Applying {
  const refusal = Promise.reject<never>(error);
  refusal.catch(() => undefined);
  return { accepted: refusal, durable: refusal };
}
