import { TidemarkError } from '../../contracts/errors/error.ts';
import type { VerifyParts } from './places.ts';
import type { VerifyEvent, VerifyProgress, VerifyRequest } from './report.ts';
import { Verification } from './verify.ts';

/** The runs of a hub: one for each sink at a time. */
export class Verifications {
  readonly #running = new Set<string>();
  readonly #closing = new AbortController();

  /** Ends every run, and every later one. */
  close(): void {
    this.#closing.abort(new TidemarkError('ABORTED', 'the hub is closing'));
  }

  /**
   * Progress as it comes, the report at the end. Nobody who listens late is told what has passed: of several pieces of
   * progress only the newest. Ending early ends the run.
   * @throws TidemarkError `VERIFY_RUNNING`, what `Verification` throws
   */
  async *run(parts: VerifyParts, request: VerifyRequest, signal: AbortSignal): AsyncGenerator<VerifyEvent, void, void> {
    const { name } = parts.config;
    if (this.#running.has(name)) throw new TidemarkError('VERIFY_RUNNING', 'the sink is being verified', { where: { sink: name } });
    this.#running.add(name);
    try {
      yield* verifying(parts, request, AbortSignal.any([signal, this.#closing.signal]));
    } finally {
      this.#running.delete(name);
    }
  }
}

interface Told {
  newest: VerifyProgress | null;
  ended: boolean;
  wake: () => void;
}

/** One run, for a caller who sees to it that there is only one. */
export async function* verifying(parts: VerifyParts, request: VerifyRequest, signal: AbortSignal): AsyncGenerator<VerifyEvent, void, void> {
  const own = new AbortController();
  const told: Told = { newest: null, ended: false, wake: () => undefined };
  const verification = new Verification(parts, request, (progress) => {
    told.newest = progress;
    told.wake();
  }, AbortSignal.any([signal, own.signal]));
  const running = verification.run().finally(() => {
    told.ended = true;
    told.wake();
  });
  // What it fails with is thrown below.
  running.catch(() => undefined);
  try {
    while (!told.ended) {
      const { promise, resolve } = Promise.withResolvers<void>();
      told.wake = resolve;
      if (told.newest === null) await promise;
      const progress = told.newest;
      told.newest = null;
      if (progress !== null) yield { progress };
    }
    yield { report: await running };
  } finally {
    own.abort(new TidemarkError('ABORTED', 'nobody waits for the verification any more'));
    await Promise.allSettled([running]);
  }
}
