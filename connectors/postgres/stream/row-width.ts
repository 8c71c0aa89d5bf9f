/**
 * Which rows may hold an out-of-line value. Postgres moves values out of a row only when the row's size in the heap is
 * above a threshold of about 2 kB, whatever `toast_tuple_target` says; so a row whose size has an upper bound below that
 * is narrow, and nobody has to remember it. The bound is of the heap, not of the text: an `int8[]` of zeros takes four
 * times as many bytes in the heap.
 */
import { Cell, IMAGE_HEADER } from '../../../contracts/row-image.ts';
import { readU32 } from '../../../contracts/record.ts';
import { BYTEA_OID, type NativeTypes } from '../catalog/types.ts';

/** TOAST_TUPLE_THRESHOLD for 8 kB pages is 2,032. */
export const NARROW_BYTES = 2_000;

/** Header of a heap tuple: 23 bytes and the null bitmap, aligned. */
function headerBytes(columns: number): number {
  return Math.ceil((23 + Math.ceil(columns / 8)) / 8) * 8;
}

/** Most bytes in the heap of one value: `base + factor * bytes of text`. Alignment included. */
interface Bound {
  readonly base: number;
  readonly factor: number;
}

/** Header, alignment. */
const VARLENA = 8;
/** Header of an array or a composite, null bitmap, alignment. */
const CONTAINER = 64;

const TEXT_LIKE: ReadonlySet<number> = new Set([18, 19, 25, 114, 142, 1042, 1043]);
const JSONB = 3802;
const NUMERIC = 1700;
const BITS: ReadonlySet<number> = new Set([1560, 1562]);

/** Upper bounds of the rows of one shape. Immutable; `isWide` keeps no state. */
export class RowWidth {
  readonly #bases: number;
  readonly #factors: Float64Array;
  /** An image that is not longer is narrow whatever is in it: the quick answer for most rows. */
  readonly narrowImage: number;

  /** @param columns type OIDs of an image's columns, in order; `extra`: bytes of columns that the image lacks. */
  constructor(columns: readonly number[], types: NativeTypes, extra = 0) {
    const bounds = columns.map((oid) => boundOf(oid, types));
    this.#factors = Float64Array.from(bounds, (bound) => bound.factor);
    this.#bases = headerBytes(columns.length) + extra + bounds.reduce((sum, bound) => sum + bound.base, 0);
    const steepest = Math.max(1, ...this.#factors);
    this.narrowImage = Math.floor(Math.max(0, NARROW_BYTES - this.#bases) / steepest);
  }

  /** @param bytes holds a well-formed image of the shape at `start .. end` */
  isWide(bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start <= this.narrowImage) return false;
    let size = this.#bases;
    let column = 0;
    for (let at = start + IMAGE_HEADER; at < end; column++) {
      const kind = bytes[at++] as number;
      if (kind === Cell.placeholder) return true;
      if (kind === Cell.null) continue;
      const length = readU32(bytes, at);
      at += 4 + length;
      size += (this.#factors[column] as number) * length;
      if (size > NARROW_BYTES) return true;
    }
    return size > NARROW_BYTES;
  }
}

function boundOf(oid: number, types: NativeTypes, depth = 0): Bound {
  if (TEXT_LIKE.has(oid)) return { base: VARLENA, factor: 1 };
  // Raw bytes in the image, or twice as many as hexadecimal text.
  if (oid === BYTEA_OID) return { base: VARLENA, factor: 1 };
  // `1e1000` is printed in full; four digits take two bytes.
  if (oid === NUMERIC) return { base: VARLENA + 4, factor: 1 };
  if (BITS.has(oid)) return { base: VARLENA + 4, factor: 0.125 };
  // `[1, 1]`: three characters for an entry of four bytes and a numeric of eight.
  if (oid === JSONB) return { base: CONTAINER, factor: 5 };
  const type = types.get(oid);
  if (type === undefined || depth > 8) return { base: CONTAINER, factor: 12 };
  if (type.length > 0) return { base: type.length + type.alignment - 1, factor: 0 };
  if (type.kind === 'd') return boundOf(type.element, types, depth + 1);
  if (type.kind === 'e') return { base: 8, factor: 0 };
  if (type.isArray) return { base: CONTAINER, factor: arrayFactor(type.element, types) };
  if (type.kind === 'r' || type.kind === 'm') return { base: CONTAINER, factor: 5 };
  if (type.name === 'citext' || type.name === 'ltree') return { base: VARLENA, factor: 1 };
  if (type.name === 'geometry' || type.name === 'geography') return { base: CONTAINER, factor: 1 };
  if (type.name === 'vector' || type.name === 'hstore') return { base: CONTAINER, factor: 4 };
  return { base: CONTAINER, factor: 12 };
}

/**
 * The shortest element is one character and a comma. A value of a known length takes that for two characters; anything
 * else at most a header, its alignment and itself; a composite `()` is 24 bytes of header for three characters.
 */
function arrayFactor(element: number, types: NativeTypes): number {
  const type = types.get(element);
  if (type === undefined || type.kind === 'c' || type.kind === 'd') return 16;
  if (type.length > 0) return Math.max(1, (Math.ceil(type.length / type.alignment) * type.alignment) / 2);
  return 6;
}
