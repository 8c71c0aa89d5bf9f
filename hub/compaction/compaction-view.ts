import { errorView } from '../error-view.ts';
import type { CompactionView } from '../service.ts';
import type { CompactionState } from './compaction.ts';

/** @param failedAt when the last attempt failed, milliseconds since 1970 */
export function compactionView({ running, last, hold, target, failure }: CompactionState, horizon: number, failedAt: number): CompactionView {
  const state = running === null ? (failure === null ? 'idle' : 'failed') : running.phase === 'fold' ? 'folding' : 'merging';
  return {
    state,
    part: running === null ? null : running.totalBytes === 0 ? 0 : running.bytes / running.totalBytes,
    target: target > horizon ? target : null,
    last: last === null ? null : { ...last, at: new Date(last.at).toISOString() },
    hold: hold !== null && target > horizon && hold.offset < target ? hold : null,
    error: failure === null ? null : errorView(failure, failedAt),
  };
}
