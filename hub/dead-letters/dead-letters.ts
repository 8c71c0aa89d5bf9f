import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { FileSystem } from '../../contracts/runtime.ts';

/** A row that a sink refused: where it stands in the log and why; never its values. */
export interface DeadLetter {
  readonly tableId: number;
  /** `public.orders`, for people. */
  readonly table: string;
  readonly key: Buffer;
  /** Offset of the refused record: what the key is now is found from here on. */
  readonly offset: Offset;
  readonly code: string;
  readonly message: string;
  /** When, ISO 8601. */
  readonly at: string;
  /** A batch that ends there writes the key, or removes it: a sink that stands there or beyond has taken that. Left out: none was seen. */
  readonly settledAt?: Offset;
}

/** Open letters of one sink; with more, something is wrong with the sink and not with single rows. */
const MOST_OPEN = 10_000;
const VERSION = 1;

/**
 * The open dead letters of one sink, in one file that is replaced as a whole. A letter is durable when `write` resolves,
 * which is before the sink commits the batch that leaves the row out. One letter for each key: the newest.
 */
export class DeadLetters {
  readonly #files: FileSystem;
  readonly #path: string;
  readonly #open = new Map<string, DeadLetter>();
  #saved: Promise<void> = Promise.resolve();

  private constructor(files: FileSystem, path: string) {
    this.#files = files;
    this.#path = path;
  }

  /** @param path absolute; the file need not exist. @throws TidemarkError `DEAD_LETTERS_FILE` */
  static async load(files: FileSystem, path: string): Promise<DeadLetters> {
    const letters = new DeadLetters(files, path);
    if (!(await files.exists(path))) return letters;
    for (const letter of decode(await files.readFile(path), path)) letters.#open.set(nameOf(letter.tableId, letter.key), letter);
    return letters;
  }

  get count(): number {
    return this.#open.size;
  }

  list(): DeadLetter[] {
    return [...this.#open.values()];
  }

  has(tableId: number, key: Uint8Array): boolean {
    return this.#open.has(nameOf(tableId, key));
  }

  /** Opens letters, or puts newer ones in the place of older. Durable when it resolves. @throws TidemarkError `DEAD_LETTERS_FULL` */
  async write(letters: readonly DeadLetter[]): Promise<void> {
    const opened = letters.filter(({ tableId, key }) => !this.has(tableId, key)).length;
    if (this.#open.size + opened > MOST_OPEN) {
      throw new TidemarkError('DEAD_LETTERS_FULL', `the sink refuses more than ${MOST_OPEN} rows`);
    }
    for (const letter of letters) this.#open.set(nameOf(letter.tableId, letter.key), letter);
    if (letters.length > 0) await this.#save();
  }

  /**
   * Notes before a batch is applied which letters it settles: that it was applied may not be noted any more. Durable when it
   * resolves.
   * @param to where the batch ends
   */
  async settling(letters: readonly DeadLetter[], to: Offset): Promise<void> {
    let isNoted = true;
    for (const { tableId, key } of letters) {
      const name = nameOf(tableId, key);
      const open = this.#open.get(name);
      if (open === undefined || open.settledAt === to) continue;
      this.#open.set(name, { ...open, settledAt: to });
      isNoted = false;
    }
    if (!isNoted) await this.#save();
  }

  /** Closes the letters that were settled by what a sink that stands there has taken. */
  async closeSettled(at: Offset): Promise<void> {
    const settled = this.list().filter(({ settledAt }) => settledAt !== undefined && settledAt <= at);
    if (settled.length > 0) await this.close(settled);
  }

  /** Closes the letters of these keys. Not before the sink has made their rows durable. */
  async close(keys: Iterable<{ readonly tableId: number; readonly key: Uint8Array }>): Promise<void> {
    let closed = false;
    for (const { tableId, key } of keys) closed = this.#open.delete(nameOf(tableId, key)) || closed;
    if (closed) await this.#save();
  }

  /** Resolves when nothing is being written any more, saved or failed. */
  settled(): Promise<void> {
    return this.#saved;
  }

  /** One replacement at a time; each writes what is open when it begins. */
  #save(): Promise<void> {
    const save = this.#saved.then(() => this.#files.replace(this.#path, encode(this.list())));
    this.#saved = save.catch(() => undefined);
    return save;
  }
}

function nameOf(tableId: number, key: Uint8Array): string {
  return `${tableId}/${Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('base64')}`;
}

function encode(letters: readonly DeadLetter[]): Buffer {
  const lines = letters.map((letter) => ({ ...letter, key: letter.key.toString('base64') }));
  return Buffer.from(JSON.stringify({ version: VERSION, letters: lines }), 'utf8');
}

function decode(bytes: Buffer, path: string): DeadLetter[] {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new TidemarkError('DEAD_LETTERS_FILE', 'the file is not JSON', { where: { file: path }, cause });
  }
  if (typeof value !== 'object' || value === null || !('version' in value) || value.version !== VERSION || !('letters' in value) || !Array.isArray(value.letters)) {
    throw new TidemarkError('DEAD_LETTERS_FILE', 'the file is not of this version', { where: { file: path } });
  }
  return value.letters.map((letter: unknown) => {
    if (!isStored(letter)) throw new TidemarkError('DEAD_LETTERS_FILE', 'a letter lacks a field', { where: { file: path } });
    return { ...letter, key: Buffer.from(letter.key, 'base64') };
  });
}

type Stored = Omit<DeadLetter, 'key'> & { readonly key: string };

function isStored(value: unknown): value is Stored {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof Stored, unknown>>;
  return (
    typeof v.tableId === 'number' && typeof v.offset === 'number' && (v.settledAt === undefined || typeof v.settledAt === 'number') &&
    [v.table, v.key, v.code, v.message, v.at].every((text) => typeof text === 'string')
  );
}
