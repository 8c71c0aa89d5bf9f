/**
 * Imported for its effect, before what it is to bound. V8 lets its young generation grow to 128 MiB on a large machine,
 * and a stream of batches fills all of it before anything is collected. A quarter of that costs no throughput, and the
 * limit that V8 has for it can only be given on the command line, which a started process has behind it: so growth is
 * forbidden after each collection that leaves the young generation as large as it may become. Collections are told of once
 * the event loop turns, and each may double it until then: how many there may be is taken from how many there were.
 */
import { constants, PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** Bytes of both halves of the young generation, above which it does not grow; V8 doubles it at each step. */
export const YOUNG_BYTES = 32 << 20;

/** Bytes of one half while modules are loaded: the other half does not exist before the first collection. */
const LOADING_BYTES = YOUNG_BYTES / 4;
/** Objects that are made for that at most, should it not grow: some 10 MB. */
const MOST_KEPT = 64_000;

/** V8's own. */
const DOUBLES = 2;
const STAYS = 1;

let factor = DOUBLES;

function setFactor(to: number): void {
  if (to === factor) return;
  factor = to;
  setFlagsFromString(`--semi-space-growth-factor=${factor}`);
}

function youngBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0;
}

/**
 * While modules are loaded the event loop stands still for long, and all of the young generation would be in use. So it is
 * made as large as is of use then in one step, by objects that survive a collection, and may not grow by itself until the
 * event loop turns.
 */
function growForLoading(): void {
  setFactor(Math.max(Math.floor(LOADING_BYTES / Math.max(youngBytes(), 1)), STAYS));
  const kept: unknown[][] = [];
  while (youngBytes() < LOADING_BYTES && kept.length < MOST_KEPT) for (let i = 0; i < 1_000; i++) kept.push(new Array(16));
  setFactor(STAYS);
}

/** @param collections of the young generation since it was looked at last */
function adjust(collections: number): void {
  // It may shrink while the process is idle, and then grows again.
  setFactor(youngBytes() * DOUBLES ** Math.max(collections, 1) > YOUNG_BYTES ? STAYS : DOUBLES);
}

function isOfYoung(entry: PerformanceEntry): boolean {
  const detail: unknown = 'detail' in entry ? entry.detail : null;
  return typeof detail === 'object' && detail !== null && 'kind' in detail && detail.kind === constants.NODE_PERFORMANCE_GC_MINOR;
}

growForLoading();
new PerformanceObserver((list) => adjust(list.getEntries().filter(isOfYoung).length)).observe({ entryTypes: ['gc'] });
