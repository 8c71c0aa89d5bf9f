/** A verification for people. Pure: from values to text. */
import { formatDuration } from '../../../contracts/units.ts';
import type { Comparison, Difference, TableReport, VerifyProgress, VerifyReport } from '../../verify/report.ts';
import { bar } from './bar.ts';
import { counted, grouped, shortened } from './text-table.ts';

const PHASES: Readonly<Record<VerifyProgress['phase'], string>> = {
  opening: 'takes a moment',
  log: 'reads the log',
  rows: 'reads rows',
  differences: 'looks for rows that differ',
  again: 'looks again',
  repair: 'rewrites rows',
  copy: 'is copied again',
};
const LONGEST = 100;

export function progressText({ table, index, tables, phase, rows, ofRows, etaSeconds }: VerifyProgress): string {
  const part = ofRows === null || ofRows === 0 ? null : Math.min(1, rows / ofRows);
  return [
    `${index} of ${tables}  ${shortened(table, 40)}`,
    PHASES[phase],
    ...(part === null ? [] : [`${bar(part)} ${Math.floor(part * 100)}%`]),
    ...(rows === 0 ? [] : [`${grouped(rows)} rows`]),
    ...(etaSeconds === null ? [] : [`${formatDuration(etaSeconds * 1000)} left`]),
  ].join('  ');
}

/** Lines of a report: each table, its differences, and what it comes to. */
export function reportLines(report: VerifyReport): string[] {
  const lines = report.tables.flatMap(tableLines);
  return [...lines, '', summary(report)];
}

function tableLines({ table, comparisons, recopied }: TableReport): string[] {
  const head = recopied ? `${table}: its log differed from the source; it was copied again` : null;
  return [...(head === null ? [] : [head]), ...comparisons.flatMap((comparison) => comparisonLines(table, comparison))];
}

function comparisonLines(table: string, comparison: Comparison): string[] {
  const { sides, skipped, offset, position, rows, buckets, differences, repaired, deadLetters, expired, outside, first } = comparison;
  const name = `${table}: ${sides === 'source-log' ? 'source = log' : 'log = sink'}`;
  if (skipped !== null) return [`${name}: not compared: ${skipped}`];
  const at = `at offset ${offset}${position === null ? '' : ` (${position})`}`;
  const known = [
    ...(deadLetters === 0 ? [] : [counted(deadLetters, 'open dead letter')]),
    ...(expired === 0 ? [] : [`${counted(expired, 'row')} ${expired === 1 ? 'has' : 'have'} expired`]),
    ...(outside === 0 ? [] : [`${counted(outside, 'row')} ${outside === 1 ? 'has' : 'have'} left the log's window`]),
  ].join(', ');
  const aside = known === '' ? '' : `; besides: ${known}`;
  if (differences === 0) return [`${name}: equal, ${counted(rows.expected, 'row')} in ${counted(buckets, 'bucket')}, ${at}${aside}`];
  const mended = repaired === 0 ? '' : `, ${repaired === differences ? 'all' : grouped(repaired)} of them repaired`;
  const more = differences - first.length;
  return [
    `${name}: ${differing(differences)}${mended}, of ${grouped(rows.expected)} and ${grouped(rows.found)}, ${at}${aside}`,
    ...first.flatMap((difference) => differenceLines(difference, sides)),
    ...(more > 0 ? [`  and ${grouped(more)} more`] : []),
  ];
}

function differing(count: number): string {
  return `${counted(count, 'row')} ${count === 1 ? 'differs' : 'differ'}`;
}

function differenceLines({ kind, key, columns, counts, seen, offset, repaired }: Difference, sides: Comparison['sides']): string[] {
  const [left, right] = sides === 'source-log' ? ['the source', 'the log'] : ['the log', 'the sink'];
  const what = {
    missing: `only in ${left}`,
    extra: `only in ${right}`,
    changed: 'differs',
    count: `${counts.expected} times in ${left}, ${counts.found} times in ${right}`,
  }[kind];
  const state = repaired ? ', repaired' : seen === 'still' ? `, and still at offset ${offset}` : '';
  const values = columns.map(({ column, expected, found }) => `    ${column}: ${valueText(expected)} in ${left}, ${valueText(found)} in ${right}`);
  return [`  ${shortened(key, LONGEST)}: ${what}${state}`, ...values];
}

function valueText(value: string | null): string {
  return value === null ? 'NULL' : `'${shortened(value, LONGEST)}'`;
}

function summary({ sink, source, against, tables, outcome, seconds }: VerifyReport): string {
  const compared = tables.flatMap(({ comparisons }) => comparisons.filter(({ skipped }) => skipped === null));
  const skipped = tables.filter(({ comparisons }) => comparisons.some((comparison) => comparison.skipped !== null)).length;
  const rows = compared.filter(({ sides }) => sides === 'log-sink').reduce((sum, comparison) => sum + comparison.rows.expected, 0);
  const differences = compared.reduce((sum, comparison) => sum + comparison.differences - comparison.repaired, 0);
  const what = against === 'source' ? `source ${source} = log = sink ${sink}` : `log of ${source} = sink ${sink}`;
  const verdict = { equal: what, different: `${what} does not hold: ${differing(differences)}`, incomplete: `${what} is not proven: no row that was compared differs` }[outcome];
  const rest = skipped === 0 ? '' : `; ${skipped} of ${tables.length} tables were not compared in full`;
  return `${verdict}; ${counted(rows, 'row')} of ${counted(tables.length, 'table')} in ${formatDuration(seconds * 1000)}${rest}`;
}
