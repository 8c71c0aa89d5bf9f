/** Logs and the disk under them, for people. Pure. */
import { formatDuration, formatSize } from '../../../contracts/units.ts';
import type { CompactionView, DiskView, SourceStatusView } from '../../service.ts';

export const LOG_HEADINGS = ['LOG OF', 'HORIZON>', 'AS OF', 'HISTORY>', 'BASE>', 'ARCHIVE>', 'COMPACTION'];

/** True when there is more to say than the size of the log. */
export function hasLogText({ horizon, compaction }: SourceStatusView): boolean {
  return horizon > 0 || compaction.state !== 'idle';
}

export function logCells(source: SourceStatusView): string[] {
  return [
    source.name,
    String(source.horizon),
    source.horizonTime === 0 ? '-' : new Date(source.horizonTime / 1000).toISOString(),
    formatSize(source.historyBytes),
    formatSize(source.baseBytes),
    formatSize(source.archiveBytes),
    compactionText(source.compaction),
  ];
}

function compactionText({ state, part, target, last, hold, error }: CompactionView): string {
  if (part !== null) return `${state} ${Math.floor(part * 100)}%`;
  const done = last === null ? '' : `, last ${formatSize(last.bytes)} in ${formatDuration(last.seconds * 1000)}`;
  const isHeld = target !== null && hold !== null && hold.offset < target;
  const held = isHeld ? `, held at ${hold.offset} by ${hold.by === 'reader' ? 'a reader' : `${hold.by} ${hold.name}`}` : '';
  return `${state}${done}${held}${error === null ? '' : `: ${error.code}`}`;
}

/** '' while there is room enough. */
export function diskText({ used, limit, level }: DiskView): string {
  if (level === 'ok' || limit === null) return '';
  const what = { low: 'history is folded early', short: 'history is folded early, leases end', full: 'NOTHING IS CAPTURED' }[level];
  return `; the data folder takes ${formatSize(used)} of ${formatSize(limit)}: ${what}`;
}
