/**
 * Rows events: u48 table id, u16 flags, in version 2 extra data (u16 length, itself included); packed number of columns, a
 * bitmap of the columns that are there (updates: one for the rows before and one for the rows after); then rows. A row is
 * a bitmap of nulls with a bit per column that is there, and the values that are not null. A partial update's row after
 * begins with packed options; if bit 0 is set, a bitmap with a bit per JSON column of the table follows: 1 for diffs.
 */
import { ColumnType } from './column-types.ts';
import type { EventHeader } from './event-header.ts';
import { type RowsKind, type RowsShape } from './event-types.ts';
import { binlogError, FieldReader } from './field-reader.ts';
import type { FormatDescription } from './format-description.ts';
import { inflateSized } from './mariadb-compression.ts';
import { readTableId, type TableMap } from './table-map.ts';
import { valueEnd } from './value-width.ts';

/** In place of where a value begins. */
export const ABSENT = -1;
export const NULL = -2;

const STATEMENT_END = 1;
const PARTIAL_JSON = 1;
const LOWEST_BIT = 1;

/** Where the values of one row lie. Reused for row after row. */
export class RowSpans {
  bytes: Buffer = Buffer.alloc(0);
  /** Value `c` is `bytes[starts[c] .. ends[c])`, its length prefix included; or ABSENT, or NULL. */
  starts = new Int32Array(64);
  ends = new Int32Array(64);
  /** 1: the value is diffs to the one before. */
  partial = new Uint8Array(64);
  hasPartial = false;
  /** All columns of the table are there. */
  isWhole = false;
  /** All values are `bytes[from .. to)`. */
  from = 0;
  to = 0;

  makeRoom(columns: number): void {
    if (columns <= this.starts.length) return;
    this.starts = new Int32Array(columns);
    this.ends = new Int32Array(columns);
    this.partial = new Uint8Array(columns);
  }
}

/** Which columns are there. */
interface Presence {
  bitmap: Buffer;
  readonly present: Uint8Array;
  count: number;
  all: boolean;
}

/**
 * Walks the rows of one event after another. `open` an event, then `next` for each row: `before` and `after` say where
 * its values lie. Owned by one reader of a binlog.
 */
export class RowReader {
  kind: RowsKind = 'write';
  tableId = 0;
  /** No more rows of the statement follow: table maps are void. */
  endsStatement = false;
  columns = 0;
  /** Of updates and deletes. */
  readonly before = new RowSpans();
  /** Of writes and updates. */
  readonly after = new RowSpans();
  #map: TableMap | null = null;
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  #isPartial = false;
  #first: Presence = presence(0);
  #second: Presence = presence(0);
  readonly #fields = new FieldReader();

  /**
   * Before the first row of an event; `limit`: the most bytes that compressed rows may have. `bindTo` must follow.
   * @throws TidemarkError `MYSQL_BINLOG`
   */
  open(format: FormatDescription, header: EventHeader, shape: RowsShape, bytes: Buffer, limit: number): void {
    const fields = this.#fields.reset(bytes, header.bodyStart, header.bodyEnd, 'a rows event');
    this.tableId = readTableId(format, header.type, fields);
    this.endsStatement = (fields.u16() & STATEMENT_END) !== 0;
    if (shape.version === 2) {
      const extra = fields.u16();
      if (extra < 2) throw binlogError(`a rows event has ${extra} bytes of extra data, itself included`);
      fields.skip(extra - 2);
    }
    this.kind = shape.kind;
    this.#isPartial = shape.partial;
    const columns = fields.packed();
    // Before anything is made of that size; above 32 bits a shift would make it small.
    if (columns > fields.left * 8) throw binlogError(`a rows event of ${fields.left} bytes announces ${columns} columns`);
    this.columns = columns;
    const bitmapBytes = (columns + 7) >>> 3;
    this.#first = refresh(this.#first, fields.slice(bitmapBytes), columns);
    if (shape.kind === 'update') this.#second = refresh(this.#second, fields.slice(bitmapBytes), columns);
    if (shape.compressed) {
      this.#bytes = inflateSized(fields.slice(fields.left), limit);
      this.#at = 0;
      this.#end = this.#bytes.length;
    } else {
      this.#bytes = bytes;
      this.#at = fields.at;
      this.#end = fields.end;
    }
    this.#map = null;
  }

