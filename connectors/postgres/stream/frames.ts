/**
 * Messages of the server out of the chunks of a socket: u8 kind, u32 length (itself included), body. A message that lies
 * whole in a chunk is handed on where it is; only one that is cut by a chunk's end is gathered in a buffer, which
 * grows with the bytes that really came, never with the length that was announced.
 */
import { protocolError } from '../errors.ts';
import { readU32 } from '../../../contracts/record.ts';

export const HEADER = 5;
/** A message cannot be larger than a value of 1 GiB and its surroundings. */
const MAX_MESSAGE = 0x7fff_ff00;

const FIRST_GATHER = 1 << 16;

/** Takes one message; its body is `bytes[start .. end)`, valid until the call returns. Answers false to pause. */
export type MessageHandler = (kind: number, bytes: Buffer, start: number, end: number) => boolean;

/** Decides from the beginning of a large message whether the rest of it is worth keeping. */
export type LargeMessageFilter = (kind: number, bytes: Buffer, start: number, end: number, length: number) => boolean;

export interface LargeMessages {
  /** Messages of more body bytes are shown to `keep` once `peek` bytes of their body are there. */
  readonly above: number;
  readonly peek: number;
  readonly keep: LargeMessageFilter;
}

/** Owned by one connection; not re-entrant. */
export class FrameReader {
  readonly #handler: MessageHandler;
  readonly #large: LargeMessages;
  /** Chunks that came while paused. */
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #paused = false;
  /** A message that is cut by the end of a chunk: its first `#length` bytes. */
  #partial: Buffer = Buffer.allocUnsafeSlow(FIRST_GATHER);
  #length = 0;
  /** Bytes of a large message that are still to be dropped. */
  #skip = 0;
  #asked = false;

  constructor(handler: MessageHandler, large: LargeMessages) {
    this.#handler = handler;
    this.#large = large;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Bytes kept because reading is paused. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Takes a chunk; what is kept of it is copied. @throws TidemarkError `POSTGRES_PROTOCOL` and the handler's */
  push(chunk: Buffer): void {
    if (this.#paused) {
      this.#waiting.push(Buffer.from(chunk));
      this.#waitingBytes += chunk.length;
    } else this.#read(chunk, false);
  }

  /** Goes on after the handler has answered false. @throws as `push` */
  resume(): void {
    this.#paused = false;
    for (let chunk = this.#waiting.shift(); chunk !== undefined; chunk = this.#waiting.shift()) {
      this.#waitingBytes -= chunk.length;
      this.#read(chunk, true);
      if (this.#paused) return;
    }
  }

  /** `own`: the chunk is a copy already. */
  #read(chunk: Buffer, own: boolean): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const dropped = Math.min(this.#skip, chunk.length - at);
        this.#skip -= dropped;
        at += dropped;
        continue;
      }
      if (this.#length > 0) at = this.#gather(chunk, at);
      else at = this.#inPlace(chunk, at);
      if (this.#paused) {
        const rest = chunk.subarray(at);
        if (rest.length > 0) this.#putBack(own ? rest : Buffer.from(rest));
        return;
      }
    }
  }

  /** Handles messages that lie whole in the chunk; answers where it stopped. */
  #inPlace(chunk: Buffer, from: number): number {
    let at = from;
    while (at + HEADER <= chunk.length) {
      const end = at + 1 + checkedLength(readU32(chunk, at + 1));
      if (end > chunk.length) break;
      if (!this.#handler(chunk[at] as number, chunk, at + HEADER, end)) {
        this.#paused = true;
        return end;
      }
      at = end;
    }
    if (at < chunk.length) this.#keep(chunk, at, chunk.length);
    return chunk.length;
  }

  /** Takes as much of the chunk as the cut message lacks; answers where it stopped. */
  #gather(chunk: Buffer, from: number): number {
    let at = from;
    if (this.#length < HEADER) {
      const header = Math.min(HEADER - this.#length, chunk.length - at);
      this.#keep(chunk, at, at + header);
      at += header;
      if (this.#length < HEADER) return at;
    }
    const total = 1 + checkedLength(readU32(this.#partial, 1));
    const missing = Math.min(total - this.#length, chunk.length - at);
    this.#keep(chunk, at, at + missing);
    at += missing;
    if (this.#length === total) this.#complete(total);
    else this.#drop(total);
    return at;
  }

  #complete(total: number): void {
    const bytes = this.#partial;
    this.#length = 0;
    this.#asked = false;
    const goOn = this.#handler(bytes[0] as number, bytes, HEADER, total);
    // A large buffer is not kept for the sake of one large row.
    if (bytes.length > FIRST_GATHER * 16) this.#partial = Buffer.allocUnsafeSlow(FIRST_GATHER);
    if (!goOn) this.#paused = true;
  }

  /** Drops a large message whose rest nobody wants. */
  #drop(total: number): void {
    const { above, peek, keep } = this.#large;
    if (this.#asked || total - HEADER <= above || this.#length < HEADER + peek) return;
    this.#asked = true;
    if (keep(this.#partial[0] as number, this.#partial, HEADER, this.#length, total - HEADER)) return;
    this.#skip = total - this.#length;
    this.#length = 0;
    this.#asked = false;
    if (this.#partial.length > FIRST_GATHER * 16) this.#partial = Buffer.allocUnsafeSlow(FIRST_GATHER);
  }

  #keep(chunk: Buffer, from: number, to: number): void {
    const needed = this.#length + (to - from);
    if (needed > this.#partial.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#partial.length * 2));
      this.#partial.copy(larger, 0, 0, this.#length);
      this.#partial = larger;
    }
    chunk.copy(this.#partial, this.#length, from, to);
    this.#length = needed;
  }

  #putBack(rest: Buffer): void {
    this.#waiting.unshift(rest);
    this.#waitingBytes += rest.length;
  }
}

function checkedLength(length: number): number {
  if (length < 4 || length > MAX_MESSAGE) throw protocolError(`a message announces a length of ${length}`);
  return length;
}
