/** The charsets of Unicode. Surrogates that stand alone have no UTF-8 form. */
import { isUtf8 } from 'node:buffer';
import type { Transcoder, Unmapped } from './transcoder.ts';
import { unmappedBytes, writePoint } from './unmapped.ts';

const HIGH_SURROGATE = 0xd800;
const LOW_SURROGATE = 0xdc00;
const SURROGATES_END = 0xe000;
const LAST_POINT = 0x10ffff;

export class Utf8Transcoder implements Transcoder {
  readonly charset: string;
  readonly isUtf8 = true;
  readonly growth = 1;
  readonly #unmapped: Unmapped;

  constructor(charset: string, unmapped: Unmapped) {
    this.charset = charset;
    this.#unmapped = unmapped;
  }

  transcode(bytes: Uint8Array, start: number, end: number, into: Uint8Array, to: number): number {
    if (isUtf8(bytes.subarray(start, end))) {
      into.set(bytes.subarray(start, end), to);
      return to + end - start;
    }
    let at = to;
    for (let next = start; next < end; ) {
      const length = utf8Length(bytes, next, end);
      if (length === 0) at = unmappedBytes(this.charset, this.#unmapped, bytes, next++, 1, into, at);
      else for (const last = next + length; next < last; next++) into[at++] = bytes[next] as number;
    }
    return at;
  }
}

/** Of the character at `at`; 0: there is none. */
function utf8Length(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at] as number;
  const length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  return length > 0 && at + length <= end && isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}

/** Two bytes per character, the high one first, and none beyond U+FFFF. */
export class Ucs2Transcoder implements Transcoder {
  readonly charset = 'ucs2';
  readonly isUtf8 = false;
  readonly growth = 2;
  readonly #unmapped: Unmapped;

  constructor(unmapped: Unmapped) {
    this.#unmapped = unmapped;
  }

  transcode(bytes: Uint8Array, start: number, end: number, into: Uint8Array, to: number): number {
    let at = to;
    for (let next = start; next < end; next += 2) {
      const point = next + 1 < end ? ((bytes[next] as number) << 8) | (bytes[next + 1] as number) : HIGH_SURROGATE;
      if (point >= HIGH_SURROGATE && point < SURROGATES_END) at = unmappedBytes('ucs2', this.#unmapped, bytes, next, 2, into, at);
      else at = writePoint(point, into, at);
    }
    return at;
  }
}

export class Utf16Transcoder implements Transcoder {
  readonly charset: 'utf16' | 'utf16le';
  readonly isUtf8 = false;
  readonly growth = 2;
  /** Which of two bytes is the high one. */
  readonly #high: 0 | 1;
  readonly #unmapped: Unmapped;

  constructor(charset: 'utf16' | 'utf16le', unmapped: Unmapped) {
    this.charset = charset;
    this.#high = charset === 'utf16' ? 0 : 1;
    this.#unmapped = unmapped;
  }

  transcode(bytes: Uint8Array, start: number, end: number, into: Uint8Array, to: number): number {
    let at = to;
    for (let next = start; next < end; next += 2) {
      const unit = this.#unit(bytes, next, end);
      if (unit >= 0 && (unit < HIGH_SURROGATE || unit >= SURROGATES_END)) {
        at = writePoint(unit, into, at);
        continue;
      }
      const low = unit >= 0 && unit < LOW_SURROGATE ? this.#unit(bytes, next + 2, end) : -1;
      if (low >= LOW_SURROGATE && low < SURROGATES_END) {
        at = writePoint(0x10000 + ((unit - HIGH_SURROGATE) << 10) + low - LOW_SURROGATE, into, at);
        next += 2;
      } else at = unmappedBytes(this.charset, this.#unmapped, bytes, next, 2, into, at);
    }
    return at;
  }

  /** -1: not two bytes. */
  #unit(bytes: Uint8Array, at: number, end: number): number {
    if (at + 1 >= end) return -1;
    return ((bytes[at + this.#high] as number) << 8) | (bytes[at + 1 - this.#high] as number);
  }
}

/** Four bytes per character, the highest first. */
export class Utf32Transcoder implements Transcoder {
  readonly charset = 'utf32';
  readonly isUtf8 = false;
  readonly growth = 1;
  readonly #unmapped: Unmapped;

  constructor(unmapped: Unmapped) {
    this.#unmapped = unmapped;
  }

  transcode(bytes: Uint8Array, start: number, end: number, into: Uint8Array, to: number): number {
    let at = to;
    for (let next = start; next < end; next += 4) {
      const point = next + 3 < end ? pointAt(bytes, next) : LAST_POINT + 1;
      const isPoint = point <= LAST_POINT && (point < HIGH_SURROGATE || point >= SURROGATES_END);
      at = isPoint ? writePoint(point, into, at) : unmappedBytes('utf32', this.#unmapped, bytes, next, 4, into, at);
    }
    return at;
  }
}

function pointAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) * 0x1000000 + (((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number));
}
