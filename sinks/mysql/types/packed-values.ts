/** Values that a column holds as bytes of its own: bits, shapes, vectors, and labels by number. */
import { type CellEncoder, copy, hexDigit } from './cell-writer.ts';

const ZERO = 0x30;
const COMMA = 0x2c;

/** The bytes of a `bit(n)`, the highest first. @param bits 1 to 64 */
export function bitEncoder(bits: number): CellEncoder {
  return (_kind, bytes, start, end, out, at) => {
    if (end - start !== bits) return -1;
    const first = (8 - (bits % 8)) % 8;
    let byte = 0;
    for (let index = 0; index < bits; index++) {
      const bit = (bytes[start + index] as number) - ZERO;
      if (bit !== 0 && bit !== 1) return -1;
      byte = (byte << 1) | bit;
      if ((first + index) % 8 !== 7) continue;
      out[at++] = byte;
      byte = 0;
    }
    return at;
  };
}

/** As a number, to compare with the column: MySQL before 8.0.16 finds no `b'…'` of 64 bits whose highest is set. */
export function bitNumber(bits: number): CellEncoder {
  return (_kind, bytes, start, end, out, at) => {
    if (end - start !== bits) return -1;
    let value = 0n;
    for (let from = start; from < end; from++) {
      const bit = (bytes[from] as number) - ZERO;
      if (bit !== 0 && bit !== 1) return -1;
      value = (value << 1n) | BigInt(bit);
    }
    return at + out.write(String(value), at, 'latin1');
  };
}

/** `b'…'` */
export function bitLiteral(bits: number): CellEncoder {
  return (_kind, bytes, start, end, out, at) => {
    if (end - start !== bits) return -1;
    out[at++] = 0x62;
    out[at++] = 0x27;
    for (let from = start; from < end; from++) {
      const bit = (bytes[from] as number) - ZERO;
      if (bit !== 0 && bit !== 1) return -1;
      out[at++] = ZERO + bit;
    }
    out[at++] = 0x27;
    return at;
  };
}

const HAS_SRID = 0x20;
const LITTLE_ENDIAN = 1;
/**
 * The bytes of a geometry column (SRID, then WKB) of a hexadecimal EWKB. Shapes of more than two dimensions and curves are
 * none of these servers.
 * @param takesEmpty lines without points and the like: MariaDB; to MySQL only a collection may be empty
 */
export function geometryEncoder(takesEmpty: boolean): CellEncoder {
  return (_kind, bytes, start, end, out, at) => {
    const length = (end - start) / 2;
    if (!Number.isInteger(length) || length < 9) return -1;
    const byteAt = (index: number): number => {
      const high = hexDigit(bytes[start + 2 * index] as number);
      const low = hexDigit(bytes[start + 2 * index + 1] as number);
      return (high | low) < 0 ? -1 : (high << 4) | low;
    };
    const flags = byteAt(4);
    if (byteAt(0) !== LITTLE_ENDIAN || (flags !== 0 && flags !== HAS_SRID)) return -1;
    for (let index = 0; index < 4; index++) out[at + index] = flags === HAS_SRID ? byteAt(5 + index) : 0;
    let to = at + 4;
    for (let index = 0; index < length; index++) {
      if (index === 5 && flags === HAS_SRID) index += 4;
      const byte = index === 4 ? 0 : byteAt(index);
      if (byte < 0) return -1;
      out[to++] = byte;
    }
    return shapeEnd(out, at + 4, to, takesEmpty) === to ? to : -1;
  };
}

const POINT = 1;
const LINE = 2;
const POLYGON = 3;
const COLLECTION = 7;
/** What each of the collections is made of. */
const MEMBERS: ReadonlyMap<number, number> = new Map([[4, POINT], [5, LINE], [6, POLYGON]]);
const POINT_BYTES = 16;

/** Where the little-endian WKB at `at` ends; -1: it is none that the server takes. */
function shapeEnd(wkb: Buffer, at: number, end: number, takesEmpty: boolean): number {
  if (at + 5 > end || wkb[at] !== LITTLE_ENDIAN) return -1;
  const kind = wkb.readUInt32LE(at + 1);
  if (kind === POINT) return at + 5 + POINT_BYTES <= end ? at + 5 + POINT_BYTES : -1;
  if (kind < LINE || kind > COLLECTION || at + 9 > end) return -1;
  const count = wkb.readUInt32LE(at + 5);
  const to = at + 9;
  if (kind === LINE) return pointsEnd(to, count, takesEmpty ? 0 : 2, end);
  if (count === 0 && kind !== COLLECTION && !takesEmpty) return -1;
  return kind === POLYGON ? ringsEnd(wkb, to, count, end, takesEmpty) : partsEnd(wkb, to, { count, kind }, end, takesEmpty);
}

function pointsEnd(at: number, count: number, least: number, end: number): number {
  return count >= least && at + POINT_BYTES * count <= end ? at + POINT_BYTES * count : -1;
}

function ringsEnd(wkb: Buffer, at: number, count: number, end: number, takesEmpty: boolean): number {
  for (let ring = 0; ring < count && at >= 0; ring++) at = at + 4 > end ? -1 : pointsEnd(at + 4, wkb.readUInt32LE(at), takesEmpty ? 0 : 4, end);
  return at;
}

function partsEnd(wkb: Buffer, at: number, { count, kind }: { count: number; kind: number }, end: number, takesEmpty: boolean): number {
  const member = MEMBERS.get(kind);
  for (let part = 0; part < count && at >= 0; part++) {
    if (member !== undefined && (at + 5 > end || wkb.readUInt32LE(at + 1) !== member)) return -1;
    at = shapeEnd(wkb, at, end, takesEmpty);
  }
  return at;
}

const MOST_FLOAT = 2 ** 128 * (1 - 2 ** -25);

/**
 * `[1,2.5]`: floats of 32 bits, little-endian.
 * @param dimensions how many there must be; null: any number
 * @param measured the square of its length must be a float, too: MariaDB
 */
export function vectorEncoder(dimensions: number | null, measured: boolean): CellEncoder {
  return (_kind, bytes, start, end, out, at) => {
    if (end - start < 3 || bytes[start] !== 0x5b || bytes[end - 1] !== 0x5d) return -1;
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const first = at;
    let square = 0;
    for (let from = start + 1; from < end; ) {
      let next = from;
      while (next < end - 1 && bytes[next] !== COMMA) next++;
      const value = Math.fround(Number(text.toString('latin1', from, next)));
      if (next === from || !Number.isFinite(value)) return -1;
      square += value * value;
      at = out.writeFloatLE(value, at);
      from = next + 1;
    }
    if (measured && square >= MOST_FLOAT) return -1;
    return dimensions === null || at - first === 4 * dimensions ? at : -1;
  };
}

/**
 * A label; '' where that is none is the number 0, which the servers take as text when no label reads so.
 * @param labels of an enum
 */
export function labelEncoder(labels: readonly string[]): CellEncoder {
  const known = new Set(labels);
  let zeros = '0';
  while (known.has(zeros)) zeros += '0';
  const empty = Buffer.from(known.has('') ? '' : zeros);
  return (_kind, bytes, start, end, out, at) => (start === end ? copy(empty, 0, empty.length, out, at) : copy(bytes, start, end, out, at));
}
