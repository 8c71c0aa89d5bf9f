import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';

/** A session that nobody uses is ended after so long, in milliseconds. */
const IDLE_MS = 5_000;
/** Sessions that are kept for later at most. */
const MOST_IDLE = 3;

/** Disposing ends it. */
export interface PooledSession extends AsyncDisposable {
  /** False when it was lost, or what it is connected to may become another one without its knowing. */
  readonly isUsable: boolean;
}

/** A session for one use. Disposing ends it, unless {@link keep} has been called. */
export interface Lease<S extends PooledSession> extends AsyncDisposable {
  readonly session: S;
  /** The session is as it was when it was opened: between two statements, in no transaction, without locks. It may serve again. */
  keep(): void;
}

interface Pooled<S> {
  readonly session: S;
  readonly life: AbortController;
  /** Ends the wait for another use. */
  expiry: AbortController;
  readonly generation: number;
}

/** Sessions that serve one use after the other: for a small table, opening one takes longer than copying it. */
export class SessionPool<S extends PooledSession> implements AsyncDisposable {
  readonly #open: (signal: AbortSignal) => Promise<S>;
  readonly #clock: Clock;
  readonly #idle: Pooled<S>[] = [];
  #generation = 0;
  #isClosed = false;

  /** @param open the session ends when the signal that it is given aborts, then and later */
  constructor(open: (signal: AbortSignal) => Promise<S>, clock: Clock) {
    this.#open = open;
    this.#clock = clock;
  }

  /** Aborting ends the session while it is leased. @throws TidemarkError what opening one throws */
  async lease(signal: AbortSignal): Promise<Lease<S>> {
    if (signal.aborted) throw new TidemarkError('ABORTED', 'asked to stop before a session was opened');
    const pooled = this.#waiting() ?? (await this.#opened(signal));
    const abort = (): void => pooled.life.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    let kept = false;
    return {
      session: pooled.session,
      keep: () => {
        kept = true;
      },
      [Symbol.asyncDispose]: async () => {
        signal.removeEventListener('abort', abort);
        const isUsable = kept && pooled.session.isUsable && !pooled.life.signal.aborted && pooled.generation === this.#generation;
        if (isUsable && !this.#isClosed && this.#idle.length < MOST_IDLE) this.#rest(pooled);
        else await pooled.session[Symbol.asyncDispose]();
      },
    };
  }

  /** From here on every session is a new one: those of before may be with another server than `open` leads to now. */
  async renew(): Promise<void> {
    this.#generation++;
    await this.#endIdle();
  }

  /** Ends the sessions that nobody uses; those that are leased end when they are given back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#endIdle();
  }

  async #endIdle(): Promise<void> {
    const idle = this.#idle.splice(0);
    for (const { expiry } of idle) expiry.abort();
    await Promise.all(idle.map(({ session }) => session[Symbol.asyncDispose]()));
  }

  /** One that was lost meanwhile is ended. */
  #waiting(): Pooled<S> | null {
    for (;;) {
      const pooled = this.#idle.pop() ?? null;
      pooled?.expiry.abort();
      if (pooled === null || pooled.session.isUsable) return pooled;
      void pooled.session[Symbol.asyncDispose]();
    }
  }

  async #opened(signal: AbortSignal): Promise<Pooled<S>> {
    const life = new AbortController();
    const generation = this.#generation;
    const abort = (): void => life.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      return { session: await this.#open(life.signal), life, expiry: new AbortController(), generation };
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  #rest(pooled: Pooled<S>): void {
    const expiry = new AbortController();
    pooled.expiry = expiry;
    this.#idle.push(pooled);
    this.#clock.sleep(IDLE_MS, expiry.signal).then(
      () => {
        const at = this.#idle.indexOf(pooled);
        if (at >= 0) this.#idle.splice(at, 1);
        return at < 0 ? undefined : pooled.session[Symbol.asyncDispose]();
      },
      // It serves again, or has ended.
      () => undefined,
    );
  }
}
