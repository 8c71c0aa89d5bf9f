/** How much room the data folder has, and what is done about it. Decisions without I/O. */

/** What the data folder takes, and what the disk has, in bytes. */
export interface DiskUse {
  readonly used: number;
  /** What can still be written to the disk, by anybody; null: nobody can tell. */
  readonly free: number | null;
  /** Size of the disk. */
  readonly total: number | null;
}

/**
 * `low`: it is said, and history is folded beyond what retention asks for. `short`: readers and leases do not keep it any
 * more. `full`: nothing is captured.
 */
export type DiskLevel = 'ok' | 'low' | 'short' | 'full';

export interface DiskRoom {
  readonly used: number;
  /** What the folder may take: the configured limit, or what it has and the disk can give, whichever is less. */
  readonly limit: number;
  readonly level: DiskLevel;
}

const GIB = 2 ** 30;
/** Of a disk so much is left to others, at most; of a small one a twentieth. */
const RESERVE = GIB;
/** Capture stops so far below the limit, at most; of a small one at a twentieth. */
const MARGIN = GIB / 4;
const PART = 20;

const LOW = 0.8;
/** It is low again only above this: what has been folded is not said to be too much a moment later. */
const LOW_ENDS = 0.75;
/** Room below which readers and leases do not count, and above which capture goes on, in margins. */
const SHORT_MARGINS = 3;
const AGAIN_MARGINS = 2;

export function limitOf({ used, free, total }: DiskUse, configured: number | null): number {
  const reserve = Math.min(RESERVE, (total ?? 0) / PART);
  const ofDisk = free === null ? Number.POSITIVE_INFINITY : used + Math.max(0, Math.floor(free - reserve));
  return Math.min(configured ?? Number.POSITIVE_INFINITY, ofDisk);
}

/** Room that is kept: writes under way end within it. */
export function marginOf(limit: number): number {
  return Number.isFinite(limit) ? Math.min(MARGIN, limit / PART) : 0;
}

/** @param before the level so far */
export function roomOf(use: DiskUse, configured: number | null, before: DiskLevel): DiskRoom {
  const { used } = use;
  const limit = limitOf(use, configured);
  return { used, limit, level: levelOf(used, limit, before) };
}

function levelOf(used: number, limit: number, before: DiskLevel): DiskLevel {
  if (!Number.isFinite(limit)) return 'ok';
  const room = limit - used;
  const margin = marginOf(limit);
  if (room <= margin || (before === 'full' && room <= AGAIN_MARGINS * margin)) return 'full';
  if (room <= SHORT_MARGINS * margin) return 'short';
  const isLow = used >= LOW * limit || (before !== 'ok' && used >= LOW_ENDS * limit);
  return isLow ? 'low' : 'ok';
}

/** Bytes of history that are to be folded so that the folder is not low any more, if folding freed all of them. */
export function excessOf({ used, limit, level }: DiskRoom): number {
  return level === 'ok' || !Number.isFinite(limit) ? 0 : Math.max(0, Math.ceil(used - LOW_ENDS * limit));
}
