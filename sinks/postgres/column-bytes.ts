import { readU32, RECORD_HEADER } from '../../contracts/record.ts';
import { Cell, ImageWalker } from '../../contracts/row-image.ts';
import type { RecordRef } from '../../contracts/sink.ts';

/** Where rows are this long on average, what each column takes is counted first; of narrower ones it is guessed. */
const COUNTED_ROW = 512;
const GUESSED_VALUE = 12;

/**
 * What the values of each column take as an array parameter, about: buffers of large values that grow by copying leave
 * several times their size behind.
 * @param columns of each image
 */
export function expectedBytes(refs: readonly RecordRef[], side: 'before' | 'after', columns: number): number[] {
  const sums = new Array<number>(columns).fill(refs.length * GUESSED_VALUE);
  let total = 0;
  for (const { batch, at } of refs) total += readU32(batch.records, at + (side === 'before' ? 20 : 24));
  if (total < COUNTED_ROW * refs.length) return sums;
  sums.fill(0);
  const walker = new ImageWalker();
  for (const { batch, at } of refs) {
    const bytes = batch.records;
    const before = at + RECORD_HEADER + readU32(bytes, at + 16);
    const after = before + readU32(bytes, at + 20);
    if (side === 'before') walker.reset(bytes, before, after);
    else walker.reset(bytes, after, after + readU32(bytes, at + 24));
    for (let index = 0; index < columns && walker.next(); index++) {
      sums[index] = (sums[index] as number) + 4 + (walker.kind === Cell.text || walker.kind === Cell.binary ? walker.end - walker.start : 0);
    }
  }
  return sums;
}
