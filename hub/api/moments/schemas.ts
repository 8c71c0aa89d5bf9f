/** What the API takes and gives of tables, rows and differences at moments of the past (hub/moments). */
import Type, { type Static } from 'typebox';
import { CELL, OFFSET, TRANSACTION, nullable } from '../schemas.ts';

const MOMENT = Type.String({ minLength: 1, maxLength: 1000, description: 'A moment: an offset, a time (2026-11-01T12:00Z, or -2h), a position (lsn:0/16B3748, gtid:SET or binlog:FILE:OFFSET), begin, horizon or end' });
const ONE_TABLE = Type.String({ minLength: 1, maxLength: 1000, description: 'One table: public.orders, public."order items"' });
const LIMIT = Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Most lines' }));
const PROGRESS = Type.Optional(Type.Boolean({ description: 'Lines of progress while there is nothing else to send' }));
const CONDITIONS = Type.Array(Type.String({ minLength: 1, maxLength: 100_000 }), { maxItems: 100 });

/** `GET /v1/sources/SOURCE/table`. */
export const TABLE_QUERY = Type.Object({
  table: ONE_TABLE,
  asOf: Type.Optional(MOMENT),
  where: Type.Optional(CONDITIONS),
  limit: LIMIT,
  progress: PROGRESS,
});
export type TableQuery = Static<typeof TABLE_QUERY>;

/** `GET /v1/sources/SOURCE/history`. */
export const HISTORY_QUERY = Type.Object({
  table: ONE_TABLE,
  key: CONDITIONS,
  from: Type.Optional(MOMENT),
  to: Type.Optional(MOMENT),
  limit: LIMIT,
  progress: PROGRESS,
});
export type HistoryQuery = Static<typeof HISTORY_QUERY>;

/** `GET /v1/sources/SOURCE/diff`. */
export const DIFF_QUERY = Type.Object({
  table: ONE_TABLE,
  from: MOMENT,
  to: Type.Optional(MOMENT),
  limit: LIMIT,
  progress: PROGRESS,
});
export type DiffQuery = Static<typeof DIFF_QUERY>;

const ROW = nullable(Type.Record(Type.String(), CELL));

/** A column: its logical type decides what it becomes in a typed format. */
const COLUMN = Type.Object({ name: Type.String(), type: Type.String(), logical: Type.Object({ kind: Type.String() }), nullable: Type.Boolean() });
export type ColumnJson = Static<typeof COLUMN>;

/** A table as it was shaped at a moment. */
const SHAPE = Type.Object({
  table: Type.String(),
  tableId: Type.Integer(),
  version: Type.Integer(),
  offset: OFFSET,
  /** Of the last source transaction up to there: commit time by the source's clock, and its end; null: none is known. */
  time: nullable(Type.String()),
  position: nullable(Type.String()),
  /** False: the table in the log was not known to equal the source's (it was being copied, or had stopped). */
  consistent: Type.Boolean(),
  /** Of a table that is kept for a window: rows last changed at or before this offset have been dropped. 0: none were. */
  rowsAfter: OFFSET,
  columns: Type.Array(COLUMN),
  /** Names of the columns of its key; empty: it has none. */
  key: Type.Array(Type.String()),
});
export type ShapeJson = Static<typeof SHAPE>;

/** The first line of a table, and of the history of a row (as of its end). */
export const TABLE_HEAD = Type.Object({ head: SHAPE });
/** The first line of a difference; null where there was no such table. */
export const DIFF_HEAD = Type.Object({ head: Type.Object({ from: nullable(SHAPE), to: nullable(SHAPE) }) });
export type DiffHead = Static<typeof DIFF_HEAD>['head'];

/** A row of a table. */
const ROW_LINE = Type.Object({
  /** Of the change that made the row what it was. */
  offset: OFFSET,
  row: Type.Record(Type.String(), CELL),
});
export type RowJson = Static<typeof ROW_LINE>['row'];

/** A version of a row. */
export const VERSION_LINE = Type.Object({
  offset: OFFSET,
  op: Type.Enum(['c', 'u', 'd', 'r', 't']),
  flags: Type.Array(Type.String()),
  version: Type.Integer(),
  /** Null: the row stood already where the history begins. */
  transaction: nullable(TRANSACTION),
  before: ROW,
  after: ROW,
});
export type VersionJson = Static<typeof VERSION_LINE>;

/** A row that differs. */
export const CHANGE_LINE = Type.Object({
  change: Type.Enum(['added', 'removed', 'changed']),
  /** Null: the table has no key. */
  key: ROW,
  /** How often: more than once only in a table without a key. */
  count: Type.Integer({ minimum: 1 }),
  /** Of a changed row: the columns that differ, by their later names. */
  columns: Type.Array(Type.String()),
  before: ROW,
  after: ROW,
});
export type ChangeJson = Static<typeof CHANGE_LINE>;

/**
 * Of `history`, while there is nothing else to send: records that have been read, of those that have to be. Of `rows`, once
 * before the first: about how many there will be.
 */
export const PROGRESS_LINE = Type.Object({ progress: Type.Object({ of: Type.Enum(['history', 'rows']), done: Type.Number(), total: Type.Number() }) });
export type ProgressJson = Static<typeof PROGRESS_LINE>['progress'];

/** The last line of every stream that is whole: how many lines of each kind there were. */
export const END_LINE = Type.Object({ end: Type.Record(Type.String(), Type.Number()) });
export type EndJson = Static<typeof END_LINE>['end'];
