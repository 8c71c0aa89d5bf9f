import type { KeyTemplate } from './key-template.ts';

/** Finds the table of a key among many, by how the key begins. */
export class KeyMatcher<T extends { readonly template: KeyTemplate }> {
  /** What all keys begin with; empty when they have nothing in common. */
  readonly commonPrefix: Buffer;
  readonly #lengths: readonly number[];
  readonly #byPrefix = new Map<string, T[]>();

  constructor(tables: Iterable<T>) {
    let common: Buffer | null = null;
    for (const table of tables) {
      const { prefix } = table.template;
      common = common === null ? prefix : shared(common, prefix);
      const name = prefix.toString('latin1');
      const others = this.#byPrefix.get(name);
      if (others === undefined) this.#byPrefix.set(name, [table]);
      else others.push(table);
    }
    this.commonPrefix = common ?? Buffer.alloc(0);
    this.#lengths = [...new Set([...this.#byPrefix.keys()].map((name) => name.length))];
  }

  get isEmpty(): boolean {
    return this.#byPrefix.size === 0;
  }

  /** The first table that can have written the key (without its tag). */
  find(key: Buffer): T | null {
    for (const length of this.#lengths) {
      if (length > key.length) continue;
      const tables = this.#byPrefix.get(key.toString('latin1', 0, length));
      const found = tables?.find(({ template }) => template.match(key) !== null);
      if (found !== undefined) return found;
    }
    return null;
  }
}

function shared(a: Buffer, b: Buffer): Buffer {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return a.subarray(0, length);
}
