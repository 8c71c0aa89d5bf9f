/**
 * A model of a log and of what a sink must hold after each of its batches: small, in memory, obviously right. Changes
 * are made as a source would make them; `batch` folds them the way the hub does.
 */
import { BatchBuilder, type ChangeBatch } from '../change-batch.ts';
import { Catalog, type CatalogTable, type TableState } from '../catalog.ts';
import { buildKey } from '../key.ts';
import { Op } from '../op.ts';
import { buildImage } from '../row-image.ts';
import type { Column, KeyKind, TableSchema } from '../schema.ts';
import type { BatchLimits, FoldedTable, RecordRef, SinkBatch, SinkStart, SinkStep } from '../sink.ts';
import type { LogicalType } from '../types/logical-type.ts';

/** A value of a row: null, canonical text, or the bytes of a column of type `bytes`. */
export type ModelCell = string | Buffer | null;
export type ModelRow = readonly ModelCell[];

export interface ModelColumn {
  readonly name: string;
  readonly type: LogicalType;
  readonly nativeType: string;
  readonly nullable?: boolean;
  readonly fill?: string | null;
}

interface Entry {
  readonly row: ModelRow;
}

/** What happened to one key since the last batch. */
interface KeyChange {
  readonly existedBefore: boolean;
  /** The row now; null: gone. */
  row: ModelRow | null;
  /** The row as it was last seen, for the before image of a delete. */
  last: ModelRow;
}

interface TableChange {
  truncate: boolean;
  readonly keys: Map<string, KeyChange>;
  readonly bagDeletes: ModelRow[];
  readonly bagInserts: ModelRow[];
}

/** One table of the model. */
export class ModelTable {
  schema: TableSchema;
  copying = false;
  readonly versions: { offset: number; schema: TableSchema }[] = [];
  readonly rows = new Map<string, Entry>();
  /** Rows of a keyless table. */
  bag: ModelRow[] = [];

  constructor(schema: TableSchema) {
    this.schema = schema;
  }

  /** Every row, in no order. */
  expected(): ModelRow[] {
    return this.schema.keyKind === 'none' ? [...this.bag] : [...this.rows.values()].map((entry) => entry.row);
  }

  keyOf(row: ModelRow): Buffer {
    return buildKey(this.schema.key.map((index) => row[index] ?? ''));
  }
}

export class SinkModel {
  readonly logId: string;
  readonly epoch: string;
  /** Tables that a sink must hold now. */
  readonly tables: ModelTable[] = [];
  /** Tables that have left, with where. */
  readonly #removed = new Map<ModelTable, number>();
  #tableIds = 0;
  #offset = 0;
  #batchedTo = 0;
  #steps: SinkStep[] = [];
  /** The offset after each step. */
  #stepEnds: number[] = [];
  #changes = new Map<ModelTable, TableChange>();
  #records = 0;

  constructor(name = 'a') {
    this.logId = Buffer.from(name.padEnd(16, '.')).toString('hex');
    this.epoch = Buffer.from(`${name}-epoch`.padEnd(16, '.')).toString('hex');
  }

  get offset(): number {
    return this.#offset;
  }

