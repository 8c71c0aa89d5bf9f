import { readU32, RECORD_HEADER } from '../../contracts/record.ts';
import { Cell, ImageWalker } from '../../contracts/row-image.ts';
import type { RecordRef } from '../../contracts/sink.ts';

/** Where rows are this long on average, what each column takes is counted first; of narrower ones it is guessed. */
const COUNTED_ROW = 512;
/** Rows that a guess is made from. */
const SAMPLED_ROWS = 64;

/**
 * What the values of each column take as an array parameter, about: buffers of large values that grow by copying leave
 * several times their size behind.
 * @param columns of each image
 */
export function expectedBytes(refs: readonly RecordRef[], side: 'before' | 'after', columns: number): number[] {
  const step = imageBytes(refs, side) < COUNTED_ROW * refs.length ? Math.ceil(refs.length / SAMPLED_ROWS) : 1;
  const sums = new Array<number>(columns).fill(0);
  const walker = new ImageWalker();
  for (let from = 0; from < refs.length; from += step) {
    const { batch, at } = refs[from] as RecordRef;
    const bytes = batch.records;
    const before = at + RECORD_HEADER + readU32(bytes, at + 16);
    const after = before + readU32(bytes, at + 20);
    if (side === 'before') walker.reset(bytes, before, after);
    else walker.reset(bytes, after, after + readU32(bytes, at + 24));
    for (let index = 0; index < columns && walker.next(); index++) {
      sums[index] = (sums[index] as number) + 4 + (walker.kind === Cell.text || walker.kind === Cell.binary ? walker.end - walker.start : 0);
    }
  }
  // What is not counted may be a little larger than what is.
  return step === 1 ? sums : sums.map((sum) => Math.ceil(sum * step * 1.1));
}

/** The length of all images together. */
export function imageBytes(refs: readonly RecordRef[], side: 'before' | 'after'): number {
  let total = 0;
  for (const { batch, at } of refs) total += readU32(batch.records, at + (side === 'before' ? 20 : 24));
  return total;
}
