import type { LogCheckSummary } from '../../log/embedded/check/check-log.ts';
import type { LogFinding } from '../../log/embedded/check/finding.ts';
import { counted } from '../text/text-table.ts';

const SHOWN_TABLES = 20;

/** A finding for people: what and where, then what it concerns, then what to do. */
export function findingLines({ source, kind, file, bytes, offsets, tables, what, mend }: LogFinding): string[] {
  const concerns = [
    ...(bytes === null ? [] : [bytes.from === bytes.to ? `at byte ${bytes.from}` : `bytes ${bytes.from} to ${bytes.to}`]),
    ...(offsets === null ? [] : [offsets.from === offsets.to ? `offset ${offsets.from}` : `offsets ${offsets.from} to ${offsets.to}`]),
    ...(kind === 'index' ? ['no record'] : [tablesText(tables)]),
  ];
  return [`${source}  ${[file, kind].filter((part) => part !== '').join('  ')}: ${what}`, `  where: ${concerns.join(', ')}`, `  to do: ${mend}`];
}

function tablesText(tables: readonly string[] | null): string {
  if (tables === null) return 'any table';
  if (tables.length === 0) return 'no table';
  const more = tables.length - SHOWN_TABLES;
  return `tables ${tables.slice(0, SHOWN_TABLES).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

export function summaryLine({ source, horizon, highWatermark, segments, runs, records, transactions, findings }: LogCheckSummary): string {
  const size = `${counted(segments, 'segment')}, ${counted(runs, 'run')} of the base, ${counted(records, 'record')} in ${counted(transactions, 'transaction')}`;
  return `${source}  offsets ${horizon} to ${highWatermark}: ${size}: ${findings === 0 ? 'all as it was written' : counted(findings, 'finding')}`;
}
