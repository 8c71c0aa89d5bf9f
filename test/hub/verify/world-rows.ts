/** Rows, changes and records of the world that verifications are tested in (world.ts). */
import { BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import { buildKey } from '../../../contracts/key.ts';
import { sumsOfRows } from '../../../contracts/kit/row-sums.ts';
import { Op } from '../../../contracts/op.ts';
import { RecordView } from '../../../contracts/record.ts';
import { buildImage, readImage } from '../../../contracts/row-image.ts';
import { RowTextHash } from '../../../contracts/row-text-hash.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { BucketSum, ChosenBuckets, RowSums, SumsRequest } from '../../../contracts/verify.ts';

const NONE = Buffer.alloc(0);
const NO_ROW = '-';
/** The tables, by their ids: the last one has no key. */
export const TABLES = [1, 2, 3] as const;
export const KEYLESS = 3;
const TEXT = { kind: 'text', length: null, fixed: false } as const;
const COLUMN = { nullable: true, constantDefault: null, fill: null, generated: 'no', identity: 'no', nativeType: 'text' } as const;

export function schemaOf(tableId: number, version: number): TableSchema {
  const names = version === 1 ? ['id', 'name', 'note'] : ['id', 'name', 'note', 'added'];
  const columns = names.map((name, index) => ({ ...COLUMN, number: index + 1, name, type: TEXT, ...(name === 'added' ? { fill: 'filled' } : {}) }));
  return { tableId, version, sourceTableId: String(tableId), namespace: 'public', name: `table_${tableId}`, columns, keyKind: tableId === KEYLESS ? 'none' : 'primary', key: tableId === KEYLESS ? [] : [0] };
}

/** Values of a row by its columns; null: SQL NULL. */
export type Row = readonly (string | null)[];

export interface Change {
  readonly tableId: number;
  readonly op: 'c' | 'u' | 'd' | 't';
  readonly before: Row | null;
  readonly after: Row | null;
}

/** Tables as maps from key to row; keyless ones from row to how often. All as text. */
export class Rows {
  readonly #tables = new Map<number, Map<string, string>>();

  of(tableId: number): Map<string, string> {
    const known = this.#tables.get(tableId);
    if (known !== undefined) return known;
    const rows = new Map<string, string>();
    this.#tables.set(tableId, rows);
    return rows;
  }

  apply({ tableId, op, before, after }: Change): void {
    const rows = this.of(tableId);
    if (op === 't') rows.clear();
    else if (tableId === KEYLESS) {
      if (before !== null) this.count(JSON.stringify(before), -1);
      if (after !== null) this.count(JSON.stringify(after), 1);
    } else {
      if (before !== null) rows.delete(before[0] ?? '');
      if (after !== null) rows.set(after[0] ?? '', JSON.stringify(after));
    }
  }

  count(row: string, by: number): void {
    const rows = this.of(KEYLESS);
    // A row that is not there cannot be deleted, which is no error at a sink.
    const count = Math.max(0, Number(rows.get(row) ?? '0') + by);
    if (count === 0) rows.delete(row);
    else rows.set(row, String(count));
  }

  clone(): Rows {
    const copy = new Rows();
    for (const [tableId, rows] of this.#tables) for (const [key, row] of rows) copy.of(tableId).set(key, row);
    return copy;
  }

  /** Every row gets the values that a later shape has. */
  widen(tableId: number): void {
    const rows = [...this.of(tableId)];
    this.of(tableId).clear();
    for (const [key, value] of rows) {
      if (tableId === KEYLESS) this.of(tableId).set(widened(key), value);
      else this.of(tableId).set(key, widened(value));
    }
  }
}

function widened(row: string): string {
  const cells = parsed(row);
  return JSON.stringify(cells.length === 3 ? [...cells, 'filled'] : cells);
}

export interface Transaction {
  readonly xid: number;
  readonly changes: readonly Change[];
  /** Its last offset. */
  end: number;
  /** Of tables whose shape it changes. */
  readonly widens: readonly number[];
}

/** `table key expected found`, sorted: what differs between two sets of rows. */
export function differencesOf(tableId: number, expected: Rows, found: Rows): string[] {
  const left = expected.of(tableId);
  const right = found.of(tableId);
  return [...new Set([...left.keys(), ...right.keys()])]
    .filter((key) => left.get(key) !== right.get(key))
    .map((key) => `${key} ${left.get(key) ?? NO_ROW} ${right.get(key) ?? NO_ROW}`)
    .toSorted();
}


export function touchesSame(a: Transaction, b: Transaction): boolean {
  return a.changes.some((one) => b.changes.some((other) => one.tableId === other.tableId && (one.op === 't' || other.op === 't' || idsOf(one).some((id) => idsOf(other).includes(id)))));
}

function idsOf({ tableId, before, after }: Change): string[] {
  return [before, after].flatMap((row) => (row === null ? [] : [tableId === KEYLESS ? JSON.stringify(row) : (row[0] ?? '')]));
}

export function recordOf(builder: BatchBuilder, { tableId, op, before, after }: Change, version: number, as: number = Op.create): void {
  const key = tableId === KEYLESS ? NONE : keyOf(after ?? before);
  if (op === 't') builder.record(Op.truncate, 0, tableId, version, NONE, NONE, NONE);
  else if (op === 'c') builder.record(as, 0, tableId, version, key, NONE, imageOf(after));
  else if (op === 'u') builder.record(Op.update, 0, tableId, version, key, tableId === KEYLESS ? imageOf(before) : NONE, imageOf(after));
  else builder.record(Op.delete, 0, tableId, version, key, tableId === KEYLESS ? imageOf(before) : NONE, NONE);
}

function keyOf(row: Row | null): Buffer {
  return row === null ? NONE : buildKey([row[0] ?? '']);
}

function imageOf(row: Row | null): Buffer {
  return row === null ? NONE : buildImage(row);
}

export function parsed(row: string): Row {
  const cells: unknown = JSON.parse(row);
  if (!Array.isArray(cells)) throw new Error('a row is no row');
  return cells.map((cell) => (cell === null ? null : String(cell)));
}

export async function* batchOf(rows: Rows, schema: TableSchema, takes: (key: string) => boolean): AsyncGenerator<ChangeBatch, void, void> {
  const builder = new BatchBuilder(1024);
  builder.begin('hub', 0, 0);
  for (const [name, value] of rows.of(schema.tableId)) {
    const row = parsed(schema.tableId === KEYLESS ? name : value);
    const key = schema.tableId === KEYLESS ? NONE : buildKey([name]);
    const image = buildImage(row);
    if (!takes(schema.tableId === KEYLESS ? image.toString('hex') : key.toString('hex'))) continue;
    for (let count = schema.tableId === KEYLESS ? Number(value) : 1; count > 0; count--) builder.record(Op.read, 0, 0, 0, key, NONE, image);
  }
  if (builder.count > 0) yield builder.take();
}

/** Rows of some buckets, as a place that sums gives them. */
export async function* chosenOf(batches: AsyncIterable<ChangeBatch>, { seed, buckets, chosen }: ChosenBuckets): AsyncGenerator<ChangeBatch, void, void> {
  const wanted = new Set(chosen);
  const hash = new RowTextHash(seed);
  for await (const { records } of batches) {
    const builder = new BatchBuilder(1024);
    builder.begin('hub', 0, 0);
    const bytes = new DataView(records.buffer, records.byteOffset, records.length);
    const view = new RecordView();
    for (view.reset(records); view.next(); ) {
      hash.row(bytes, view.keyStart, view.afterStart, view.afterEnd);
      if (wanted.has(hash.low & (buckets - 1))) builder.record(Op.read, 0, 0, 0, view.key(), NONE, view.after());
    }
    if (builder.count > 0) yield builder.take();
  }
}

/** How a place sums: not at all, at once, one row after the other, or not after all. */
export type Summing = 'never' | 'whole' | 'bitwise' | 'broken-off';

/** Sums over rows, as a place answers them. */
export async function* summed(batches: AsyncIterable<ChangeBatch>, request: SumsRequest, way: Summing): AsyncGenerator<RowSums | null, void, void> {
  if (way === 'never') yield null;
  if (way === 'never') return;
  const sums: BucketSum[] = [];
  for await (const batch of batches) sums.push(...sumsOfRows([batch], request));
  if (way === 'whole') yield { rows: sums.length, sums };
  else for (const one of way === 'bitwise' ? sums : sums.slice(0, 1)) yield { rows: 1, sums: [one] };
  if (way === 'broken-off') yield null;
}

export function textOfKey(key: Buffer): string {
  return key.toString('utf8', 4);
}

export function textOfImage(image: Buffer): string {
  return JSON.stringify(readImage(image).map((cell) => (cell === null ? null : String(cell))));
}
