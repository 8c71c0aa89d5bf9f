/**
 * Rows of rows events into records: each value goes through its column's decoder into one buffer, as a row image, and from
 * there into the batch by one copy. Decoding comes first, so that a row that cannot be read leaves no record behind.
 */
import type { BatchBuilder } from '../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Flag, Op } from '../../../contracts/op.ts';
import { writeU32 } from '../../../contracts/record.ts';
import { Cell } from '../../../contracts/row-image.ts';
import { CellSpans, CellWriter } from '../values/cell-writer.ts';
import type { ColumnDecoder } from '../values/column-decoder.ts';
import { DirectRow } from './direct-row.ts';
import { misread, tooLarge } from './row-errors.ts';
import type { RowRoute } from './row-route.ts';
import { ABSENT, NULL, type RowReader, type RowSpans } from './rows-event.ts';

export type { RowRoute } from './row-route.ts';

const EMPTY_SPANS = new CellSpans();
/** A value of JSON has its length in so many bytes before it. */
const JSON_LENGTH = 4;
/** Up to this many bytes a loop is quicker than a call. */
const SHORT_COPY = 32;

/** One per reader of a binlog. */
export class RowWriter {
  readonly #builder: BatchBuilder;
  readonly #direct: DirectRow;
  readonly #out = new CellWriter();
  readonly #old = new CellSpans();
  readonly #new = new CellSpans();

  constructor(builder: BatchBuilder) {
    this.#builder = builder;
    this.#direct = new DirectRow(builder);
  }

  /**
   * Writes the row at which `rows` stands, into the open transaction of the batch; answers how many records it became: none
   * for a row that is not one of the table (any more).
   * @throws TidemarkError `MYSQL_VALUE`, `MYSQL_ROW_TOO_LARGE`, `MYSQL_PARTIAL_ROW` or `MYSQL_LOSSY_ROW`, with no record written: the table
   * must stop; `MYSQL_BINLOG` when key columns are not in the event
   */
  write(rows: RowReader, route: RowRoute): 0 | 1 | 2 {
    this.#out.reset();
    if (route.isWholeOnly === true) requireWhole(rows, route);
    if (route.rowEnd !== undefined) return this.#version(rows, route, route.rowEnd);
    if (rows.kind === 'write') return this.#insert(rows.after, route);
    if (rows.kind === 'delete') return this.#delete(rows.before, route);
    return this.#update(rows, route);
  }

