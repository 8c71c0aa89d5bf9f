import type { BatchBuilder } from './change-batch.ts';
import { TidemarkError } from './errors/error.ts';
import { Op } from './op.ts';
import type { RecordView } from './record.ts';
import { Cell, IMAGE_HEADER, ImageWalker, imageColumns } from './row-image.ts';
import { tableName, type Column, type TableSchema } from './schema.ts';
import { baseType } from './types/logical-type.ts';

/**
 * Turns row images of one schema version of a table into images of another. Columns are matched by number; one that the
 * older version lacks is completed with its fill value; one that the newer version lacks is left out; placeholders stay
 * placeholders. Works on bytes: runs of neighbouring columns are copied as they stand. Where both layouts are the same
 * (a rename, a changed default, a wider type) `identical` is true and images need no projecting at all.
 *
 * Owns two small scratch arrays and is not re-entrant: one projector per consumer. What `project` writes is the
 * caller's.
 */
export class Projector {
  readonly from: TableSchema;
  readonly to: TableSchema;
  /** An image of `from` is, byte for byte, an image of `to`. */
  readonly identical: boolean;
  readonly #plan: readonly Piece[];
  readonly #before: Cells;
  readonly #after: Cells;

  /** @throws TidemarkError `SCHEMA_INVALID` when the two are not versions of one table. */
  constructor(from: TableSchema, to: TableSchema) {
    if (from.tableId !== to.tableId) {
      throw new TidemarkError('SCHEMA_INVALID', `images of table id ${from.tableId} cannot become images of table id ${to.tableId}`, {
        where: { table: tableName(to) },
      });
    }
    this.from = from;
    this.to = to;
    this.identical = sameLayout(from.columns, to.columns);
    this.#plan = planOf(from.columns, to.columns);
    this.#before = new Cells(from.columns.length);
    this.#after = new Cells(from.columns.length);
  }

  /** Bytes that the image at `start .. end` can take at most once projected. */
  limit(start: number, end: number): number {
    let fills = IMAGE_HEADER;
    for (const piece of this.#plan) if (piece.fill !== null) fills += piece.fill.length;
    return end - start + fills;
  }

  /**
   * Writes the projected image into `into` at `at`, which has room for `limit` bytes; answers where it ends.
   * @throws TidemarkError `RECORD_CORRUPT` when the image is not one of `from`
   */
  project(bytes: Uint8Array, start: number, end: number, into: Buffer, at: number): number {
    if (this.identical) {
      into.set(bytes.subarray(start, end), at);
      return at + (end - start);
    }
    this.#after.load(bytes, start, end);
    return this.#write(this.#after, into, at);
  }

  /** The projected image as bytes of their own. @throws TidemarkError `RECORD_CORRUPT` */
  image(bytes: Uint8Array, start: number, end: number): Buffer {
    const into = Buffer.allocUnsafeSlow(this.limit(start, end));
    return into.subarray(0, this.project(bytes, start, end, into, 0));
  }

  /**
   * Appends the row record under `view` to `builder` as a record of `to`, with other flags if given. The key is kept:
   * a table whose key changes gets a new id. @throws TidemarkError `RECORD_CORRUPT`
   */
  record(view: RecordView, builder: BatchBuilder, flags: number = view.flags): void {
    const { tableId, version } = this.to;
    if (this.identical || view.op === Op.truncate) {
      builder.record(view.op, flags, tableId, version, view.key(), view.before(), view.after());
      return;
    }
    const keyLength = view.keyEnd - view.keyStart;
    const before = view.hasBefore ? this.#measure(this.#before, view.bytes, view.beforeStart, view.beforeEnd) : 0;
    const after = view.hasAfter ? this.#measure(this.#after, view.bytes, view.afterStart, view.afterEnd) : 0;
    let at = builder.reserve(view.op, flags, tableId, version, keyLength, before, after);
    view.bytes.copy(builder.buffer, at, view.keyStart, view.keyEnd);
    at += keyLength;
    if (before > 0) at = this.#write(this.#before, builder.buffer, at);
    if (after > 0) this.#write(this.#after, builder.buffer, at);
  }

  #measure(cells: Cells, bytes: Uint8Array, start: number, end: number): number {
    cells.load(bytes, start, end);
    let size = IMAGE_HEADER;
    for (const piece of this.#plan) size += piece.fill === null ? cells.spanLength(piece.first, piece.last) : piece.fill.length;
    return size;
  }

  #write(cells: Cells, into: Buffer, at: number): number {
    const { bytes, bounds } = cells;
    at = into.writeUInt16BE(this.to.columns.length, at);
    for (const piece of this.#plan) {
      if (piece.fill !== null) {
        into.set(piece.fill, at);
        at += piece.fill.length;
      } else {
        const start = bounds[piece.first] as number;
        const end = bounds[piece.last + 1] as number;
        into.set(bytes.subarray(start, end), at);
        at += end - start;
      }
    }
    return at;
  }
}

