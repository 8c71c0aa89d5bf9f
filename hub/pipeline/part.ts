import type { TidemarkError } from '../../contracts/errors/error.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { MetricName } from '../observability/metric-names.ts';
import { backOff, type FailureAction } from './error-policy.ts';
import { unless, Waiters } from '../waiters.ts';

/** What a part is doing, as it is reported. */
export type PartState = 'starting' | 'running' | 'retrying' | 'paused' | 'stopped' | 'failed';

/** How a life ended by itself: its work is done, or rests where it has come to until somebody resumes it. */
export type LifeEnd = 'done' | 'paused';

/** A long-running piece of work: one life from its beginning to its failure or its stop. */
export interface Work {
  readonly kind: 'source' | 'sink' | 'rebuild';
  /** The counter of its retries. */
  readonly retries: { readonly metric: MetricName; readonly labels: Readonly<Record<string, string>> };
  /**
   * Works until `signal` aborts, something fails or, where it has an end, it has come to that. Calls `healthy` once it is
   * really at work, and after each success, so that the next failure is waited for from the shortest delay again.
   */
  live(signal: AbortSignal, healthy: () => void): Promise<LifeEnd | void>;
  /** Asked as a life that has ended as `paused` comes to rest: false when somebody has resumed it since. */
  readonly rests?: () => boolean;
  /** What to do after a failure of `live`. A pure decision. */
  judge(failure: unknown): FailureAction;
}

/**
 * Keeps one piece of work alive: begins it again with jittered back-off after what is transient, stops and says why
 * after what is not, pauses and resumes on demand. A failure of one part never reaches another.
 */
export class Part {
  readonly name: string;
  readonly #work: Work;
  readonly #runtime: Runtime;
  #state: PartState = 'stopped';
  #error: TidemarkError | null = null;
  #failedAt = 0;
  #attempt = 0;
  #life: { readonly stop: AbortController; readonly done: Promise<void> } | null = null;
  #wake = new AbortController();
  #startsAgain = false;
  #closed = false;
  readonly #failures = new Waiters<TidemarkError>();

  constructor(name: string, work: Work, runtime: Runtime) {
    this.name = name;
    this.#work = work;
    this.#runtime = runtime;
  }

  get state(): PartState {
    return this.#state;
  }

  /** The failure that it waits after, or stopped on; null while it works. */
  get error(): TidemarkError | null {
    return this.#error;
  }

  /** When it failed, milliseconds since 1970. */
  get failedAt(): number {
    return this.#failedAt;
  }

  /** Begins, if it is not at work; one that is being stopped begins again afterwards: what was asked last counts. */
  start(): void {
    if (this.#closed) return;
    if (this.#life !== null) {
      this.#startsAgain = this.#life.stop.signal.aborted;
      return;
    }
    const stop = new AbortController();
    this.#attempt = 0;
    this.#state = 'starting';
    this.#life = { stop, done: this.#run(stop.signal) };
  }

  /** Tries again now: what waits for its next try, or has failed. A paused part stays paused. */
  retry(): void {
    if (this.#state === 'retrying') this.#wake.abort(new Error('tried again on demand'));
    else if (this.#state === 'failed') this.start();
  }

  /** Is paused from the beginning. Not for one that is at work. */
  rest(): void {
    if (this.#life === null && !this.#closed) this.#state = 'paused';
  }

  /** Resolves when it has stopped at its next boundary. */
  async pause(): Promise<void> {
    await this.stop();
    if (this.#life !== null || this.#closed) return;
    this.#state = 'paused';
    this.#error = null;
  }

  /**
   * What `waiting` resolves with, which is given a signal to give up on.
   * @throws TidemarkError the failure on which the part stopped, before or meanwhile; what `waiting` rejects with
   */
  async unlessFailed<T>(waiting: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#state === 'failed' && this.#error !== null) throw this.#error;
    return unless(waiting, (either) => this.#failures.wait(() => true, either), signal);
  }

  /** Resolves when it has stopped at its next boundary; it may be started again, also meanwhile. */
  async stop(): Promise<void> {
    const life = this.#life;
    this.#startsAgain = false;
    life?.stop.abort(new Error(`${this.name} is stopped`));
    await life?.done;
    if (this.#life !== null) return;
    this.#state = 'stopped';
    if (!this.#startsAgain) return;
    this.#startsAgain = false;
    this.start();
  }

  /** Stops for good: whoever asks it to start afterwards comes too late. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.stop();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { logger } = this.#runtime;
    while (!signal.aborted) {
      try {
        const end = await this.#work.live(signal, () => this.#healthy());
        if (signal.aborted) break;
        if (end === 'paused' && this.#work.rests?.() === false) continue;
        if (end !== undefined) {
          this.#state = end === 'done' ? 'stopped' : 'paused';
          this.#error = null;
          this.#life = null;
          return;
        }
        throw new Error(`${this.name} ended without being asked to`);
      } catch (failure) {
        if (signal.aborted) break;
        const { kind, error } = this.#work.judge(failure);
        this.#error = error;
        this.#failedAt = this.#runtime.clock.now();
        // The logger names the part itself, and no line of the log names a key.
        const { source: _source, sink: _sink, key: _key, ...where } = error.where;
        const fields = { code: error.code, what: error.message, ...where, attempt: this.#attempt + 1 };
        if (kind === 'stop') logger.log('error', `${this.#work.kind}.failed`, fields);
        else logger.log('warn', `${this.#work.kind}.retrying`, fields);
        if (kind === 'stop') {
          this.#state = 'failed';
          this.#life = null;
          this.#failures.test(error);
          return;
        }
        if (kind === 'retry') await this.#waitForNextTry(signal);
      }
    }
    this.#state = 'stopped';
    this.#life = null;
  }

  async #waitForNextTry(signal: AbortSignal): Promise<void> {
    this.#attempt++;
    const { metric, labels } = this.#work.retries;
    this.#runtime.metrics.add(metric, 1, labels);
    this.#state = 'retrying';
    this.#wake = new AbortController();
    const either = AbortSignal.any([signal, this.#wake.signal]);
    const delay = backOff(this.#attempt, this.#runtime.random.unit());
    await this.#runtime.clock.sleep(delay, either).catch((reason: unknown) => {
      if (!either.aborted) throw reason;
    });
  }

  #healthy(): void {
    this.#attempt = 0;
    this.#error = null;
    this.#state = 'running';
  }
}
