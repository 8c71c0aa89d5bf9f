import type { Catalog } from '../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import { TidemarkError, asTidemarkError } from '../../../contracts/errors/error.ts';
import type { SourceLog, TableRecords } from '../../../contracts/log-engine.ts';
import { MAX_OFFSET, type Offset } from '../../../contracts/offset.ts';
import { Op } from '../../../contracts/op.ts';
import { RecordView } from '../../../contracts/record.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { TransactionEntry } from '../../../contracts/transaction.ts';
import { exactPattern, parseTablePattern } from '../../config/table-patterns.ts';
import { nearest } from '../../config/validate.ts';
import type { PrintPosition } from '../../print-position.ts';
import { recordLine, type PlacedTransaction } from './record-json.ts';
import { TransactionEnds } from './transaction-ends.ts';

export interface ChangelogOptions {
  /** Pattern of the tables whose records are read, by their newest name. */
  readonly table: string;
  /** First offset; default: the first from which all of the tables have their records. */
  readonly from?: Offset | undefined;
  /** Last offset; default: the high watermark of the moment of the call, or none when it follows. */
  readonly to?: Offset | undefined;
  /** At the end wait for more. Default: false. */
  readonly follow?: boolean | undefined;
  /** Most records; default: all. */
  readonly limit?: number | undefined;
  readonly printPosition: PrintPosition;
  readonly signal: AbortSignal;
}

/** Text is handed on in pieces of about this many characters, whole lines each. */
const PIECE = 64 << 10;
/** Tables whose records can be put in order below the horizon. */
const MOST_KEPT = 64;

/**
 * The changelog of some tables: one record per line, as record-json.ts writes it. Control records that concern every
 * table are among them. Holds one batch and one piece; nothing is read before it is asked for.
 * @throws TidemarkError `TABLE_UNKNOWN`, `CONFIG_TABLE_PATTERN`, and what `SourceLog.read` throws
 */
export async function* changelogLines(log: SourceLog, options: ChangelogOptions): AsyncGenerator<string> {
  const { printPosition, signal, follow = false } = options;
  const { highWatermark } = log.state();
  const to = options.to ?? (follow ? MAX_OFFSET : highWatermark);
  const tables = new WantedTables(log.catalog(), highWatermark, options.table, log.source);
  const tableIds = [...tables.wanted].filter((tableId) => tableId !== 0);
  const after = options.from === undefined ? recordsAfter(log, tableIds) : options.from - 1;
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  if (after >= to || (!follow && after >= highWatermark)) return;
  const ends = new TransactionEnds(log, printPosition, signal);
  for await (const records of log.readTables(tableIds, { after, to, follow, signal })) {
    const { batch } = records;
    tables.see(records);
    const { catalog, wanted } = tables;
    const open = batch.endsOpen && holds(batch, wanted) ? await ends.after(batch) : null;
    const position = (entry: TransactionEntry): string | null => (entry.commits ? printPosition(entry.position) : open);
    for (const piece of batchLines(records, { catalog, wanted, position }, left)) {
      left -= piece.records;
      if (piece.text !== '') yield piece.text;
      if (piece.fault !== null) throw piece.fault.at({ source: log.source });
    }
    if (left <= 0) return;
  }
}

/** Where every one of the tables has its records from: the horizon, or below it where all of them are kept longer. */
function recordsAfter(log: SourceLog, tableIds: readonly number[]): Offset {
  const { horizon } = log.state();
  if (tableIds.length > MOST_KEPT) return horizon;
  return Math.max(...tableIds.map((tableId) => Math.min(log.extent(tableId).recordsAfter, horizon)));
}

/** The tables that are read, also those that come, or take a name that matches, while the log is followed. */
class WantedTables {
  readonly catalog: Catalog;
  wanted: ReadonlySet<number>;
  readonly #pattern: string;
  /** The catalog is as of this offset. */
  #until: Offset;
  readonly #view = new RecordView();

