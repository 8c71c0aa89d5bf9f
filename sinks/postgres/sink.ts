import type { Checkpoint } from '../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { type Applying, type BatchLimits, DEFAULT_LIMITS, type Sink, type SinkBatch, type SinkStart } from '../../contracts/sink.ts';
import { isFresh } from '../relational/checkpoint.ts';
import { Applier } from './applier.ts';
import { checkReplica } from './check.ts';
import { sinkError, sqlState } from './errors.ts';
import { takeOver } from './opening.ts';
import { nameRules, resolveOptions } from './options.ts';
import { Session, type SessionSettings } from './session.ts';

const OWNER_BYTES = 16;

/** A Postgres database that mirrors tables of one log: each batch, of any number of tables, is one transaction. */
export class PostgresSink implements Sink {
  readonly kind = 'state';
  readonly limits: BatchLimits = DEFAULT_LIMITS;
  /** A rebuild goes into a shadow beside the tables. */
  readonly inPlace = null;
  readonly #config: SinkConfig;
  readonly #owner: string;
  #applier: Applier | null = null;
  #fence = 0;

  constructor(config: SinkConfig, runtime: Runtime) {
    this.#config = config;
    this.#owner = runtime.random.bytes(OWNER_BYTES).toString('hex');
  }

  async check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
    const sink = this.#config.name;
    try {
      await using session = await Session.open(await this.#settings(), signal);
      return await checkReplica({ session, sink, names: nameRules(this.#config) }, tables);
    } catch (error) {
      const failure = sinkError(error, { sink });
      if (failure.code === 'ABORTED') throw failure;
      return [{ severity: 'error', code: 'replica-reach', what: failure.message, remedy: failure.remedy }];
    }
  }

  async open(start: SinkStart, signal: AbortSignal): Promise<Checkpoint | null> {
    await this.#close();
    const settings = await this.#settings();
    // The applying session does not wait for the disk: the flusher does, on the other one.
    const session = await Session.open({ ...settings, synchronousCommit: 'off' }, signal);
    try {
      const enforced = await this.#disableTriggers(session);
      const opened = await takeOver(session, { sink: this.#config.name, logId: start.logId, owner: this.#owner, ownFence: this.#fence });
      const side = await Session.open({ ...settings, applicationName: `${settings.applicationName} (catalog)` }, signal);
      this.#fence = opened.fence;
      this.#applier = new Applier({
        sink: this.#config.name,
        names: nameRules(this.#config),
        session,
        side,
        opened,
        synchronousCommit: settings.synchronousCommit,
        lockTimeoutMs: resolveOptions(this.#config.name, this.#config.options).lockTimeoutMs,
        enforced,
      });
      const { logId, epoch, offset, position, fence } = opened;
      return isFresh(opened) ? null : { logId, epoch, offset, position, fence };
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw sinkError(error, { sink: this.#config.name });
    }
  }

  apply(batch: SinkBatch, signal: AbortSignal): Applying {
    if (this.#applier === null) {
      const refusal = Promise.reject<never>(new TidemarkError('INTERNAL', 'a sink that is not open was given a batch'));
      refusal.catch(() => undefined);
      return { accepted: refusal, durable: refusal };
    }
    return this.#applier.apply(batch, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  async #close(): Promise<void> {
    const applier = this.#applier;
    this.#applier = null;
    await applier?.[Symbol.asyncDispose]();
  }

  async #settings(): Promise<SessionSettings> {
    const { name, options, freshOptions } = this.#config;
    const { url, synchronousCommit } = resolveOptions(name, freshOptions === undefined ? options : await freshOptions());
    return { url, synchronousCommit, applicationName: `tidemark ${name}` };
  }

  /** No foreign key is enforced and no trigger fires while applying. Answers true when the role may not do that. */
  async #disableTriggers(session: Session): Promise<boolean> {
    try {
      await session.client.query('SET session_replication_role = replica');
      return false;
    } catch (error) {
      if (sqlState(error) !== '42501') throw error;
      return true;
    }
  }
}
