/**
 * Imported for its effect, as early as possible. Between two full collections V8 lets its old generation become several
 * times as large as what lives in it: with thousands of tables that is more than all else of the hub. Above a size that
 * a hub of few tables does not have, it grows by half only; the price is a collection more, most of it on other threads.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** Bytes in the old generation, garbage included, above which its growth is bounded. */
export const OLD_BYTES = 64 << 20;
/** Growth from what lives to the next full collection, in percent. */
export const GROWTH_PERCENT = 50;

const AS_V8_LIKES = 0;
let growth = AS_V8_LIKES;

/** V8 asks for it at the end of each full collection, so that it must be known before. */
function adjust(): void {
  const used = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0;
  const wanted = used > OLD_BYTES ? GROWTH_PERCENT : AS_V8_LIKES;
  if (wanted === growth) return;
  growth = wanted;
  setFlagsFromString(`--heap-growing-percent=${growth}`);
}

new PerformanceObserver(adjust).observe({ entryTypes: ['gc'] });
