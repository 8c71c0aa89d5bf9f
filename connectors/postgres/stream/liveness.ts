/** When status messages go out, and when a silent server is given up. Pure. */

export interface LivenessState {
  /** Monotonic milliseconds. */
  readonly now: number;
  readonly lastStatusAt: number;
  /** Of the last byte from the server. */
  readonly lastByteAt: number;
  /** Nothing is read at present, so that silence says nothing. */
  readonly paused: boolean;
  /** `wal_sender_timeout`; 0: none. */
  readonly timeoutMs: number;
  /** The durable position has moved since the last status. */
  readonly moved: boolean;
}

export type LivenessAction = 'nothing' | 'status' | 'status-and-reply' | 'give-up';

/** Where the server has no limit of its own. */
const DEFAULT_TIMEOUT_MS = 60_000;
/** A durable position is told after this time at the latest. */
const TELL_MS = 100;

/**
 * A status at least every third of the server's timeout, also while nothing is read; an answer is asked for after a
 * third of it without a byte, and a server that was silent for twice its timeout is gone.
 */
export function livenessAction(state: LivenessState): LivenessAction {
  const timeout = state.timeoutMs === 0 ? DEFAULT_TIMEOUT_MS : state.timeoutMs;
  const silence = state.now - state.lastByteAt;
  const sinceStatus = state.now - state.lastStatusAt;
  if (!state.paused && silence > 2 * timeout) return 'give-up';
  if (sinceStatus * 3 >= timeout) return !state.paused && silence * 3 >= timeout ? 'status-and-reply' : 'status';
  return state.moved && sinceStatus >= TELL_MS ? 'status' : 'nothing';
}
