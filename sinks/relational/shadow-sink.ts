import type { Checkpoint } from '../../contracts/checkpoint.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { type Applying, type BatchLimits, DEFAULT_LIMITS, type Sink, type SinkBatch, type SinkStart } from '../../contracts/sink.ts';

/** The shadow as a sink: the same sink as that of the tables that are served, on tables and a checkpoint of its own. */
export class ShadowSink implements Sink {
  readonly kind = 'state';
  readonly limits: BatchLimits;
  readonly handsNamesOn = true;
  readonly inPlace = null;
  readonly #inner: Sink;
  readonly #clear: (start: SinkStart, signal: AbortSignal) => Promise<void>;

  /**
   * @param inner owned from here on
   * @param clear removes what is there and cannot be gone on from
   */
  constructor(inner: Sink, clear: (start: SinkStart, signal: AbortSignal) => Promise<void>) {
    this.#inner = inner;
    this.#clear = clear;
    this.limits = inner.limits ?? DEFAULT_LIMITS;
  }

  check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
    return this.#inner.check(tables, signal);
  }

  async open(start: SinkStart, signal: AbortSignal): Promise<Checkpoint | null> {
    await this.#clear(start, signal);
    return this.#inner.open(start, signal);
  }

  rewind(start: SinkStart, signal: AbortSignal): Promise<boolean> {
    return this.#inner.rewind?.(start, signal) ?? Promise.resolve(false);
  }

  apply(batch: SinkBatch, signal: AbortSignal): Applying {
    return this.#inner.apply(batch, signal);
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#inner[Symbol.asyncDispose]();
  }
}
