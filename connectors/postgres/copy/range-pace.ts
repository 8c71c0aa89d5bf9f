/** A chunk is to hold its lock, and its snapshot, about this long at most. */
const AIM_MS = 2_000;
/** How much longer the next range may be than the last. */
const GROWTH = 4;
/** How full a spool is to become, once one was too full. */
const AIM_FILL = 0.75;

/** How much of one table a chunk may take, learnt from those before it: in pages, or in rows where ranges go by key. */
export class RangePace {
  #pages = Infinity;
  #rows: number;

  constructor(rows: number) {
    this.#rows = Math.max(1, rows);
  }

  /** Pages that a chunk may take; Infinity: as planned. */
  get pages(): number {
    return this.#pages;
  }

  get rows(): number {
    return this.#rows;
  }

  /** @param fill bytes of the spool that were used, of those that it may have (0 .. 1) */
  took(pages: number, ms: number, fill: number): void {
    const fitting = Math.max(1, Math.floor(Math.min((pages * AIM_MS) / Math.max(ms, 1), (pages * AIM_FILL) / Math.max(fill, 0.001))));
    if (ms > AIM_MS) this.#pages = fitting;
    else if (Number.isFinite(this.#pages)) this.#pages = Math.min(fitting, Math.max(this.#pages, pages * GROWTH));
  }

  tookRows(rows: number, ms: number): void {
    const fitting = (Math.max(rows, 1) * AIM_MS) / Math.max(ms, 1);
    this.#rows = Math.max(1, Math.floor(Math.min(fitting, this.#rows * GROWTH)));
  }

  /** The spool was full before the end; what is tried next has so many pages. */
  overflowed(pages: number): void {
    this.#pages = Math.min(this.#pages, pages);
  }
}
