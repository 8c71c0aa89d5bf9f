import type { CommitPoint } from '../../../../contracts/log-engine.ts';
import type { LogCore } from '../log-core.ts';
import type { SegmentEntry } from '../manifest.ts';
import { ageOf } from '../segments/age.ts';
import { readLog } from './reader.ts';

/** Whether a place of the log counts. Once false it stays false for all places after it. */
type Accepts = (point: CommitPoint) => boolean;

/**
 * The last end of a source transaction that `accepts` is true of, at or above the horizon; the horizon itself counts as
 * one. Null: it is false of all of them. Reads one batch of each segment from the newest back, then through one segment.
 * @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
 */
export async function lastCommit(core: LogCore, accepts: Accepts, signal: AbortSignal): Promise<CommitPoint | null> {
  const { segments, horizon, base, end } = core.view;
  using _pin = core.pins.pin(horizon);
  for (const segment of segments.toReversed()) {
    if (segment.base > end.offset) continue;
    const greatest = greatestBefore(segments, segment, base?.maxCommitTime ?? 0);
    const found = await lastIn(core, segment, greatest, accepts, signal);
    if (found !== null) return found;
  }
  const start: CommitPoint = {
    offset: horizon,
    position: base === null || base.position === null ? null : Buffer.from(base.position, 'hex'),
    commitTime: base?.commitTime ?? 0,
    // Where no transaction of the source came before it, it is as old as the copies that it holds.
    maxCommitTime: base === null ? 0 : base.maxCommitTime || ageOf(base),
  };
  return accepts(start) ? start : null;
}

/** The greatest commit time before a segment: a sealed one knows that of its end. */
function greatestBefore(segments: readonly SegmentEntry[], segment: SegmentEntry, ofBase: number): number {
  const before = segments.findLast((entry) => entry.number < segment.number && entry.state === 'sealed');
  return before?.state === 'sealed' ? before.maxCommitTime : ofBase;
}

/** The last accepted commit that follows the segment's start; null when the first one is not accepted, or there is none. */
async function lastIn(core: LogCore, segment: SegmentEntry, greatest: number, accepts: Accepts, signal: AbortSignal): Promise<CommitPoint | null> {
  const { horizon } = core.view;
  const after = Math.max(segment.base - 1, horizon);
  let found: CommitPoint | null = null;
  let maxCommitTime = greatest;
  for await (const batch of readLog(core, { after, follow: false, signal })) {
    for (const entry of batch.transactions) {
      if (!entry.commits || entry.kind !== 'source') continue;
      maxCommitTime = Math.max(maxCommitTime, entry.commitTime);
      const point = { offset: batch.baseOffset + entry.first + entry.count - 1, position: entry.position, commitTime: entry.commitTime, maxCommitTime };
      if (!accepts(point)) return found;
      found = point;
    }
    // A later segment has been looked at already: its first commit is not accepted.
    if (segment.state !== 'active' && batch.lastOffset > segment.last && found !== null) return found;
  }
  return found;
}
