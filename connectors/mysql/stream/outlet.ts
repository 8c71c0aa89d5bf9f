/**
 * From records to closed batches. Holds at most two closed batches and the one being built: when they are full nothing
 * more is to be read. A batch is closed at 1 MiB, or when what has come is handled; a transaction that fits in one is never
 * torn apart by a quiet moment, so that it can be taken back while it is open.
 */
import { BATCH_BYTES, BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import { lingerMs, nextRate } from '../../relational/flush-policy.ts';

/** Closed batches that wait for the consumer. */
const MAX_READY = 2;

export interface OutletHost {
  /** Nothing is to be read until `resume`. */
  pause(): void;
  resume(): void;
}

interface Waiter {
  readonly resolve: (batch: ChangeBatch | null) => void;
  readonly reject: (error: unknown) => void;
}

/** Owned by one stream; one consumer. */
export class Outlet {
  readonly builder = new BatchBuilder();
  readonly #host: OutletHost;
  readonly #clock: Clock;
  readonly #ready: ChangeBatch[] = [];
  readonly #stop = new AbortController();
  #waiter: Waiter | null = null;
  #failure: { readonly error: unknown } | null = null;
  #ended = false;
  /** What has come is to be handed on: scheduled, or as soon as the transaction is over and the consumer asks. */
  #flush: 'none' | 'armed' | 'due' = 'none';
  #isFull = false;
  #rate = 0;
  #closedAt: number;
  #closed = 0;

  constructor(host: OutletHost, clock: Clock) {
    this.#host = host;
    this.#clock = clock;
    this.#closedAt = clock.monotonic();
  }

  /** Of the batch being built: marks of another one are of no use. */
  get batchNumber(): number {
    return this.#closed;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  /** Records were added. Closes a batch that is full, in the middle of a transaction too. */
  added(): void {
    if (this.builder.length >= BATCH_BYTES) this.#close();
  }

  /** Something can be handed on: called between two transactions. */
  between(): void {
    if (this.builder.length >= BATCH_BYTES) this.#close();
    else if (this.#flush === 'due') this.#closeIfWanted();
    else this.#schedule();
  }

  /**
   * The next batch; null when the stream was ended. Called one at a time.
   * @throws what the stream failed with, after every batch before it
   */
  next(): Promise<ChangeBatch | null> {
    const batch = this.#ready.shift();
    if (batch !== undefined) {
      this.#emptied();
      return Promise.resolve(batch);
    }
    if (this.#failure !== null) return Promise.reject(asError(this.#failure.error));
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      if (this.#flush === 'due') this.#closeIfWanted();
    });
  }

  fail(error: unknown): void {
    if (this.#failure !== null || this.#ended) return;
    this.#failure = { error };
    this.#finish()?.reject(error);
  }

  end(): void {
    this.#ended = true;
    this.#finish()?.resolve(null);
  }

  #finish(): Waiter | null {
    this.#stop.abort();
    const waiter = this.#waiter;
    this.#waiter = null;
    return waiter;
  }

  #schedule(): void {
    if (this.#flush !== 'none' || this.#failure !== null || this.#ended || this.builder.isEmpty) return;
    this.#flush = 'armed';
    const due = (): void => {
      if (this.#flush !== 'armed') return;
      this.#flush = 'due';
      this.#closeIfWanted();
    };
    const linger = lingerMs(this.#rate);
    if (linger === 0) setImmediate(due);
    else this.#clock.sleep(linger, this.#stop.signal).then(due, () => undefined);
  }

  #closeIfWanted(): void {
    if (this.#waiter !== null && !this.builder.inTransaction) this.#close();
  }

  /** Closes the batch and hands it to the consumer, or keeps it for when he asks. */
  #close(): void {
    this.#flush = 'none';
    if (this.builder.isEmpty || this.#failure !== null) return;
    const batch = this.builder.take();
    this.#closed++;
    const now = this.#clock.monotonic();
    this.#rate = nextRate(this.#rate, batch.records.length, now - this.#closedAt);
    this.#closedAt = now;
    const waiter = this.#waiter;
    if (waiter !== null && this.#ready.length === 0) {
      this.#waiter = null;
      waiter.resolve(batch);
      return;
    }
    this.#ready.push(batch);
    if (this.#ready.length < MAX_READY || this.#isFull) return;
    this.#isFull = true;
    this.#host.pause();
  }

  #emptied(): void {
    if (!this.#isFull || this.#ready.length >= MAX_READY || this.#failure !== null) return;
    this.#isFull = false;
    this.#host.resume();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
