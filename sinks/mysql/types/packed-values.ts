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

/** `b'…'`, which compares with the column as a number. */
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
/** Point, line, polygon, the four collections of them: what both servers know. */
const LAST_KIND = 7;

/**
 * The bytes of a geometry column (SRID, then WKB) of an hexadecimal EWKB. Shapes of more than two dimensions, curves and
 * empty points are none of these servers.
 */
export const encodeGeometry: CellEncoder = (_kind, bytes, start, end, out, at) => {
  const length = (end - start) / 2;
  if (!Number.isInteger(length) || length < 9) return -1;
  const byteAt = (index: number): number => {
    const high = hexDigit(bytes[start + 2 * index] as number);
    const low = hexDigit(bytes[start + 2 * index + 1] as number);
    return (high | low) < 0 ? -1 : (high << 4) | low;
  };
  const flags = byteAt(4);
  if (byteAt(0) !== LITTLE_ENDIAN || (flags & ~HAS_SRID) !== 0 || flags < 0) return -1;
  const hasSrid = flags === HAS_SRID;
  for (let index = 0; index < 4; index++) out[at + index] = hasSrid ? byteAt(5 + index) : 0;
  let to = at + 4;
  for (let index = 0; index < length; index++) {
    if (index === 5 && hasSrid) index += 4;
    const byte = index === 4 ? 0 : byteAt(index);
    if (byte < 0) return -1;
    out[to++] = byte;
  }
  return isShape(out, at + 4, to) === to ? to : -1;
};

/** Where the little-endian WKB at `at` ends; -1: it is none that the servers take. */
function isShape(wkb: Buffer, at: number, end: number): number {
  if (at + 5 > end || wkb[at] !== LITTLE_ENDIAN) return -1;
  const kind = wkb.readUInt32LE(at + 1);
  if (kind < 1 || kind > LAST_KIND) return -1;
  if (kind === 1) return isPoint(wkb, at + 5, end) ? at + 21 : -1;
  if (at + 9 > end) return -1;
  const count = wkb.readUInt32LE(at + 5);
  let to = at + 9;
  if (kind === 2) return skipPoints(to, count, end);
  for (let part = 0; part < count && to >= 0; part++) {
    if (kind === 3) to = to + 4 > end ? -1 : skipPoints(to + 4, wkb.readUInt32LE(to), end);
    else to = isShape(wkb, to, end);
  }
  return to;
}

/** An empty point has coordinates that are no numbers. */
function isPoint(wkb: Buffer, at: number, end: number): boolean {
  return at + 16 <= end && !Number.isNaN(wkb.readDoubleLE(at)) && !Number.isNaN(wkb.readDoubleLE(at + 8));
}

function skipPoints(at: number, count: number, end: number): number {
  const to = at + 16 * count;
  return to <= end ? to : -1;
}

/** `[1,2.5]`: floats of 32 bits, little-endian. @param dimensions how many there must be; null: any number */
export function vectorEncoder(dimensions: number | null): CellEncoder {
  return (_kind, bytes, start, end, out, at) => {
    if (end - start < 3 || bytes[start] !== 0x5b || bytes[end - 1] !== 0x5d) return -1;
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const first = at;
    for (let from = start + 1; from < end; ) {
      let next = from;
      while (next < end - 1 && bytes[next] !== COMMA) next++;
      const value = Number(text.toString('latin1', from, next));
      if (next === from || !Number.isFinite(value)) return -1;
      at = out.writeFloatLE(value, at);
      from = next + 1;
    }
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