/** The projectors of one consumer, made when first needed, by table id and version. */
export class Projectors {
  readonly #made = new Map<string, Projector>();

  get(from: TableSchema, to: TableSchema): Projector {
    const name = `${from.tableId}/${from.version}/${to.version}`;
    let projector = this.#made.get(name);
    if (projector === undefined) {
      projector = new Projector(from, to);
      this.#made.set(name, projector);
    }
    return projector;
  }
}

/** Either columns `first .. last` of the older image as they stand, or the bytes of one whole cell. */
interface Piece {
  readonly first: number;
  readonly last: number;
  readonly fill: Buffer | null;
}

/** Where each cell of an image begins; `bounds[n]` is the end of the image. */
class Cells {
  bytes: Uint8Array = new Uint8Array(0);
  readonly bounds: Float64Array;
  readonly #columns: number;
  readonly #walker = new ImageWalker();

  constructor(columns: number) {
    this.#columns = columns;
    this.bounds = new Float64Array(columns + 1);
  }

  load(bytes: Uint8Array, start: number, end: number): void {
    const walker = this.#walker.reset(bytes, start, end);
    if (walker.left !== this.#columns) {
      throw new TidemarkError('RECORD_CORRUPT', `an image has ${imageColumns(bytes, start)} columns and its schema ${this.#columns}`);
    }
    this.bytes = bytes;
    this.bounds[0] = start + IMAGE_HEADER;
    for (let column = 1; walker.next(); column++) this.bounds[column] = walker.end;
  }

  spanLength(first: number, last: number): number {
    return (this.bounds[last + 1] as number) - (this.bounds[first] as number);
  }
}

function sameLayout(from: readonly Column[], to: readonly Column[]): boolean {
  return from.length === to.length && from.every((column, index) => column.number === to[index]?.number);
}

function planOf(from: readonly Column[], to: readonly Column[]): Piece[] {
  const pieces: Piece[] = [];
  for (const column of to) {
    const index = from.findIndex((older) => older.number === column.number);
    const previous = pieces.at(-1);
    if (index < 0) pieces.push({ first: 0, last: 0, fill: fillCell(column) });
    else if (previous !== undefined && previous.fill === null && previous.last + 1 === index) {
      pieces[pieces.length - 1] = { ...previous, last: index };
    } else pieces.push({ first: index, last: index, fill: null });
  }
  return pieces;
}

/** The cell that rows older than the column have in it. The fill of a `bytes` column is hex text: `\x0a1b`. */
export function fillCell(column: Column): Buffer {
  if (column.fill === null) return Buffer.from([Cell.null]);
  const binary = baseType(column.type).kind === 'bytes';
  const value = binary ? hexBytes(column.fill, column.name) : Buffer.from(column.fill, 'utf8');
  const cell = Buffer.allocUnsafe(5 + value.length);
  cell[0] = binary ? Cell.binary : Cell.text;
  cell.writeInt32BE(value.length, 1);
  cell.set(value, 5);
  return cell;
}

function hexBytes(text: string, column: string): Buffer {
  if (!/^\\x([0-9a-f]{2})*$/i.test(text)) throw new TidemarkError('SCHEMA_INVALID', `the fill value of column ${column} is not hex bytes`);
  return Buffer.from(text.slice(2), 'hex');
}
