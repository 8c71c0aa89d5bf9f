/**
 * Transaction ids are 32 bits on the wire and 64 in the log. All ids in use at one time lie within 2^31 of each other,
 * so a known id of 64 bits tells the high half of any other.
 */
const TWO_32 = 0x1_0000_0000;
const HALF = 0x8000_0000;

export class XidWidener {
  #reference: number;

  /** @param reference an id of 64 bits of now: the xmax of `pg_current_snapshot()` */
  constructor(reference: number) {
    this.#reference = reference;
  }

  /** The id of 64 bits with that low half which is nearest to the newest one known. */
  widen(xid: number): number {
    const reference = this.#reference;
    let wide = reference - (reference % TWO_32) + xid;
    if (wide - reference >= HALF) wide -= TWO_32;
    else if (reference - wide > HALF) wide += TWO_32;
    if (wide < 0) wide += TWO_32;
    if (wide > reference) this.#reference = wide;
    return wide;
  }

  /** A newer id of 64 bits was seen. */
  advance(reference: number): void {
    if (reference > this.#reference) this.#reference = reference;
  }
}
