/** A rebuild for people. Pure: from values to text. */
import { formatDuration } from '../../../contracts/units.ts';
import type { RebuildView, SinkStatusView } from '../../service.ts';
import { bar } from './bar.ts';
import { grouped, shortened } from './text-table.ts';

/** What is rebuilt, and to where. */
export function rebuildAim({ tables, to }: Pick<RebuildView, 'tables' | 'to'>): string {
  return `${tables === null ? 'all tables' : shortened(tables.join(', '), 60)}${to === null ? '' : `, to offset ${to}`}`;
}

/** How far it is: the phase, how much of it, rows, rate, what is left. */
export function rebuildProgress({ state, phase, what, rows, rowsPerSecond, part, etaSeconds, error }: RebuildView): string {
  const trouble = state === 'retrying' ? `, tries again: ${error?.code ?? ''}` : '';
  return [
    what === '' ? phase : `${phase} ${shortened(what, 60)}`,
    ...(part === null ? [] : [`${bar(part)} ${Math.floor(part * 100)}%`]),
    ...(rows === 0 ? [] : [`${grouped(rows)} rows`]),
    ...(rowsPerSecond === 0 ? [] : [`${grouped(rowsPerSecond)}/s`]),
    ...(etaSeconds === null ? [] : [`${formatDuration(etaSeconds * 1000)} left`]),
  ].join('  ') + trouble;
}

/** How one that is over has ended. */
export function rebuildOutcome(sink: string, { state, to, offset, why }: RebuildView): string {
  if (state === 'cancelled') return `the rebuild of sink ${sink} was cancelled${why === '' ? '' : `: ${why}`}`;
  const rests = to === null ? '' : `, and paused there: \`tidemark sink resume ${sink}\` goes on`;
  return `sink ${sink} was rebuilt at offset ${offset}${rests}`;
}

/** The state of a sink, with why it rests. */
export function sinkState({ state, degraded, pause, load }: SinkStatusView): string {
  const rests = state === 'paused' && pause?.by === 'rebuild' ? `paused at offset ${pause.offset} by a rebuild` : state;
  const loads = load === null ? rests : `${rests} ${loaded(load)}`;
  return degraded ? `${loads}, degraded` : loads;
}

/** How much of the log's base a sink has. */
function loaded({ rows, estimatedRows, etaSeconds }: NonNullable<SinkStatusView['load']>): string {
  const part = estimatedRows <= 0 ? 0 : Math.min(1, rows / estimatedRows);
  const left = etaSeconds === null ? '' : `, ${formatDuration(etaSeconds * 1000)} left`;
  return `${Math.floor(part * 100)}%, ${grouped(rows)} of about ${grouped(estimatedRows)} rows${left}`;
}