  /** @throws TidemarkError `MYSQL_BINLOG` when the table map has another number of columns */
  bindTo(map: TableMap): void {
    const columns = map.types.length;
    if (columns !== this.columns) throw binlogError(`rows of ${map.database}.${map.table} have ${this.columns} columns, its table map ${columns}`);
    this.#map = map;
    this.before.makeRoom(columns);
    this.after.makeRoom(columns);
  }

  /** The next row; false after the last. @throws TidemarkError `MYSQL_BINLOG` when a value does not lie in the event */
  next(): boolean {
    const map = this.#map;
    if (map === null || this.#at === this.#end) return false;
    // A row without a byte would come again for ever.
    const at = this.#at;
    if (this.kind === 'write') this.#walk(map, this.#first, this.after, false);
    else {
      this.#walk(map, this.#first, this.before, false);
      if (this.kind === 'update') this.#walk(map, this.#second, this.after, this.#isPartial);
    }
    if (this.#at === at) throw binlogError(`a row of ${map.database}.${map.table} has no bytes`);
    return true;
  }

  #walk(map: TableMap, there: Presence, spans: RowSpans, maybePartial: boolean): void {
    const bytes = this.#bytes;
    const limit = this.#end;
    const { widths } = map;
    const { starts, ends } = spans;
    const { present, all } = there;
    spans.bytes = bytes;
    spans.isWhole = all;
    spans.hasPartial = maybePartial && this.#partialBits(map, spans);
    const nulls = this.#at;
    let at = nulls + ((there.count + 7) >> 3);
    if (at > limit) throw cut(map);
    spans.from = at;
    let place = 0;
    for (let column = 0; column < widths.length; column++) {
      if (!all && present[column] === 0) {
        starts[column] = ABSENT;
        continue;
      }
      const isNull = ((bytes[nulls + (place >> 3)] as number) >> (place & 7)) & LOWEST_BIT;
      place++;
      if (isNull === 1) {
        starts[column] = NULL;
        continue;
      }
      const isDiff = spans.hasPartial && spans.partial[column] === 1;
      const end = valueEnd(isDiff ? -4 : (widths[column] as number), bytes, at, limit);
      if (end < 0) throw cut(map);
      starts[column] = at;
      ends[column] = end;
      at = end;
    }
    spans.to = at;
    this.#at = at;
  }

  /** Reads which JSON columns are diffs, and answers whether any is. */
  #partialBits(map: TableMap, spans: RowSpans): boolean {
    const fields = this.#fields.reset(this.#bytes, this.#at, this.#end, 'a partial row');
    const options = fields.packed();
    const isPartial = (options & PARTIAL_JSON) !== 0;
    if (options > PARTIAL_JSON) throw binlogError(`a partial row has options ${options}, which are not known`);
    if (isPartial) {
      let columns = 0;
      for (const type of map.types) if (type === ColumnType.json) columns++;
      const bitmap = fields.slice((columns + 7) >> 3);
      let place = 0;
      // A JSON column has its bit whether it is in the row or not.
      for (let column = 0; column < map.types.length; column++) {
        if (map.types[column] !== ColumnType.json) spans.partial[column] = 0;
        else {
          spans.partial[column] = ((bitmap[place >> 3] as number) >> (place & 7)) & LOWEST_BIT;
          place++;
        }
      }
    }
    this.#at = fields.at;
    return isPartial;
  }
}

function presence(columns: number): Presence {
  return { bitmap: Buffer.alloc((columns + 7) >>> 3), present: new Uint8Array(columns), count: 0, all: columns === 0 };
}

/** The same object as long as the same columns are there. */
function refresh(last: Presence, bitmap: Buffer, columns: number): Presence {
  if (last.present.length === columns && last.bitmap.equals(bitmap)) return last;
  const fresh = presence(columns);
  fresh.bitmap = Buffer.from(bitmap);
  for (let column = 0; column < columns; column++) {
    const bit = ((bitmap[column >> 3] as number) >> (column & 7)) & LOWEST_BIT;
    fresh.present[column] = bit;
    fresh.count += bit;
  }
  fresh.all = fresh.count === columns;
  return fresh;
}

function cut({ database, table }: TableMap): Error {
  return binlogError(`a row of ${database}.${table} is longer than its event`);
}
