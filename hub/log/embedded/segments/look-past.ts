import type { Offset } from '../../../../contracts/offset.ts';
import type { LogFile } from '../../../../contracts/runtime.ts';
import { BATCH_HEADER, BATCH_MAGIC, decodeBatchHeader, type BatchHeader } from './batch-codec.ts';

/** What headers say of how far the log was durable. */
export interface TailClaims {
  readonly offset: Offset;
  /** Bytes of this segment. */
  readonly bytes: number;
}

const WINDOW = 1 << 20;

/**
 * Looks for whole batch headers in (from, to) of a file, at any byte, and answers the most that those which
 * `isPlausible` accepts say to be durable. Needs memory for one window, whatever the length.
 */
export async function findClaims(
  file: LogFile,
  from: number,
  to: number,
  isPlausible: (header: BatchHeader) => boolean,
): Promise<TailClaims> {
  let offset = 0;
  let bytes = 0;
  for await (const { header } of headersIn(file, from, to)) {
    if (!isPlausible(header)) continue;
    offset = Math.max(offset, header.durableOffset);
    bytes = Math.max(bytes, header.durableBytes);
  }
  return { offset, bytes };
}

/** Whole batch headers in (from, to) of a file, at any byte; what they say may be about anything. */
export async function* headersIn(file: LogFile, from: number, to: number): AsyncGenerator<{ readonly position: number; readonly header: BatchHeader }> {
  const window = Buffer.alloc(WINDOW + BATCH_HEADER);
  for (let start = from; start < to; start += WINDOW) {
    const read = await file.read(window.subarray(0, Math.min(window.length, to - start)), start);
    const held = window.subarray(0, read);
    for (let at = held.indexOf(BATCH_MAGIC); at >= 0 && at < WINDOW; at = held.indexOf(BATCH_MAGIC, at + 1)) {
      const header = decodeBatchHeader(held, at);
      if (header !== null) yield { position: start + at, header };
    }
  }
}
