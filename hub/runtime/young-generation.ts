/**
 * Imported for its effect, before what it is to bound. V8 lets its young generation grow to 128 MiB on a large machine,
 * and a stream of batches fills all of it before anything is collected. A quarter of that costs no throughput, and the
 * limit that V8 has for it can only be given on the command line, which a started process has behind it: so growth is
 * forbidden after each collection that leaves the young generation as large as it may become.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** Bytes of both halves of the young generation, above which it does not grow; V8 doubles it at each step. */
export const YOUNG_BYTES = 32 << 20;

/** V8's own. */
const DOUBLES = 2;
const STAYS = 1;

let factor = DOUBLES;

function adjust(): void {
  const size = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0;
  // It may shrink while the process is idle, and then grows again.
  const wanted = size * DOUBLES > YOUNG_BYTES ? STAYS : DOUBLES;
  if (wanted === factor) return;
  factor = wanted;
  setFlagsFromString(`--semi-space-growth-factor=${factor}`);
}

adjust();
new PerformanceObserver(adjust).observe({ entryTypes: ['gc'] });
