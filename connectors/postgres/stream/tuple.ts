/**
 * TupleData of the logical replication protocol, which is the layout of row images (contracts/row-image.ts). Walking it
 * notes where each column's value lies; nothing is copied and no object is made.
 */
import { readU32 } from '../../../contracts/record.ts';
import { Cell, IMAGE_HEADER } from '../../../contracts/row-image.ts';
import { protocolError } from '../errors.ts';

/** The most columns a message can announce. */
const MAX_COLUMNS = 0xffff;

/** Where the columns of one tuple lie. Reused for row after row. */
export class TupleSpans {
  bytes: Buffer = Buffer.alloc(0);
  /** The whole tuple, its column count included. */
  start = 0;
  end = 0;
  columns = 0;
  /** How many columns the source left out. */
  placeholders = 0;
  kinds = new Uint8Array(64);
  /** Values are `bytes[starts[i] .. ends[i])`; a text's length stands in the 4 bytes before it. */
  starts = new Int32Array(64);
  ends = new Int32Array(64);

  /**
   * Walks the tuple at `at`, which ends at or before `limit`; answers its end.
   * @throws TidemarkError `POSTGRES_PROTOCOL` when it does not have `columns` columns, or a length does not fit
   */
  walk(bytes: Buffer, at: number, limit: number, columns: number): number {
    if (at + IMAGE_HEADER > limit) throw protocolError('a tuple ends before its number of columns');
    const count = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    if (count !== columns) throw protocolError(`a tuple has ${count} columns, its relation ${columns}`);
    if (count > this.kinds.length) this.makeRoom(count);
    const { kinds, starts, ends } = this;
    this.bytes = bytes;
    this.start = at;
    this.columns = count;
    let placeholders = 0;
    let next = at + IMAGE_HEADER;
    for (let column = 0; column < count; column++) {
      if (next >= limit) throw protocolError(`a tuple ends before column ${column} of ${count}`);
      const kind = bytes[next++] as number;
      kinds[column] = kind;
      if (kind === Cell.text) {
        if (next + 4 > limit) throw protocolError('a tuple ends inside a length');
        const length = readU32(bytes, next);
        next += 4;
        if (length > limit - next) throw protocolError(`a value of ${length} bytes is longer than its message`);
        starts[column] = next;
        next += length;
        ends[column] = next;
      } else if (kind === Cell.placeholder) {
        placeholders++;
        starts[column] = ends[column] = next;
      } else if (kind === Cell.null) {
        starts[column] = ends[column] = next;
      } else throw protocolError(`unknown kind of value ${kind}`);
    }
    this.placeholders = placeholders;
    this.end = next;
    return next;
  }

  makeRoom(columns: number): void {
    if (columns <= this.kinds.length) return;
    const room = Math.min(MAX_COLUMNS, Math.max(columns, this.kinds.length * 2));
    this.kinds = new Uint8Array(room);
    this.starts = new Int32Array(room);
    this.ends = new Int32Array(room);
  }
}
