import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Lsn } from '../position.ts';

/** A snapshot as `pg_current_snapshot()` prints it: `xmin:xmax:xip,xip,...`, 64-bit transaction ids. */
export class Snapshot {
  readonly xmin: number;
  readonly xmax: number;
  readonly #running: ReadonlySet<number>;

  /** @throws TidemarkError `POSTGRES_PROTOCOL` */
  constructor(text: string) {
    const match = /^(\d+):(\d+):([\d,]*)$/.exec(text);
    if (match === null) throw new TidemarkError('POSTGRES_PROTOCOL', `'${text}' is not a snapshot`);
    this.xmin = Number(match[1]);
    this.xmax = Number(match[2]);
    const list = match[3] ?? '';
    this.#running = new Set(list === '' ? [] : list.split(',').map(Number));
  }

  /** True when the effects of that transaction, which has committed, are in the snapshot. */
  sees(xid: number): boolean {
    if (xid < this.xmin) return true;
    return xid < this.xmax && !this.#running.has(xid);
  }
}

const XIDS = 2 ** 32;

/** A 32-bit transaction id widened to the 64-bit one that is nearest to `near`. */
export function widened(xid: number, near: number): number {
  const base = Math.floor(near / XIDS) * XIDS + xid;
  if (base - near > XIDS / 2) return base - XIDS;
  if (near - base > XIDS / 2) return base + XIDS;
  return base;
}

const SHORT_PAGE_HEADER = 24;
const LONG_PAGE_HEADER = 40;

/**
 * The end of WAL as a place that the stream can come to. The insert position just past a page header means that nothing
 * stands on the page yet: the stream then stays at the page's start.
 */
export function streamEnd(insert: Lsn, pageBytes: number, segmentBytes: number): Lsn {
  if (insert % segmentBytes === LONG_PAGE_HEADER) return insert - LONG_PAGE_HEADER;
  if (insert % segmentBytes > pageBytes && insert % pageBytes === SHORT_PAGE_HEADER) return insert - SHORT_PAGE_HEADER;
  return insert;
}
