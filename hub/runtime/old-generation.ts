/**
 * Imported for its effect, as early as possible. Between two full collections V8 lets its old generation become several
 * times as large as what lives in it, and before the first one as large as it began with: with thousands of tables that is
 * more than all else of the hub. Above a size that a hub of few tables does not have, the first full collection is asked
 * for, and from then on it grows by half only; the price is a collection more, most of it on other threads. A small one grows by more than V8 likes.
 */
import { constants, PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes in the old generation, garbage included, above which its growth is bounded. */
const OLD_BYTES = 64 << 20;
/** Growth from what lives to the next full collection, in percent. */
const GROWTH_PERCENT = 50;
/** Bytes in it at which a full collection is asked for, where there was none since it came above. */
export const FIRST_BYTES = OLD_BYTES + OLD_BYTES / 2;

/**
 * How much a small one may grow, in bytes, about. Batches are read into memory outside the heap and are garbage soon: V8
 * counts them, and of a small heap it would look for them every four of them, which half of a reader's time went into.
 */
const SMALL_GROWTH = 48 << 20;
const MOST_PERCENT = 500;
const PERCENT_STEP = 50;

let growth = 0;
/** A full collection has ended under the bound, or has been asked for. */
let isBounded = false;

/** V8 asks for the growth at the end of each full collection, so that it must be known before. */
function adjust(entries: readonly PerformanceEntry[]): void {
  const used = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0;
  if (growth === GROWTH_PERCENT && entries.some(isFull)) isBounded = true;
  const wanted = used > OLD_BYTES ? GROWTH_PERCENT : smallPercent(used);
  if (wanted !== growth) {
    growth = wanted;
    setFlagsFromString(`--heap-growing-percent=${growth}`);
  }
  if (isBounded || used < FIRST_BYTES) return;
  isBounded = true;
  collect();
}

function smallPercent(used: number): number {
  const percent = Math.round((SMALL_GROWTH / Math.max(used, 1)) * (100 / PERCENT_STEP)) * PERCENT_STEP;
  return Math.min(Math.max(percent, GROWTH_PERCENT), MOST_PERCENT);
}

function isFull(entry: PerformanceEntry): boolean {
  const detail: unknown = 'detail' in entry ? entry.detail : null;
  return typeof detail === 'object' && detail !== null && 'kind' in detail && detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR;
}

/** A full collection, in a task of its own. */
function collect(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext(`gc({ type: 'major', execution: 'async' })`);
}

adjust([]);
new PerformanceObserver((list) => adjust(list.getEntries())).observe({ entryTypes: ['gc'] });
