import { Duplex, Readable } from 'node:stream';
import type { Connection } from 'mysql2';

const PIECE_BYTES = 256 << 10;

/** What a load reads. The driver makes a packet of each piece: below 16 MiB, and small enough that few are held at once. */
export function loadStream(data: readonly Uint8Array[]): Readable {
  return Readable.from(pieces(data), { objectMode: true, highWaterMark: 2 });
}

function* pieces(data: readonly Uint8Array[]): Generator<Buffer> {
  for (const part of data) {
    for (let at = 0; at < part.length; at += PIECE_BYTES) yield Buffer.from(part.buffer, part.byteOffset + at, Math.min(PIECE_BYTES, part.length - at));
  }
}

/** To what a load of the driver's listens at the stream below its connection. */
const EVENTS = ['pause', 'drain'] as const;

/**
 * Runs one load, with nothing else under way on the connection. Of one that the server refuses the driver goes on listening
 * for as long as the connection lives, and holds all that was loaded: that is ended here.
 */
export async function leavingNothing<T>(connection: Connection, load: () => Promise<T>): Promise<T> {
  const stream: unknown = Reflect.get(connection, 'stream');
  if (!(stream instanceof Duplex)) return load();
  const before = new Map(EVENTS.map((event) => [event, new Set<unknown>(stream.listeners(event))]));
  try {
    return await load();
  } finally {
    for (const event of EVENTS) {
      for (const listener of stream.listeners(event)) if (isListener(listener) && before.get(event)?.has(listener) !== true) stream.off(event, listener);
    }
  }
}

function isListener(listener: unknown): listener is () => void {
  return typeof listener === 'function';
}
