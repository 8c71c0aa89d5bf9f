import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { FileSystem, LogFile } from '../../../../contracts/runtime.ts';
import { writeU32 } from '../../../../contracts/record.ts';
import { writeU64 } from '../bytes.ts';
import { diskError } from '../disk-error.ts';
import {
  BLOCK_BYTES, encodeBlock, encodeRunFooter, encodeRunHeader, ENTRY_HEADER, RUN_HEADER,
  type EntryCursor,
} from './run-format.ts';
import { compareSpans } from './span-order.ts';

/** Plain bytes of the blocks of a run that is read through once. */
export const SPILLED = 2 * BLOCK_BYTES;

/** Packed blocks are written together, up to so many bytes. */
const WRITE_BYTES = 512 << 10;

/** Blocks that are packed while the next one is filled. */
const IN_FLIGHT = 3;

/** A block under construction, of one level of the tree: 0 holds data. */
class OpenBlock {
  buffer: Buffer;
  length = 0;
  firstTable = 0;
  firstKey: Buffer = Buffer.alloc(0);

  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(bytes + (16 << 10));
  }

  put(tableId: number, bytes: Buffer, keyStart: number, keyEnd: number, valueEnd: number): void {
    const size = ENTRY_HEADER + valueEnd - keyStart;
    if (this.length + size > this.buffer.length) this.#grow(this.length + size);
    if (this.length === 0) {
      this.firstTable = tableId;
      this.firstKey = Buffer.from(bytes.subarray(keyStart, keyEnd));
    }
    const { buffer, length } = this;
    writeU32(buffer, length, tableId);
    writeU32(buffer, length + 4, keyEnd - keyStart);
    writeU32(buffer, length + 8, valueEnd - keyEnd);
    bytes.copy(buffer, length + ENTRY_HEADER, keyStart, valueEnd);
    this.length += size;
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(needed);
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
 * Writes one run from entries that come in order. Full blocks are packed, on other threads, and written in their order
 * while the next ones are filled. Memory: a few blocks of data, one open block per level of the index. Owned by one caller;
 * owns its file until `finish` or disposal. A run that was not finished is no run: its file is removed.
 */
export class RunWriter implements AsyncDisposable {
  readonly #files: FileSystem;
  readonly #path: string;
  readonly #file: LogFile;
  readonly #blockBytes: number;
  #data: OpenBlock;
  readonly #spare: OpenBlock[] = [];
  /** Of the index, from the one above the data up. */
  readonly #index: OpenBlock[] = [];
  #inFlight = 0;
  /** Resolves when every full block has been written; rejects never. */
  #writing: Promise<void> = Promise.resolve();
  /** Resolves when there is room for another block in flight. */
  #room: PromiseWithResolvers<void> | null = null;
  #failure: { readonly why: unknown } | null = null;
  /** Packed, not written yet; it ends at `#position`. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #position = RUN_HEADER;
  #entries = 0;
  #plainBytes = 0;
  #lastTable = -1;
  #lastKey: Buffer = Buffer.alloc(256);
  #lastKeyLength = 0;
  #isOpen = true;

  private constructor(files: FileSystem, path: string, file: LogFile, blockBytes: number) {
    this.#files = files;
    this.#path = path;
    this.#file = file;
    this.#blockBytes = blockBytes;
    this.#data = new OpenBlock(blockBytes);
  }

  /** Makes the file, which must not be there. @param blockBytes plain bytes of a block of data. @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL` */
  static async create(files: FileSystem, path: string, blockBytes: number = BLOCK_BYTES): Promise<RunWriter> {
    let writer: RunWriter | null = null;
    try {
      const file = await files.open(path, 'create');
      writer = new RunWriter(files, path, file, blockBytes);
      await file.write([encodeRunHeader()], 0);
      return writer;
    } catch (error) {
      await writer?.[Symbol.asyncDispose]();
      throw diskError(error, 'a run could not be made', { file: path });
    }
  }

  /**
   * Adds an entry that does not come before the last one. A promise only when a block is full: wait for it before the
   * next call.
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
    this.#data.put(tableId, bytes, keyStart, keyEnd, valueEnd);
    this.#entries++;
    this.#plainBytes += valueEnd - keyStart;
    return this.#data.length >= this.#blockBytes ? this.#handOver() : undefined;
  }

  #checkOrder(tableId: number, bytes: Buffer, keyStart: number, keyEnd: number): void {
    const order = tableId === this.#lastTable ? compareSpans(bytes, keyStart, keyEnd, this.#lastKey, 0, this.#lastKeyLength) : tableId - this.#lastTable;
    if (order < 0) throw new TidemarkError('INTERNAL', 'an entry of a run is out of order', { where: { file: this.#path } });
    const length = keyEnd - keyStart;
    if (this.#lastKey.length < length) this.#lastKey = Buffer.allocUnsafe(length * 2);
    bytes.copy(this.#lastKey, 0, keyStart, keyEnd);
    this.#lastTable = tableId;
    this.#lastKeyLength = length;
  }

  /** The full block goes its way; resolves when another one may. */
  async #handOver(): Promise<void> {
    const block = this.#data;
    this.#data = this.#spare.pop() ?? new OpenBlock(this.#blockBytes);
    this.#data.length = 0;
    const packing = encodeBlock(block.buffer.subarray(0, block.length));
    // Its failure is that of the writing.
    packing.catch(() => undefined);
    this.#inFlight++;
    this.#writing = this.#writing.then(() => this.#writeData(block, packing));
    while (this.#inFlight >= IN_FLIGHT && this.#failure === null) {
      this.#room ??= Promise.withResolvers<void>();
      await this.#room.promise;
    }
    if (this.#failure !== null) throw this.#failure.why;
  }

  async #writeData(block: OpenBlock, packing: Promise<[Buffer, Buffer]>): Promise<void> {
    try {
      if (this.#failure === null) await this.#noteAbove(0, block, await this.#write(await packing));
    } catch (why) {
      this.#failure = { why };
    }
    if (this.#spare.length < IN_FLIGHT && block.buffer.length <= this.#blockBytes * 2) this.#spare.push(block);
    this.#inFlight--;
    this.#room?.resolve();
    this.#room = null;
  }

  /** Notes a block that has been written one level above, and writes that one's when it is full. */
  async #noteAbove(level: number, block: OpenBlock, position: number): Promise<void> {
    const above = (this.#index[level] ??= new OpenBlock(BLOCK_BYTES));
    const entry = Buffer.allocUnsafe(block.firstKey.length + 8);
    block.firstKey.copy(entry);
    writeU64(entry, position, block.firstKey.length);
    above.put(block.firstTable, entry, 0, block.firstKey.length, entry.length);
    if (above.length < BLOCK_BYTES) return;
    await this.#noteAbove(level + 1, above, await this.#writeIndex(above));
    above.length = 0;
  }

  async #writeIndex(block: OpenBlock): Promise<number> {
    return this.#write(await encodeBlock(block.buffer.subarray(0, block.length)));
  }

  /** Answers where it stands. */
  async #write(parts: readonly Buffer[]): Promise<number> {
    const position = this.#position;
    for (const part of parts) {
      this.#pending.push(part);
      this.#pendingBytes += part.length;
      this.#position += part.length;
    }
    if (this.#pendingBytes >= WRITE_BYTES) await this.#writePending();
    return position;
  }

  async #writePending(): Promise<void> {
    const parts = this.#pending;
    const at = this.#position - this.#pendingBytes;
    this.#pending = [];
    this.#pendingBytes = 0;
    try {
      await this.#file.write(parts, at);
    } catch (error) {
      throw diskError(error, 'a run could not be written', { file: this.#path });
    }
  }

  /**
   * Completes the run and closes its file.
   * @param durable sync the file; its name is durable only when the caller syncs the directory
   * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`
   */
  async finish(durable: boolean): Promise<WrittenRun> {
    await this.#writing;
    if (this.#failure !== null) throw this.#failure.why;
    const { root, height } = await this.#writeRest();
    await this.#write([encodeRunFooter({ entries: this.#entries, root, height, plainBytes: this.#plainBytes }, this.#position)]);
    await this.#writePending();
    try {
      if (durable) await this.#file.sync();
    } catch (error) {
      throw diskError(error, 'a run could not be written', { file: this.#path });
    }
    await this.#file.close();
    this.#isOpen = false;
    return { path: this.#path, entries: this.#entries, bytes: this.#position };
  }

  /** The open blocks from the data up; the last of them is the root. */
  async #writeRest(): Promise<{ root: number; height: number }> {
    if (this.#index.length === 0) return { root: this.#data.length === 0 ? 0 : await this.#writeIndex(this.#data), height: 0 };
    if (this.#data.length > 0) await this.#noteAbove(0, this.#data, await this.#writeIndex(this.#data));
    for (let level = 0; ; level++) {
      const block = this.#index[level];
      if (block === undefined) throw new TidemarkError('INTERNAL', 'a run has no root', { where: { file: this.#path } });
      if (level + 1 === this.#index.length) return { root: await this.#writeIndex(block), height: level + 1 };
      if (block.length > 0) await this.#noteAbove(level + 1, block, await this.#writeIndex(block));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#failure ??= { why: new TidemarkError('INTERNAL', 'the run was given up', { where: { file: this.#path } }) };
    await this.#writing;
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

