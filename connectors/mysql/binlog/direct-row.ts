/**
 * Rows with all their columns into records, the way of nearly all: each value goes straight to its place in the batch, the key
 * first, from where the image takes it again. Columns of other forms than those of values/value-form.ts go through
 * their decoder into a buffer of their own. What is not closed is not there: a value that cannot be read leaves nothing behind.
 */
import { isUtf8 } from 'node:buffer';
import type { BatchBuilder } from '../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Flag, type Op } from '../../../contracts/op.ts';
import { Cell, IMAGE_HEADER } from '../../../contracts/row-image.ts';
import { writeFloat64 } from '../../../contracts/types/float-text.ts';
import { CellSpans, CellWriter } from '../values/cell-writer.ts';
import type { ColumnDecoder } from '../values/column-decoder.ts';
import { writeSigned64, writeUnsigned64 } from '../values/digits.ts';
import { Form, putDate, putDatetime, putSigned, putText, putUnsigned } from '../values/value-form.ts';
import { misread, tooLarge } from './row-errors.ts';
import type { RowRoute } from './row-route.ts';
import type { RowSpans } from './rows-event.ts';

/** Kind and length before a value. */
const CELL_HEADER = 5;
/** Length before a value of a key. */
const KEY_HEADER = 4;
/** A longer text is copied and looked at by calls. */
const LONG_TEXT = 256;
const OTHER = 0;
const NO_PART = -1;

/** A route in the words of this file. */
interface DirectRoute {
  readonly codes: Uint8Array;
  readonly sizes: Uint8Array;
  readonly widths: Int32Array;
  /** Of each cell: which part of the key it is; NO_PART. */
  readonly parts: Int32Array;
  /** What an image takes, without what values say themselves. */
  readonly imageBytes: number;
  readonly keyBytes: number;
}

const NOTHING = new DataView(new ArrayBuffer(0));

/** One per writer of rows. */
export class DirectRow {
  readonly #builder: BatchBuilder;
  readonly #scratch = new CellWriter();
  readonly #spans = new CellSpans();
  readonly #known = new WeakMap<RowRoute, DirectRoute | null>();
  #route: RowRoute | null = null;
  #direct: DirectRoute | null = null;
  #bytes: Buffer = Buffer.alloc(0);
  #from: DataView = NOTHING;
  #buffer: Buffer = Buffer.alloc(0);
  #into: DataView = NOTHING;
  /** Where the values of the key at hand lie in the batch. */
  #keyStarts = new Int32Array(16);
  #keyEnds = new Int32Array(16);
  #keyKinds = new Uint8Array(16);
  /** Of the value that was written last. */
  #kind: number = Cell.text;

  constructor(builder: BatchBuilder) {
    this.#builder = builder;
  }

  /** True for a table with a key whose every cell has a column in the row. */
  takes(route: RowRoute): boolean {
    if (route !== this.#route) {
      let direct = this.#known.get(route);
      if (direct === undefined) this.#known.set(route, (direct = directOf(route)));
      this.#route = route;
      this.#direct = direct;
      if (route.key.length > this.#keyStarts.length) {
        this.#keyStarts = new Int32Array(route.key.length);
        this.#keyEnds = new Int32Array(route.key.length);
        this.#keyKinds = new Uint8Array(route.key.length);
      }
    }
    return this.#direct !== null;
  }

