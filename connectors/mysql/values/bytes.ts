/** Bits, binary strings, geometry and MariaDB's fixed strings of bytes. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Cell } from '../../../contracts/row-image.ts';
import type { CellWriter } from './cell-writer.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { readBig, readU16, readU32 } from './digits.ts';
import { Form } from './value-form.ts';

const ZERO = 0x30;
const LOWER = Buffer.from('0123456789abcdef');
const UPPER = Buffer.from('0123456789ABCDEF');

/** The bits of big-endian bytes, the last `count` of them. */
export function bitsCell(bytes: Uint8Array, start: number, end: number, count: number, out: CellWriter): void {
  const to = out.open(count);
  const into = out.bytes;
  for (let bit = 0; bit < count; bit++) {
    const place = count - 1 - bit;
    const byte = end - 1 - (place >> 3);
    into[to + bit] = ZERO + (byte < start ? 0 : ((bytes[byte] as number) >> (place & 7)) & 1);
  }
  out.close(Cell.text, to + count);
}

export function bitDecoder(count: number): ColumnDecoder {
  const length = (count + 7) >> 3;
  return {
    decode(bytes, at, out) {
      bitsCell(bytes, at, at + length, count, out);
      return at + length;
    },
  };
}

/** A value behind its length of 1 to 4 bytes, little-endian. */
export function readLength(bytes: Uint8Array, at: number, prefix: number): number {
  return prefix === 1 ? (bytes[at] as number) : prefix === 2 ? readU16(bytes, at) : prefix === 4 ? readU32(bytes, at) : readU16(bytes, at) | ((bytes[at + 2] as number) << 16);
}

export function binaryDecoder(prefix: number): ColumnDecoder {
  return {
    form: { code: Form.binary, size: prefix, width: -1, most: 0 },
    decode(bytes, at, out) {
      const start = at + prefix;
      const end = start + readLength(bytes, at, prefix);
      out.binary(bytes, start, end);
      return end;
    },
  };
}

/** binary(n): the bytes of zero at the end, which are left out, are put back. */
export function paddedDecoder(length: number, prefix: number): ColumnDecoder {
  return {
    decode(bytes, at, out) {
      const start = at + prefix;
      const end = start + readLength(bytes, at, prefix);
      const to = out.open(length);
      out.bytes.fill(0, to, to + length);
      out.bytes.set(bytes.subarray(start, boundedEnd(start, end, length)), to);
      out.close(Cell.binary, to + length);
      return end;
    },
  };
}

function boundedEnd(start: number, end: number, length: number): number {
  if (end - start > length) throw new TidemarkError('MYSQL_VALUE', `a value of ${end - start} bytes in a column of ${length}`);
  return end;
}

const SRID_FLAG = 0x20;
const SRID_BYTES = 4;
const GEOMETRY_HEADER = 9;
const LITTLE_ENDIAN = 1;

/** The server's form (SRID, then WKB) as hexadecimal EWKB. @throws TidemarkError `MYSQL_VALUE` */
export function geometryCell(bytes: Uint8Array, start: number, end: number, out: CellWriter): void {
  if (end - start < GEOMETRY_HEADER || bytes[start + SRID_BYTES] !== LITTLE_ENDIAN) throw new TidemarkError('MYSQL_VALUE', `a geometry of ${end - start} bytes is not little-endian WKB behind an SRID`);
  const srid = readU32(bytes, start);
  const most = (end - start) * 2;
  const to = out.open(most);
  const into = out.bytes;
  const wkb = start + SRID_BYTES;
  let at = hex(bytes, wkb, wkb + 4, into, to, UPPER);
  const flagged = (bytes[wkb + 4] as number) | (srid === 0 ? 0 : SRID_FLAG);
  into[at++] = UPPER[flagged >> 4] as number;
  into[at++] = UPPER[flagged & 15] as number;
  if (srid !== 0) at = hex(bytes, start, wkb, into, at, UPPER);
  out.close(Cell.text, hex(bytes, wkb + 5, end, into, at, UPPER));
}

function hex(bytes: Uint8Array, start: number, end: number, into: Uint8Array, to: number, digits: Uint8Array): number {
  let at = to;
  for (let next = start; next < end; next++) {
    const byte = bytes[next] as number;
    into[at++] = digits[byte >> 4] as number;
    into[at++] = digits[byte & 15] as number;
  }
  return at;
}

export const GEOMETRY: ColumnDecoder = {
  decode(bytes, at, out) {
    const end = at + 4 + readU32(bytes, at);
    geometryCell(bytes, at + 4, end, out);
    return end;
  },
};

/** A string of at most `length` bytes, without the zeros at its end, behind a length byte; `scratch` gets it with them. */
function padInto(scratch: Uint8Array, bytes: Uint8Array, at: number): number {
  const length = bytes[at] as number;
  const end = boundedEnd(at + 1, at + 1 + length, scratch.length);
  scratch.fill(0);
  scratch.set(bytes.subarray(at + 1, end));
  return end;
}

const UUID_BYTES = 16;
const UUID_HYPHENS: ReadonlySet<number> = new Set([4, 6, 8, 10]);

/** MariaDB's uuid: in the binary log the bytes stand as they are printed, whatever their order in the table. */
export function uuidDecoder(): ColumnDecoder {
  const stored = new Uint8Array(UUID_BYTES);
  return {
    decode(bytes, at, out) {
      const end = padInto(stored, bytes, at);
      const to = out.open(36);
      const into = out.bytes;
      let next = to;
      for (let place = 0; place < UUID_BYTES; place++) {
        if (UUID_HYPHENS.has(place)) into[next++] = 0x2d;
        next = hex(stored, place, place + 1, into, next, LOWER);
      }
      out.close(Cell.text, next);
      return end;
    },
  };
}

/** MariaDB's inet4. */
export function inet4Decoder(): ColumnDecoder {
  const stored = new Uint8Array(4);
  return {
    decode(bytes, at, out) {
      const end = padInto(stored, bytes, at);
      out.ascii(stored.join('.'));
      return end;
    },
  };
}

const IPV6_GROUPS = 8;

/** MariaDB's inet6. */
export function inet6Decoder(): ColumnDecoder {
  const stored = new Uint8Array(16);
  return {
    decode(bytes, at, out) {
      const end = padInto(stored, bytes, at);
      out.ascii(inet6Text(stored));
      return end;
    },
  };
}

/**
 * As the server prints it: the first longest run of zero groups (of one group, too) as `::`; the last four bytes as those of an
 * IPv4 address where the run is all before them, or all but a group of ones.
 */
function inet6Text(address: Uint8Array): string {
  const groups = Array.from({ length: IPV6_GROUPS }, (_, place) => readBig(address, place * 2, 2));
  let gap = -1;
  let gapLength = 0;
  for (let place = 0; place < IPV6_GROUPS; ) {
    let length = 0;
    while (place + length < IPV6_GROUPS && groups[place + length] === 0) length++;
    if (length > gapLength) [gap, gapLength] = [place, length];
    place += length + 1;
  }
  const isV4 = gap === 0 && (gapLength === 6 || (gapLength === 5 && groups[5] === 0xffff));
  const tail = isV4 ? [...groups.slice(gapLength, 6).map(hexGroup), address.subarray(12).join('.')].join(':') : groups.slice(gap + gapLength).map(hexGroup).join(':');
  if (gap < 0) return groups.map(hexGroup).join(':');
  return `${groups.slice(0, gap).map(hexGroup).join(':')}::${tail}`;
}

function hexGroup(group: number): string {
  return group.toString(16);
}
