/**
 * How far a sink is while it is filled from a log's base. It is kept with the checkpoint, which stands still meanwhile;
 * null: no such load is under way. Opaque to sinks but for its beginning, by which two of them are compared:
 *
 *     0 16 bytes the load, random: another one for each beginning    16 u64 how far it is, big-endian    24 the hub's own
 */
export type LoadCursor = Uint8Array;

const LOAD_BYTES = 16;
/** Where the hub's own part begins. */
export const LOAD_CURSOR_HEADER = 24;

/**
 * The one that is less far: for a sink of several parts, each of which keeps the cursor and can go back by itself. Null
 * where they are not of one load, or one is missing: nothing can be gone on from.
 */
export function lesserCursor(a: LoadCursor | null, b: LoadCursor | null): LoadCursor | null {
  if (a === null || b === null || a.length < LOAD_CURSOR_HEADER || b.length < LOAD_CURSOR_HEADER) return null;
  const [first, second] = [a, b].map((bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, LOAD_CURSOR_HEADER));
  if (first === undefined || second === undefined || first.compare(second, 0, LOAD_BYTES, 0, LOAD_BYTES) !== 0) return null;
  return first.compare(second, LOAD_BYTES, LOAD_CURSOR_HEADER, LOAD_BYTES, LOAD_CURSOR_HEADER) <= 0 ? a : b;
}

/** The same place of the same load. */
export function sameCursor(a: LoadCursor | null, b: LoadCursor | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}
