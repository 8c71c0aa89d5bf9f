import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { Finding } from '../../../contracts/finding.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { type Applying, type BatchLimits, DEFAULT_LIMITS, type Sink, type SinkBatch, type SinkStart } from '../../../contracts/sink.ts';

export interface ShadowSinkParts {
  /** Of the shadow's database. Owned from here on. */
  readonly inner: Sink;
  /** Removes what is there and cannot be gone on from. Answers whether nothing is left. @throws TidemarkError `REBUILD_IN_THE_WAY` */
  readonly clear: (start: SinkStart, signal: AbortSignal) => Promise<boolean>;
  /** Removes whatever is there of the shadow. */
  readonly discard: (signal: AbortSignal) => Promise<void>;
}

/** The shadow as a sink: the same sink in another database, with a checkpoint of its own. It is filled, never rebuilt. */
export class ShadowSink implements Sink {
  readonly kind = 'state';
  readonly limits: BatchLimits;
  readonly inPlace = null;
  readonly #parts: ShadowSinkParts;

  constructor(parts: ShadowSinkParts) {
    this.#parts = parts;
    this.limits = parts.inner.limits ?? DEFAULT_LIMITS;
  }

  check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
    return this.#parts.inner.check(tables, signal);
  }

  async open(start: SinkStart, signal: AbortSignal): Promise<Checkpoint | null> {
    const { inner, clear, discard } = this.#parts;
    // One that is open still would be fenced by its own removal.
    await inner[Symbol.asyncDispose]();
    const isEmpty = await clear(start, signal);
    const checkpoint = await inner.open(start, signal);
    if (checkpoint !== null || isEmpty) return checkpoint;
    // What is there is not as the configuration has it.
    await inner[Symbol.asyncDispose]();
    await discard(signal);
    return inner.open(start, signal);
  }

  apply(batch: SinkBatch, signal: AbortSignal): Applying {
    return this.#parts.inner.apply(batch, signal);
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#parts.inner[Symbol.asyncDispose]();
  }
}
