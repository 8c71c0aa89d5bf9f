/**
 * How a tuple of the stream becomes a row image of the log where the two differ: columns left out or hashed, `bytea` as
 * raw bytes, columns that a newer schema has already, placeholders that the old row of the same message fills.
 */
import { writeU32 } from '../../../contracts/record.ts';
import { Cell, IMAGE_HEADER } from '../../../contracts/row-image.ts';
import { HASH_BYTES, type ColumnAction } from '../../../contracts/types/postgres-copy-text.ts';
import { protocolError } from '../errors.ts';
import type { ColumnHash } from '../../../contracts/column-hash.ts';
import { TupleSpans } from './tuple.ts';

export interface PlannedColumn {
  /** Index in the tuple; -1: it is not in it, `fill` stands for it. */
  readonly source: number;
  readonly action: ColumnAction;
  /** A whole cell (kind, length, value). */
  readonly fill: Buffer;
}

/** Image columns in order. Immutable. */
export class RowPlan {
  readonly columns: readonly PlannedColumn[];
  readonly hash: ColumnHash | null;
  /** Tuples are images as they stand. */
  readonly isIdentity: boolean;

  constructor(columns: readonly PlannedColumn[], tupleColumns: number, hash: ColumnHash | null) {
    this.columns = columns;
    this.hash = hash;
    this.isIdentity =
      columns.length === tupleColumns && columns.every((column, index) => column.source === index && column.action === 'keep');
  }
}

export const NULL_CELL: Buffer = Buffer.from([Cell.null]);

/** The cell of a canonical value; `bytea` is given as the server prints it. */
export function fillCell(value: string | null, action: ColumnAction): Buffer {
  if (value === null) return NULL_CELL;
  const binary = action === 'bytes';
  const body = binary ? Buffer.from(value.slice(2), 'hex') : Buffer.from(value, 'utf8');
  const cell = Buffer.allocUnsafe(5 + body.length);
  cell[0] = binary ? Cell.binary : Cell.text;
  writeU32(cell, 1, body.length);
  body.copy(cell, 5);
  return cell;
}

const KEEP_SCRATCH = 1 << 20;

/** Builds images in a buffer of its own; what `build` answers is valid until the next call. Owned by one decoder. */
export class ImageBuilder {
  readonly spans = new TupleSpans();
  #scratch: Buffer = Buffer.allocUnsafeSlow(1 << 14);
  #at = 0;

  /** The image of `tuple`, placeholders taken from `old` where there is one, as spans over the scratch buffer. */
  build(plan: RowPlan, tuple: TupleSpans, old: TupleSpans | null): TupleSpans {
    const { spans } = this;
    const { columns } = plan;
    spans.makeRoom(columns.length);
    if (this.#scratch.length > KEEP_SCRATCH) this.#scratch = Buffer.allocUnsafeSlow(1 << 14);
    this.#at = 0;
    this.#room(IMAGE_HEADER);
    this.#scratch.writeUInt16BE(columns.length, 0);
    this.#at = IMAGE_HEADER;
    let placeholders = 0;
    for (let index = 0; index < columns.length; index++) {
      const column = columns[index] as PlannedColumn;
      if (column.source < 0) this.#fill(column.fill, index);
      else {
        const from = tuple.kinds[column.source] === Cell.placeholder && old !== null ? old : tuple;
        this.#cell(from, column.source, column.action, plan.hash, index);
      }
      if (spans.kinds[index] === Cell.placeholder) placeholders++;
    }
    spans.bytes = this.#scratch;
    spans.start = 0;
    spans.end = this.#at;
    spans.columns = columns.length;
    spans.placeholders = placeholders;
    return spans;
  }

  #fill(cell: Buffer, index: number): void {
    this.#room(cell.length);
    cell.copy(this.#scratch, this.#at);
    const { spans } = this;
    spans.kinds[index] = cell[0] as number;
    spans.starts[index] = this.#at + Math.min(cell.length, 5);
    this.#at += cell.length;
    spans.ends[index] = this.#at;
  }

  #cell(from: TupleSpans, source: number, action: ColumnAction, hash: ColumnHash | null, index: number): void {
    const kind = from.kinds[source] as number;
    const start = from.starts[source] as number;
    const end = from.ends[source] as number;
    const { spans } = this;
    if (kind !== Cell.text) {
      this.#room(1);
      this.#scratch[this.#at++] = kind;
      spans.kinds[index] = kind;
      spans.starts[index] = spans.ends[index] = this.#at;
      return;
    }
    const length = action === 'keep' ? end - start : action === 'hash' ? HASH_BYTES : binaryLength(from.bytes, start, end);
    this.#room(5 + length);
    const at = this.#at + 5;
    const written = action === 'bytes' ? Cell.binary : Cell.text;
    this.#scratch[this.#at] = written;
    writeU32(this.#scratch, this.#at + 1, length);
    if (action === 'keep') from.bytes.copy(this.#scratch, at, start, end);
    else if (action === 'bytes') this.#hex(from.bytes, start + 2, end, at, length);
    else {
      if (hash === null) throw protocolError('a column is to be hashed without a key');
      hash.bytes(from.bytes.subarray(start, end)).copy(this.#scratch, at);
    }
    spans.kinds[index] = written;
    spans.starts[index] = at;
    spans.ends[index] = at + length;
    this.#at = at + length;
  }

  #hex(bytes: Buffer, start: number, end: number, at: number, length: number): void {
    const written = this.#scratch.write(bytes.toString('latin1', start, end), at, length, 'hex');
    if (written !== length) throw protocolError('a bytea value has a character that is not hexadecimal');
  }

  #room(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#scratch.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#scratch.length * 2));
    this.#scratch.copy(larger, 0, 0, this.#at);
    this.#scratch = larger;
  }
}

/** @throws TidemarkError `POSTGRES_PROTOCOL` when the value is not `\x` and pairs of digits */
function binaryLength(bytes: Buffer, start: number, end: number): number {
  const digits = end - start - 2;
  if (digits < 0 || digits % 2 !== 0 || bytes[start] !== 0x5c || bytes[start + 1] !== 0x78) {
    throw protocolError('a bytea value is not in hexadecimal form');
  }
  return digits / 2;
}
