import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Position, PositionCodec } from '../../../contracts/position.ts';

/** How far a log is behind its source. Null: not known (the source is not reached, or is another one than it was). */
export interface Lag {
  readonly bytes: number | null;
  readonly seconds: number | null;
}

interface Sighting {
  readonly head: Position;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** Sightings that the log has not come to are thinned out above this number. */
const MOST_SIGHTINGS = 512;

/**
 * Measures the lag of a log from where the source's own log ended when somebody looked. The end of a source's log moves
 * without changes for the hub too, so that the age of the last transaction alone would call an idle source hours behind:
 * a log that has come past a sighting is behind by no more than the time since then.
 */
export class SourceLag {
  readonly #positions: PositionCodec;
  #ahead: Sighting[] = [];
  /** When the newest sighting that the log has come to was made; 0: none yet. */
  #passedAt = 0;
  #last: Position | null = null;

  constructor(positions: PositionCodec) {
    this.#positions = positions;
  }

  /** The source's log ends at `head`; null: the source could not be asked. @param at milliseconds since 1970 */
  seen(head: Position | null, at: number): void {
    this.#last = head;
    if (head === null) return;
    this.#ahead.push({ head, at });
    if (this.#ahead.length > MOST_SIGHTINGS) this.#ahead = this.#ahead.filter((_, index) => index % 2 === 0 || index === this.#ahead.length - 1);
  }

  /**
   * @param position durable in the log; null: none yet
   * @param commitTime of the last transaction in the log, microseconds since 1970; 0: none
   * @param now milliseconds since 1970
   */
  of(position: Position | null, commitTime: number, now: number): Lag {
    const head = this.#last;
    if (head === null || position === null) return UNKNOWN;
    try {
      this.#pass(position);
      const bytes = Math.max(0, this.#positions.distance?.(position, head) ?? 0);
      return { bytes: this.#positions.distance === undefined ? null : bytes, seconds: this.#secondsOf(commitTime, now) };
    } catch (failure) {
      if (failure instanceof TidemarkError && failure.code === 'POSITION_FOREIGN') return UNKNOWN;
      throw failure;
    }
  }

  #pass(position: Position): void {
    const first = this.#ahead.findIndex(({ head }) => this.#positions.compare(head, position) > 0);
    const passed = this.#ahead.splice(0, first === -1 ? this.#ahead.length : first);
    this.#passedAt = passed.at(-1)?.at ?? this.#passedAt;
  }

  #secondsOf(commitTime: number, now: number): number | null {
    if (this.#ahead.length === 0) return 0;
    const since = Math.max(commitTime / 1000, this.#passedAt);
    return since === 0 ? null : Math.round(Math.max(0, now - since)) / 1000;
  }
}

const UNKNOWN: Lag = { bytes: null, seconds: null };