  /** A record with the row as its image; the row is whole, and nothing of it diffs. @throws as RowWriter.write */
  image(op: Op, route: RowRoute, row: RowSpans): void {
    const direct = this.#begin(route, row);
    const { codes, sizes, widths, parts } = direct;
    const { sources } = route;
    const body = this.#open(direct.imageBytes + direct.keyBytes + 2 * (row.to - row.from));
    const start = this.#key(direct, route, row, body);
    let at = start + IMAGE_HEADER;
    this.#into.setUint16(start, sources.length);
    for (let cell = 0; cell < sources.length; cell++) {
      const source = sources[cell] as number;
      const from = row.starts[source] as number;
      if (from < 0) {
        this.#into.setUint8(at++, Cell.null);
        continue;
      }
      const part = parts[cell] as number;
      const to = at + CELL_HEADER;
      const end = part === NO_PART
        ? this.#value(codes[cell] as number, sizes[cell] as number, widths[cell] as number, route, cell, from, row.ends[source] as number, to)
        : this.#again(part, to);
      this.#into.setUint8(at, this.#kind);
      this.#into.setUint32(at + 1, end - to);
      at = end;
    }
    if (at - start > route.maxRowBytes) throw tooLarge(at - start, route.maxRowBytes);
    this.#builder.close(op, route.isWide ? Flag.wide : 0, route.tableId, route.version, start - body, 0, at - start);
  }

  /** A record of the row's key alone. @throws as RowWriter.write */
  key(op: Op, route: RowRoute, row: RowSpans): void {
    const direct = this.#begin(route, row);
    const body = this.#open(direct.keyBytes + (row.to - row.from));
    const end = this.#key(direct, route, row, body);
    this.#builder.close(op, 0, route.tableId, route.version, end - body, 0, 0);
  }

