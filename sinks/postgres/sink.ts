import type { Checkpoint } from '../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { type Applying, type BatchLimits, DEFAULT_LIMITS, type Sink, type SinkBatch, type SinkStart } from '../../contracts/sink.ts';
import { isFresh, type StoredCheckpoint } from '../relational/checkpoint.ts';
import { Applier } from './applier.ts';
import { checkReplica } from './check.ts';
import { sinkError, sqlState } from './errors.ts';
import { takeOver } from './opening.ts';
import { nameRules, resolveOptions, type SynchronousCommit } from './options.ts';
import { Session, type SessionSettings } from './session.ts';
import { Watchdog } from './watchdog.ts';

const OWNER_BYTES = 16;

/** A Postgres database that mirrors tables of one log: each batch, of any number of tables, is one transaction. */
export class PostgresSink implements Sink {
  readonly kind = 'state';
  readonly limits: BatchLimits = DEFAULT_LIMITS;
  readonly handsNamesOn = true;
  /** A rebuild goes into a shadow beside the tables. */
  readonly inPlace = null;
  readonly #config: SinkConfig;
  readonly #runtime: Runtime;
  readonly #owner: string;
  #applier: Applier | null = null;
  #fence = 0;

  constructor(config: SinkConfig, runtime: Runtime) {
    this.#config = config;
    this.#runtime = runtime;
    this.#owner = runtime.random.bytes(OWNER_BYTES).toString('hex');
  }

  async check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
    const sink = this.#config.name;
    try {
      await using session = await Session.open((await this.#settings()).session, this.#runtime, signal);
      return await session.within(signal, () => checkReplica({ session, sink, names: nameRules(this.#config) }, tables));
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
      throw this.#noted(sinkError(error, { sink: this.#config.name }));
    }
  }

  apply(batch: SinkBatch, signal: AbortSignal): Applying {
    if (this.#applier === null) {
      const refusal = Promise.reject<never>(new TidemarkError('INTERNAL', 'a sink that is not open was given a batch'));
      refusal.catch(() => undefined);
      return { accepted: refusal, durable: refusal };
    }
    const applying = this.#applier.apply(batch, signal);
    applying.durable.catch((error: unknown) => this.#noted(sinkError(error)));
    return applying;
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
    const applier = this.#applier;
    this.#applier = null;
    await applier?.[Symbol.asyncDispose]();
  }

  async #open(start: SinkStart, signal: AbortSignal): Promise<StoredCheckpoint> {
    const { name: sink } = this.#config;
    const settings = await this.#settings();
    const named = (suffix: string): SessionSettings => ({ ...settings.session, applicationName: `${settings.session.applicationName}${suffix}` });
    await using stack = new AsyncDisposableStack();
    // The applying session does not wait for the disk: the flusher does, on the other one.
    const session = stack.use(await Session.open({ ...settings.session, synchronousCommit: 'off' }, this.#runtime, signal));
    const enforced = !(await session.within(signal, () => this.#disableTriggers(session)));
    const request = { sink, logId: start.logId, owner: this.#owner, ownFence: this.#fence };
    const opened = await session.within(signal, () => takeOver(session, request));
    this.#fence = opened.fence;
    const side = stack.use(await Session.open(named(' (catalog)'), this.#runtime, signal));
    const watchdog = new Watchdog(this.#runtime.clock, (limit) => Session.open(named(' (probe)'), this.#runtime, limit));
    const { synchronousCommit, lockTimeoutMs } = settings;
    this.#applier = new Applier({ sink, names: nameRules(this.#config), session, side, opened, synchronousCommit, watchdog, clock: this.#runtime.clock, lockTimeoutMs, enforced });
    stack.move();
    return opened;
  }

  async #settings(): Promise<{ session: SessionSettings; synchronousCommit: SynchronousCommit; lockTimeoutMs: number }> {
    const { name, options, freshOptions } = this.#config;
    const { url, passwordFile, synchronousCommit, lockTimeoutMs } = resolveOptions(name, freshOptions === undefined ? options : await freshOptions());
    const secretsChange = freshOptions !== undefined || passwordFile !== null;
    return { session: { url, passwordFile, secretsChange, synchronousCommit, applicationName: `tidemark ${name}` }, synchronousCommit, lockTimeoutMs };
  }

  /** No foreign key is enforced and no trigger fires while applying. Answers false when the role may not do that. */
  async #disableTriggers(session: Session): Promise<boolean> {
    try {
      await session.client.query('SET session_replication_role = replica');
      return true;
    } catch (error) {
      if (sqlState(error) !== '42501') throw error;
      return false;
    }
  }
}
