/** Bytes of one piece; what is longer than a part of it gets memory of its own. */
const PIECE_BYTES = 64 << 10;
const SMALL_BYTES = 4 << 10;

/**
 * Memory for small things that are kept for long and given up in the order in which they came. Each in an allocation of
 * its own would stand between larger ones that come and go, and keep what these leave free from being used or returned.
 */
export class SmallMemory {
  #piece: Buffer = Buffer.alloc(0);
  #used = 0;

  /** True when bytes of this length are worth being kept here. */
  takes(length: number): boolean {
    return length <= SMALL_BYTES;
  }

  /** A copy of the bytes. Its piece is freed when nothing in it is held any more. */
  keep(bytes: Buffer): Buffer {
    if (this.#used + bytes.length > this.#piece.length) {
      this.#piece = Buffer.allocUnsafeSlow(Math.max(PIECE_BYTES, bytes.length));
      this.#used = 0;
    }
    const kept = this.#piece.subarray(this.#used, this.#used + bytes.length);
    bytes.copy(kept);
    this.#used += bytes.length;
    return kept;
  }
}
