import type { SinkConfig } from '../../contracts/config.ts';
import { asTidemarkError, TidemarkError } from '../../contracts/errors/error.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { Sink, SinkBatch } from '../../contracts/sink.ts';
import { Delivery } from './delivery.ts';
import { openSink, type DeliveryStart } from './delivery-plan.ts';
import { sinkFailure, type FailureAction } from './error-policy.ts';
import type { Work } from './part.ts';
import { Waiters } from './waiters.ts';

export interface DeliverParts {
  readonly config: SinkConfig;
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly runtime: Runtime;
  /** Bytes that this pipeline may hold in flight. */
  readonly bytes: number;
  /** So many records of the log were applied. */
  readonly onApplied: (records: number) => void;
  /** Tables came under the sink's selection without their older rows: they must be copied again. */
  readonly onJoined: (tables: readonly TableSchema[]) => void;
}

/** Where a sink stands, for status. */
export interface SinkProgress {
  readonly offset: Offset;
  readonly caughtUp: boolean;
  readonly rebuilding: boolean;
  /** Commit time of the oldest transaction not applied yet, microseconds since 1970; 0: none. */
  readonly oldestPending: number;
}

/**
 * Log to sink. One life: take the sink over, find where to go on, deliver until it fails or is stopped. The sink is the
 * caller's; only this part applies to it.
 */
export class Deliver implements Work {
  readonly #parts: DeliverParts;
  readonly #reached = new Waiters<Offset>();
  #delivery: Delivery | null = null;
  #offset: Offset = 0;
  #rebuilding = false;

  constructor(parts: DeliverParts) {
    this.#parts = parts;
  }

  judge(failure: unknown): FailureAction {
    return sinkFailure(failure, this.#parts.config.onError);
  }

  get progress(): SinkProgress {
    const { highWatermark } = this.#parts.log.state();
    return {
      offset: this.#offset,
      caughtUp: this.#offset >= highWatermark && !this.#rebuilding,
      rebuilding: this.#rebuilding,
      oldestPending: this.#delivery?.oldestPending ?? 0,
    };
  }

  /** Resolves with the sink's offset once it is at or beyond `offset`, and no rebuild hides it. @throws `ABORTED` */
  async reached(offset: Offset, signal: AbortSignal): Promise<Offset> {
    if (this.#offset >= offset && !this.#rebuilding && this.#delivery !== null) return this.#offset;
    return this.#reached.wait((at) => at >= offset, signal);
  }

  async live(signal: AbortSignal, healthy: () => void): Promise<void> {
    const { config } = this.#parts;
    try {
      for (let more = true; more && !signal.aborted; ) more = await this.#lifeOnce(signal, healthy);
    } catch (failure) {
      if (signal.aborted) return;
      throw asTidemarkError(failure, 'INTERNAL', { sink: config.name, source: config.from });
    } finally {
      this.#delivery = null;
    }
  }

  /** One opening of the sink; true when it is to be opened again at once. */
  async #lifeOnce(signal: AbortSignal, healthy: () => void): Promise<boolean> {
    const { sink, log, config, bytes, runtime } = this.#parts;
    const start = await openSink(sink, log, config.tables, signal);
    runtime.logger.log('info', 'sink-opened', { sink: config.name, offset: start.after, sweepAt: start.sweepAt });
    const swept = new AbortController();
    const delivery = new Delivery({ sink, log, selects: config.tables, clock: runtime.clock, bytes }, start, {
      onHanded: () => this.#parts.onJoined(delivery.tables.takeJoined()),
      onDurable: (batch, ms) => {
        healthy();
        this.#count(batch, ms);
      },
      onProgress: (offset) => {
        if (start.sweepAt !== null && offset >= start.sweepAt) swept.abort(new Error('the rebuild has reached its end'));
        else this.#moveTo(offset);
      },
      onFailed: () => undefined,
    });
    this.#delivery = delivery;
    this.#rebuilding = start.sweepAt !== null;
    this.#moveTo(start.after);
    healthy();
    if (start.sweepAt === null) await delivery.run(signal);
    else return this.#rebuild(delivery, start, signal, swept);
    return false;
  }

  /** Replays up to the end that the log had, then removes what the replay did not write. */
  async #rebuild(delivery: Delivery, start: DeliveryStart, signal: AbortSignal, swept: AbortController): Promise<boolean> {
    const { sink, config, runtime } = this.#parts;
    if (sink.inPlace === null) throw new TidemarkError('INTERNAL', 'a rebuild in place of a sink that has none');
    if (start.sweepAt !== null && start.after < start.sweepAt) await delivery.run(AbortSignal.any([signal, swept.signal]));
    if (signal.aborted) return false;
    await sink.inPlace.sweep(signal);
    runtime.logger.log('info', 'sink-rebuilt', { sink: config.name, offset: delivery.progress });
    this.#rebuilding = false;
    return true;
  }

  #moveTo(offset: Offset): void {
    this.#offset = offset;
    if (!this.#rebuilding) this.#reached.test(offset);
  }

  #count(batch: SinkBatch, ms: number): void {
    const { metrics } = this.#parts.runtime;
    const labels = { sink: this.#parts.config.name };
    this.#parts.onApplied(batch.records);
    metrics.add('tidemark_sink_records_total', batch.records, labels);
    metrics.add('tidemark_sink_bytes_total', batch.bytes, labels);
    metrics.add('tidemark_sink_batches_total', 1, labels);
    metrics.observe('tidemark_sink_apply_seconds', ms / 1000, labels);
  }
}
