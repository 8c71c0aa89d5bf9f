/**
 * A run: entries (table id, key) -> value in order of table id, then key bytes; entries with the same key in the order
 * in which they were added (the last is the newest). Immutable once written. All integers big-endian.
 *
 *     header, 16 bytes     0 u32 magic "TMRN", 4 u16 format version (1), 6 u16 0, 8 u32 0, 12 u32 CRC-32 of 0..11
 *     blocks
 *     footer, 48 bytes     0 u64 entries, 8 u64 position of the root block, 16 u32 height (0: the root is a data block),
 *                         20 u32 0, 24 u64 bytes of keys and values, 32 u64 position of the footer,
 *                         40 u32 magic "TMRF", 44 u32 CRC-32 of 0..43
 *
 *     block                0 u32 compressed bytes, 4 u32 plain bytes, 8 u32 CRC-32 of the compressed bytes and 0..7,
 *                         12 compressed bytes (zstd)
 *     plain bytes         entries: 0 u32 table id, 4 u32 key bytes, 8 u32 value bytes, 12 key, value
 *
 * Index blocks have the same form: an entry is the first key of a block one level below, and its position (u64). They
 * are written as they fill, between the blocks that they point to, so that a run of any size is written with one open
 * block per level. An empty run has no block; its root position is 0.
 */
import { promisify } from 'node:util';
import { constants, crc32, zstdCompress, zstdDecompress } from 'node:zlib';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { LogFile } from '../../../../contracts/runtime.ts';
import { readU32 } from '../../../../contracts/record.ts';
import { readU64, writeU64 } from '../bytes.ts';
import { compareSpans } from './span-order.ts';

export const RUN_HEADER = 16;
export const RUN_FOOTER = 48;
const BLOCK_HEADER = 12;
export const ENTRY_HEADER = 12;

/**
 * Plain bytes at which a block is closed; a larger single entry makes a larger block. Each block that is packed or unpacked
 * on another thread costs this one as much as 100 KiB of it would here: smaller ones are no cheaper to find a row in.
 */
export const BLOCK_BYTES = 256 * 1024;
/** Read at once where nothing is known of the block's length when packed: of text it is less. */
export const READ_BYTES = 64 * 1024;

/** Limit of a block's plain bytes, so that a length read from a file is not trusted blindly. */
const MAX_BLOCK_BYTES = 1 << 30;

const MAGIC = 0x544d524e;
const FOOTER_MAGIC = 0x544d5246;
const VERSION = 1;

/** What the library makes room for at least. */
const LEAST_CHUNK = 1024;

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

export interface RunFooter {
  readonly entries: number;
  readonly root: number;
  readonly height: number;
  readonly plainBytes: number;
}

export function encodeRunHeader(): Buffer {
  const bytes = Buffer.alloc(RUN_HEADER);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt16BE(VERSION, 4);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 12)), 12);
  return bytes;
}

export function encodeRunFooter(footer: RunFooter, position: number): Buffer {
  const bytes = Buffer.alloc(RUN_FOOTER);
  writeU64(bytes, footer.entries, 0);
  writeU64(bytes, footer.root, 8);
  bytes.writeUInt32BE(footer.height, 16);
  writeU64(bytes, footer.plainBytes, 24);
  writeU64(bytes, position, 32);
  bytes.writeUInt32BE(FOOTER_MAGIC, 40);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 44)), 44);
  return bytes;
}

/** @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT` */
export async function readRunFooter(file: LogFile, path: string): Promise<RunFooter> {
  const size = await file.size();
  if (size < RUN_HEADER + RUN_FOOTER) throw corruptRun('it is too short', path);
  const header = Buffer.alloc(RUN_HEADER);
  await file.read(header, 0);
  if (header.readUInt32BE(0) !== MAGIC || header.readUInt32BE(12) !== crc32(header.subarray(0, 12))) throw corruptRun('its header is damaged', path);
  if (header.readUInt16BE(4) !== VERSION) {
    throw new TidemarkError('LOG_FORMAT', `a run has format version ${header.readUInt16BE(4)}`, { where: { file: path } });
  }
  const bytes = Buffer.alloc(RUN_FOOTER);
  await file.read(bytes, size - RUN_FOOTER);
  const whole =
    bytes.readUInt32BE(40) === FOOTER_MAGIC && bytes.readUInt32BE(44) === crc32(bytes.subarray(0, 44)) &&
    readU64(bytes, 32) === size - RUN_FOOTER;
  if (!whole) throw corruptRun('its footer is damaged', path);
  return { entries: readU64(bytes, 0), root: readU64(bytes, 8), height: bytes.readUInt32BE(16), plainBytes: readU64(bytes, 24) };
}

/** Rows are read and written again a few times in their lives: packing them harder would cost more than the room. */
const LEVEL = 1;

