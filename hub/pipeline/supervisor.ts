import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Runtime } from '../../contracts/runtime.ts';

/** Something that the hub runs: stops its work first, gives up what it owns afterwards. */
export interface Supervised extends AsyncDisposable {
  readonly name: string;
  /** Resolves when its work has ended at a boundary. */
  stop(): Promise<void>;
}

/**
 * Owns the parts of a hub, in the order in which they were added. Closing stops the work of all of them at once, waits
 * for it up to a deadline, then disposes them in reverse order: what was made last, and stands on the others, goes first.
 */
export class Supervisor implements AsyncDisposable {
  readonly #runtime: Runtime;
  readonly #drainMs: number;
  #owned: Supervised[] = [];

  /** @param drainMs how long the work of all parts together may take to end */
  constructor(runtime: Runtime, drainMs: number) {
    this.#runtime = runtime;
    this.#drainMs = drainMs;
  }

  add(part: Supervised): void {
    this.#owned.push(part);
  }

  /** Stops one part and disposes it. */
  async remove(part: Supervised): Promise<void> {
    this.#owned = this.#owned.filter((owned) => owned !== part);
    await this.#closeAll([part]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closeAll(this.#owned.splice(0));
  }

  async #closeAll(parts: readonly Supervised[]): Promise<void> {
    await this.#drain(parts);
    const failures: unknown[] = [];
    for (const part of parts.toReversed()) {
      try {
        await part[Symbol.asyncDispose]();
      } catch (failure) {
        failures.push(failure);
      }
    }
    if (failures.length > 0) throw new TidemarkError('INTERNAL', 'a part of the hub could not be closed', { cause: failures[0] });
  }

  async #drain(parts: readonly Supervised[]): Promise<void> {
    const done = new AbortController();
    const stopped = Promise.allSettled(parts.map((part) => part.stop()));
    const late = this.#runtime.clock.sleep(this.#drainMs, done.signal).then(
      () => this.#runtime.logger.log('warn', 'drain-deadline', { parts: parts.map((part) => part.name), ms: this.#drainMs }),
      () => undefined,
    );
    await Promise.race([stopped, late]);
    done.abort();
    await late;
  }
}
