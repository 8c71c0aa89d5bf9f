/** What a bench compares, and the verdict. Pure: the runner measures. */

export interface Measure {
  /** Of the figure that is compared: `row changes/s`, `ms (p50)`. */
  readonly unit: string;
  readonly baseline: number;
  readonly tidemark: number;
}

export interface Goal {
  readonly target: number;
  /** `at-least`: more is better (rates); `at-most`: less is better (latency). */
  readonly sense: 'at-least' | 'at-most';
  /** What the process may hold in memory, where that is not `RSS_LIMIT_MB`. */
  readonly rssMb?: number;
}

/** What a process may hold in memory in a bench, in megabytes (10^6 bytes). */
export const RSS_LIMIT_MB = 400;

export interface Outcome {
  readonly bench: string;
  readonly ratio: number;
  readonly target: number;
  /** Of each side. */
  readonly samples: number;
  /** Peak of the Tidemark process over all samples. */
  readonly rss_mb: number;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('no median of nothing');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

/** The value below which the given part (0 to 1) of the values lies. */
export function percentile(values: Float64Array, part: number): number {
  const sorted = values.toSorted();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** The worst ratio of several figures decides. */
export function ratioOf(measures: readonly Measure[], goal: Goal): number {
  const ratios = measures.map(({ baseline, tidemark }) => tidemark / baseline);
  return goal.sense === 'at-least' ? Math.min(...ratios) : Math.max(...ratios);
}

export function isMet(outcome: Outcome, goal: Goal): boolean {
  const fast = goal.sense === 'at-least' ? outcome.ratio >= goal.target : outcome.ratio <= goal.target;
  return fast && outcome.rss_mb < (goal.rssMb ?? RSS_LIMIT_MB);
}

export function jsonLine(outcome: Outcome): string {
  const { bench, ratio, target, samples, rss_mb } = outcome;
  return JSON.stringify({ bench, ratio: rounded(ratio, 3), target, samples, rss_mb: rounded(rss_mb, 1) });
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