/** A block as it stands in the file: header and compressed bytes. */
export async function encodeBlock(plain: Buffer): Promise<[Buffer, Buffer]> {
  const packed = await compress(plain, { chunkSize: Math.max(plain.length, LEAST_CHUNK), params: { [constants.ZSTD_c_compressionLevel]: LEVEL } });
  const header = Buffer.alloc(BLOCK_HEADER);
  header.writeUInt32BE(packed.length, 0);
  header.writeUInt32BE(plain.length, 4);
  header.writeUInt32BE(crc32(packed, crc32(header.subarray(0, 8))), 8);
  return [header, packed];
}

export interface Block {
  readonly plain: Buffer;
  /** Byte of the file after it. */
  readonly end: number;
}

/**
 * @param guess bytes that are read at once: one that is too small costs another reading
 * @throws TidemarkError `LOG_CORRUPT`
 */
export async function readBlock(file: LogFile, position: number, path: string, guess: number = READ_BYTES): Promise<Block> {
  const first = Buffer.allocUnsafe(BLOCK_HEADER + guess);
  const read = await file.read(first, position);
  if (read < BLOCK_HEADER) throw corruptRun(`a block at byte ${position} is cut short`, path);
  const packedBytes = first.readUInt32BE(0);
  const plainBytes = first.readUInt32BE(4);
  if (packedBytes > MAX_BLOCK_BYTES || plainBytes > MAX_BLOCK_BYTES) throw corruptRun(`a block at byte ${position} has no plausible length`, path);
  let packed = first.subarray(BLOCK_HEADER, Math.min(read, BLOCK_HEADER + packedBytes));
  if (packed.length < packedBytes) {
    const rest = Buffer.allocUnsafe(packedBytes);
    packed.copy(rest);
    const more = await file.read(rest.subarray(packed.length), position + BLOCK_HEADER + packed.length);
    if (packed.length + more < packedBytes) throw corruptRun(`a block at byte ${position} is cut short`, path);
    packed = rest;
  }
  if (crc32(packed, crc32(first.subarray(0, 8))) !== first.readUInt32BE(8)) throw corruptRun(`the checksum of a block at byte ${position} does not fit`, path);
  const plain = await decompress(packed, { maxOutputLength: plainBytes, chunkSize: Math.max(plainBytes, LEAST_CHUNK) });
  if (plain.length !== plainBytes) throw corruptRun(`a block at byte ${position} has another length than it says`, path);
  return { plain, end: position + BLOCK_HEADER + packedBytes };
}

export function corruptRun(what: string, file: string): TidemarkError {
  return new TidemarkError('LOG_CORRUPT', `a run cannot be read: ${what}`, { where: { file } });
}

/** Where one entry stands in `bytes`. */
export interface EntrySpan {
  readonly bytes: Buffer;
  readonly tableId: number;
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly valueEnd: number;
}

/**
 * The entries of a sorted stretch of memory or of a file, one at a time: fields, no object per entry. `key` and `value`
 * are spans of `bytes`, valid until the next `next`.
 */
export interface EntryCursor extends EntrySpan {
  /** Moves to the next entry; false at the end. A promise only where something must be read. */
  next(): boolean | Promise<boolean>;
}

/** Where a walk begins. */
export interface EntryPlace {
  readonly tableId: number;
  readonly key: Uint8Array;
}

/** Order of the current entries of two cursors: by table id, then by key. */
export function compareEntries(a: EntryCursor, b: EntryCursor): number {
  if (a.tableId !== b.tableId) return a.tableId - b.tableId;
  return compareSpans(a.bytes, a.keyStart, a.keyEnd, b.bytes, b.keyStart, b.keyEnd);
}

/** Walks the entries of plain bytes. */
export class EntryWalker {
  bytes: Buffer = Buffer.alloc(0);
  tableId = 0;
  keyStart = 0;
  keyEnd = 0;
  valueEnd = 0;
  #next = 0;

  reset(bytes: Buffer): void {
    this.bytes = bytes;
    this.#next = 0;
  }

  /** Puts the walker before the entry that starts at byte `at`. */
  seek(at: number): void {
    this.#next = at;
  }

  /** The next entry; false at the end. @throws TidemarkError `LOG_CORRUPT` */
  step(): boolean {
    const { bytes } = this;
    const at = this.#next;
    if (at === bytes.length) return false;
    if (at + ENTRY_HEADER > bytes.length) throw corruptRun('an entry ends behind its block', '');
    this.tableId = readU32(bytes, at);
    this.keyStart = at + ENTRY_HEADER;
    this.keyEnd = this.keyStart + readU32(bytes, at + 4);
    this.valueEnd = this.keyEnd + readU32(bytes, at + 8);
    if (this.valueEnd > bytes.length) throw corruptRun('an entry ends behind its block', '');
    this.#next = this.valueEnd;
    return true;
  }

  /** Order of the current entry against a key given from outside. */
  compareTo(tableId: number, key: Uint8Array): number {
    if (this.tableId !== tableId) return this.tableId - tableId;
    return this.bytes.compare(key, 0, key.length, this.keyStart, this.keyEnd);
  }
}
