/** How one sink's batches are filled from the log. */
export interface FillState {
  /** Records folded so far, those of other tables included. */
  readonly folded: number;
  /** Records that are durable in the log and not read yet. */
  readonly ahead: number;
  /** The fold is as large as a batch may be. */
  readonly full: boolean;
  /** A batch may end here. */
  readonly mayEnd: boolean;
}

/**
 * True when the batch is to be handed to the sink now, false when more of the log is read into it first. Waits for more
 * only where what is already durable would at least double the batch: a sink that is caught up sees each transaction
 * at once, one that is behind gets large batches, and a steady trickle never holds a batch back for long.
 */
export function isReady({ folded, ahead, full, mayEnd }: FillState): boolean {
  if (!mayEnd) return false;
  return full || ahead < folded;
}

/** Bytes that a pipeline holds: taken before work is handed on, given back when it is done. */
export class Budget {
  readonly limit: number;
  #taken = 0;

  /** @param limit bytes; one piece of work larger than it is let through alone */
  constructor(limit: number) {
    this.limit = limit;
  }

  get taken(): number {
    return this.#taken;
  }

  /** True when `bytes` more may be taken now. */
  allows(bytes: number): boolean {
    return this.#taken === 0 || this.#taken + bytes <= this.limit;
  }

  take(bytes: number): void {
    this.#taken += bytes;
  }

  give(bytes: number): void {
    this.#taken -= bytes;
  }
}

/** Pipelines up to this number have the whole of their limit; more of them share what these would hold. */
const WHOLE_LIMITS = 4;
/** A pipeline works with less, but slowly. */
const LEAST_BYTES = 2 << 20;

/** Bytes that one of `pipelines` may hold, so that many sinks do not take as many times the memory of one. */
export function shareOf(limit: number, pipelines: number): number {
  return Math.min(limit, Math.max(LEAST_BYTES, Math.floor((limit * WHOLE_LIMITS) / Math.max(1, pipelines))));
}
