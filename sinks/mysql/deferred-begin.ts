import type { CheckpointMove } from '../relational/apply-line.ts';
import type { RowsPlace } from './batch-transaction.ts';

/** What a rows step needs of the applying session. */
export interface RowsNeed {
  readonly move: CheckpointMove;
  /** It has rows that other sessions load. */
  readonly hasLoose: boolean;
  /** It has rows that go with the checkpoint. */
  readonly hasBound: boolean;
  readonly commits: boolean;
}

/**
 * When the checkpoint's transaction begins. It holds the checkpoint's row alone, so no rows are loaded beside it: it begins
 * at its end, or with the first rows that are bound to it; from there on all rows are. Pure; told of rows in their order.
 */
export class DeferredBegin {
  #isOpen = false;
  #deferred: CheckpointMove | null = null;

  /** Rows may be loaded by other sessions. */
  get mayLoosen(): boolean {
    return !this.#isOpen;
  }

  /** A transaction is open on the applying session. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The move from where the checkpoint stands at the server. */
  whole(move: CheckpointMove): CheckpointMove {
    const begin = this.#deferred;
    return begin === null ? move : { ...move, from: begin.from, fromEpoch: begin.fromEpoch };
  }

  next({ move, hasLoose, hasBound, commits }: RowsNeed): RowsPlace {
    const whole = this.whole(move);
    if (!this.#isOpen && hasLoose && !hasBound && !commits) {
      this.#deferred = whole;
      return { begin: false, move: null, commit: false };
    }
    const begin = !this.#isOpen;
    this.#deferred = null;
    this.#isOpen = !commits;
    return { begin, move: whole, commit: commits };
  }

  /** Ends the transaction where it stands: the move that is still to be made for that, null where it has been made. */
  settle(): CheckpointMove | null {
    const deferred = this.#deferred;
    this.#deferred = null;
    this.#isOpen = false;
    return deferred;
  }
}
