import { asTidemarkError, type TidemarkError } from '../../contracts/errors/error.ts';

/** What a pipeline does after a failure. */
export type FailureAction =
  /** Begin again by itself, after a delay. */
  | { readonly kind: 'retry'; readonly error: TidemarkError }
  /** Stay where it is until somebody has changed something and says so. */
  | { readonly kind: 'stop'; readonly error: TidemarkError }
  /** Find the rows that the sink refuses, note them, go on without them. */
  | { readonly kind: 'dead-letter'; readonly error: TidemarkError };

/** Errors of a row's data, the only ones that may become dead letters. */
const DATA_ERRORS: ReadonlySet<string> = new Set(['SINK_DATA']);

/** What a source's pipeline does after `failure`. Anything that is not a TidemarkError is a bug: stop. */
export function sourceFailure(failure: unknown): FailureAction {
  const error = asTidemarkError(failure, 'INTERNAL');
  return { kind: error.retry === 'auto' ? 'retry' : 'stop', error };
}

/** What a sink's pipeline does after `failure`. */
export function sinkFailure(failure: unknown, onError: 'stop' | 'dead-letter'): FailureAction {
  const error = asTidemarkError(failure, 'INTERNAL');
  if (isDataError(error)) return { kind: onError === 'dead-letter' ? 'dead-letter' : 'stop', error };
  return { kind: error.retry === 'auto' ? 'retry' : 'stop', error };
}

export function isDataError(error: TidemarkError): boolean {
  return DATA_ERRORS.has(error.code);
}

const FIRST_DELAY_MS = 250;
const LAST_DELAY_MS = 30_000;

/**
 * Milliseconds to wait before try `attempt` (1, 2, ...): doubling up to 30 s, with half of it left to chance, so that
 * many parts that failed together do not come back together.
 * @param unit random, 0 <= unit < 1
 */
export function backOff(attempt: number, unit: number): number {
  const full = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt - 1, 20));
  return Math.round(full / 2 + (full / 2) * unit);
}
