/**
 * Writes commands in the Redis protocol (RESP2) straight into bytes:
 *
 *     command = "*" count CRLF argument{count}
 *     argument = "$" length CRLF bytes CRLF          lengths in decimal, without leading zeros
 *
 * No string and no array is made per value. Chunks are handed out with `take` and come back to the pool when the
 * socket has sent them.
 */

/** Size of a pooled chunk, and about how much is written before it is sent. */
export const CHUNK_BYTES = 256 << 10;

const CR = 0x0d;
const LF = 0x0a;
const DOLLAR = 0x24;
const STAR = 0x2a;
const ZERO = 0x30;
/** Below it a loop is faster than a native copy. */
const SHORT = 48;
/** `$` or `*`, at most 16 digits, CRLF, and the CRLF after the bytes. */
const OVERHEAD = 24;

/** Chunks of one size that are used again. Keeps a few; what is above that is left to the collector. */
export class ChunkPool {
  readonly #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
  }

  give(chunk: Buffer): void {
    if (chunk.length === CHUNK_BYTES && this.#free.length < 8) this.#free.push(chunk);
  }
}

/** Commands ready to be sent. `release` gives the memory back; nothing of it may be used after that. */
export interface CommandChunk {
  readonly bytes: Buffer;
  readonly commands: number;
  /** Where each command begins, when the buffer keeps them; else empty. */
  readonly starts: readonly number[];
  readonly release: () => void;
}

/** Grows as needed; owned by one writer. */
export class CommandBuffer {
  bytes: Buffer;
  length = 0;
  /** Commands written since `take`. */
  commands = 0;
  readonly #pool: ChunkPool;
  readonly #keepStarts: boolean;
  #starts: number[] = [];

  /** @param keepStarts remember where each command begins (a cluster may ask for single ones again). */
  constructor(pool: ChunkPool, keepStarts = false) {
    this.#pool = pool;
    this.#keepStarts = keepStarts;
    this.bytes = pool.take();
  }

  /** Room for `more` bytes after `length`. */
  ensure(more: number): void {
    const needed = this.length + more;
    if (needed <= this.bytes.length) return;
    const doubled = Math.min(this.bytes.length * 2, this.bytes.length + (64 << 20));
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, doubled));
    this.bytes.copy(larger, 0, 0, this.length);
    this.#pool.give(this.bytes);
    this.bytes = larger;
  }

  /** Begins a command of `count` arguments, its name among them. */
  begin(count: number): void {
    if (this.#keepStarts) this.#starts.push(this.length);
    this.commands++;
    this.ensure(OVERHEAD);
    this.bytes[this.length++] = STAR;
    this.#number(count);
  }

  /** Bytes that are protocol already, such as a whole encoded argument. */
  raw(encoded: Uint8Array): void {
    this.ensure(encoded.length);
    this.#copy(encoded, 0, encoded.length);
  }

  /** One argument: the bytes `start .. end` of `source`. */
  argument(source: Uint8Array, start: number, end: number): void {
    const size = end - start;
    this.ensure(size + OVERHEAD);
    this.bytes[this.length++] = DOLLAR;
    this.#number(size);
    this.#copy(source, start, end);
    this.bytes[this.length++] = CR;
    this.bytes[this.length++] = LF;
  }

  /**
   * Begins an argument whose length is not known yet; answers the mark for `endOpen`. What is appended in between (by
   * `byte`, `bytesOf`) is the argument.
   */
  beginOpen(): number {
    this.ensure(OVERHEAD);
    this.length += OVERHEAD;
    return this.length;
  }

  endOpen(mark: number): void {
    const end = this.length;
    this.length = mark - OVERHEAD;
    this.bytes[this.length++] = DOLLAR;
    this.#number(end - mark);
    this.bytes.copyWithin(this.length, mark, end);
    this.length += end - mark;
    this.ensure(2);
    this.bytes[this.length++] = CR;
    this.bytes[this.length++] = LF;
  }

  /** Appends one byte to an open argument. */
  byte(value: number): void {
    if (this.length === this.bytes.length) this.ensure(1);
    this.bytes[this.length++] = value;
  }

  /** Appends bytes to an open argument. */
  bytesOf(source: Uint8Array, start: number, end: number): void {
    this.ensure(end - start);
    this.#copy(source, start, end);
  }

  /** A whole command; for cold paths. */
  command(...args: readonly (string | Uint8Array)[]): void {
    this.begin(args.length);
    for (const arg of args) {
      const bytes = typeof arg === 'string' ? Buffer.from(arg, 'utf8') : arg;
      this.argument(bytes, 0, bytes.length);
    }
  }

  /** What was written so far; starts a new chunk. */
  take(): CommandChunk {
    const base = this.bytes;
    const chunk: CommandChunk = {
      bytes: base.subarray(0, this.length),
      commands: this.commands,
      starts: this.#starts,
      release: () => this.#pool.give(base),
    };
    this.bytes = this.#pool.take();
    this.length = 0;
    this.commands = 0;
    this.#starts = [];
    return chunk;
  }

  /** A number and CRLF. The room is there. */
  #number(value: number): void {
    const bytes = this.bytes;
    let at = this.length;
    if (value < 10) bytes[at++] = ZERO + value;
    else if (value < 100) {
      const tens = (value / 10) | 0;
      bytes[at++] = ZERO + tens;
      bytes[at++] = ZERO + (value - tens * 10);
    } else if (value < 1000) {
      const hundreds = (value / 100) | 0;
      const tens = ((value - hundreds * 100) / 10) | 0;
      bytes[at++] = ZERO + hundreds;
      bytes[at++] = ZERO + tens;
      bytes[at++] = ZERO + (value - hundreds * 100 - tens * 10);
    } else at += bytes.write(String(value), at, 'latin1');
    bytes[at++] = CR;
    bytes[at++] = LF;
    this.length = at;
  }

  #copy(source: Uint8Array, start: number, end: number): void {
    const bytes = this.bytes;
    let at = this.length;
    if (end - start <= SHORT) for (let i = start; i < end; i++) bytes[at++] = source[i] as number;
    else {
      bytes.set(source.subarray(start, end), at);
      at += end - start;
    }
    this.length = at;
  }
}

/** One argument as it stands in a command: for names that are written again and again. */
export function encodeArgument(value: string | Uint8Array): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`, 'latin1'), bytes, Buffer.from('\r\n', 'latin1')]);
}
