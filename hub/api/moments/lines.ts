/**
 * Tables, the history of rows and differences at moments of the past, as lines of JSON (schemas.ts): a head, the
 * rows, an end. A stream without its end is not whole.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { opLetter } from '../../../contracts/op.ts';
import type { PositionCodec } from '../../../contracts/position.ts';
import { Projectors } from '../../../contracts/projection.ts';
import { RecordView } from '../../../contracts/record.ts';
import { Cell, ImageWalker } from '../../../contracts/row-image.ts';
import type { Clock, FileSystem } from '../../../contracts/runtime.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import { keyOf, parseConditions, wholeKey, type Condition } from '../../moments/key-value.ts';
import { isConsistentAt, tableNamed, tablePair, type MomentTable } from '../../moments/named-table.ts';
import { resolveMoment } from '../../moments/resolve.ts';
import { rowAt, type RowAt } from '../../moments/row-at.ts';
import { rowHistory, type RowVersion } from '../../moments/row-history.ts';
import type { ScratchFolders } from '../../moments/scratch.ts';
import { tableAt, type HistoryProgress } from '../../moments/table-at.ts';
import { tableDiff, type RowChange } from '../../moments/table-diff.ts';
import type { PrintPosition } from '../../print-position.ts';
import type { DiffQuery, HistoryQuery, ProgressJson, ShapeJson, TableQuery } from './schemas.ts';
import { LinePieces, reporting } from '../line-pieces.ts';
import { flagNames, formatMicroseconds, imageJson, keyJson, transactionJson } from '../changelog/record-json.ts';
import { TransactionEnds } from '../changelog/transaction-ends.ts';

/** What the lines are made from. Owns nothing of it. */
export interface MomentParts {
  readonly log: SourceLog;
  readonly files: FileSystem;
  readonly scratch: ScratchFolders;
  readonly clock: Clock;
  /** Of every connector there is. */
  readonly codecs: readonly PositionCodec[];
  readonly printPosition: PrintPosition;
  readonly signal: AbortSignal;
}

/**
 * A table as it was, in order of its keys, in bounded memory; one row, where the conditions name a whole key, without
 * reading the table.
 * @throws TidemarkError `MOMENT_SYNTAX`, `MOMENT_KEY`, `CONFIG_TABLE_PATTERN`, `TABLE_UNKNOWN`, `LOG_BELOW_HORIZON`,
 *   `OFFSET_RANGE`, `POSITION_SYNTAX`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `LOG_DISK_FULL`, `ABORTED`
 */
export async function* tableLines(parts: MomentParts, query: TableQuery): AsyncGenerator<string, void, void> {
  // Moments are found first and read later, as slowly as the client takes them.
  using _pin = await parts.log.pin();
  const { log, signal } = parts;
  const at = await momentOf(parts, query.asOf ?? 'end');
  const table = await tableNamed(log, query.table, at, signal);
  const conditions = parseConditions(query.where ?? [], table.schema);
  yield `{"head":${JSON.stringify(await shapeJson(parts, table))}}\n`;
  const rows = new RowLines(table, conditions, query.limit ?? Number.POSITIVE_INFINITY);
  const key = keyOf(conditions, table.schema);
  if (key !== null) {
    const found = await rowAt(log, table.tableId, key, at, signal);
    if (found !== null) rows.add(found.offset, found.image, 0, found.image.length, found.schemaVersion);
  } else yield* scannedRows(parts, table, rows, query.progress === true);
  yield `${rows.pieces.take()}{"end":{"rows":${rows.count}}}\n`;
}

async function* scannedRows(parts: MomentParts, { tableId, at }: MomentTable, rows: RowLines, wantsProgress: boolean): AsyncGenerator<string, void, void> {
  const { log, files, scratch, signal } = parts;
  const progress = new Progress();
  let estimated = 0;
  const onBase = (rows: number): void => void (estimated = rows);
  const found = tableAt(log, { tableId, at, files, directory: scratch.next(), signal, onProgress: progress.take, onBase });
  const view = new RecordView();
  for await (const portion of wantsProgress ? reporting(found, progress.line, parts.clock) : found) {
    if (typeof portion === 'string') {
      yield portion;
      continue;
    }
    if (wantsProgress && estimated > 0) yield progressLine({ of: 'rows', done: 0, total: estimated });
    estimated = 0;
    for (view.reset(portion.batch.records); !rows.isFull && view.next(); ) {
      rows.add(portion.offsets[view.index] ?? 0, view.bytes, view.afterStart, view.afterEnd, view.schemaVersion);
      if (rows.pieces.isFull) yield rows.pieces.take();
    }
    if (rows.isFull) return;
  }
}

