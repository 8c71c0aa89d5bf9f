/**
 * The transaction payload event (`binlog_transaction_compression`): fields of packed kind, packed length, content, until
 * one of kind 0; then the events of a transaction behind each other, compressed by zstd, without checksums of their own.
 */
import type { Readable } from 'node:stream';
import { createZstdDecompress, zstdDecompressSync } from 'node:zlib';
import { EVENT_HEADER } from './event-header.ts';
import { binlogError, FieldReader } from './field-reader.ts';

export interface PayloadHead {
  readonly compression: 'zstd' | 'none';
  /** Bytes of the payload as it is in the event. */
  readonly size: number;
  /** Of its content. */
  readonly uncompressedSize: number;
  /** Bytes before the payload. */
  readonly headBytes: number;
}

const Field = { end: 0, size: 1, compression: 2, uncompressedSize: 3 } as const;
const Compression = { zstd: 0, none: 255 } as const;
/** More than all fields of a head take. */
export const MAX_PAYLOAD_HEAD = 256;
const LENGTH_AT = 9;

/**
 * From the first bytes of the event's body, `bytes[start .. end)`: all of them, or MAX_PAYLOAD_HEAD.
 * @throws TidemarkError `MYSQL_BINLOG`
 */
export function parsePayloadHead(bytes: Buffer, start: number, end: number): PayloadHead {
  const fields = new FieldReader().reset(bytes, start, end, 'a transaction payload');
  let compression: PayloadHead['compression'] = 'zstd';
  let size = -1;
  let uncompressedSize = -1;
  for (let field = fields.packed(); field !== Field.end; field = fields.packed()) {
    const length = fields.packedLength();
    const next = fields.at + length;
    if (field === Field.size) size = fields.packed();
    else if (field === Field.uncompressedSize) uncompressedSize = fields.packed();
    else if (field === Field.compression) {
      const kind = fields.packed();
      if (kind !== Compression.zstd && kind !== Compression.none) throw binlogError(`a transaction payload is compressed in a way that is not known (${kind})`);
      compression = kind === Compression.zstd ? 'zstd' : 'none';
    }
    if (fields.at > next) throw binlogError('a transaction payload has a field that is longer than announced');
    fields.at = next;
  }
  if (size < 0) throw binlogError('a transaction payload does not say how long it is');
  return { compression, size, uncompressedSize: uncompressedSize < 0 ? size : uncompressedSize, headBytes: fields.at - start };
}

/** Content of a payload that lies whole in memory. @throws TidemarkError `MYSQL_BINLOG` */
export function readPayload(head: PayloadHead, payload: Buffer): Buffer {
  if (payload.length !== head.size) throw binlogError(`a transaction payload of ${head.size} bytes has ${payload.length}`);
  if (head.compression === 'none') return payload;
  let content: Buffer;
  try {
    content = zstdDecompressSync(payload, { maxOutputLength: Math.max(1, head.uncompressedSize) });
  } catch (error) {
    throw binlogError('a transaction payload cannot be decompressed', error);
  }
  if (content.length !== head.uncompressedSize) throw binlogError(`a transaction payload of ${head.uncompressedSize} bytes has ${content.length}`);
  return content;
}

/**
 * Content of a payload as it is decompressed, in pieces; `payload` gives its bytes. Ends `payload` on every path.
 * @throws TidemarkError `MYSQL_BINLOG`, and what `payload` fails with
 */
export async function* streamPayload(head: PayloadHead, payload: Readable, signal: AbortSignal): AsyncGenerator<Buffer> {
  let length = 0;
  const content = head.compression === 'none' ? payload : decompressed(payload);
  const abort = (): void => void content.destroy(new DOMException('aborted', 'AbortError'));
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    for await (const piece of content) {
      if (!Buffer.isBuffer(piece)) throw binlogError('a transaction payload gave something else than bytes');
      length += piece.length;
      if (length > head.uncompressedSize) throw binlogError(`a transaction payload of ${head.uncompressedSize} bytes has more`);
      yield piece;
    }
    if (length !== head.uncompressedSize) throw binlogError(`a transaction payload of ${head.uncompressedSize} bytes has ${length}`);
  } catch (error) {
    signal.throwIfAborted();
    throw isZstdError(error) ? binlogError('a transaction payload cannot be decompressed', error) : error;
  } finally {
    signal.removeEventListener('abort', abort);
    payload.destroy();
    content.destroy();
  }
}

