/** Rows of a SELECT in the text protocol into `r` records, in buffers of about a batch. */
import { BATCH_BYTES } from '../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Flag, Op } from '../../../contracts/op.ts';
import { MAX_RECORD_BYTES, RECORD_HEADER, writeU32 } from '../../../contracts/record.ts';
import { Cell } from '../../../contracts/row-image.ts';
import { CellSpans, CellWriter } from '../values/cell-writer.ts';
import type { CopyValue } from '../values/copy-values.ts';
import { NULL_VALUE, packedLength, packedStart } from './packed.ts';

/** How the selected values become the cells of a record. Immutable. */
export interface RowLayout {
  /** Of each column of the schema, in the order in which they are selected. */
  readonly values: readonly CopyValue[];
  /** Columns of the key, in the key's order; empty: the table has none. */
  readonly key: readonly number[];
  /**
   * Of each part of the key the place of the value in the SELECT by which the server orders it: that of the column, or one
   * behind all columns.
   */
  readonly order: readonly number[];
  /** Values of the SELECT, those behind the columns among them. */
  readonly selected: number;
  readonly isWide: boolean;
  readonly maxRowBytes: number;
}

export type RecordSink = (records: Buffer, count: number) => void;

/** Up to this many bytes a loop is quicker than a call. */
const SHORT_COPY = 32;
const SPANS = 64;

/** Owned by one statement; not re-entrant. Table id and schema version are left 0. */
export class RowRecords {
  readonly #layout: RowLayout;
  readonly #sink: RecordSink;
  readonly #bufferBytes: number;
  readonly #cells = new CellWriter();
  readonly #spans = new CellSpans();
  /** Of the last row: where its values began and ended. */
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  /** The values of the last row by which the server orders rows, one behind the other. */
  #place: Buffer = Buffer.alloc(SPANS);
  readonly #placeEnds: Int32Array;
  #rows = 0;
  #out: Buffer = Buffer.alloc(0);
  #at = 0;
  #count = 0;

  constructor(layout: RowLayout, sink: RecordSink, bufferBytes: number = BATCH_BYTES) {
    this.#layout = layout;
    this.#sink = sink;
    this.#bufferBytes = bufferBytes;
    this.#starts = new Int32Array(layout.selected);
    this.#ends = new Int32Array(layout.selected);
    this.#placeEnds = new Int32Array(layout.order.length);
  }

  get rows(): number {
    return this.#rows;
  }

  /**
   * One row. The bytes are not kept.
   * @throws TidemarkError `MYSQL_PROTOCOL`, `MYSQL_VALUE`, `MYSQL_TEXT`, `MYSQL_ZERO_DATE`, `MYSQL_ROW_TOO_LARGE`
   */
  row(bytes: Buffer, start: number, end: number): void {
    const { values, selected, order, maxRowBytes } = this.#layout;
    const cells = this.#cells;
    cells.reset();
    cells.beginImage(this.#spans, values.length);
    let at = start;
    for (let column = 0; column < selected; column++) {
      const first = bytes[at] as number;
      if (first === NULL_VALUE) {
        this.#starts[column] = at;
        this.#ends[column] = -1;
        at++;
        if (column < values.length) cells.null();
        continue;
      }
      const from = first < NULL_VALUE ? at + 1 : packedStart(bytes, at);
      const to = from + (first < NULL_VALUE ? first : packedLength(bytes, at));
      if (to > end) throw malformed('a value is longer than its row');
      if (column < values.length) (values[column] as CopyValue)(bytes, from, to, cells);
      this.#starts[column] = from;
      this.#ends[column] = to;
      at = to;
    }
    if (at !== end) throw malformed(`a row has ${end - at} bytes too many`);
    cells.endImage();
    const length = this.#spans.end - this.#spans.start;
    if (length > maxRowBytes) throw new TidemarkError('MYSQL_ROW_TOO_LARGE', `a row of ${length} bytes is above the limit of ${maxRowBytes}`);
    if (order.length > 0) this.#note(bytes);
    this.#record();
    this.#rows++;
  }

  /** The values by which the server orders the last row, in the key's order, as it sent them; null: there was no row. */
  lastPlace(): Buffer[] | null {
    if (this.#rows === 0) return null;
    let from = 0;
    return [...this.#placeEnds].map((end) => {
      const value = Buffer.from(this.#place.subarray(from, end));
      from = end;
      return value;
    });
  }

  /** Hands over what has been built so far. */
  flush(): void {
    if (this.#count > 0) this.#sink(this.#out.subarray(0, this.#at), this.#count);
    this.#out = Buffer.alloc(0);
    this.#at = 0;
    this.#count = 0;
  }

  #note(bytes: Buffer): void {
    const { order } = this.#layout;
    let to = 0;
    for (let part = 0; part < order.length; part++) {
      const place = order[part] as number;
      const from = this.#starts[place] as number;
      const end = this.#ends[place] as number;
      if (end < 0) throw malformed('a key column is null');
      if (to + end - from > this.#place.length) {
        const larger = Buffer.alloc(2 * (to + end - from));
        this.#place.copy(larger, 0, 0, to);
        this.#place = larger;
      }
      to = copyBytes(bytes, this.#place, to, from, end);
      this.#placeEnds[part] = to;
    }
  }

  #record(): void {
    const { key, isWide } = this.#layout;
    const { kinds, starts, ends, start, end } = this.#spans;
    const from = this.#cells.bytes;
    let keyLength = 0;
    for (let place = 0; place < key.length; place++) {
      const column = key[place] as number;
      if (kinds[column] !== Cell.text && kinds[column] !== Cell.binary) throw malformed('a key column is null');
      keyLength += 4 + (ends[column] as number) - (starts[column] as number);
    }
    const size = RECORD_HEADER + keyLength + end - start;
    if (size > MAX_RECORD_BYTES) throw new TidemarkError('MYSQL_ROW_TOO_LARGE', `a record of ${size} bytes is above the limit`);
    if (this.#at + size > this.#out.length) this.#room(size);
    const out = this.#out;
    const record = this.#at;
    writeU32(out, record, size - 4);
    out[record + 4] = Op.read;
    out[record + 5] = isWide ? Flag.wide : 0;
    out[record + 6] = 0;
    out[record + 7] = 0;
    writeU32(out, record + 8, 0);
    writeU32(out, record + 12, 0);
    writeU32(out, record + 16, keyLength);
    writeU32(out, record + 20, 0);
    writeU32(out, record + 24, end - start);
    let at = record + RECORD_HEADER;
    for (let place = 0; place < key.length; place++) {
      const column = key[place] as number;
      const value = starts[column] as number;
      const length = (ends[column] as number) - value;
      writeU32(out, at, length);
      at = copyBytes(from, out, at + 4, value, value + length);
    }
    from.copy(out, at, start, end);
    this.#at = record + size;
    this.#count++;
  }

  #room(needed: number): void {
    this.flush();
    this.#out = Buffer.allocUnsafeSlow(Math.max(needed, this.#bufferBytes));
  }
}

function copyBytes(from: Buffer, into: Buffer, at: number, start: number, end: number): number {
  if (end - start > SHORT_COPY) {
    from.copy(into, at, start, end);
    return at + end - start;
  }
  let to = at;
  for (let next = start; next < end; next++) into[to++] = from[next] as number;
  return to;
}

function malformed(what: string): TidemarkError {
  return new TidemarkError('MYSQL_PROTOCOL', what);
}
