import { TidemarkError } from '../../contracts/errors/error.ts';

interface Asked<Q, A> {
  readonly question: Q;
  readonly signal: AbortSignal;
  readonly answer: PromiseWithResolvers<A>;
}

/** What answers several questions in one go: an answer for each, in order; an error is the answer to one question. */
export type AnswerAll<Q, A> = (questions: readonly Q[], signal: AbortSignal) => Promise<readonly (A | Error)[]>;

/**
 * Questions that are asked while others are being answered are answered together, in one go. The signal of a go aborts
 * when everybody who takes part in it has given up.
 */
export class Gather<Q, A extends object> {
  readonly #answerAll: AnswerAll<Q, A>;
  readonly #most: number;
  readonly #waiting: Asked<Q, A>[] = [];
  #busy = false;

  /** @param most questions of one go */
  constructor(most: number, answerAll: AnswerAll<Q, A>) {
    this.#most = most;
    this.#answerAll = answerAll;
  }

  /** @throws TidemarkError `ABORTED` as soon as the signal aborts; what the go throws */
  async ask(question: Q, signal: AbortSignal): Promise<A> {
    const answer = Promise.withResolvers<A>();
    const abort = (): void => answer.reject(new TidemarkError('ABORTED', 'asked to stop'));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    this.#waiting.push({ question, signal, answer });
    if (!this.#busy) void this.#run();
    try {
      return await answer.promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  async #run(): Promise<void> {
    this.#busy = true;
    // What is asked for in the same breath goes together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const asked = this.#waiting.splice(0, this.#most).filter(({ signal }) => !signal.aborted);
      if (asked.length > 0) await this.#go(asked);
    }
    this.#busy = false;
  }

  /** Never rejects. */
  async #go(asked: readonly Asked<Q, A>[]): Promise<void> {
    const stop = new AbortController();
    const abort = (): void => {
      if (asked.every(({ signal }) => signal.aborted)) stop.abort(new TidemarkError('ABORTED', 'asked to stop'));
    };
    for (const { signal } of asked) signal.addEventListener('abort', abort, { once: true });
    try {
      const answers = await this.#answerAll(asked.map(({ question }) => question), stop.signal);
      for (const [index, { answer }] of asked.entries()) {
        const given = answers[index] ?? new TidemarkError('INTERNAL', 'a question has no answer');
        if (given instanceof Error) answer.reject(given);
        else answer.resolve(given);
      }
    } catch (failure) {
      for (const { answer } of asked) answer.reject(failure);
    } finally {
      for (const { signal } of asked) signal.removeEventListener('abort', abort);
    }
  }
}
