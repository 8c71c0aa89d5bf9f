import type { FileSystem, LogFile } from '../../../../contracts/runtime.ts';
import { readU64 } from '../bytes.ts';
import { corruptRun, ENTRY_HEADER, EntryWalker, readBlock, READ_BYTES, readRunFooter, RUN_HEADER, type Block, type EntryCursor, type RunFooter } from './run-format.ts';

/** Blocks of one run kept in memory, for look-ups; about 256 KiB each. */
const CACHED_BLOCKS = 16;
const MOST_GUESSED = 512 * 1024;

/** Reads one run: in order, from a key on, or by key. Owns its file; any number of cursors may be open. */
export class RunReader implements AsyncDisposable {
  readonly path: string;
  readonly footer: RunFooter;
  readonly #file: LogFile;
  readonly #blocks = new Map<number, Block>();
  /** Packed bytes of the next block that is read, about. */
  #guess = READ_BYTES;

  private constructor(path: string, file: LogFile, footer: RunFooter) {
    this.path = path;
    this.#file = file;
    this.footer = footer;
  }

  /** @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT` */
  static async open(files: FileSystem, path: string): Promise<RunReader> {
    const file = await files.open(path, 'read');
    try {
      return new RunReader(path, file, await readRunFooter(file, path));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** All entries in order; with `from`, those that are not before it. */
  cursor(from: { readonly tableId: number; readonly key: Uint8Array } | null = null): EntryCursor {
    return new RunCursor(this, from);
  }

  /** The newest value of a key: a copy; null when the run has none. @throws TidemarkError `LOG_CORRUPT` */
  async find(tableId: number, key: Uint8Array): Promise<Buffer | null> {
    const leaf = await this.#leafOf(tableId, key);
    if (leaf === null) return null;
    let found: Buffer | null = null;
    const walker = new EntryWalker();
    walker.reset(leaf.plain);
    while (walker.step()) {
      const order = walker.compareTo(tableId, key);
      if (order === 0) found = walker.bytes.subarray(walker.keyEnd, walker.valueEnd);
      else if (order > 0) break;
    }
    return found === null ? null : Buffer.from(found);
  }

  /** About how many entries some tables have: by their part of the root block. @throws TidemarkError `LOG_CORRUPT` */
  async estimateEntries(isCounted: (tableId: number) => boolean): Promise<number> {
    const { root, entries } = this.footer;
    if (root === 0) return 0;
    const walker = new EntryWalker();
    walker.reset((await this.#block(root)).plain);
    let all = 0;
    let counted = 0;
    for (; walker.step(); all++) if (isCounted(walker.tableId)) counted++;
    return all === 0 ? 0 : (entries * counted) / all;
  }

  /** The data block that holds the last entry of a key, if any does; null in an empty run. */
  async #leafOf(tableId: number, key: Uint8Array): Promise<Block | null> {
    const { root, height } = this.footer;
    if (root === 0) return null;
    const walker = new EntryWalker();
    let block = await this.#block(root);
    for (let level = height; level > 0; level--) block = await this.#block(this.#childFor(walker, block, tableId, key));
    return block;
  }

  #childFor(walker: EntryWalker, block: Block, tableId: number, key: Uint8Array): number {
    walker.reset(block.plain);
    let child: number | null = null;
    while (walker.step()) {
      if (child !== null && walker.compareTo(tableId, key) > 0) break;
      child = readU64(walker.bytes, walker.keyEnd);
    }
    if (child === null) throw corruptRun('an index block is empty', this.path);
    return child;
  }

  /** A block by its position, from memory if it was read lately. */
  async #block(position: number): Promise<Block> {
    const cached = this.#blocks.get(position);
    if (cached !== undefined) {
      this.#blocks.delete(position);
      this.#blocks.set(position, cached);
      return cached;
    }
    const block = await this.readBlock(position);
    this.#blocks.set(position, block);
    const oldest = this.#blocks.keys().next();
    if (this.#blocks.size > CACHED_BLOCKS && oldest.done !== true) this.#blocks.delete(oldest.value);
    return block;
  }

  /** A block by its position, past the blocks kept in memory: for walks. */
  async readBlock(position: number): Promise<Block> {
    if (position < RUN_HEADER) throw corruptRun(`no block stands at byte ${position}`, this.path);
    const block = await readBlock(this.#file, position, this.path, this.#guess);
    // Blocks of a run are much alike.
    this.#guess = Math.min(MOST_GUESSED, Math.ceil((block.end - position) * 1.1));
    return block;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#file.close();
  }
}

/**
 * Walks a run by its tree: one block per level in memory. Index blocks are walked in step with the data blocks that
 * they point to, so that nothing has to be guessed about what stands between them.
 */
class RunCursor extends EntryWalker implements EntryCursor {
  readonly #reader: RunReader;
  readonly #from: { readonly tableId: number; readonly key: Uint8Array } | null;
  /** Index blocks from the root down, each before the child after the current one. */
  readonly #index: EntryWalker[] = [];
  #started = false;
  #ahead: { readonly position: number; readonly block: Promise<Block> } | null = null;
  /** True once the way down to the key sought has been made. */
  #sought = false;

  constructor(reader: RunReader, from: { readonly tableId: number; readonly key: Uint8Array } | null) {
    super();
    this.#reader = reader;
    this.#from = from;
  }

  next(): boolean | Promise<boolean> {
    if (!this.#started) return this.#start();
    return this.step() ? true : this.#nextBlock();
  }

  async #start(): Promise<boolean> {
    this.#started = true;
    const { root, height } = this.#reader.footer;
    if (root === 0) return false;
    await this.#open(root, height);
    const from = this.#from;
    if (from === null) return (await this.#advance()) !== null;
    while ((await this.#advance()) !== null) if (this.compareTo(from.tableId, from.key) >= 0) return true;
    return false;
  }

  async #advance(): Promise<this | null> {
    return this.step() || (await this.#nextBlock()) ? this : null;
  }

  /** Opens the block at `position`, `level` levels above the data, and the way down from it. */
  async #open(position: number, level: number): Promise<void> {
    const { plain } = await (this.#ahead?.position === position ? this.#ahead.block : this.#reader.readBlock(position));
    if (level === 0) {
      this.reset(plain);
      this.#readAhead();
      return;
    }
    const walker = new EntryWalker();
    walker.reset(plain);
    this.#index.push(walker);
    await this.#open(this.#firstChild(walker), level - 1);
  }

  /** The next data block is read while this one is walked. */
  #readAhead(): void {
    const walker = this.#index.at(-1);
    const next = walker?.valueEnd ?? 0;
    this.#ahead = null;
    if (walker === undefined || next >= walker.bytes.length) return;
    const position = readU64(walker.bytes, next + ENTRY_HEADER + walker.bytes.readUInt32BE(next + 4));
    const block = this.#reader.readBlock(position);
    // Who does not come to it does not miss it.
    block.catch(() => undefined);
    this.#ahead = { position, block };
  }

  /** The child to begin with: the first, or the last one that does not begin at or after the key sought. */
  #firstChild(walker: EntryWalker): number {
    const from = this.#from;
    if (!walker.step()) throw corruptRun('an index block is empty', this.#reader.path);
    let child = readU64(walker.bytes, walker.keyEnd);
    if (from === null || this.#sought) return child;
    const ahead = new EntryWalker();
    ahead.reset(walker.bytes);
    let steps = 0;
    for (let index = 0; ahead.step() && ahead.compareTo(from.tableId, from.key) < 0; index++) steps = index;
    for (; steps > 0 && walker.step(); steps--) child = readU64(walker.bytes, walker.keyEnd);
    return child;
  }

  async #nextBlock(): Promise<boolean> {
    this.#sought = true;
    while (this.#index.length > 0) {
      const walker = this.#index.at(-1);
      if (walker === undefined) return false;
      if (!walker.step()) {
        this.#index.pop();
        continue;
      }
      await this.#open(readU64(walker.bytes, walker.keyEnd), this.#reader.footer.height - this.#index.length);
      if (this.step()) return true;
    }
    return false;
  }
}