/** Makes lines of rows, in the shape that their table had. */
class RowLines {
  readonly pieces = new LinePieces();
  count = 0;
  readonly #table: MomentTable;
  readonly #conditions: readonly Condition[];
  readonly #limit: number;
  readonly #projectors = new Projectors();
  readonly #walker = new ImageWalker();

  constructor(table: MomentTable, conditions: readonly Condition[], limit: number) {
    this.#table = table;
    this.#conditions = conditions;
    this.#limit = limit;
  }

  get isFull(): boolean {
    return this.count >= this.#limit;
  }

  /** Takes a row, if it meets the conditions. @throws TidemarkError `RECORD_CORRUPT`, `SCHEMA_INVALID` */
  add(offset: Offset, bytes: Buffer, start: number, end: number, version: number): void {
    const { catalog, tableId, schema } = this.#table;
    const isInShape = version === schema.version;
    const image = isInShape ? bytes : this.#projectors.get(catalog.schemaOf(tableId, version), schema).image(bytes, start, end);
    const from = isInShape ? start : 0;
    const to = isInShape ? end : image.length;
    if (!this.#meets(image, from, to)) return;
    this.count++;
    this.pieces.add(`{"offset":${offset},"row":${imageJson(image, from, to, schema)}}\n`);
  }

  #meets(image: Buffer, start: number, end: number): boolean {
    if (this.#conditions.length === 0) return true;
    const walker = this.#walker.reset(image, start, end);
    for (let column = 0; walker.next(); column++) {
      for (const { column: wanted, value } of this.#conditions) {
        if (wanted !== column) continue;
        const isValue = walker.kind === Cell.text || walker.kind === Cell.binary;
        if (value === null ? walker.kind !== Cell.null : !isValue || image.compare(value, 0, value.length, walker.start, walker.end) !== 0) return false;
      }
    }
    return true;
  }
}

/**
 * Every version of a row from one moment to another, oldest first; the first is the row as it stood at the earlier one.
 * @throws TidemarkError as {@link tableLines}
 */
export async function* historyLines(parts: MomentParts, query: HistoryQuery): AsyncGenerator<string, void, void> {
  using _pin = await parts.log.pin();
  const { log, signal, printPosition } = parts;
  const to = await momentOf(parts, query.to ?? 'end');
  const table = await tableNamed(log, query.table, to, signal);
  // The records of a table may be kept longer than the history.
  const isWhole = query.from === undefined || query.from === 'begin';
  const from = isWhole ? Math.min(log.state().horizon, log.extent(table.tableId).recordsAfter) : await momentOf(parts, query.from ?? 'begin');
  assertOrder(log, from, to);
  const key = wholeKey(query.key, table.schema);
  yield `{"head":${JSON.stringify(await shapeJson(parts, table))}}\n`;
  const { tableId, catalog } = table;
  const ends = new TransactionEnds(log, printPosition, signal);
  const pieces = new LinePieces();
  let versions = 0;
  const progress = new Progress();
  const found = rowHistory(log, { tableId, key, from, to, catalog, signal, onProgress: progress.take });
  for await (const version of query.progress === true ? reporting(found, progress.line, parts.clock) : found) {
    if (typeof version === 'string') {
      yield version;
      continue;
    }
    const { entry, batch } = version;
    const position = entry === null || batch === null ? null : entry.commits ? printPosition(entry.position) : await ends.after(batch);
    pieces.add(versionLine(version, position, table));
    if (pieces.isFull) yield pieces.take();
    if (++versions === query.limit) break;
  }
  yield `${pieces.take()}{"end":{"versions":${versions}}}\n`;
}

function versionLine({ offset, op, flags, schemaVersion, entry, before, after }: RowVersion, position: string | null, { tableId, catalog }: MomentTable): string {
  const image = (row: RowAt | null): string => (row === null ? 'null' : imageJson(row.image, 0, row.image.length, catalog.schemaOf(tableId, row.schemaVersion)));
  const transaction = entry === null ? 'null' : JSON.stringify(transactionJson({ entry, position }));
  const head = `{"offset":${offset},"op":"${opLetter(op)}","flags":${JSON.stringify(flagNames(flags))},"version":${schemaVersion},"transaction":${transaction}`;
  return `${head},"before":${image(before)},"after":${image(after)}}\n`;
}

/**
 * What changed in a table between two moments, folded, in order of its keys, in bounded memory.
 * @throws TidemarkError as {@link tableLines}
 */
export async function* diffLines(parts: MomentParts, query: DiffQuery): AsyncGenerator<string, void, void> {
  using _pin = await parts.log.pin();
  const { log, files, scratch, signal } = parts;
  const from = await momentOf(parts, query.from);
  const to = await momentOf(parts, query.to ?? 'end');
  assertOrder(log, from, to);
  const pair = await tablePair(log, query.table, from, to, signal);
  const shapes = { from: pair.from === null ? null : await shapeJson(parts, pair.from), to: pair.to === null ? null : await shapeJson(parts, pair.to) };
  yield `{"head":${JSON.stringify(shapes)}}\n`;
  const progress = new Progress();
  const found = tableDiff(log, { pair, files, directory: scratch.next(), signal, onProgress: progress.take });
  const lines = new ChangeLines(pair.from?.schema ?? null, pair.to?.schema ?? null);
  const end = { added: 0, removed: 0, changed: 0 };
  let left = query.limit ?? Number.POSITIVE_INFINITY;
  for await (const portion of query.progress === true ? reporting(found, progress.line, parts.clock) : found) {
    if (typeof portion === 'string') {
      yield portion;
      continue;
    }
    for (const change of portion.slice(0, left)) {
      end[change.kind] += change.count;
      lines.pieces.add(lines.lineOf(change));
      if (lines.pieces.isFull) yield lines.pieces.take();
    }
    left -= portion.length;
    if (left <= 0) break;
  }
  yield `${lines.pieces.take()}{"end":${JSON.stringify(end)}}\n`;
}

/** Makes lines of changes. */
class ChangeLines {
  readonly pieces = new LinePieces();
  readonly #from: TableSchema | null;
  readonly #to: TableSchema | null;