  /** An update that ends the row's time is how it is deleted; what a row was before comes as another one. */
  #version(rows: RowReader, route: RowRoute, rowEnd: number): 0 | 1 | 2 {
    if (rows.kind === 'write') return counts(rows.after, rowEnd) ? this.#insert(rows.after, route) : 0;
    if (!counts(rows.before, rowEnd)) return 0;
    return rows.kind === 'delete' || !counts(rows.after, rowEnd) ? this.#delete(rows.before, route) : this.#update(rows, route);
  }

  #insert(row: RowSpans, route: RowRoute): 1 {
    if (isPlain(row) && this.#direct.takes(route)) {
      this.#direct.image(Op.create, route, row);
      return 1;
    }
    const image = this.#image(this.#new, route, row, null, true);
    this.#record(Op.create, flagsOf(route, image), route, image, EMPTY_SPANS, image);
    return 1;
  }

  #delete(row: RowSpans, route: RowRoute): 1 {
    if (isPlain(row) && !route.keepBefore && this.#direct.takes(route)) {
      this.#direct.key(Op.delete, route, row);
      return 1;
    }
    const image = this.#image(this.#old, route, row, null, false);
    const keep = row.isWhole && (route.keepBefore || route.key.length === 0);
    if (route.key.length === 0 && !keep) throw keylessPart();
    this.#record(Op.delete, 0, route, image, keep ? image : EMPTY_SPANS, EMPTY_SPANS);
    return 1;
  }

  #update(rows: RowReader, route: RowRoute): 1 | 2 {
    const { before, after } = rows;
    const { key } = route;
    if (key.length === 0) {
      if (!before.isWhole) throw keylessPart();
      const old = this.#image(this.#old, route, before, null, false);
      const image = this.#image(this.#new, route, after, before, false);
      this.#record(Op.delete, 0, route, old, old, EMPTY_SPANS);
      this.#record(Op.create, flagsOf(route, image), route, image, EMPTY_SPANS, image);
      return 2;
    }
    const keep = route.keepBefore && before.isWhole;
    const isSameKey = sameKeyBytes(route, before, after);
    if (isSameKey && !keep && isPlain(after) && this.#direct.takes(route)) {
      this.#direct.image(Op.update, route, after);
      return 1;
    }
    if (isSameKey && !keep) {
      const image = this.#image(this.#new, route, after, before, false);
      this.#record(Op.update, flagsOf(route, image), route, image, EMPTY_SPANS, image);
      return 1;
    }
    const old = this.#image(this.#old, route, before, null, false);
    const image = this.#image(this.#new, route, after, before, false);
    const beforeImage = keep ? old : EMPTY_SPANS;
    // Bytes may differ and yet mean the same (trailing blanks, an old packing): the canonical form decides.
    if (isSameKey || this.#isSameKey(key, old, image)) {
      this.#record(Op.update, flagsOf(route, image), route, old, beforeImage, image);
      return 1;
    }
    this.#record(Op.delete, Flag.keyChange, route, old, beforeImage, EMPTY_SPANS);
    this.#record(Op.create, flagsOf(route, image) | Flag.keyChange, route, image, EMPTY_SPANS, image);
    return 2;
  }

  /** `other`: the old row, which has what an update leaves out. */
  #image(spans: CellSpans, route: RowRoute, row: RowSpans, other: RowSpans | null, isInsert: boolean): CellSpans {
    const out = this.#out;
    const { sources, decoders } = route;
    out.beginImage(spans, sources.length);
    for (let cell = 0; cell < sources.length; cell++) {
      const source = sources[cell] as number;
      let from = row;
      let start = source < 0 ? ABSENT : (row.starts[source] as number);
      if (start === ABSENT && other !== null && source >= 0) {
        from = other;
        start = other.starts[source] as number;
      }
      if (start >= 0) {
        const decoder = decoders[cell] as ColumnDecoder;
        if (from.hasPartial && from.partial[source] === 1) this.#patch(decoder, from, source, other);
        else if (decoder.decode(from.bytes, start, out) !== from.ends[source]) throw misread(cell);
      } else if (start === NULL) out.null();
      else this.#leftOut(isInsert || source < 0 ? (route.defaults[cell] ?? null) : null);
    }
    out.endImage();
    if (spans.end - spans.start > route.maxRowBytes) throw tooLarge(spans.end - spans.start, route.maxRowBytes);
    return spans;
  }

  #leftOut(cell: Uint8Array | null): void {
    if (cell === null) this.#out.placeholder();
    else this.#out.cell(cell);
  }

  #patch(decoder: ColumnDecoder, row: RowSpans, source: number, old: RowSpans | null): void {
    const oldStart = old === null ? ABSENT : (old.starts[source] as number);
    const start = (row.starts[source] as number) + JSON_LENGTH;
    if (oldStart === ABSENT && decoder.part !== undefined) {
      decoder.part(row.bytes, start, row.ends[source] as number, this.#out);
      return;
    }
    if (old === null || oldStart < 0 || decoder.patch === undefined) {
      throw new TidemarkError('MYSQL_PARTIAL_ROW', `column ${source} was changed in part, and its old value is not in the event, or the log has it hashed`);
    }
    decoder.patch(row.bytes, start, row.ends[source] as number, old.bytes, oldStart + JSON_LENGTH, old.ends[source] as number, this.#out);
  }

  #isSameKey(key: readonly number[], old: CellSpans, image: CellSpans): boolean {
    const { bytes } = this.#out;
    for (const cell of key) {
      const start = old.starts[cell] as number;
      const end = old.ends[cell] as number;
      if (bytes.compare(bytes, start, end, image.starts[cell], image.ends[cell]) !== 0) return false;
    }
    return true;
  }

  #record(op: number, flags: number, route: RowRoute, keyOf: CellSpans, before: CellSpans, after: CellSpans): void {
    const { key } = route;
    const from = this.#out.bytes;
    let keyLength = 0;
    for (let place = 0; place < key.length; place++) {
      const cell = key[place] as number;
      const kind = keyOf.kinds[cell];
      if (kind !== Cell.text && kind !== Cell.binary) throw new TidemarkError('MYSQL_BINLOG', `key column ${cell} of a row has no value`);
      keyLength += 4 + (keyOf.ends[cell] as number) - (keyOf.starts[cell] as number);
    }
    const beforeLength = before === EMPTY_SPANS ? 0 : before.end - before.start;
    const afterLength = after === EMPTY_SPANS ? 0 : after.end - after.start;
    let at = this.#builder.reserve(op, flags, route.tableId, route.version, keyLength, beforeLength, afterLength);
    const into = this.#builder.buffer;
    for (let place = 0; place < key.length; place++) {
      const cell = key[place] as number;
      const start = keyOf.starts[cell] as number;
      const length = (keyOf.ends[cell] as number) - start;
      writeU32(into, at, length);
      at = copyBytes(from, into, at + 4, start, start + length);
    }
    // The old image stands before the new one without a gap: one copy for both.
    if (beforeLength > 0 && afterLength > 0 && before.end === after.start) from.copy(into, at, before.start, after.end);
    else {
      if (beforeLength > 0) from.copy(into, at, before.start, before.end);
      if (afterLength > 0) from.copy(into, at + beforeLength, after.start, after.end);
    }
  }
}

