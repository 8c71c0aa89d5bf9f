/** A record of a changelog for people. Pure: from the line of JSON to lines of text. */
import type { CellJson, RecordJson } from '../api/schemas.ts';
import { shortened } from './text-table.ts';

const LONGEST_VALUE = 100;

const OPS: Readonly<Record<RecordJson['op'], string>> = {
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
  const { transaction } = record;
  const key = record.key === undefined || record.key === null ? '' : pairs(record.key);
  const when = transaction === null ? '' : transaction.kind === 'hub' ? 'by the hub' : `xid ${transaction.xid} at ${transaction.time}`;
  const position = transaction === null || transaction.position === null ? '' : `position ${transaction.position}`;
  const origin = transaction === null || transaction.origin === '' ? '' : `from ${transaction.origin}`;
  const flags = record.flags.length === 0 ? '' : `(${record.flags.join(', ')})`;
  return [String(record.offset), OPS[record.op], record.table ?? '', key, when, position, origin, flags].filter((part) => part !== '').join('  ');
}

function body(record: RecordJson): string[] {
  const { before, after, schema, control, message } = record;
  if (schema !== undefined) {
    return schema.columns.map(({ name, type, nullable }) => `${shortened(name, LONGEST_VALUE)} ${type}${nullable ? '' : ' not null'}${schema.key.includes(name) ? ' key' : ''}`);
  }
  if (control !== undefined) return [shortened(controlText(control), 4 * LONGEST_VALUE)];
  if (message !== undefined) return [`${shortened(message.prefix, LONGEST_VALUE)}: ${cellText(message.content)}`];
  if (before === undefined || after === undefined) return [];
  if (after === null) return before === null ? [] : rowLines(before);
  if (before === null) return rowLines(after);
  return Object.entries(after).flatMap(([name, value]) => {
    const old = before[name];
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

function rowLines(row: Row): string[] {
  return Object.entries(row).map(([name, value]) => `${shortened(name, LONGEST_VALUE)}: ${cellText(value)}`);
}

function pairs(row: Row): string {
  return Object.entries(row).map(([name, value]) => `${shortened(name, LONGEST_VALUE)}=${cellText(value)}`).join(' ');
}

function cellText(cell: CellJson): string {
  if (cell === null) return 'NULL';
  if (typeof cell === 'string') return cell === '' ? "''" : shortened(cell, LONGEST_VALUE);
  if ('$absent' in cell) return '(left out by the source)';
  return shortened(`\\x${Buffer.from(cell.$bytes, 'base64').toString('hex')}`, LONGEST_VALUE);
}

function sameCell(a: CellJson, b: CellJson): boolean {
  if (a === null || b === null || typeof a === 'string' || typeof b === 'string') return a === b;
  return JSON.stringify(a) === JSON.stringify(b);
}
