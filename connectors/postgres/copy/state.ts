import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { DescribedTable } from './copier-deps.ts';
import type { WalIdentity } from '../position.ts';

/** How a table's rows are divided. `ctid`: by place; `key`: in key order (before PostgreSQL 14); `whole`: not at all. */
export type CopyMode = 'ctid' | 'key' | 'whole';

/** What a copy relies on from chunk to chunk, and after a restart: what the log keeps as its `copyState`. */
export interface CopyState extends WalIdentity {
  readonly mode: CopyMode;
  /** Changes when rows are rewritten or truncated, or partitions come and go. */
  readonly storage: string;
  /** Hashed columns, each with the name of its key: rows of one copy are not hashed by different rules. */
  readonly hashed: readonly string[];
}

export function copyStateOf(table: DescribedTable, identity: WalIdentity, mode: CopyMode): CopyState {
  const hashed = table.schema.columns.flatMap((column) => (column.hashed === undefined ? [] : [`${column.name} ${column.hashed}`]));
  return { mode, storage: table.storage, hashed, systemId: identity.systemId, timeline: identity.timeline };
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

/** Why ranges that were copied under `before` do not go with those that are copied now; null: they do. */
export function whyVoid(before: CopyState, now: CopyState): string | null {
  if (before.systemId !== now.systemId) return 'the server is another one';
  if (before.timeline !== now.timeline) return 'the server follows another timeline';
  if (before.mode !== now.mode) return 'the table is to be divided in another way';
  if (before.storage !== now.storage) return 'the table was rewritten, truncated or re-partitioned while it was copied';
  if (before.hashed.join() !== now.hashed.join()) return 'other columns are hashed now';
  return null;
}

function isCopyState(value: unknown): value is CopyState {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof CopyState, unknown>>;
  return (
    (v.mode === 'ctid' || v.mode === 'key' || v.mode === 'whole') && typeof v.storage === 'string' && Array.isArray(v.hashed) &&
    typeof v.systemId === 'string' && typeof v.timeline === 'number'
  );
}
