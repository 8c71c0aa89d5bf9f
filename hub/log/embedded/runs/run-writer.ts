import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { FileSystem, LogFile } from '../../../../contracts/runtime.ts';
import { writeU64 } from '../bytes.ts';
import { diskError } from '../disk-error.ts';
import {
  BLOCK_BYTES, encodeBlock, encodeRunFooter, encodeRunHeader, ENTRY_HEADER, RUN_FOOTER, RUN_HEADER,
  type EntryCursor,
} from './run-format.ts';

/** A block under construction, of one level of the tree: 0 holds data. */
class OpenBlock {
  buffer = Buffer.allocUnsafe(BLOCK_BYTES + (BLOCK_BYTES >> 2));
  length = 0;
  firstTable = 0;
  firstKey: Buffer = Buffer.alloc(0);

  put(tableId: number, bytes: Buffer, keyStart: number, keyEnd: number, valueEnd: number): void {
    const size = ENTRY_HEADER + valueEnd - keyStart;
    if (this.length + size > this.buffer.length) this.#grow(this.length + size);
    if (this.length === 0) {
      this.firstTable = tableId;
      this.firstKey = Buffer.from(bytes.subarray(keyStart, keyEnd));
    }
    const { buffer, length } = this;
    buffer.writeUInt32BE(tableId, length);
    buffer.writeUInt32BE(keyEnd - keyStart, length + 4);
    buffer.writeUInt32BE(valueEnd - keyEnd, length + 8);
    bytes.copy(buffer, length + ENTRY_HEADER, keyStart, valueEnd);
    this.length += size;
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafe(needed);
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}

export interface WrittenRun {
  readonly path: string;
  readonly entries: number;
  readonly bytes: number;
}

/**
 * Writes one run from entries that come in order. Memory: one open block per level of the index. Owned by one caller;
 * owns its file until `finish` or disposal. A run that was not finished is no run: its file is removed.
 */
export class RunWriter implements AsyncDisposable {
  readonly #files: FileSystem;
  readonly #path: string;
  readonly #file: LogFile;
  readonly #levels: OpenBlock[] = [new OpenBlock()];
  #position = RUN_HEADER;
  #entries = 0;
  #plainBytes = 0;
  #lastTable = -1;
  #lastKey: Buffer = Buffer.alloc(0);
  #lastKeyLength = 0;
  #isOpen = true;

  private constructor(files: FileSystem, path: string, file: LogFile) {
    this.#files = files;
    this.#path = path;
    this.#file = file;
  }

  /** Makes the file, which must not be there. @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL` */
  static async create(files: FileSystem, path: string): Promise<RunWriter> {
    try {
      const file = await files.open(path, 'create');
      const writer = new RunWriter(files, path, file);
      await file.write([encodeRunHeader()], 0);
      return writer;
    } catch (error) {
      throw diskError(error, 'a run could not be made', { file: path });
    }
  }

  /**
   * Adds an entry that does not come before the last one. A promise only when a block is written: wait for it before
   * the next call.
   * @throws TidemarkError `INTERNAL` for one out of order, `LOG_WRITE_FAILED`, `LOG_DISK_FULL`
   */
  add(tableId: number, key: Uint8Array, value: Uint8Array): void | Promise<void> {
    const bytes = Buffer.concat([key, value]);
    return this.#put(tableId, bytes, 0, key.length, bytes.length);
  }

  /** As `add`, with the current entry of a cursor. */
  addFrom(cursor: EntryCursor): void | Promise<void> {
    return this.#put(cursor.tableId, cursor.bytes, cursor.keyStart, cursor.keyEnd, cursor.valueEnd);
  }

  #put(tableId: number, bytes: Buffer, keyStart: number, keyEnd: number, valueEnd: number): void | Promise<void> {
    this.#checkOrder(tableId, bytes, keyStart, keyEnd);
    const block = this.#level(0);
    block.put(tableId, bytes, keyStart, keyEnd, valueEnd);
    this.#entries++;
    this.#plainBytes += valueEnd - keyStart;
    return block.length >= BLOCK_BYTES ? this.#flush(0) : undefined;
  }

  #checkOrder(tableId: number, bytes: Buffer, keyStart: number, keyEnd: number): void {
    const order =
      tableId === this.#lastTable ? bytes.compare(this.#lastKey, 0, this.#lastKeyLength, keyStart, keyEnd) : tableId - this.#lastTable;
    if (order < 0) throw new TidemarkError('INTERNAL', 'an entry of a run is out of order', { where: { file: this.#path } });
    const length = keyEnd - keyStart;
    if (this.#lastKey.length < length) this.#lastKey = Buffer.allocUnsafe(Math.max(256, length * 2));
    bytes.copy(this.#lastKey, 0, keyStart, keyEnd);
    this.#lastTable = tableId;
    this.#lastKeyLength = length;
  }

  #level(level: number): OpenBlock {
    const known = this.#levels[level];
    if (known !== undefined) return known;
    const made = new OpenBlock();
    this.#levels.push(made);
    return made;
  }

  /** Writes the open block of a level, and notes it one level above. Answers its position. */
  async #flush(level: number): Promise<void> {
    const position = await this.#writeBlock(level);
    const block = this.#level(level);
    const above = this.#level(level + 1);
    const entry = Buffer.allocUnsafe(block.firstKey.length + 8);
    block.firstKey.copy(entry);
    writeU64(entry, position, block.firstKey.length);
    above.put(block.firstTable, entry, 0, block.firstKey.length, entry.length);
    block.length = 0;
    if (above.length >= BLOCK_BYTES) await this.#flush(level + 1);
  }

  async #writeBlock(level: number): Promise<number> {
    const block = this.#level(level);
    const position = this.#position;
    const [header, packed] = await encodeBlock(block.buffer.subarray(0, block.length));
    try {
      await this.#file.write([header, packed], position);
    } catch (error) {
      throw diskError(error, 'a run could not be written', { file: this.#path });
    }
    this.#position = position + header.length + packed.length;
    return position;
  }

  /**
   * Completes the run and closes its file.
   * @param durable sync the file; its name is durable only when the caller syncs the directory
   * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`
   */
  async finish(durable: boolean): Promise<WrittenRun> {
    let root = 0;
    let height = 0;
    for (let level = 0; level < this.#levels.length; level++) {
      const block = this.#level(level);
      if (level + 1 === this.#levels.length) {
        height = level;
        root = block.length === 0 ? 0 : await this.#writeBlock(level);
      } else if (block.length > 0) {
        await this.#flush(level);
      }
    }
    const footer = encodeRunFooter({ entries: this.#entries, root, height, plainBytes: this.#plainBytes }, this.#position);
    try {
      await this.#file.write([footer], this.#position);
      if (durable) await this.#file.sync();
    } catch (error) {
      throw diskError(error, 'a run could not be written', { file: this.#path });
    }
    await this.#file.close();
    this.#isOpen = false;
    return { path: this.#path, entries: this.#entries, bytes: this.#position + RUN_FOOTER };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#file.close();
    await this.#files.remove(this.#path);
  }
}

/** Writes all entries of a cursor. */
export async function writeAll(writer: RunWriter, cursor: EntryCursor): Promise<void> {
  for (;;) {
    const more = cursor.next();
    if (!(more instanceof Promise ? await more : more)) return;
    const written = writer.addFrom(cursor);
    if (written instanceof Promise) await written;
  }
}

