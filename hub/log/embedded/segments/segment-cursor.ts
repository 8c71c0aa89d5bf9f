import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { LogFile } from '../../../../contracts/runtime.ts';
import { BATCH_HEADER, batchBytes, decodeBatchHeader, decodeBody, type BatchHeader } from './batch-codec.ts';

/** A batch as it stands in a segment file, checked: header, body, checksums. */
export interface StoredBatch {
  readonly kind: 'batch';
  readonly position: number;
  /** Byte after it. */
  readonly end: number;
  readonly header: BatchHeader;
  readonly batch: ChangeBatch;
}

/** At `position` there should be a batch, and is none that is whole. */
export interface Damage {
  readonly kind: 'damage';
  readonly position: number;
  readonly why: string;
}

/** Bytes read at once when batches are small. A larger batch is read by itself, with the header that follows it. */
const READ_BYTES = 256 * 1024;

/** The rest of a batch on its way into memory. */
interface Ahead {
  readonly bytes: Buffer;
  /** How many bytes of it are there already. */
  readonly held: number;
  readonly reading: Promise<number>;
}

export interface CursorOptions {
  /** While the caller works on a large batch, the next one is read. Default: false. */
  readonly readsAhead?: boolean;
  /** A batch is valid until the next one is asked for: its memory is used again. Default: false. */
  readonly reuses?: boolean;
}

/**
 * Reads the batches of one segment file in order. Every read goes into memory of its own, so batches stay valid, unless
 * the options say otherwise. Owns nothing: the file is the caller's; closing it waits for what is being read ahead.
 */
export class SegmentCursor {
  readonly #file: LogFile;
  /** Where the next batch begins. */
  position: number;
  /** Bytes of the file from `position` on that are in memory. */
  #held: Buffer = Buffer.alloc(0);
  readonly #readsAhead: boolean;
  readonly #reuses: boolean;
  #ahead: Ahead | null = null;
  /** Memory that is used in turn: the one that was used last holds the newest batch. */
  #older: Buffer = EMPTY;
  #newer: Buffer = EMPTY;

  constructor(file: LogFile, position: number, { readsAhead = false, reuses = false }: CursorOptions = {}) {
    this.#file = file;
    this.position = position;
    this.#readsAhead = readsAhead;
    this.#reuses = reuses;
  }

  /**
   * The next batch; null when the cursor stands at `limit`.
   * @param limit byte behind which nothing is read; batches must end at or before it
   * @throws TidemarkError `LOG_FORMAT`
   */
  async next(limit: number): Promise<StoredBatch | Damage | null> {
    const position = this.position;
    const room = limit - position;
    if (room === 0) return null;
    if (room < BATCH_HEADER) return damage(position, `${Math.max(room, 0)} bytes are too few for a batch`);
    if (!(await this.#hold(BATCH_HEADER, room))) return damage(position, 'the file ends inside a header');
    const header = decodeBatchHeader(this.#held, 0);
    if (header === null) return damage(position, 'there is no batch header');
    const size = batchBytes(header);
    if (size > room) return damage(position, `a batch of ${size} bytes ends behind its segment`);
    if (!(await this.#hold(size, room))) return damage(position, 'the file ends inside a batch');
    const taken = this.#take(header, size);
    if (this.#readsAhead && taken.kind === 'batch') this.#readAhead(limit);
    return taken;
  }

  /** Begins to read the next batch where its header is in memory and the rest of it is not. */
  #readAhead(limit: number): void {
    const held = this.#held;
    const header = held.length < BATCH_HEADER ? null : decodeBatchHeader(held, 0);
    const size = header === null ? 0 : batchBytes(header);
    const room = limit - this.position;
    if (size <= held.length || size > room) return;
    const bytes = this.#memory(Math.min(size + BATCH_HEADER, room));
    held.copy(bytes);
    const reading = this.#file.read(bytes.subarray(held.length), this.position + held.length);
    // Told to who asks for the batch, if anybody does.
    reading.catch(() => undefined);
    this.#ahead = { bytes, held: held.length, reading };
  }

  #memory(length: number): Buffer {
    if (!this.#reuses) return Buffer.allocUnsafeSlow(length);
    const memory = this.#older.length >= length ? this.#older : Buffer.allocUnsafeSlow(length);
    this.#older = this.#newer;
    this.#newer = memory;
    return memory.subarray(0, length);
  }

  /** The next batch if all of it is in memory already; null otherwise, also for damage: `next` tells. */
  nextHeld(limit: number): StoredBatch | null {
    const header = decodeBatchHeader(this.#held, 0);
    if (header === null) return null;
    const size = batchBytes(header);
    if (size > this.#held.length || size > limit - this.position) return null;
    const stored = this.#take(header, size);
    return stored.kind === 'batch' ? stored : null;
  }

  #take(header: BatchHeader, size: number): StoredBatch | Damage {
    const { position } = this;
    const batch = decodeBody(header, this.#held.subarray(BATCH_HEADER, size));
    if (batch === null) return damage(position, 'the checksum of a batch does not fit');
    this.#held = this.#held.subarray(size);
    this.position = position + size;
    return { kind: 'batch', position, end: position + size, header, batch };
  }

  /** Has at least `needed` of the `room` bytes in memory; false when the file ends before. */
  async #hold(needed: number, room: number): Promise<boolean> {
    const ahead = this.#ahead;
    if (ahead !== null) {
      this.#ahead = null;
      this.#held = ahead.bytes.subarray(0, ahead.held + (await ahead.reading));
    }
    const held = this.#held;
    if (held.length >= needed) return true;
    const wanted = Math.min(Math.max(needed + BATCH_HEADER, READ_BYTES), room);
    const bytes = this.#memory(wanted);
    held.copy(bytes);
    const read = await this.#file.read(bytes.subarray(held.length), this.position + held.length);
    this.#held = bytes.subarray(0, held.length + read);
    return this.#held.length >= needed;
  }
}

const EMPTY = Buffer.alloc(0);

function damage(position: number, why: string): Damage {
  return { kind: 'damage', position, why };
}
