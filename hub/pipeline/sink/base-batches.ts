/** The tables of a log's base as batches for a sink that has nothing of them. */
import type { BaseReader } from '../../../contracts/base.ts';
import { BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import { Projectors } from '../../../contracts/projection.ts';
import { RecordView } from '../../../contracts/record.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { RecordRef, SinkStep } from '../../../contracts/sink.ts';
import { isLargeBatch, MOST_PARTS } from './fold.ts';
import { BASE_START, type BasePlace } from './load-place.ts';
import type { MirroredTables } from './mirrored-tables.ts';

/** What one batch holds of the base. */
export interface BaseBatch {
  readonly steps: readonly SinkStep[];
  readonly records: number;
  /** Of the rows that it refers to. */
  readonly bytes: number;
  /** Where the next one begins. */
  readonly place: BasePlace;
}

export interface BaseBatchOptions {
  /** Rows of one batch at most. */
  readonly maxKeys: number;
  /** Bytes at which a batch is full. */
  readonly maxBytes: number;
  /** The first rows of a table empty it at the sink, so that all of it can be done again. */
  readonly empties: boolean;
  /** Where to begin. Default: before the first table. */
  readonly from?: BasePlace;
}

/** A longer `last` of the base is not kept: rows behind an earlier one are counted. */
const MOST_AFTER = 4096;

/**
 * Each mirrored table of the base: its shape, all of its rows, its state. The same places come again whenever they are
 * read from the same base and tables. Nothing is read ahead beyond one batch.
 * @param tables as of the horizon
 * @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
 */
export async function* baseBatches(base: BaseReader, tables: MirroredTables, options: BaseBatchOptions, signal: AbortSignal): AsyncGenerator<BaseBatch, void, void> {
  const { from = BASE_START } = options;
  const projectors = new Projectors();
  const batch = new Gathered(options);
  for (const [index, schema] of tables.schemas().entries()) {
    if (index < from.table) continue;
    const isConsistent = tables.get(schema.tableId)?.consistent === true;
    const goesOn = index === from.table && from.begun;
    if (batch.isFull) yield batch.take();
    let { after, beyond } = goesOn ? from : BASE_START;
    batch.table(schema, { index, begins: !goesOn, isConsistent });
    // Rows that were handed over before.
    let passed = beyond;
    beyond = 0;
    for await (const { batch: read, last } of base.rows(schema.tableId, { after, signal })) {
      const { refs, bytes } = inShape(read, schema, tables, projectors);
      const first = Math.min(passed, refs.length);
      passed -= first;
      beyond += first;
      for (let at = first; at < refs.length; ) {
        const some = refs.slice(at, at + batch.room);
        at += some.length;
        beyond += some.length;
        const place = at === refs.length && isKept(last) ? { after: last, beyond: 0 } : { after, beyond };
        batch.rows(some, Math.ceil((bytes * some.length) / refs.length), place);
        if (batch.isFull) yield batch.take();
      }
      if (isKept(last)) [after, beyond] = [last, 0];
    }
    batch.tableEnds();
  }
  if (!batch.isEmpty) yield batch.take();
}

function isKept(last: Uint8Array | null): last is Uint8Array {
  return last !== null && last.length <= MOST_AFTER;
}

/** One batch as it grows. */
class Gathered {
  readonly #options: BaseBatchOptions;
  #steps: SinkStep[] = [];
  #records = 0;
  #bytes = 0;
  #place: BasePlace = BASE_START;
  #table: { readonly schema: TableSchema; readonly index: number; readonly isConsistent: boolean } | null = null;
  /** Rows of the table that are not in a step yet. */
  #inserts: RecordRef[] = [];
  /** The table is still to be emptied. */
  #truncate = false;

  constructor(options: BaseBatchOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#steps.length === 0 && this.#inserts.length === 0;
  }

  get isFull(): boolean {
    return this.#steps.length >= MOST_PARTS || isLargeBatch(this.#records, this.#records, this.#bytes, this.#options);
  }

  /** Rows that it takes. */
  get room(): number {
    return Math.max(1, this.#options.maxKeys - this.#records);
  }

  table(schema: TableSchema, { index, begins, isConsistent }: { index: number; begins: boolean; isConsistent: boolean }): void {
    this.#table = { schema, index, isConsistent };
    this.#truncate = begins && this.#options.empties;
    if (begins) this.#steps.push({ kind: 'schema', before: null, after: schema }, { kind: 'table-state', table: schema, state: 'copying' });
  }

  rows(refs: readonly RecordRef[], bytes: number, { after, beyond }: Pick<BasePlace, 'after' | 'beyond'>): void {
    for (const ref of refs) this.#inserts.push(ref);
    this.#records += refs.length;
    this.#bytes += bytes;
    this.#place = { table: this.#table?.index ?? 0, begun: true, after, beyond };
  }

  tableEnds(): void {
    const table = this.#table;
    if (table === null) return;
    this.#closeRows();
    this.#steps.push({ kind: 'table-state', table: table.schema, state: 'loaded' });
    if (table.isConsistent) this.#steps.push({ kind: 'table-state', table: table.schema, state: 'copied' });
    this.#place = { ...BASE_START, table: table.index + 1 };
    this.#table = null;
  }

  take(): BaseBatch {
    this.#closeRows();
    const taken: BaseBatch = { steps: this.#steps, records: this.#records, bytes: this.#bytes, place: this.#place };
    this.#steps = [];
    this.#records = 0;
    this.#bytes = 0;
    return taken;
  }

  #closeRows(): void {
    if (this.#table === null || (this.#inserts.length === 0 && !this.#truncate)) return;
    const { schema, isConsistent } = this.#table;
    // Rows that are exactly those of one moment are in nobody's way: what violates a constraint is an error of the data.
    const rows = { schema, truncate: this.#truncate, copying: !isConsistent, deletes: [], upserts: [], inserts: this.#inserts };
    this.#steps.push({ kind: 'rows', tables: [rows] });
    this.#inserts = [];
    this.#truncate = false;
  }
}

interface Rows {
  readonly refs: readonly RecordRef[];
  readonly bytes: number;
}

/** Rows may be of older versions of their table; all of them as the newest has them. */
function inShape(batch: ChangeBatch, schema: TableSchema, tables: MirroredTables, projectors: Projectors): Rows {
  const view = new RecordView();
  const refs: RecordRef[] = [];
  for (view.reset(batch.records); view.next() && view.schemaVersion === schema.version; ) refs.push({ batch, at: view.at });
  if (refs.length === batch.count) return { refs, bytes: batch.records.length };
  const builder = new BatchBuilder(batch.records.length + (64 << 10));
  builder.begin('hub', 0, 0);
  for (view.reset(batch.records); view.next(); ) projectors.get(tables.version(schema.tableId, view.schemaVersion), schema).record(view, builder);
  const projected = builder.take();
  return { refs: refsOf(projected), bytes: projected.records.length };
}

function refsOf(batch: ChangeBatch): RecordRef[] {
  const refs: RecordRef[] = [];
  const view = new RecordView();
  for (view.reset(batch.records); view.next(); ) refs.push({ batch, at: view.at });
  return refs;
}
