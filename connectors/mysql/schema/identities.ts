import type { Random } from '../../../contracts/runtime.ts';

/** 16 hexadecimal digits. */
const ID_BYTES = 8;

/**
 * Identities of tables that are not in the log yet, by name, so that a table comes in under the one by which it was first
 * told of. Outlives streams; of one source.
 */
export class Identities {
  readonly #random: Random;
  readonly #ids = new Map<string, string>();

  constructor(random: Random) {
    this.#random = random;
  }

  of(key: string): string {
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#random.bytes(ID_BYTES).toString('hex');
    this.#ids.set(key, id);
    return id;
  }

  /** The table has come into the log, or is gone. */
  forget(key: string): void {
    this.#ids.delete(key);
  }

  renamed(from: string, to: string): void {
    const id = this.#ids.get(from);
    this.#ids.delete(from);
    if (id === undefined) this.#ids.delete(to);
    else this.#ids.set(to, id);
  }
}
