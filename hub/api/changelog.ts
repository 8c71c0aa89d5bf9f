import type { Catalog } from '../../contracts/catalog.ts';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError, asTidemarkError } from '../../contracts/errors/error.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import { BEFORE_ALL, type Offset } from '../../contracts/offset.ts';
import { RecordView } from '../../contracts/record.ts';
import type { TransactionEntry } from '../../contracts/transaction.ts';
import { exactPattern, parseTablePattern } from '../config/table-patterns.ts';
import { nearest } from '../config/validate.ts';
import type { PrintPosition } from '../print-position.ts';
import { recordLine, type PlacedTransaction } from './record-json.ts';

export interface ChangelogOptions {
  /** Pattern of the tables whose records are read, by their newest name. */
  readonly table: string;
  /** First offset; default: the first after the horizon. */
  readonly from?: Offset | undefined;
  /** Most records; default: all. */
  readonly limit?: number | undefined;
  readonly printPosition: PrintPosition;
  readonly signal: AbortSignal;
}

/** Text is handed on in pieces of about this many characters, whole lines each. */
const PIECE = 64 << 10;

/**
 * The changelog of some tables, up to the high watermark of the moment of the call: one record per line, as
 * record-json.ts writes it. Control records that concern every table are among them. Holds one batch and one piece.
 * @throws TidemarkError `TABLE_UNKNOWN`, `CONFIG_TABLE_PATTERN`, and what `SourceLog.read` throws
 */
export async function* changelogLines(log: SourceLog, options: ChangelogOptions): AsyncGenerator<string> {
  const to = log.state().highWatermark;
  const catalog = log.catalog();
  const wanted = tablesMatching(catalog, options.table, log.source);
  const after = options.from === undefined ? log.state().horizon : options.from - 1;
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  if (after >= to) return;
  const ends = new TransactionEnds(log, to, options);
  for await (const batch of log.read({ after, to, follow: false, signal: options.signal })) {
    const open = batch.endsOpen && holds(batch, wanted) ? await ends.after(batch) : null;
    const position = (entry: TransactionEntry): string | null => (entry.commits ? options.printPosition(entry.position) : open);
    for (const piece of batchLines(batch, { catalog, wanted, position }, left)) {
      left -= piece.records;
      if (piece.text !== '') yield piece.text;
      if (piece.fault !== null) throw piece.fault.at({ source: log.source });
    }
    if (left <= 0) return;
  }
}

interface Lines {
  readonly catalog: Catalog;
  readonly wanted: ReadonlySet<number>;
  readonly position: (entry: TransactionEntry) => string | null;
}

/** Where the transactions end that are larger than a batch: their positions stand in their last one. */
class TransactionEnds {
  readonly #log: SourceLog;
  readonly #to: Offset;
  readonly #options: ChangelogOptions;
  /** The end found last: of the transaction that is open at every offset before it. */
  #known: { readonly until: Offset; readonly position: string | null } = { until: BEFORE_ALL, position: null };

  constructor(log: SourceLog, to: Offset, options: ChangelogOptions) {
    this.#log = log;
    this.#to = to;
    this.#options = options;
  }

  /** The end of the transaction that is open where the batch ends. Reads the rest of it once, whatever its size. */
  async after({ lastOffset }: ChangeBatch): Promise<string | null> {
    if (lastOffset <= this.#known.until) return this.#known.position;
    const { signal, printPosition } = this.#options;
    for await (const batch of this.#log.read({ after: lastOffset, to: this.#to, follow: false, signal })) {
      const end = batch.transactions.find(({ commits }) => commits);
      if (end === undefined) continue;
      this.#known = { until: batch.baseOffset + end.first + end.count - 1, position: printPosition(end.position) };
      return this.#known.position;
    }
    return null;
  }
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

function* batchLines(batch: ChangeBatch, { catalog, wanted, position }: Lines, most: number): Generator<Piece> {
  const view = new RecordView().reset(batch.records);
  let entry = 0;
  let text = '';
  let records = 0;
  let left = most;
  while (left > 0 && view.next()) {
    if (!wanted.has(view.tableId)) continue;
    while (entry < batch.transactions.length && endOf(batch, entry) <= view.index) entry++;
    const offset = batch.baseOffset + view.index;
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
function tablesMatching(catalog: Catalog, text: string, source: string): ReadonlySet<number> {
  const pattern = parseTablePattern(text);
  const schemas = catalog.tables().flatMap((table) => table.versions.at(-1)?.schema ?? []);
  const ids = schemas.filter((schema) => pattern.matches(schema) !== pattern.leavesOut).map((schema) => schema.tableId);
  if (ids.length > 0) return new Set([0, ...ids]);
  const near = nearest(text, schemas.map(exactPattern));
  throw new TidemarkError('TABLE_UNKNOWN', `no table in the log of ${source} matches ${text}${near === null ? '' : `; the nearest name is ${near}`}`, {
    where: { source, table: text },
  });
}
