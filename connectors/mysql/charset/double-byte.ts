import { brotliDecompressSync } from 'node:zlib';
import { type Layout, linearCode, type Plane, planeSize, SAME_POINT } from './double-byte-layout.ts';
import { FOUR_BYTE_RUNS } from './tables/gb18030-runs.ts';
import type { Transcoder, Unmapped } from './transcoder.ts';
import { unmappedBytes, unmappedError, writePoint } from './unmapped.ts';

/** What some codes of big5 become at the server: they mean no character of Unicode. */
const NOTHING = 0xfffd;
const THREE_BYTES = 0x8f;
const KATAKANA_FIRST = 0xa1;
const KATAKANA_LAST = 0xdf;
/** U+FF61 is the byte 0xA1. */
const KATAKANA_OFFSET = 0xff61 - KATAKANA_FIRST;
const ALL_CODES = 1 << 16;
/** Codes of four bytes from this place on are the code points from U+10000 to U+10FFFF in order. */
const ASTRAL_FIRST = 189_000;
const ASTRAL_COUNT = 0x100000;

interface Tables {
  /** By the two bytes of a code; 0: no character. */
  readonly two: Uint16Array;
  readonly three: Uint16Array;
}

/** A charset of one, two and, the EUC ones and gb18030, three or four bytes per character. */
export class DoubleByteTranscoder implements Transcoder {
  readonly charset: string;
  readonly isUtf8 = false;
  readonly growth = 3;
  readonly #layout: Layout;
  readonly #packed: string;
  readonly #unmapped: Unmapped;
  #tables: Tables | null = null;

  constructor(charset: string, layout: Layout, packed: string, unmapped: Unmapped) {
    this.charset = charset;
    this.#layout = layout;
    this.#packed = packed;
    this.#unmapped = unmapped;
  }

  transcode(bytes: Uint8Array, start: number, end: number, into: Uint8Array, to: number): number {
    const { two } = (this.#tables ??= unpack(this.#layout, this.#packed));
    let at = to;
    for (let next = start; next < end; ) {
      const lead = bytes[next] as number;
      if (lead < 0x80) {
        into[at++] = lead;
        next++;
        continue;
      }
      const point = next + 1 < end ? (two[(lead << 8) | (bytes[next + 1] as number)] as number) : 0;
      if (point !== 0) {
        if (point === NOTHING && this.#unmapped === 'refuse') throw unmappedError(this.charset, bytes, next, 2);
        at = writePoint(point, into, at);
        next += 2;
        continue;
      }
      const length = this.#otherLength(bytes, next, end);
      const other = this.#otherPoint(bytes, next, length);
      at = other === 0 ? unmappedBytes(this.charset, this.#unmapped, bytes, next, length, into, at) : writePoint(other, into, at);
      next += length;
    }
    return at;
  }

  /** Of the character at `at`, which is not one of two bytes that has a meaning; 1 where there is no character. */
  #otherLength(bytes: Uint8Array, at: number, end: number): number {
    const lead = bytes[at] as number;
    const trail = at + 1 < end ? (bytes[at + 1] as number) : 0;
    const { two, three, katakana, fourBytes } = this.#layout;
    if (katakana === true && lead >= KATAKANA_FIRST && lead <= KATAKANA_LAST) return 1;
    if (three !== undefined && lead === THREE_BYTES) return at + 2 < end && isWithin(three, trail, bytes[at + 2] as number) ? 3 : 1;
    if (fourBytes === true && at + 3 < end && isFour(lead, trail, bytes[at + 2] as number, bytes[at + 3] as number)) return 4;
    return trail !== 0x7f && isWithin(two, lead, trail) ? 2 : 1;
  }

  #otherPoint(bytes: Uint8Array, at: number, length: number): number {
    const lead = bytes[at] as number;
    if (length === 1) return this.#layout.katakana === true && lead >= KATAKANA_FIRST && lead <= KATAKANA_LAST ? lead + KATAKANA_OFFSET : 0;
    if (length === 3) return this.#tables?.three[((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number)] ?? 0;
    if (length === 4) return pointOfFour(linearCode(lead, bytes[at + 1] as number, bytes[at + 2] as number, bytes[at + 3] as number));
    return 0;
  }
}

function isWithin({ leads, trails }: Plane, lead: number, trail: number): boolean {
  return lead >= leads[0] && lead <= leads[1] && trail >= trails[0] && trail <= trails[1];
}

function isFour(first: number, second: number, third: number, fourth: number): boolean {
  return first >= 0x81 && first <= 0xfe && second >= 0x30 && second <= 0x39 && third >= 0x81 && third <= 0xfe && fourth >= 0x30 && fourth <= 0x39;
}

/** 0: no character. */
function pointOfFour(linear: number): number {
  if (linear >= ASTRAL_FIRST) return linear < ASTRAL_FIRST + ASTRAL_COUNT ? linear - ASTRAL_FIRST + 0x10000 : 0;
  let low = 0;
  let high = FOUR_BYTE_RUNS.length / 3 - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const first = FOUR_BYTE_RUNS[middle * 3] as number;
    if (linear < first) high = middle - 1;
    else if (linear < first + (FOUR_BYTE_RUNS[middle * 3 + 2] as number)) return (FOUR_BYTE_RUNS[middle * 3 + 1] as number) + linear - first;
    else low = middle + 1;
  }
  return 0;
}

function unpack(layout: Layout, packed: string): Tables {
  const deltas = brotliDecompressSync(Buffer.from(packed, 'base64'));
  const two = pointsOf(layout.two, deltas, 0);
  return { two, three: layout.three === undefined ? new Uint16Array(0) : pointsOf(layout.three, deltas, planeSize(layout.two) * 2) };
}

function pointsOf({ leads, trails }: Plane, deltas: Buffer, from: number): Uint16Array {
  const points = new Uint16Array(ALL_CODES);
  let at = from;
  let point = 0;
  for (let lead = leads[0]; lead <= leads[1]; lead++) {
    for (let trail = trails[0]; trail <= trails[1]; trail++, at += 2) {
      const delta = deltas.readUInt16LE(at);
      if (delta === 0) continue;
      if (delta !== SAME_POINT) point = (point + delta) & 0xffff;
      points[(lead << 8) | trail] = point;
    }
  }
  return points;
}
