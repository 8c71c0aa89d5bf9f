import type { HashSeed } from '../../contracts/row-text-hash.ts';

/** One way of hashing rows. The results stand in its fields until the next row. */
export interface RowHasher {
  /** Of the row: 64 bits, as two halves with or without a sign. */
  readonly low: number;
  readonly high: number;
  /** Where the row belongs: 32 bits. Rows that are the same have the same; rows of one key may have different ones. */
  readonly place: number;
  /**
   * @param view over the bytes that hold key and image, the image right behind the key
   * @throws TidemarkError `RECORD_CORRUPT`
   */
  row(view: DataView, keyStart: number, keyEnd: number, end: number): void;
}

/**
 * A hash of 64 bits over the canonical bytes of a row: each four bytes go into two of four lanes of 32 bits, which are
 * mixed at the end. Not a checksum of storage and no secret: it tells rows apart that differ by accident. A step is one
 * to one in its lane, so that rows of the same length that differ in one place differ in two lanes. Seeded anew for each
 * run, so that what collides in one (1 in 2^64) does not in the next.
 */
const A = 0x9e3779b1;
const B = 0x85ebca77;
const C = 0xc2b2ae3d;
const D = 0x27d4eb2f;

/** Hashes row after row; no object for each. */
export class RowHash implements RowHasher {
  /** Of key and image. */
  low = 0;
  high = 0;
  /** Of the key alone (of a row without one: of the image): where the row belongs, 32 bits. */
  place = 0;
  readonly #seedA: number;
  readonly #seedB: number;

  constructor([a, b]: HashSeed) {
    this.#seedA = a | 0;
    this.#seedB = b | 0;
  }

  row(view: DataView, keyStart: number, keyEnd: number, end: number): void {
    let place = this.#seedA;
    let at = keyStart;
    for (const whole = keyEnd - 3; at < whole; at += 4) {
      place = Math.imul(place ^ view.getInt32(at, true), A);
      place ^= place >>> 15;
    }
    for (; at < keyEnd; at++) place = Math.imul(place ^ view.getUint8(at), A);

    let a = this.#seedA ^ (keyEnd - keyStart);
    let b = this.#seedB ^ (end - keyEnd);
    let c = a ^ A;
    let d = b ^ B;
    at = keyStart;
    for (const whole = end - 7; at < whole; at += 8) {
      const word = view.getInt32(at, true);
      const next = view.getInt32(at + 4, true);
      a = Math.imul(a ^ word, A);
      a = (a << 13) | (a >>> 19);
      b = Math.imul(b + word, B);
      b ^= b >>> 15;
      c = Math.imul(c ^ next, C);
      c = (c << 13) | (c >>> 19);
      d = Math.imul(d + next, D);
      d ^= d >>> 15;
    }
    for (; at < end; at++) {
      const byte = view.getUint8(at);
      a = Math.imul(a ^ byte, A);
      a = (a << 13) | (a >>> 19);
      b = Math.imul(b + byte, B);
      b ^= b >>> 15;
    }
    a = mixed(a ^ Math.imul(c, B));
    b = mixed(b ^ Math.imul(d, A));
    this.low = (a + b) | 0;
    this.high = mixed(b ^ Math.imul(a, C));
    this.place = keyStart === keyEnd ? this.high : mixed(place);
  }
}

function mixed(value: number): number {
  let x = value;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
