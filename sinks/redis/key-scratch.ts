/** Room in which one Redis key is put together. Reused: what `taken` gives is valid until the next `reset`. */
export class KeyScratch {
  bytes = Buffer.allocUnsafeSlow(256);
  length = 0;

  reset(): this {
    this.length = 0;
    return this;
  }

  append(source: Uint8Array, start: number, end: number): void {
    const size = end - start;
    if (this.length + size > this.bytes.length) this.#grow(this.length + size);
    const bytes = this.bytes;
    let at = this.length;
    if (size <= 32) for (let i = start; i < end; i++) bytes[at++] = source[i] as number;
    else bytes.set(source.subarray(start, end), at);
    this.length += size;
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.#grow(this.length + 1);
    this.bytes[this.length++] = value;
  }

  /** A window, not a copy. */
  taken(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }
}
