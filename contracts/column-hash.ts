import { createHmac } from 'node:crypto';

/** Replaces values by the hexadecimal HMAC-SHA-256 of their canonical bytes: equal values stay equal, nothing else is told. */
export class ColumnHash {
  readonly #key: string;

  constructor(key: string) {
    this.#key = key;
  }

  /** 64 ASCII bytes. */
  bytes(value: Uint8Array): Buffer {
    return Buffer.from(createHmac('sha256', this.#key).update(value).digest('hex'), 'latin1');
  }

  /** Tells this key from others, and nothing else of it. */
  get keyName(): string {
    return this.text('tidemark: the name of a key').slice(0, 16);
  }

  text(value: string): string {
    return createHmac('sha256', this.#key).update(value, 'utf8').digest('hex');
  }
}