  constructor(catalog: Catalog, until: Offset, pattern: string, source: string) {
    this.catalog = catalog;
    this.#until = until;
    this.#pattern = pattern;
    this.wanted = tablesMatching(catalog, pattern);
    if (this.wanted.size === 1) throw noTable(catalog, pattern, source);
  }

  see({ batch, offsets }: TableRecords): void {
    // What has offsets of its own stands below the horizon.
    if (offsets !== null || batch.lastOffset <= this.#until) return;
    let hasNewShapes = false;
    for (this.#view.reset(batch.records); this.#view.next(); ) {
      const { op, index } = this.#view;
      const offset = batch.baseOffset + index;
      if (offset <= this.#until || (op !== Op.schema && op !== Op.control)) continue;
      this.catalog.apply(this.#view, offset);
      hasNewShapes ||= op === Op.schema;
    }
    this.#until = batch.lastOffset;
    if (hasNewShapes) this.wanted = tablesMatching(this.catalog, this.#pattern);
  }
}

interface Lines {
  readonly catalog: Catalog;
  readonly wanted: ReadonlySet<number>;
  readonly position: (entry: TransactionEntry) => string | null;
}

function holds(batch: ChangeBatch, wanted: ReadonlySet<number>): boolean {
  const view = new RecordView().reset(batch.records);
  while (view.next()) if (wanted.has(view.tableId)) return true;
  return false;
}

interface Piece {
  readonly text: string;
  readonly records: number;
  /** What is wrong with the record after these; nothing follows. */
  readonly fault: TidemarkError | null;
}

function* batchLines({ batch, offsets }: TableRecords, { catalog, wanted, position }: Lines, most: number): Generator<Piece> {
  const view = new RecordView().reset(batch.records);
  let entry = 0;
  let text = '';
  let records = 0;
  let left = most;
  while (left > 0 && view.next()) {
    if (!wanted.has(view.tableId)) continue;
    while (entry < batch.transactions.length && endOf(batch, entry) <= view.index) entry++;
    const offset = offsets?.[view.index] ?? batch.baseOffset + view.index;
    const line = lineOf(view, offset, placed(batch.transactions[entry], position), catalog);
    if (typeof line !== 'string') {
      yield { text, records, fault: line };
      return;
    }
    text += line;
    records++;
    left--;
    if (text.length < PIECE) continue;
    yield { text, records, fault: null };
    text = '';
    records = 0;
  }
  if (records > 0) yield { text, records, fault: null };
}

function placed(entry: TransactionEntry | undefined, position: Lines['position']): PlacedTransaction | null {
  return entry === undefined ? null : { entry, position: position(entry) };
}

function lineOf(view: RecordView, offset: Offset, transaction: PlacedTransaction | null, catalog: Catalog): string | TidemarkError {
  try {
    return recordLine(view, offset, transaction, catalog);
  } catch (error) {
    return asTidemarkError(error, 'RECORD_CORRUPT', { offset });
  }
}

function endOf(batch: ChangeBatch, entry: number): number {
  const transaction = batch.transactions[entry];
  return transaction === undefined ? batch.count : transaction.first + transaction.count;
}

/** Ids of the tables, and 0, which stands for no table: a gap concerns all. */
function tablesMatching(catalog: Catalog, text: string): ReadonlySet<number> {
  const pattern = parseTablePattern(text);
  const ids = newestShapes(catalog).flatMap((schema) => (pattern.matches(schema) === pattern.leavesOut ? [] : schema.tableId));
  return new Set([0, ...ids]);
}

function newestShapes(catalog: Catalog): TableSchema[] {
  return catalog.tables().flatMap((table) => table.versions.at(-1)?.schema ?? []);
}

function noTable(catalog: Catalog, text: string, source: string): TidemarkError {
  const near = nearest(text, newestShapes(catalog).map(exactPattern));
  return new TidemarkError('TABLE_UNKNOWN', `no table in the log of ${source} matches ${text}${near === null ? '' : `; the nearest name is ${near}`}`, {
    where: { source, table: text },
  });
}
