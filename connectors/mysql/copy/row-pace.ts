/** A chunk is to hold its snapshot, and with it the table's definition, about this long at most. */
const AIM_MS = 2_000;
/** How much longer the next piece may be than the last. */
const GROWTH = 4;
/** How full a spool is to become. */
const AIM_FILL = 0.75;

/** How many rows of one table a piece may have, learnt from those before it. */
export class RowPace {
  #rows: number;

  /** @param rows of the first piece */
  constructor(rows: number) {
    this.#rows = Math.max(1, Math.ceil(rows));
  }

  get rows(): number {
    return this.#rows;
  }

  /** @param fill bytes of the spool that were used, of those that it may have (0 .. 1, or a little above) */
  took(rows: number, ms: number, fill: number): void {
    const inTime = (Math.max(rows, 1) * AIM_MS) / Math.max(ms, 1);
    const inSpool = (Math.max(rows, 1) * AIM_FILL) / Math.max(fill, 0.000_001);
    this.#rows = Math.max(1, Math.floor(Math.min(inTime, inSpool, Math.max(this.#rows, rows) * GROWTH)));
  }
}
