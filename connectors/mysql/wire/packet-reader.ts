/**
 * Packets of the MySQL protocol out of the chunks of a socket: u24 length, u8 number, content. Content of 2^24 - 1 bytes
 * goes on in the next packet; all packets of one content are a *message*. A message that lies whole in a chunk is handed on
 * where it is; only one that is cut is gathered, in a buffer that grows with the bytes that really came.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';

const HEADER = 4;
const FULL_PACKET = 0xff_ffff;
const FIRST_GATHER = 1 << 16;
/** A larger buffer is given up once its message is done. */
const KEEP_GATHER = 1 << 20;

/** What becomes of a message that is longer than `peek` and cut. */
export type Fate = 'gather' | 'drop' | 'pieces';

/** Takes messages. Bytes are valid until the call returns, except where they are said to be kept. Answers false to pause. */
export interface MessageTaker {
  message(bytes: Buffer, start: number, end: number): boolean;
  /** Once `peek` bytes of a message are there, and not all of it: what becomes of it. They come again as (part of) it. */
  fate(bytes: Buffer, start: number, end: number): Fate;
  /** Bytes of a message whose fate is `pieces`; may be kept. */
  piece(bytes: Buffer): boolean;
  /** The message that came in pieces, or was dropped, is over; `bytes`: its length. */
  done(fate: 'drop' | 'pieces', bytes: number): boolean;
}

/** Owned by one connection; not re-entrant. Chunks that are given to it are its own. */
export class PacketReader {
  readonly #taker: MessageTaker;
  readonly #peek: number;
  readonly #waiting: Buffer[] = [];
  #paused = false;
  /** The number that the next packet must have. */
  #number = 0;
  /** Header bytes that were cut off by the end of a chunk. */
  readonly #head = Buffer.alloc(HEADER);
  #headBytes = 0;
  /** Bytes of the packet that are still to come. */
  #left = 0;
  /** Another packet of the message follows. */
  #more = false;
  /** A message is cut: what there is of it. */
  #open = false;
  #fate: Fate | null = null;
  #gathered: Buffer = Buffer.alloc(0);
  #length = 0;

  constructor(taker: MessageTaker, peek: number) {
    this.#taker = taker;
    this.#peek = peek;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** The next packet has this number: 1 after a command. */
  expect(number: number): void {
    this.#number = number;
  }

  /** @throws TidemarkError `MYSQL_PROTOCOL` and what the taker throws; nothing may follow then */
  push(chunk: Buffer): void {
    if (this.#paused) this.#waiting.push(chunk);
    else this.#read(chunk);
  }

  /** Goes on after the taker has answered false. @throws as `push` */
  resume(): void {
    this.#paused = false;
    for (let chunk = this.#waiting.shift(); chunk !== undefined; chunk = this.#waiting.shift()) {
      this.#read(chunk);
      if (this.#paused) return;
    }
  }

  #read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) at = this.#goOn(chunk, at);
      else {
        const content = this.#header(chunk, at);
        if (content < 0) return;
        const end = content + this.#left;
        // The whole message in this chunk: the way of nearly all.
        if (!this.#open && !this.#more && end <= chunk.length) {
          this.#left = 0;
          at = end;
          this.#paused = !this.#taker.message(chunk, content, end);
        } else {
          at = content;
          if (!this.#open) this.#begin();
          if (this.#left === 0) this.#endOfPacket();
        }
      }
      if (this.#paused) {
        if (at < chunk.length) this.#waiting.unshift(chunk.subarray(at));
        return;
      }
    }
  }

  /** Reads a packet's header; answers where its content begins, or -1 when the chunk ends before. */
  #header(chunk: Buffer, from: number): number {
    let bytes = chunk;
    let at = from;
    if (this.#headBytes > 0 || chunk.length - from < HEADER) {
      const taken = Math.min(HEADER - this.#headBytes, chunk.length - from);
      chunk.copy(this.#head, this.#headBytes, from, from + taken);
      this.#headBytes += taken;
      if (this.#headBytes < HEADER) return -1;
      this.#headBytes = 0;
      bytes = this.#head;
      at = 0;
      from += taken;
    } else from += HEADER;
    const length = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
    const number = bytes[at + 3] as number;
    if (number !== this.#number) throw new TidemarkError('MYSQL_PROTOCOL', `a packet has the number ${number} instead of ${this.#number}`);
    this.#number = (number + 1) & 0xff;
    this.#left = length;
    this.#more = length === FULL_PACKET;
    return from;
  }

  #begin(): void {
    this.#open = true;
    this.#fate = null;
    this.#length = 0;
  }

  #goOn(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#left, chunk.length - at);
    this.#left -= taken;
    this.#take(chunk, at, at + taken);
    if (this.#left === 0 && !this.#paused) this.#endOfPacket();
    else if (this.#left === 0) this.#endPaused();
    return at + taken;
  }

  #take(chunk: Buffer, start: number, end: number): void {
    if (this.#fate === 'drop') this.#length += end - start;
    else if (this.#fate === 'pieces') {
      this.#length += end - start;
      this.#paused = !this.#taker.piece(chunk.subarray(start, end));
    } else {
      this.#gather(chunk, start, end);
      if (this.#fate === null && this.#length >= this.#peek && (this.#left > 0 || this.#more)) this.#decide();
    }
  }

  #decide(): void {
    this.#fate = this.#taker.fate(this.#gathered, 0, this.#length);
    if (this.#fate !== 'pieces') return;
    const first = this.#gathered.subarray(0, this.#length);
    this.#gathered = Buffer.alloc(0);
    this.#paused = !this.#taker.piece(first);
  }

  #endOfPacket(): void {
    if (this.#more) return;
    this.#open = false;
    const fate = this.#fate;
    if (fate === 'drop' || fate === 'pieces') {
      this.#release();
      this.#paused = !this.#taker.done(fate, this.#length);
      return;
    }
    const message = this.#gathered;
    this.#release();
    this.#paused = !this.#taker.message(message, 0, this.#length);
  }

  /** The last piece has paused: its message is over all the same, and that is told before anything else. */
  #endPaused(): void {
    this.#endOfPacket();
    this.#paused = true;
  }

  #release(): void {
    if (this.#gathered.length > KEEP_GATHER) this.#gathered = Buffer.alloc(0);
  }

  #gather(chunk: Buffer, start: number, end: number): void {
    const needed = this.#length + end - start;
    if (needed > this.#gathered.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, FIRST_GATHER, Math.min(this.#gathered.length * 2, this.#gathered.length + (64 << 20))));
      this.#gathered.copy(larger, 0, 0, this.#length);
      this.#gathered = larger;
    }
    chunk.copy(this.#gathered, this.#length, start, end);
    this.#length = needed;
  }
}
