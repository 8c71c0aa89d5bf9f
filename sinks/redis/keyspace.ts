import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Connection } from './resp/connection.ts';
import { arrayOf, bytesOf } from './server-error.ts';

/** Keys asked for at a time: short enough for the server to do nothing else meanwhile. */
const COUNT = '1000';

/**
 * The keys of one server that begin with `tag` (a pattern) and `prefix`. Every key that is there from beginning to end
 * comes at least once; in pieces that may be empty. `before` runs before each question, so that what the caller wrote in between
 * is not in the way.
 */
export async function* scanKeys(
  connection: Connection, tag: string, prefix: Buffer, before: () => Promise<void>, signal: AbortSignal,
): AsyncIterable<readonly Buffer[]> {
  const pattern = Buffer.concat([Buffer.from(tag, 'latin1'), escapedGlob(prefix), Buffer.from('*', 'latin1')]);
  yield* scan(connection, (cursor) => ['SCAN', cursor, 'MATCH', pattern, 'COUNT', COUNT], before, signal);
}

/** The members of a set, as `scanKeys`. */
export async function* scanSet(
  connection: Connection, set: string, before: () => Promise<void>, signal: AbortSignal,
): AsyncIterable<readonly Buffer[]> {
  yield* scan(connection, (cursor) => ['SSCAN', set, cursor, 'COUNT', COUNT], before, signal);
}

async function* scan(
  connection: Connection, question: (cursor: Buffer) => (string | Uint8Array)[], before: () => Promise<void>, signal: AbortSignal,
): AsyncIterable<readonly Buffer[]> {
  let cursor: Buffer = Buffer.from('0', 'latin1');
  do {
    if (signal.aborted) throw new TidemarkError('ABORTED', 'the keys were being listed');
    await before();
    const [next = null, keys = null] = arrayOf(await connection.call(...question(cursor)), connection.address);
    cursor = bytesOf(next, connection.address);
    yield arrayOf(keys, connection.address).map((key) => bytesOf(key, connection.address));
  } while (cursor.toString('latin1') !== '0');
}

/** The bytes with everything escaped that means something in a pattern of Redis. */
function escapedGlob(bytes: Buffer): Buffer {
  const escaped: number[] = [];
  for (const byte of bytes) {
    if ('*?[]^-\\'.includes(String.fromCharCode(byte))) escaped.push(0x5c);
    escaped.push(byte);
  }
  return Buffer.from(escaped);
}