function decompressed(payload: Readable): Readable {
  const content = createZstdDecompress();
  payload.once('error', (error: Error) => void content.destroy(error));
  return payload.pipe(content);
}

function isZstdError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(ERR_)?ZSTD|^Z_/.test(error.code);
}

export interface EventTaker {
  /** One event; `bytes[start .. end)` is valid until the call returns. */
  event(bytes: Buffer, start: number, end: number): void;
  /** An event above the limit begins with these bytes, `EVENT_PEEK` of them; it is passed over unless this throws. */
  tooLarge(bytes: Buffer, start: number, end: number): void;
}

/** Enough of an event to know whose rows it has. */
const EVENT_PEEK = EVENT_HEADER + 8;

/** Events out of pieces of bytes that hold them one behind the other. */
export class EventSplitter {
  readonly #taker: EventTaker;
  readonly #limit: number;
  #partial: Buffer = Buffer.alloc(0);
  #length = 0;
  /** Bytes of an event that is too large, still to be passed over. */
  #skip = 0;

  /** @param limit the most bytes of one event */
  constructor(taker: EventTaker, limit: number) {
    this.#taker = taker;
    this.#limit = limit;
  }

  /** What is kept of the piece is copied. @throws TidemarkError `MYSQL_BINLOG`, and what the taker throws */
  push(piece: Buffer): void {
    let at = 0;
    while (at < piece.length) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, piece.length - at);
        this.#skip -= passed;
        at += passed;
      } else if (this.#length > 0) at = this.#goOn(piece, at);
      else at = this.#inPlace(piece, at);
    }
  }

  /** @throws TidemarkError `MYSQL_BINLOG` when an event is not whole */
  finish(): void {
    if (this.#length > 0 || this.#skip > 0) throw binlogError('a transaction payload ends inside an event');
  }

  #inPlace(piece: Buffer, at: number): number {
    const left = piece.length - at;
    const size = left < EVENT_HEADER ? -1 : this.#size(piece, at);
    if (size > this.#limit && left >= EVENT_PEEK) {
      this.#taker.tooLarge(piece, at, at + EVENT_PEEK);
      this.#skip = size;
      return at;
    }
    if (size < 0 || size > left) {
      this.#keep(piece, at, piece.length, Math.min(size, this.#limit));
      return piece.length;
    }
    this.#taker.event(piece, at, at + size);
    return at + size;
  }

  /** Fills the event that was begun; answers where the piece goes on. */
  #goOn(piece: Buffer, from: number): number {
    let at = this.#fill(piece, from, EVENT_HEADER);
    if (this.#length < EVENT_HEADER) return at;
    const size = this.#size(this.#partial, 0);
    if (size <= this.#limit) {
      at = this.#fill(piece, at, size);
      return this.#length === size ? this.#emit(at) : at;
    }
    at = this.#fill(piece, at, EVENT_PEEK);
    if (this.#length < EVENT_PEEK) return at;
    this.#taker.tooLarge(this.#partial, 0, this.#length);
    this.#skip = size - this.#length;
    this.#length = 0;
    return at;
  }

  /** Until there are `size` bytes of the event; answers where the piece goes on. */
  #fill(piece: Buffer, at: number, size: number): number {
    const end = at + Math.max(0, Math.min(size - this.#length, piece.length - at));
    if (end > at) this.#keep(piece, at, end, size);
    return end;
  }

  #emit(at: number): number {
    const event = this.#partial;
    const size = this.#length;
    this.#length = 0;
    this.#partial = Buffer.alloc(0);
    this.#taker.event(event, 0, size);
    return at;
  }

  #keep(piece: Buffer, start: number, end: number, size: number): void {
    const needed = this.#length + end - start;
    if (needed > this.#partial.length) {
      // Grows with the bytes that came, never with a length that was announced alone.
      const larger = Buffer.allocUnsafeSlow(Math.min(Math.max(size, needed), needed * 2 + (1 << 16)));
      this.#partial.copy(larger, 0, 0, this.#length);
      this.#partial = larger;
    }
    piece.copy(this.#partial, this.#length, start, end);
    this.#length = needed;
  }

  #size(bytes: Buffer, at: number): number {
    const size = bytes.readUInt32LE(at + LENGTH_AT);
    if (size < EVENT_HEADER) throw binlogError(`an event in a transaction payload has ${size} bytes`);
    return size;
  }
}