  start(): SinkStart {
    const inCatalog = ({ schema, versions }: ModelTable, state: TableState): CatalogTable => ({
      tableId: schema.tableId, versions: [...versions], state, consistent: [{ from: 1, to: null }],
    });
    const tables = this.tables.map((table) => inCatalog(table, { state: 'consistent', since: 1 }));
    const removed = [...this.#removed].map(([table, at]) => inCatalog(table, { state: 'removed', at }));
    return { logId: this.logId, catalog: Catalog.from([...removed, ...tables]) };
  }

  createTable(namespace: string, name: string, columns: readonly ModelColumn[], key: readonly string[], keyKind: KeyKind = key.length > 0 ? 'primary' : 'none'): ModelTable {
    const table = new ModelTable({
      tableId: ++this.#tableIds,
      version: 1,
      sourceTableId: String(16_384 + this.#tableIds),
      namespace,
      name,
      columns: columns.map((column, index) => modelColumn(column, index + 1)),
      keyKind,
      key: key.map((wanted) => columns.findIndex((column) => column.name === wanted)),
    });
    this.tables.push(table);
    this.#schemaStep(table, null);
    return table;
  }

  /**
   * Changes the shape; rows follow by column number, new columns get their fill.
   * @param change the new shape without version and ids
   */
  alterTable(table: ModelTable, change: Partial<Pick<TableSchema, 'namespace' | 'name' | 'columns' | 'keyKind' | 'key'>>): void {
    const before = table.schema;
    const after: TableSchema = { ...before, ...change, version: before.version + 1 };
    this.#closeRows();
    const project = (row: ModelRow): ModelRow =>
      after.columns.map((column) => {
        const was = before.columns.findIndex((old) => old.number === column.number);
        return was < 0 ? column.fill : (row[was] ?? null);
      });
    const rows = table.expected().map(project);
    table.schema = after;
    table.rows.clear();
    table.bag = [];
    for (const row of rows) this.#put(table, row);
    this.#schemaStep(table, before);
  }

  insert(table: ModelTable, row: ModelRow): void {
    const change = this.#changeOf(table);
    this.#advance();
    if (table.schema.keyKind === 'none') {
      table.bag.push(row);
      change.bagInserts.push(row);
      return;
    }
    const key = table.keyOf(row).toString('hex');
    if (table.rows.has(key)) throw new Error('the model was given a key twice');
    this.#put(table, row);
    noteKey(change, key, null, row);
  }

  /** Replaces the row with the same key, or moves it when the key differs (a delete, then a create). */
  update(table: ModelTable, old: ModelRow, row: ModelRow): void {
    const change = this.#changeOf(table);
    if (table.schema.keyKind === 'none') {
      this.delete(table, old);
      this.insert(table, row);
      return;
    }
    const [from, to] = [table.keyOf(old).toString('hex'), table.keyOf(row).toString('hex')];
    this.#advance();
    if (from !== to) {
      this.delete(table, old);
      this.insert(table, row);
      return;
    }
    this.#put(table, row);
    noteKey(change, from, old, row);
  }

  /** Changes the keys of several rows at once, as one statement of the source does. */
  rekey(table: ModelTable, moves: readonly { readonly old: ModelRow; readonly row: ModelRow }[]): void {
    for (const { old } of moves) this.delete(table, old);
    for (const { row } of moves) this.insert(table, row);
  }

  delete(table: ModelTable, row: ModelRow): void {
    const change = this.#changeOf(table);
    this.#advance();
    if (table.schema.keyKind === 'none') {
      removeOne(table.bag, row);
      if (!removeOne(change.bagInserts, row)) change.bagDeletes.push(row);
      return;
    }
    const key = table.keyOf(row).toString('hex');
    table.rows.delete(key);
    noteKey(change, key, row, null);
  }

  truncate(table: ModelTable): void {
    const change = this.#changeOf(table);
    this.#advance();
    table.rows.clear();
    table.bag = [];
    change.truncate = true;
    change.keys.clear();
    change.bagDeletes.length = 0;
    change.bagInserts.length = 0;
  }

  /** The state of the table's copy changes, as a step of its own. */
  tableState(table: ModelTable, state: 'copying' | 'loaded' | 'copied' | 'stopped' | 'removed'): void {
    this.#closeRows();
    this.#advance();
    table.copying = state === 'copying' ? true : state === 'copied' ? false : table.copying;
    this.#push({ kind: 'table-state', table: table.schema, state });
  }

  /** The table is no longer compared: it has left the source, or another generation takes its place. */
  forget(table: ModelTable): void {
    this.#closeRows();
    this.tables.splice(this.tables.indexOf(table), 1);
    this.#removed.set(table, this.#offset);
  }

  /** Offsets that concern no mirrored table. */
  skip(records: number): void {
    this.#offset += records;
  }

  /** Everything since the last batch. @param endsOpen the transaction goes on in the next batch */
  batch(endsOpen = false): SinkBatch {
    this.#closeRows();
    const batch: SinkBatch = {
      after: this.#batchedTo,
      to: this.#offset,
      endsOpen,
      epoch: this.epoch,
      position: Buffer.from(`position-${this.#offset}`),
      cursor: null,
      commitTime: 1_700_000_000_000_000 + this.#offset,
      steps: this.#steps,
      records: this.#records,
      bytes: 0,
    };
    this.#batchedTo = this.#offset;
    this.#steps = [];
    this.#stepEnds = [];
    this.#records = 0;
    return batch;
  }

  /** The same, as batches that a sink of these limits takes. The last one ends where `batch` would. */
  batches({ stepsFirst = false }: Partial<BatchLimits>): SinkBatch[] {
    this.#closeRows();
    const ends = this.#stepEnds;
    const batch = this.batch();
    const { steps } = batch;
    const cuts = stepsFirst ? steps.flatMap((step, index) => (index > 0 && step.kind !== 'rows' && steps[index - 1]?.kind === 'rows' ? [index] : [])) : [];
    return [...cuts, steps.length].map((end, n) => {
      const begin = cuts[n - 1] ?? 0;
      const after = begin === 0 ? batch.after : (ends[begin - 1] ?? batch.after);
      const to = end === steps.length ? batch.to : (ends[end - 1] ?? batch.to);
      return { ...batch, after, to, steps: steps.slice(begin, end), position: Buffer.from(`position-${to}`), commitTime: 1_700_000_000_000_000 + to };
    });
  }

  #advance(): void {
    this.#offset++;
    this.#records++;
  }

  #put(table: ModelTable, row: ModelRow): void {
    if (table.schema.keyKind === 'none') table.bag.push(row);
    else table.rows.set(table.keyOf(row).toString('hex'), { row });
  }