/** Every column is there as it is. */
function isPlain({ isWhole, hasPartial }: RowSpans): boolean {
  return isWhole && !hasPartial;
}

/** @throws TidemarkError `MYSQL_LOSSY_ROW`: of a session of its own; `MYSQL_PARTIAL_ROW`: the server's setting */
function requireWhole({ kind, before, after }: RowReader, { isWide }: RowRoute): void {
  // Of a row that is deleted the key is enough; an update that leaves out what is as before has the rest in the old row.
  if (kind === 'delete' || (kind === 'write' ? after.isWhole : before.isWhole)) return;
  throw new TidemarkError(isWide ? 'MYSQL_PARTIAL_ROW' : 'MYSQL_LOSSY_ROW', 'a row comes without all of its columns, and MariaDB leaves out columns that have changed, too (REPLACE)');
}

const MICROSECONDS_END = 0x0f_423f;

/** The end of time: 2038-01-19 03:14:07.999999, or 2106-02-07 06:28:15.999999 from MariaDB 11.5 on. */
function counts({ bytes, starts }: RowSpans, rowEnd: number): boolean {
  const start = starts[rowEnd] as number;
  // An update leaves it out where it stays.
  if (start < 0) return true;
  const seconds = bytes.readUInt32BE(start);
  return (seconds === 0x7fff_ffff || seconds === 0xffff_ffff) && bytes.readUIntBE(start + 4, 3) === MICROSECONDS_END;
}

/** True when every key column has the same bytes in both rows, or the new row leaves it out. */
function sameKeyBytes({ key, sources }: RowRoute, before: RowSpans, after: RowSpans): boolean {
  for (let place = 0; place < key.length; place++) {
    const source = sources[key[place] as number] as number;
    const start = after.starts[source] as number;
    if (start === ABSENT) continue;
    const old = before.starts[source] as number;
    if (start < 0 || old < 0) return false;
    const length = (after.ends[source] as number) - start;
    if ((before.ends[source] as number) - old !== length) return false;
    for (let index = 0; index < length; index++) if (after.bytes[start + index] !== before.bytes[old + index]) return false;
  }
  return true;
}

function flagsOf(route: RowRoute, image: CellSpans): number {
  if (image.placeholders > 0) return Flag.incomplete | Flag.wide;
  return route.isWide ? Flag.wide : 0;
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

function keylessPart(): TidemarkError {
  return new TidemarkError('MYSQL_PARTIAL_ROW', 'a table without key got an event that has not the whole old row');
}
