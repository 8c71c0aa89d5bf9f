import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { ChangeStream } from '../../contracts/connector.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { DurableProgress } from '../../contracts/log-engine.ts';
import type { TableSchema } from '../../contracts/schema.ts';

/** A stream that has its connections. */
export interface Opened {
  readonly live: Pick<ChangeStream, 'acknowledge' | 'requestProgress' | 'announce'>;
  readonly batches: {
    /** Null: it was ended. @throws what the stream failed with, after every batch before it */
    next(): Promise<ChangeBatch | null>;
    end(): void;
  };
}

export interface StreamWork {
  /** Connects and begins. What it opens is owned by `owned`. */
  open(signal: AbortSignal, owned: AsyncDisposableStack): Promise<Opened>;
  /** Told once or more when the stream is over; what `open` has opened is closed beside it. */
  closed(): Promise<void>;
  /** Nothing is connected any more. */
  ended(): void;
}

/**
 * The life of a stream: it connects when it is first iterated, is told then what it was told before, and ends for good with
 * the first failure; reconnecting is the caller's.
 */
export class SingleStream implements ChangeStream {
  readonly #work: StreamWork;
  readonly #signal: AbortSignal;
  readonly #closing = new AbortController();
  readonly #owned = new AsyncDisposableStack();
  readonly #announced: TableSchema[] = [];
  #opened: Opened | null = null;
  #acknowledged: DurableProgress | null = null;
  #progressWanted = false;
  #begun = false;

  constructor(work: StreamWork, signal: AbortSignal) {
    this.#work = work;
    this.#signal = AbortSignal.any([signal, this.#closing.signal]);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ChangeBatch, void, undefined> {
    if (this.#begun) throw new TidemarkError('INTERNAL', 'a stream is iterated once');
    this.#begun = true;
    try {
      const opened = await this.#work.open(this.#signal, this.#owned);
      const { live, batches } = opened;
      this.#opened = opened;
      if (this.#acknowledged !== null) live.acknowledge(this.#acknowledged);
      if (this.#announced.length > 0) live.announce(this.#announced.splice(0));
      if (this.#progressWanted) live.requestProgress();
      for (let batch = await batches.next(); batch !== null; batch = await batches.next()) yield batch;
    } catch (error) {
      if (!this.#signal.aborted) throw error;
    } finally {
      await this[Symbol.asyncDispose]();
    }
  }

  acknowledge(progress: DurableProgress): void {
    this.#acknowledged = progress;
    this.#opened?.live.acknowledge(progress);
  }

  requestProgress(): void {
    this.#progressWanted = true;
    this.#opened?.live.requestProgress();
  }

  announce(tables: readonly TableSchema[]): void {
    if (this.#opened === null) this.#announced.push(...tables);
    else this.#opened.live.announce(tables);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new TidemarkError('ABORTED', 'the stream is closed'));
    this.#opened?.batches.end();
    this.#opened = null;
    await Promise.all([this.#work.closed(), this.#owned.disposeAsync()]);
    this.#work.ended();
  }
}
