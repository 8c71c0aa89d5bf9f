/**
 * A transaction payload event that comes in pieces: its compressed bytes as a stream, its checksum verified as they pass.
 */
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { LargePayload } from '../binlog/binlog-reader.ts';
import { CHECKSUM_BYTES } from '../binlog/event-header.ts';

export class PayloadFeed {
  /** The payload. It fails with `MYSQL_CHECKSUM` before its end when the checksum of the event does not fit. */
  readonly readable: Readable;
  readonly #length: number;
  readonly #checksumBytes: number;
  readonly #payloadAt: number;
  readonly #checksum = Buffer.alloc(CHECKSUM_BYTES);
  #at = 0;
  #crc = 0;

  /** `wanted` is called when `take` has answered false and more may come. */
  constructor(large: LargePayload, checksumBytes: number, wanted: () => void) {
    this.#length = large.eventBytes;
    this.#payloadAt = large.payloadAt;
    this.#checksumBytes = checksumBytes;
    this.readable = new Readable({ read: wanted });
  }

  /** The next bytes of the event, from its first on. They are kept. Answers false when no more should come for the moment. */
  take(bytes: Buffer): boolean {
    const from = this.#at;
    const contentEnd = this.#length - this.#checksumBytes;
    const content = bytes.subarray(0, Math.max(0, contentEnd - from));
    this.#at = from + bytes.length;
    if (this.#checksumBytes > 0) {
      this.#crc = crc32(content, this.#crc);
      for (let index = content.length; index < bytes.length; index++) this.#checksum[from + index - contentEnd] = bytes[index] as number;
    }
    const payload = content.subarray(Math.max(0, this.#payloadAt - from));
    return payload.length === 0 || this.readable.destroyed || this.readable.push(payload);
  }

  /** The event is over. */
  end(): void {
    if (this.readable.destroyed) return;
    if (this.#at !== this.#length) {
      this.readable.destroy(new TidemarkError('MYSQL_BINLOG', `a transaction payload of ${this.#length} bytes came with ${this.#at}`));
    } else if (this.#checksumBytes > 0 && this.#checksum.readUInt32LE(0) !== this.#crc) {
      this.readable.destroy(new TidemarkError('MYSQL_CHECKSUM', `the checksum of a transaction payload (${this.#length} bytes) does not fit`));
    } else this.readable.push(null);
  }
}
