/** The status of a hub for people. Pure: from values to lines. */
import { formatDuration, formatSize } from '../../../contracts/units.ts';
import type { HubStatus, RebuildView, SinkStatusView, SourceStatusView, TableStatus } from '../../service.ts';
import { bar } from './bar.ts';
import { diskText, hasLogText, LOG_HEADINGS, logCells } from './log-text.ts';
import { rebuildAim, rebuildProgress, sinkState } from './rebuild-text.ts';
import { grouped, shortened, textTable } from './text-table.ts';

/** Tables that are not as they should be are listed one by one, up to this many. */
const MOST_TABLES = 20;

/** @param now milliseconds since 1970 */
export function statusLines(status: HubStatus, now: number): string[] {
  const lines = [`tidemark ${status.version}, up ${formatDuration(Math.max(0, now - Date.parse(status.startedAt)))}${diskText(status.disk)}`];
  return [...lines, ...sections(status)];
}

/** The same of a hub that is not running, from its folder. */
export function stoppedStatusLines(status: HubStatus, data: string): string[] {
  return [`The hub is not running. Its folder ${data} says:`, ...sections(status), '', 'What the sinks have applied stands in the sinks.'];
}

function sections({ sources, sinks }: HubStatus): string[] {
  const unsettled = sources.flatMap((source) => source.tables.filter(isUnsettled).map((table) => ({ source, table })));
  return [
    ...section(sources, SOURCE_HEADINGS, sourceCells),
    ...section(sources.filter(hasLogText), LOG_HEADINGS, logCells),
    ...section(sinks, SINK_HEADINGS, sinkCells),
    ...section(sinks.flatMap(underWay), ['REBUILD OF', 'OF WHAT', 'PROGRESS'], ({ sink, rebuild }) => [sink, rebuildAim(rebuild), rebuildProgress(rebuild)]),
    ...section(unsettled.slice(0, MOST_TABLES), ['TABLE', 'SOURCE', 'STATE', 'SINCE>', 'PROGRESS'], ({ source, table }) => tableCells(source.name, table, false)),
    ...(unsettled.length > MOST_TABLES ? [`and ${unsettled.length - MOST_TABLES} more; \`tidemark tables\` lists all`] : []),
    ...waits(sources),
    ...failures(sources, sinks),
    ...stops(sources),
  ];
}

function section<T>(items: readonly T[], headings: readonly string[], cells: (item: T) => string[]): string[] {
  return items.length === 0 ? [] : ['', ...textTable(headings, items.map(cells))];
}

const SOURCE_HEADINGS = ['SOURCE', 'STATE', 'OFFSET>', 'POSITION', 'BEHIND', 'RECORDS/S>', 'WAL HELD>', 'LOG>', 'TABLES'];

function sourceCells(source: SourceStatusView): string[] {
  const behind = [source.lag.bytes === null ? null : formatSize(source.lag.bytes), source.lag.seconds === null ? null : formatDuration(source.lag.seconds * 1000)];
  return [
    source.name,
    source.state,
    String(source.highWatermark),
    source.position ?? '-',
    behind.every((part) => part === null) ? '-' : behind.filter((part) => part !== null).join(', '),
    grouped(source.recordsPerSecond),
    source.retainedWalBytes === null ? '-' : formatSize(source.retainedWalBytes),
    formatSize(source.logBytes),
    stateCounts(source.tables),
  ];
}

const SINK_HEADINGS = ['SINK', 'FROM', 'STATE', 'OFFSET>', 'POSITION', 'BEHIND', 'RECORDS/S>', 'DEAD LETTERS>'];

function sinkCells(sink: SinkStatusView): string[] {
  const { records, bytes, seconds } = sink.lag;
  return [
    sink.name,
    sink.from,
    sinkState(sink),
    String(sink.offset),
    sink.position ?? '-',
    [`${grouped(records)} records`, formatSize(bytes), ...(seconds === null ? [] : [formatDuration(seconds * 1000)])].join(', '),
    grouped(sink.recordsPerSecond),
    String(sink.deadLetters),
  ];
}

/** The rebuild of a sink, unless it is over. */
function underWay({ name, rebuild }: SinkStatusView): { readonly sink: string; readonly rebuild: RebuildView }[] {
  return rebuild === null || rebuild.endedAt !== null ? [] : [{ sink: name, rebuild }];
}

