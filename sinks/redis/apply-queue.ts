import { asTidemarkError, TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { Applying, SinkBatch } from '../../contracts/sink.ts';
import type { Applier } from './applier.ts';
import type { Store } from './store.ts';

interface Job {
  readonly batch: SinkBatch;
  readonly signal: AbortSignal;
  readonly accepted: PromiseWithResolvers<void>;
  readonly durable: PromiseWithResolvers<Offset>;
}

/** Batches held at a time, of which one is being sent. */
const MAX_HELD = 2;

/**
 * Applies batches in order, one after the other: while the server runs one, the next is being sent. After a failure
 * everything rejects with it, and so does every later batch.
 */
export class ApplyQueue {
  readonly #store: Store;
  readonly #applier: Applier;
  readonly #sink: string;
  readonly #jobs: Job[] = [];
  /** What the next batch must begin after. */
  #at: Offset;
  #running: Promise<void> | null = null;
  #failure: TidemarkError | null = null;

  constructor(store: Store, applier: Applier, at: Offset, sink: string) {
    this.#store = store;
    this.#applier = applier;
    this.#at = at;
    this.#sink = sink;
  }

  get failure(): TidemarkError | null {
    return this.#failure;
  }

  add(batch: SinkBatch, signal: AbortSignal): Applying {
    const job: Job = { batch, signal, accepted: Promise.withResolvers(), durable: Promise.withResolvers() };
    // Both reject after a failure; a caller may look at one of them only.
    job.accepted.promise.catch(() => undefined);
    job.durable.promise.catch(() => undefined);
    const refusal = this.#failure ?? this.#refusal(batch, signal);
    if (refusal !== null) {
      job.accepted.reject(refusal);
      job.durable.reject(refusal);
      if (this.#failure === null) this.fail(refusal);
    } else {
      this.#at = batch.to;
      this.#jobs.push(job);
      if (this.#jobs.length <= MAX_HELD) job.accepted.resolve();
      this.#running ??= this.#run();
    }
    return { accepted: job.accepted.promise, durable: job.durable.promise };
  }

  /** Resolves when everything added so far is durable. @throws TidemarkError the failure */
  async drained(): Promise<void> {
    await this.#running;
    if (this.#failure !== null) throw this.#failure;
  }

  /** Everything that waits rejects. */
  fail(error: unknown): void {
    if (this.#failure !== null) return;
    const failure = asTidemarkError(error, 'INTERNAL', { sink: this.#sink });
    this.#failure = failure;
    this.#store.fail(failure);
    for (const job of this.#jobs.splice(0)) this.#reject(job, failure);
  }

  #refusal(batch: SinkBatch, signal: AbortSignal): TidemarkError | null {
    const where = { sink: this.#sink, offset: batch.to };
    if (signal.aborted) return new TidemarkError('ABORTED', 'a batch came after the signal to stop', { where });
    if (batch.after === this.#at) return null;
    return new TidemarkError('SINK_CHECKPOINT_MOVED', `a batch begins after ${batch.after}, and the sink is at ${this.#at}`, { where });
  }

  /** Sends batch by batch; at the end writes the checkpoint that waits for a transaction to travel in. */
  async #run(): Promise<void> {
    try {
      for (let job = this.#jobs[0]; job !== undefined; job = this.#jobs[0]) {
        await this.#apply(job);
        if (this.#failure !== null) return;
        this.#jobs.shift();
        this.#jobs[MAX_HELD - 1]?.accepted.resolve();
        if (this.#jobs.length === 0) await this.#store.flush();
      }
    } catch (error) {
      this.fail(error);
    } finally {
      this.#running = null;
    }
  }

  async #apply(job: Job): Promise<void> {
    const { batch, signal } = job;
    const stop = (): void => this.fail(new TidemarkError('ABORTED', 'a batch was being applied', { where: { sink: this.#sink } }));
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    const { durable } = await this.#applier.apply(batch, signal).finally(() => signal.removeEventListener('abort', stop));
    void durable.then(
      () => job.durable.resolve(batch.to),
      (error: unknown) => {
        this.fail(error);
        this.#reject(job, this.#failure ?? asTidemarkError(error, 'INTERNAL'));
      },
    );
  }

  #reject(job: Job, failure: TidemarkError): void {
    job.accepted.reject(failure);
    job.durable.reject(failure);
  }
}
