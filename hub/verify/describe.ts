/** Rows that differ, for people. */
import { isUtf8 } from 'node:buffer';
import type { Offset } from '../../contracts/offset.ts';
import { Cell, ImageWalker } from '../../contracts/row-image.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { keyText } from '../pipeline/sink/key-text.ts';
import type { WrongRow } from './gather.ts';
import type { Difference, WrongColumn, WrongKind } from './report.ts';

/** Characters of a value that are shown. */
const LONGEST_VALUE = 200;
/** Bytes of a value that are looked at for that. */
const LONGEST_BYTES = 1024;
const MOST_COLUMNS = 50;

export function kindOf({ left, right, leftCount, rightCount }: WrongRow): WrongKind {
  if (rightCount === 0) return 'missing';
  if (leftCount === 0) return 'extra';
  return leftCount === rightCount && left !== null && right !== null ? 'changed' : 'count';
}

/** @param key as the log has it, where it is known */
export function describeRow(schema: TableSchema, row: WrongRow, seen: Difference['seen'], offset: Offset): Difference {
  const { left, right, leftCount, rightCount, key, logKey } = row;
  const kind = kindOf(row);
  const isKeyless = schema.keyKind === 'none';
  return {
    kind,
    key: isKeyless ? rowText(schema, left ?? right) : keyTextOf(schema, logKey, key),
    columns: kind === 'changed' ? changedColumns(schema, left, right) : [],
    counts: { expected: leftCount, found: rightCount },
    seen,
    offset,
    repaired: false,
  };
}

/** A place may have another key than the log: then that one, as it is. */
function keyTextOf(schema: TableSchema, logKey: Buffer | null, key: Buffer): string {
  if (logKey !== null) return keyText(schema, logKey);
  return keyParts(key) === schema.key.length ? keyText(schema, key) : shown(key.subarray(4));
}

/** How many values a key has; 0: it is none. */
function keyParts(key: Buffer): number {
  let parts = 0;
  let at = 0;
  while (at + 4 <= key.length) {
    at += 4 + key.readUInt32BE(at);
    parts++;
  }
  return at === key.length ? parts : 0;
}

interface CellText {
  readonly kind: number;
  readonly bytes: Uint8Array | null;
}

function changedColumns(schema: TableSchema, left: Buffer | null, right: Buffer | null): WrongColumn[] {
  const expected = cellsOf(left);
  const found = cellsOf(right);
  const changed: WrongColumn[] = [];
  for (let index = 0; index < Math.max(expected.length, found.length) && changed.length < MOST_COLUMNS; index++) {
    const a = expected[index]?.bytes ?? null;
    const b = found[index]?.bytes ?? null;
    const isSame = a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
    if (isSame && (expected[index]?.kind ?? Cell.null) === (found[index]?.kind ?? Cell.null)) continue;
    const column = schema.columns[index]?.name ?? '(no column of the table)';
    changed.push({ column, expected: textOf(a), found: textOf(b) });
  }
  return changed;
}

function rowText(schema: TableSchema, image: Buffer | null): string {
  const cells = cellsOf(image).slice(0, MOST_COLUMNS);
  const text = cells.map(({ bytes }, index) => `${schema.columns[index]?.name ?? index}=${textOf(bytes) ?? 'NULL'}`).join(', ');
  return text.length <= LONGEST_VALUE ? text : `${text.slice(0, LONGEST_VALUE - 1)}…`;
}

function cellsOf(image: Buffer | null): CellText[] {
  if (image === null) return [];
  const cells: CellText[] = [];
  const walker = new ImageWalker().reset(image, 0, image.length);
  while (walker.next()) {
    const hasValue = walker.kind === Cell.text || walker.kind === Cell.binary;
    cells.push({ kind: walker.kind, bytes: hasValue ? image.subarray(walker.start, walker.end) : null });
  }
  return cells;
}

function textOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : shown(bytes);
}

/** Bytes that are no text as hexadecimal digits; cut where it is long, with the length behind. */
function shown(bytes: Uint8Array): string {
  const text = isUtf8(bytes) ? Buffer.from(bytes).toString('utf8', 0, LONGEST_BYTES) : `\\x${Buffer.from(bytes).toString('hex', 0, LONGEST_VALUE / 2)}`;
  return text.length <= LONGEST_VALUE && bytes.length <= LONGEST_BYTES ? text : `${text.slice(0, LONGEST_VALUE)}… (${bytes.length} bytes)`;
}
