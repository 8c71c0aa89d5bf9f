import { TidemarkError } from '../../../contracts/errors/error.ts';
import { formatBound, parseBound, tiled, type KeyRange } from './key-ranges.ts';

/** How a table's rows are divided. `key`: in the order of an index over the key; `whole`: not at all. */
export type CopyMode = 'key' | 'whole';

/**
 * What a copy relies on from chunk to chunk, and after a restart: what the log keeps as its `copyState`. Places are values,
 * so that they hold on another server, too, that the stream goes on with; what would move rows across them is in here.
 */
export interface CopyState {
  readonly mode: CopyMode;
  /** Of each key column its number and type: with its collation, and the members of an enum in their order. */
  readonly key: readonly string[];
  /** Hashed columns, each with the name of its key: rows of one copy are not hashed by different rules. */
  readonly hashed: readonly string[];
  /** Where the plan has divided the table, in the server's order, as formatBound writes them. */
  readonly bounds: readonly string[];
}

export function formatCopyState(state: CopyState): string {
  return JSON.stringify(state);
}

/** @throws TidemarkError `COPY_VOID` for a state that another version has written */
export function parseCopyState(text: string): CopyState {
  const value: unknown = JSON.parse(text);
  if (isCopyState(value)) return value;
  throw new TidemarkError('COPY_VOID', 'the state of the copy in the log is of another form');
}

/** @throws TidemarkError `RECORD_CORRUPT` */
export function plannedRanges({ bounds }: Pick<CopyState, 'bounds'>): KeyRange[] {
  return tiled(bounds.map(parseBound));
}

export function boundTexts(bounds: readonly (readonly Buffer[])[]): string[] {
  return bounds.map(formatBound);
}

/** Why ranges that were copied under `before` do not go with those that are copied now; null: they do. */
export function whyVoid(before: Pick<CopyState, 'mode' | 'key' | 'hashed'>, now: Pick<CopyState, 'mode' | 'key' | 'hashed'>): string | null {
  if (before.mode !== now.mode) return 'the table is to be divided in another way';
  if (before.key.join('\0') !== now.key.join('\0')) return 'the key of the table, or the order of its values, was changed while it was copied';
  if (before.hashed.join('\0') !== now.hashed.join('\0')) return 'other columns are hashed now';
  return null;
}

function isCopyState(value: unknown): value is CopyState {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof CopyState, unknown>>;
  return (v.mode === 'key' || v.mode === 'whole') && isTexts(v.key) && isTexts(v.hashed) && isTexts(v.bounds);
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}
