/**
 * From when on the changes of a segment age. A transaction of the source does from its commit, by the source's clock; where
 * that is ahead, from when the hub had it. What the hub itself has written, the rows of a copy above all, has no commit time
 * of its own and ages from then on; from its sealing, where the hub began anew in between. A segment ages as its youngest
 * transaction does.
 */
import type { Manifest, SealedSegment } from '../manifest.ts';

/** What is known of a segment as it is sealed. */
export interface SealedContent {
  /** The greatest commit time of a source transaction in it, microseconds since 1970. */
  readonly maxCommitTime: number;
  /** When the last of what the hub has written of its own was, microseconds since 1970; 0: there is none; infinite: it is not known. */
  readonly ofHubAt: number;
}

/**
 * Microseconds since 1970: never before that of the segments before it, unless the hub's own clock has gone back.
 * @param before that of the segment, or the base, before it
 * @param now the hub's clock, microseconds since 1970
 */
export function sealedAge({ maxCommitTime, ofHubAt }: SealedContent, before: number, now: number): number {
  return Math.max(Math.min(before, now), Math.min(Math.max(maxCommitTime, ofHubAt), now));
}

/** Of the last sealed segment, else of the base. */
export function lastAge({ segments, base }: Pick<Manifest, 'segments' | 'base'>): number {
  const last = segments.findLast((segment) => segment.state === 'sealed');
  if (last?.state === 'sealed') return ageOf(last);
  return base === null ? 0 : ageOf(base);
}

/** Logs of earlier versions do not say it: their commit times count. */
export function ageOf({ agesFrom, maxCommitTime }: Pick<SealedSegment, 'agesFrom' | 'maxCommitTime'>): number {
  return agesFrom ?? maxCommitTime;
}

/** Of segments that follow each other. What was sealed by a clock that was ahead is as old as what came after it. */
export function agesOf(segments: readonly SealedSegment[]): number[] {
  let next = Number.POSITIVE_INFINITY;
  return segments.toReversed().map((segment) => (next = Math.min(next, ageOf(segment)))).toReversed();
}