/** Every table of every source. */
export function tableLines(sources: readonly { readonly name: string; readonly tables: readonly TableStatus[] }[]): string[] {
  const rows = sources.flatMap(({ name, tables }) => tables.map((table) => tableCells(name, table, true)));
  return textTable(['TABLE', 'SOURCE', 'STATE', 'SINCE>', 'CONSISTENT', 'PROGRESS'], rows);
}

function tableCells(source: string, table: TableStatus, withRanges: boolean): string[] {
  const ranges = table.consistent.map(({ from, to }) => (to === null ? `${from} ..` : `${from} .. ${to}`)).join(', ');
  return [
    shortened(table.table, 80),
    source,
    table.state,
    String(table.since),
    ...(withRanges ? [ranges === '' ? '-' : ranges] : []),
    progressText(table),
  ];
}

/** How far the copy of a table is, or why it has stopped; '' when there is nothing to say. */
export function progressText(table: TableStatus): string {
  const { copy } = table;
  if (copy === null) return table.stoppedBecause === null ? '' : shortened(table.stoppedBecause, 120);
  if (copy.waitingFor !== '') return `waits: ${shortened(copy.waitingFor, 100)}`;
  const part = copyPart(copy);
  const eta = copy.etaSeconds === null ? '' : `, ${formatDuration(copy.etaSeconds * 1000)} left`;
  return `${bar(part)} ${Math.floor(part * 100)}%, ${grouped(copy.rows)} of about ${grouped(copy.estimatedRows)} rows${eta}`;
}

/** 0 to 1; an estimate that was too small never shows more than all. */
export function copyPart({ rows, estimatedRows }: { readonly rows: number; readonly estimatedRows: number }): number {
  return estimatedRows <= 0 ? 0 : Math.min(1, rows / estimatedRows);
}

function isUnsettled(table: TableStatus): boolean {
  return table.state !== 'consistent' && table.state !== 'removed';
}

function stateCounts(tables: readonly TableStatus[]): string {
  const counts = new Map<string, number>();
  for (const { state } of tables) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ');
}

function waits(sources: readonly SourceStatusView[]): string[] {
  const waiting = sources.filter(({ waitingFor }) => waitingFor !== '');
  return waiting.length === 0 ? [] : ['', ...waiting.map(({ name, waitingFor }) => `source ${name} waits: ${waitingFor}`)];
}

function failures(sources: readonly SourceStatusView[], sinks: readonly SinkStatusView[]): string[] {
  const parts = [
    ...sources.map(({ name, error }) => ({ what: `source ${name}`, error })),
    ...sinks.map(({ name, error }) => ({ what: `sink ${name}`, error })),
    // What leads through a rebuild in place is the sink itself, which has said it.
    ...sinks.map(({ name, rebuild }) => ({ what: `rebuild of sink ${name}`, error: rebuild === null || rebuild.phase === 'replaying' ? null : rebuild.error })),
  ];
  return parts.flatMap(({ what, error }) =>
    error === null
      ? []
      : [
          '',
          `${what}: ${error.code}: ${error.message}`,
          ...(Object.keys(error.where).length === 0 ? [] : [`  where: ${Object.entries(error.where).map(([name, value]) => `${name} ${value}`).join(', ')}`]),
          `  to do: ${error.remedy}`,
          `  since: ${error.at}`,
        ],
  );
}

/** Tables that have stopped: what, where, what to do. */
function stops(sources: readonly SourceStatusView[]): string[] {
  const stopped = sources.flatMap(({ name, tables }) => tables.filter(({ state }) => state === 'stopped').map((table) => ({ name, table })));
  return stopped.slice(0, MOST_TABLES).flatMap(({ name, table }) => {
    const until = table.consistent.at(-1)?.to ?? null;
    return [
      '',
      `table ${shortened(table.table, 80)} of source ${name}: ${table.stoppedBecause ?? 'stopped'}`,
      `  where: offset ${table.since}${until === null ? '' : `, last consistent at ${until}`}`,
      `  to do: ${(table.remedy ?? '').replace('SOURCE TABLE', `${name} ${table.table}`)}`,
    ];
  });
}
