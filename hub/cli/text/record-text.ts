/** A record of a changelog for people. Pure: from the line of JSON to lines of text. */
import type { CellJson, RecordJson } from '../../api/schemas.ts';
import { shortened } from './text-table.ts';

const LONGEST_VALUE = 100;

/** An op in words. */
export const OPS: Readonly<Record<RecordJson['op'], string>> = {
  c: 'create',
  u: 'update',
  d: 'delete',
  r: 'copied row',
  t: 'truncate',
  s: 'schema',
  m: 'message',
  h: 'hub',
};

/** One line of what, where and when; then a line per column, of an update with a before image those that changed. */
export function recordText(record: RecordJson): string[] {
  return [headline(record), ...body(record).map((line) => `    ${line}`)];
}

function headline(record: RecordJson): string {
  const key = record.key === undefined || record.key === null ? '' : pairs(record.key);
  return [String(record.offset), OPS[record.op], record.table ?? '', key, ...originText(record)].filter((part) => part !== '').join('  ');
}

/** By which transaction, when, where at the source; and the flags. */
export function originText({ transaction, flags }: Pick<RecordJson, 'transaction' | 'flags'>): string[] {
  return [
    transaction === null ? '' : transaction.kind === 'hub' ? 'by the hub' : `xid ${transaction.xid} at ${transaction.time}`,
    transaction === null || transaction.position === null ? '' : `position ${transaction.position}`,
    transaction === null || transaction.origin === '' ? '' : `from ${transaction.origin}`,
    flags.length === 0 ? '' : `(${flags.join(', ')})`,
  ].filter((part) => part !== '');
}

function body(record: RecordJson): string[] {
  const { before, after, schema, control, message } = record;
  if (schema !== undefined) {
    return schema.columns.map(({ name, type, nullable }) => `${shortened(name, LONGEST_VALUE)} ${type}${nullable ? '' : ' not null'}${schema.key.includes(name) ? ' key' : ''}`);
  }
  if (control !== undefined) return [shortened(controlText(control), 4 * LONGEST_VALUE)];
  if (message !== undefined) return [`${shortened(message.prefix, LONGEST_VALUE)}: ${cellText(message.content)}`];
  if (before === undefined || after === undefined) return [];
  return changedLines(before, after);
}

/** What a change did: of an update the columns that are others, else every column. */
export function changedLines(before: Row | null, after: Row | null): string[] {
  if (after === null) return before === null ? [] : rowLines(before);
  if (before === null) return rowLines(after);
  return Object.entries(after).flatMap(([name, value]) => {
    const old = Object.hasOwn(before, name) ? before[name] : undefined;
    if (old === undefined || sameCell(old, value)) return [];
    return [`${shortened(name, LONGEST_VALUE)}: ${cellText(old)} -> ${cellText(value)}`];
  });
}

/** What the hub did, without what only a connector understands (the state of a copy, its ranges). */
function controlText(control: NonNullable<RecordJson['control']>): string {
  const { type, reason, rows, code, why, consistentUntil, recopy } = control;
  switch (type) {
    case 'copying':
      return `a copy begins (${String(reason)})`;
    case 'chunk':
      return `a part of the copy is complete, ${String(rows)} rows`;
    case 'chunks-void':
      return `the parts copied so far are void: ${String(why)}`;
    case 'copied':
      return `the copy is complete, ${String(rows)} rows: the table is consistent from here`;
    case 'stopped':
      return `stopped, ${String(code)}: ${String(why)}; consistent until ${String(consistentUntil)}${recopy === true ? ', copied again by itself' : ''}`;
    case 'removed':
      return 'the table has left the configuration';
    case 'gap':
      return `a gap, changes are not in the log: ${String(why)}`;
    default:
      return JSON.stringify(control);
  }
}

type Row = NonNullable<RecordJson['after']>;

/** A line for each column of a row. */
function rowLines(row: Row): string[] {
  return Object.entries(row).map(([name, value]) => `${shortened(name, LONGEST_VALUE)}: ${cellText(value)}`);
}

/** `a=1 b=2` */
export function pairs(row: Row): string {
  return Object.entries(row).map(([name, value]) => `${shortened(name, LONGEST_VALUE)}=${cellText(value)}`).join(' ');
}

/** A value as people see it: `NULL`, `''`, bytes in hexadecimal, long ones cut. */
export function cellText(cell: CellJson): string {
  if (cell === null) return 'NULL';
  if (typeof cell === 'string') return cell === '' ? "''" : shortened(cell, LONGEST_VALUE);
  if ('$absent' in cell) return '(left out by the source)';
  return shortened(`\\x${Buffer.from(cell.$bytes, 'base64').toString('hex')}`, LONGEST_VALUE);
}

function sameCell(a: CellJson, b: CellJson): boolean {
  if (a === null || b === null || typeof a === 'string' || typeof b === 'string') return a === b;
  return JSON.stringify(a) === JSON.stringify(b);
}