  #schemaStep(table: ModelTable, before: TableSchema | null): void {
    this.#closeRows();
    this.#advance();
    table.versions.push({ offset: this.#offset, schema: table.schema });
    this.#push({ kind: 'schema', before, after: table.schema });
  }

  #changeOf(table: ModelTable): TableChange {
    let change = this.#changes.get(table);
    if (change === undefined) {
      change = { truncate: false, keys: new Map(), bagDeletes: [], bagInserts: [] };
      this.#changes.set(table, change);
    }
    return change;
  }

  #closeRows(): void {
    const tables: FoldedTable[] = [];
    for (const [table, change] of this.#changes) {
      const folded = foldTable(table, change);
      if (folded !== null) tables.push(folded);
    }
    this.#changes = new Map();
    if (tables.length > 0) this.#push({ kind: 'rows', tables });
  }

  #push(step: SinkStep): void {
    this.#steps.push(step);
    this.#stepEnds.push(this.#offset);
  }
}

export function modelColumn(column: ModelColumn, number: number): Column {
  return {
    number,
    name: column.name,
    type: column.type,
    nativeType: column.nativeType,
    nullable: column.nullable ?? true,
    constantDefault: null,
    fill: column.fill ?? null,
    generated: 'no',
    identity: 'no',
  };
}

function noteKey(change: TableChange, key: string, old: ModelRow | null, row: ModelRow | null): void {
  const known = change.keys.get(key);
  if (known === undefined) {
    // After a truncate no key is left from before.
    change.keys.set(key, { existedBefore: old !== null && !change.truncate, row, last: old ?? row ?? [] });
    return;
  }
  known.last = row ?? known.row ?? known.last;
  known.row = row;
}

function removeOne(rows: ModelRow[], row: ModelRow): boolean {
  const at = rows.findIndex((other) => other.length === row.length && other.every((cell, index) => sameCell(cell, row[index] ?? null)));
  if (at >= 0) rows.splice(at, 1);
  return at >= 0;
}

function sameCell(a: ModelCell, b: ModelCell): boolean {
  return typeof a === 'string' || a === null ? a === b : Buffer.isBuffer(b) && a.equals(b);
}

function foldTable(table: ModelTable, change: TableChange): FoldedTable | null {
  const writer = new RefWriter(table);
  for (const { existedBefore, row, last } of change.keys.values()) {
    // While a table is copied a row may stand at the sink already, whatever the log says of it.
    if (row !== null && table.copying) writer.add('upserts', Op.read, row);
    else if (row !== null) writer.add(existedBefore ? 'upserts' : 'inserts', existedBefore ? Op.update : Op.create, row);
    else if (existedBefore || table.copying) writer.add('deletes', Op.delete, last);
  }
  for (const row of change.bagDeletes) writer.add('deletes', Op.delete, row);
  for (const row of change.bagInserts) writer.add('inserts', Op.create, row);
  const lists = writer.finish();
  const changes = lists.deletes.length + lists.upserts.length + lists.inserts.length;
  if (changes === 0 && !change.truncate) return null;
  return { schema: table.schema, truncate: change.truncate, copying: table.copying, ...lists };
}

type List = 'deletes' | 'upserts' | 'inserts';

/** Writes records of one table into a batch and notes where they stand. */
class RefWriter {
  readonly #table: ModelTable;
  readonly #builder = new BatchBuilder(1 << 12);
  readonly #places: Record<List, number[]> = { deletes: [], upserts: [], inserts: [] };

  constructor(table: ModelTable) {
    this.#table = table;
    this.#builder.begin('source', 1, 0);
  }

  add(list: List, op: number, row: ModelRow): void {
    const { schema } = this.#table;
    const image = buildImage(row);
    const empty = Buffer.alloc(0);
    this.#places[list].push(this.#builder.length);
    const key = this.#table.keyOf(row);
    this.#builder.record(op, 0, schema.tableId, schema.version, key, op === Op.delete ? image : empty, op === Op.delete ? empty : image);
  }

  finish(): Record<List, RecordRef[]> {
    const batch: ChangeBatch = this.#builder.take();
    const refs = (places: readonly number[]): RecordRef[] => places.map((at) => ({ batch, at }));
    return { deletes: refs(this.#places.deletes), upserts: refs(this.#places.upserts), inserts: refs(this.#places.inserts) };
  }
}
