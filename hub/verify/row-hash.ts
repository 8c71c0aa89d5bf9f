/**
 * A hash of 64 bits over the canonical bytes of a row: two lanes of 32 bits, four bytes a step. Not a checksum of
 * storage and no secret: it tells rows apart that differ by accident. A step is one to one in each lane, so that rows
 * of the same length that differ in one place never hash alike in both. Seeded anew for each run, so that what collides
 * in one (1 in 2^64) does not in the next.
 */
export type HashSeed = readonly [number, number];

const A = 0x9e3779b1;
const B = 0x85ebca77;

/** Hashes row after row; no object for each. The results stand in its fields until the next one. */
export class RowHash {
  /** Of key and image. */
  a = 0;
  b = 0;
  /** Of the key alone (of a row without one: of the image): where the row belongs, 32 bits. */
  place = 0;
  readonly #seedA: number;
  readonly #seedB: number;

  constructor([a, b]: HashSeed) {
    this.#seedA = a | 0;
    this.#seedB = b | 0;
  }

  /** @param view over the bytes that hold key and image, the image right behind the key */
  row(view: DataView, keyStart: number, keyEnd: number, end: number): void {
    let a = this.#seedA ^ (keyEnd - keyStart);
    let b = this.#seedB ^ (end - keyEnd);
    let at = keyStart;
    let limit = keyEnd;
    for (;;) {
      const whole = limit - 3;
      for (; at < whole; at += 4) {
        const word = view.getInt32(at, true);
        a = Math.imul(a ^ word, A);
        a = (a << 13) | (a >>> 19);
        b = Math.imul(b + word, B);
        b ^= b >>> 15;
      }
      if (at < limit) {
        let word = 0;
        for (let shift = 0; at < limit; at++, shift += 8) word |= view.getUint8(at) << shift;
        a = Math.imul(a ^ word, A);
        a = (a << 13) | (a >>> 19);
        b = Math.imul(b + word, B);
        b ^= b >>> 15;
      }
      // The first lane knows nothing of the image yet.
      if (limit === keyEnd) this.place = mixed(a);
      if (limit === end) break;
      limit = end;
    }
    if (keyStart === keyEnd) this.place = mixed(a ^ b);
    this.a = mixed(a + Math.imul(b, A));
    this.b = mixed(b ^ ((a << 16) | (a >>> 16)));
  }
}

function mixed(value: number): number {
  let x = value;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