  constructor(from: TableSchema | null, to: TableSchema | null) {
    // Rows without a key come in the later shape of their table.
    this.#from = from !== null && to !== null && from.tableId === to.tableId && from.keyKind === 'none' ? to : from;
    this.#to = to;
  }

  lineOf({ kind, key, before, after, columns, count }: RowChange): string {
    const image = (row: Buffer | null, shape: TableSchema | null): string => (row === null || shape === null ? 'null' : imageJson(row, 0, row.length, shape));
    const shape = after === null ? this.#from : this.#to;
    const names = columns.map((column) => this.#to?.columns[column]?.name ?? '');
    const head = `{"change":"${kind}","key":${key.length === 0 || shape === null ? 'null' : keyJson(key, shape)},"count":${count},"columns":${JSON.stringify(names)}`;
    return `${head},"before":${image(before, this.#from)},"after":${image(after, this.#to)}}\n`;
  }
}

/** How far the history has been read. */
class Progress {
  #latest: HistoryProgress | null = null;

  readonly take = (progress: HistoryProgress): void => {
    this.#latest = progress;
  };

  /** Null: there is nothing new to tell. */
  readonly line = (): string | null => {
    const latest = this.#latest;
    this.#latest = null;
    return latest === null ? null : progressLine({ of: 'history', ...latest });
  };
}

function progressLine(progress: ProgressJson): string {
  return `{"progress":${JSON.stringify(progress)}}\n`;
}

function momentOf({ log, codecs, clock, signal }: MomentParts, text: string): Promise<Offset> {
  return resolveMoment(text, log, { codecs, now: clock.now(), signal });
}

function assertOrder(log: SourceLog, from: Offset, to: Offset): void {
  if (from <= to) return;
  throw new TidemarkError('OFFSET_RANGE', `the first moment, offset ${from}, comes after the second, offset ${to}`, {
    where: { source: log.source, offset: from },
    remedy: 'Name the earlier moment first.',
  });
}

async function shapeJson({ log, printPosition, signal }: MomentParts, table: MomentTable): Promise<ShapeJson> {
  const { at, schema, tableId } = table;
  const state = log.state();
  // The last commit is known without looking for it where the log ends.
  const point = at === state.highWatermark ? state : await log.lastCommit(({ offset }) => offset <= at, signal);
  return {
    table: tableName(schema),
    tableId,
    version: schema.version,
    offset: at,
    time: point === null || point.commitTime === 0 ? null : formatMicroseconds(point.commitTime),
    position: point === null || point.position === null ? null : printPosition(point.position),
    consistent: isConsistentAt(log, table),
    rowsAfter: log.extent(tableId).rowsAfter,
    columns: schema.columns.map(({ name, nativeType, type, nullable }) => ({ name, type: nativeType, logical: type, nullable })),
    key: schema.key.map((index) => schema.columns[index]?.name ?? ''),
  };
}
