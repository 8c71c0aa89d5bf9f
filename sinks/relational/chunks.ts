import { readU32 } from '../../contracts/record.ts';
import type { RecordRef } from '../../contracts/sink.ts';

/** How much of a table's change goes into one statement. */
export interface ChunkLimits {
  readonly rows: number;
  /** Bytes of records; a single larger record makes a larger chunk. */
  readonly bytes: number;
}

/** `refs` in pieces that respect the limits, in order; the list itself when one is enough. */
export function chunks(refs: readonly RecordRef[], limits: ChunkLimits): (readonly RecordRef[])[] {
  const result: (readonly RecordRef[])[] = [];
  let from = 0;
  let bytes = 0;
  for (let index = 0; index < refs.length; index++) {
    const { batch, at } = refs[index] as RecordRef;
    const size = readU32(batch.records, at);
    if (index > from && (bytes + size > limits.bytes || index - from >= limits.rows)) {
      result.push(refs.slice(from, index));
      from = index;
      bytes = 0;
    }
    bytes += size;
  }
  if (refs.length > from) result.push(from === 0 ? refs : refs.slice(from));
  return result;
}
