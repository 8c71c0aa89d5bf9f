import { TidemarkError } from '../../contracts/errors/error.ts';
import type { EventName } from '../../contracts/events.ts';
import type { Runtime } from '../../contracts/runtime.ts';

/** Something that the hub runs: stops its work first, gives up what it owns afterwards. */
export interface Supervised extends AsyncDisposable {
  readonly name: string;
  /** Resolves when its work has ended at a boundary. */
  stop(): Promise<void>;
}

/** How long the work of all parts may take to end, and their disposal after that, in milliseconds. */
export interface ClosingLimits {
  readonly drainMs: number;
  readonly disposeMs: number;
}

/**
 * Owns the parts of a hub, in the order in which they were added. Closing stops the work of all of them at once, waits
 * for it up to a deadline, then disposes them in reverse order, none waiting for another: no part stands on another one.
 * One that does not end in its time is named in the log, and nobody waits for it any longer.
 */
export class Supervisor implements AsyncDisposable {
  readonly #runtime: Runtime;
  readonly #limits: ClosingLimits;
  #owned: Supervised[] = [];

  constructor(runtime: Runtime, limits: ClosingLimits) {
    this.#runtime = runtime;
    this.#limits = limits;
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

  /** @throws TidemarkError `INTERNAL` when a part could not be disposed */
  async #closeAll(parts: readonly Supervised[]): Promise<void> {
    const { drainMs, disposeMs } = this.#limits;
    const stopped = Promise.allSettled(parts.map((part) => part.stop()));
    await this.#within(drainMs, stopped, 'hub.drain-late', parts);
    const failures: unknown[] = [];
    const disposed = this.#disposeAll(parts, failures);
    await this.#within(disposeMs, disposed, 'hub.close-late', parts);
    if (failures.length > 0) throw new TidemarkError('INTERNAL', 'a part of the hub could not be closed', { cause: failures[0] });
  }

  async #disposeAll(parts: readonly Supervised[], failures: unknown[]): Promise<void> {
    const disposed = parts.toReversed().map(async (part) => {
      try {
        await part[Symbol.asyncDispose]();
      } catch (failure) {
        failures.push(failure);
      }
    });
    await Promise.all(disposed);
  }

  /** Waits for `done`, but not longer than `ms`. */
  async #within(ms: number, done: Promise<unknown>, event: EventName, parts: readonly Supervised[]): Promise<void> {
    const over = new AbortController();
    const late = this.#runtime.clock.sleep(ms, over.signal).then(
      () => this.#runtime.logger.log('warn', event, { parts: parts.map((part) => part.name), ms }),
      () => undefined,
    );
    await Promise.race([done, late]);
    over.abort(new Error('it has ended in time'));
    await late;
  }
}
