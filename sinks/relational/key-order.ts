import { RECORD_HEADER, readU32 } from '../../contracts/record.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { RecordRef } from '../../contracts/sink.ts';
import { baseType } from '../../contracts/types/logical-type.ts';

/** Bits of an entry that hold its index, and so the most that is sorted at once. */
const INDEX_BITS = 17;
const MAX_ROWS = 1 << INDEX_BITS;
/** What is left of a double for the place of the key. */
const PLACES = 2 ** (52 - INDEX_BITS);
/** Fewer are not worth it. */
const MIN_ROWS = 64;
/** Bytes of a key that is not a number which make up its place. */
const PREFIX_BYTES = 6;

const MINUS = 0x2d;
const ZERO = 0x30;

/**
 * `refs` about in the order of the first column of their key, so that neighbouring rows are written one after the
 * other: a database finds their pages and index entries where it left them. The order is not exact and means nothing
 * else; no string is made, and nothing is compared but numbers.
 */
export function inKeyOrder(refs: readonly RecordRef[], schema: TableSchema): readonly RecordRef[] {
  if (refs.length < MIN_ROWS || refs.length > MAX_ROWS) return refs;
  const isNumber = isInteger(schema);
  const places = new Float64Array(refs.length);
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let ordered = true;
  for (let index = 0; index < refs.length; index++) {
    const { batch, at } = refs[index] as RecordRef;
    const place = placeOf(batch.records, at, isNumber);
    if (index > 0 && place < (places[index - 1] as number)) ordered = false;
    if (place < min) min = place;
    if (place > max) max = place;
    places[index] = place;
  }
  if (ordered) return refs;
  const scale = max - min < PLACES ? 1 : (PLACES - 1) / (max - min);
  for (let index = 0; index < places.length; index++) {
    places[index] = Math.floor(((places[index] as number) - min) * scale) * MAX_ROWS + index;
  }
  places.sort();
  return Array.from(places, (place) => refs[place % MAX_ROWS] as RecordRef);
}

function isInteger(schema: TableSchema): boolean {
  const column = schema.columns[schema.key[0] ?? -1];
  if (column === undefined) return false;
  const { kind } = baseType(column.type);
  return kind === 'int16' || kind === 'int32' || kind === 'int64' || kind === 'uint64';
}

function placeOf(bytes: Buffer, at: number, isNumber: boolean): number {
  const keyStart = at + RECORD_HEADER;
  if (readU32(bytes, at + 16) < 4) return 0;
  const length = readU32(bytes, keyStart);
  const start = keyStart + 4;
  let place = 0;
  if (!isNumber) {
    for (let n = 0; n < PREFIX_BYTES; n++) place = place * 256 + (n < length ? (bytes[start + n] as number) : 0);
    return place;
  }
  const negative = bytes[start] === MINUS;
  for (let from = negative ? start + 1 : start; from < start + length; from++) place = place * 10 + (bytes[from] as number) - ZERO;
  return negative ? -place : place;
}
