import type { Random } from '../../../contracts/runtime.ts';
import { tableKey } from './tracked-tables.ts';

/** 16 hexadecimal digits. */
const ID_BYTES = 8;

/**
 * Identities of tables that the log has not yet, or not for sure: by name, so that a table comes in under the one by which it
 * was first told of, also where the stream that brought it in has failed before that was durable. Outlives streams; of one
 * source.
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

  /** Whatever has that name from here on is another table. */
  forget(key: string): void {
    this.#ids.delete(key);
  }

  forgetDatabase(database: string): void {
    for (const key of this.#ids.keys()) if (key.startsWith(tableKey({ database, table: '' }))) this.#ids.delete(key);
  }

  renamed(from: string, to: string): void {
    const id = this.#ids.get(from);
    this.#ids.delete(from);
    if (id === undefined) this.#ids.delete(to);
    else this.#ids.set(to, id);
  }
}