  #begin(route: RowRoute, { bytes }: RowSpans): DirectRoute {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#from = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    if (!this.takes(route) || this.#direct === null) throw new TidemarkError('INTERNAL', 'rows of a route that is not for this writer');
    return this.#direct;
  }

  #open(most: number): number {
    const body = this.#builder.open(most);
    this.#look();
    return body;
  }

  #look(): void {
    const { buffer } = this.#builder;
    if (buffer === this.#buffer) return;
    this.#buffer = buffer;
    this.#into = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  }

  #key({ codes, sizes, widths }: DirectRoute, route: RowRoute, row: RowSpans, body: number): number {
    const { key, sources } = route;
    let at = body;
    for (let part = 0; part < key.length; part++) {
      const cell = key[part] as number;
      const source = sources[cell] as number;
      const from = row.starts[source] as number;
      if (from < 0) throw new TidemarkError('MYSQL_BINLOG', `key column ${cell} of a row has no value`);
      const to = at + KEY_HEADER;
      const end = this.#value(codes[cell] as number, sizes[cell] as number, widths[cell] as number, route, cell, from, row.ends[source] as number, to);
      this.#into.setUint32(at, end - to);
      this.#keyStarts[part] = to;
      this.#keyEnds[part] = end;
      this.#keyKinds[part] = this.#kind;
      at = end;
    }
    return at;
  }

  /** A value of the key as a cell of the image. */
  #again(part: number, to: number): number {
    const start = this.#keyStarts[part] as number;
    const end = this.#keyEnds[part] as number;
    this.#kind = this.#keyKinds[part] as number;
    putText(this.#into, start, end, this.#into, to);
    return to + end - start;
  }

  /** Writes the value that is `bytes[from .. end)`, its length included, at `to`; answers where it ends. */
  #value(code: number, size: number, width: number, route: RowRoute, cell: number, from: number, end: number, to: number): number {
    const bytes = this.#from;
    const into = this.#into;
    if (width >= 0 && end - from !== width) throw misread(cell);
    this.#kind = Cell.text;
    switch (code) {
      case Form.text:
        if (this.#text(from + size, end, to)) return to + end - from - size;
        break;
      case Form.int32:
        return putSigned(into, to, bytes.getInt32(from, true));
      case Form.int64: {
        const high = bytes.getInt32(from + 4, true);
        const low = bytes.getUint32(from, true);
        return high === 0 ? putUnsigned(into, to, low) : writeSigned64(this.#buffer, to, high >>> 0, low);
      }
      case Form.decimal:
        return this.#decimal(route.decoders[cell] as ColumnDecoder, from, to);
      case Form.datetime: {
        const last = putDatetime(bytes, from, size, into, to);
        if (last >= 0) return last;
        break;
      }
      case Form.double:
        return writeFloat64(this.#buffer, to, bytes.getFloat64(from, true));
      case Form.int8:
        return putSigned(into, to, bytes.getInt8(from));
      case Form.trimmed: {
        let last = end;
        while (last > from + size && bytes.getUint8(last - 1) === BLANK) last--;
        if (this.#text(from + size, last, to)) return to + last - from - size;
        break;
      }
      case Form.uint8:
        return putUnsigned(into, to, bytes.getUint8(from));
      case Form.int16:
        return putSigned(into, to, bytes.getInt16(from, true));
      case Form.uint16:
        return putUnsigned(into, to, bytes.getUint16(from, true));
      case Form.int24:
        return putSigned(into, to, (bytes.getInt8(from + 2) << 16) | bytes.getUint16(from, true));
      case Form.uint24:
        return putUnsigned(into, to, (bytes.getUint8(from + 2) << 16) | bytes.getUint16(from, true));
      case Form.uint32:
        return putUnsigned(into, to, bytes.getUint32(from, true));
      case Form.uint64:
        return writeUnsigned64(this.#buffer, to, bytes.getUint32(from + 4, true), bytes.getUint32(from, true));
      case Form.date: {
        const packed = (bytes.getUint8(from + 2) << 16) | bytes.getUint16(from, true);
        if (putDate(into, to, packed >>> 9, (packed >>> 5) & 15, packed & 31)) return to + 10;
        break;
      }
      case Form.binary:
        this.#kind = Cell.binary;
        this.#bytes.copy(this.#buffer, to, from + size, end);
        return to + end - from - size;
      default:
    }
    // Of another form; or it is none, which the decoder says.
    return this.#decoded(route.decoders[cell] as ColumnDecoder, cell, from, end, to);
  }

  /** False where it is no UTF-8. */
  #text(start: number, end: number, to: number): boolean {
    if (end - start <= LONG_TEXT) {
      if (putText(this.#from, start, end, this.#into, to)) return true;
    } else this.#bytes.copy(this.#buffer, to, start, end);
    return isUtf8(this.#bytes.subarray(start, end));
  }

  #decimal(decoder: ColumnDecoder, from: number, to: number): number {
    if (decoder.write === undefined) throw new TidemarkError('INTERNAL', 'a decimal has no writer');
    return decoder.write(this.#bytes, from, this.#buffer, to);
  }

  #decoded(decoder: ColumnDecoder, cell: number, from: number, end: number, to: number): number {
    const scratch = this.#scratch;
    const spans = this.#spans;
    scratch.reset();
    scratch.beginImage(spans, 1);
    if (decoder.decode(this.#bytes, from, scratch) !== end) throw misread(cell);
    scratch.endImage();
    const kind = spans.kinds[0] as number;
    if (kind !== Cell.text && kind !== Cell.binary) throw new TidemarkError('INTERNAL', `the decoder of cell ${cell} wrote no value`);
    const start = spans.starts[0] as number;
    const length = (spans.ends[0] as number) - start;
    // What it became may be longer than what it was by any measure; the cells behind it have their room still.
    this.#builder.extend(to, length);
    this.#look();
    scratch.bytes.copy(this.#buffer, to, start, start + length);
    this.#kind = kind;
    return to + length;
  }
}

const BLANK = 0x20;

function directOf({ sources, decoders, key }: RowRoute): DirectRoute | null {
  if (key.length === 0 || sources.some((source) => source < 0)) return null;
  const parts = new Int32Array(sources.length).fill(NO_PART);
  for (const [part, cell] of key.entries()) parts[cell] = part;
  const forms = decoders.map(({ form }) => form ?? null);
  const most = (cells: readonly number[], header: number): number => cells.reduce((sum, cell) => sum + header + (forms[cell]?.most ?? 0), 0);
  return {
    codes: Uint8Array.from(forms, (form) => form?.code ?? OTHER),
    sizes: Uint8Array.from(forms, (form) => form?.size ?? 0),
    widths: Int32Array.from(forms, (form) => form?.width ?? -1),
    parts,
    imageBytes: IMAGE_HEADER + most([...forms.keys()], CELL_HEADER),
    keyBytes: most(key, KEY_HEADER),
  };
}
