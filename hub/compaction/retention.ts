import type { HistoryMark } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';

/** How far back a log keeps every change; whichever is reached first counts. */
export interface Retention {
  /** Milliseconds; null: no limit. */
  readonly ageMs: number | null;
  /** Bytes of history; null: no limit. */
  readonly bytes: number | null;
}

/**
 * Where the horizon should be: at the last mark whose changes are all older than the age, or as far on as it takes for the
 * history behind it to fit. A pure decision.
 * @param marks where the horizon may stand, oldest first
 * @param historyBytes of all history, what has no mark yet included
 * @param now milliseconds since 1970
 * @returns 0 where nothing is to be folded
 */
export function horizonTarget(marks: readonly HistoryMark[], historyBytes: number, { ageMs, bytes }: Retention, now: number): Offset {
  let target: Offset = 0;
  let folded = 0;
  for (const mark of marks) {
    const isOld = ageMs !== null && mark.agesFrom <= (now - ageMs) * 1000;
    const isMuch = bytes !== null && historyBytes - folded > bytes;
    if (!isOld && !isMuch) break;
    target = mark.offset;
    folded += mark.bytes;
  }
  return target;
}
