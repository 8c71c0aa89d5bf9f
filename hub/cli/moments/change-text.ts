/** Differences and versions for people. Pure: from lines of JSON to lines of text. */
import type { ChangeJson, DiffHead, EndJson, ShapeJson, VersionJson } from '../../api/moments/schemas.ts';
import { changedLines, cellText, originText, OPS, pairs } from '../text/record-text.ts';
import { grouped, shortened } from '../text/text-table.ts';
import { cellNamed } from './row-format.ts';

const LONGEST_NAME = 100;
const SIGNS: Readonly<Record<ChangeJson['change'], string>> = { added: '+', removed: '-', changed: '~' };

/** What is compared, and how the shape of the table has changed in between. */
export function diffHeading({ from, to }: DiffHead): string[] {
  const named = to ?? from;
  const heading = `${named?.table ?? ''}${from !== null && to !== null && from.table !== to.table ? ` (${from.table} before)` : ''}`;
  return [`${heading}  ${momentText(from)} -> ${momentText(to)}`, ...shapeChanges(from, to)];
}

/** `offset 17 (2026-…)` */
export function momentText(shape: ShapeJson | null): string {
  if (shape === null) return 'no such table';
  return `offset ${shape.offset}${shape.time === null ? '' : ` (${shape.time})`}`;
}

function shapeChanges(from: ShapeJson | null, to: ShapeJson | null): string[] {
  if (from === null || to === null) return [];
  if (from.tableId !== to.tableId) return ['    the table was made anew in between'];
  const known = (shape: ShapeJson): Map<string, string> => new Map(shape.columns.map(({ name, type }) => [name, type]));
  const before = known(from);
  const after = known(to);
  const removed = [...before].flatMap(([name, type]) => (after.has(name) ? [] : [`    column - ${shortened(name, LONGEST_NAME)} ${type}`]));
  const added = [...after].flatMap(([name, type]) => (before.has(name) ? [] : [`    column + ${shortened(name, LONGEST_NAME)} ${type}`]));
  const changed = [...after].flatMap(([name, type]) => {
    const old = before.get(name);
    return old === undefined || old === type ? [] : [`    column ~ ${shortened(name, LONGEST_NAME)} ${old} -> ${type}`];
  });
  return [...removed, ...added, ...changed];
}

/** One line of what and which; of a changed row a line for each column that differs, else one for each column. */
export function changeText(change: ChangeJson, { from, to }: DiffHead): string[] {
  const { change: kind, key, count, columns, before, after } = change;
  const times = count === 1 ? '' : `  (${grouped(count)} times)`;
  const head = `${SIGNS[kind]} ${key === null ? 'row' : pairs(key)}${times}`;
  if (kind !== 'changed' || before === null || after === null) {
    const shape = after === null ? from : to;
    const row = after ?? before ?? {};
    const isKey = new Set(key === null ? [] : Object.keys(key));
    return [head, ...(shape?.columns ?? []).flatMap(({ name }) => (isKey.has(name) ? [] : [`    ${shortened(name, LONGEST_NAME)}: ${cellText(cellNamed(row, name))}`]))];
  }
  return [
    head,
    ...columns.map((name) => {
      const old = Object.hasOwn(before, name) ? `${cellText(cellNamed(before, name))} -> ` : '';
      return `    ${shortened(name, LONGEST_NAME)}: ${old}${cellText(cellNamed(after, name))}`;
    }),
  ];
}

export function diffSummary({ added = 0, removed = 0, changed = 0 }: EndJson): string {
  return `(${grouped(added)} added, ${grouped(removed)} removed, ${grouped(changed)} changed)`;
}

/** One line of what, where and when; then a line for each column, of an update for those that are others. */
export function versionText(version: VersionJson): string[] {
  const { offset, op, transaction, before, after } = version;
  const what = transaction === null ? 'as it stood' : OPS[op];
  const lines = after === null ? [] : changedLines(before, after);
  return [[String(offset), what, ...originText(version)].join('  '), ...lines.map((line) => `    ${line}`)];
}
