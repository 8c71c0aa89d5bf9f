import { TidemarkError } from '../../../contracts/errors/error.ts';
import { readLength } from './bytes.ts';
import type { CellWriter } from './cell-writer.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { Cell } from '../../../contracts/row-image.ts';
import { FLOAT_TEXT, writeFloat32 } from '../../../contracts/types/float-text.ts';

const COMMA = 0x2c;
const FLOAT_BYTES = 4;

/** Floats of 32 bits, little-endian, as `[1,2.5]`. @throws TidemarkError `MYSQL_VALUE` */
export function vectorCell(bytes: Buffer, start: number, end: number, out: CellWriter): void {
  if ((end - start) % FLOAT_BYTES !== 0) throw new TidemarkError('MYSQL_VALUE', `a vector has ${end - start} bytes`);
  const to = out.open(((end - start) / FLOAT_BYTES) * (FLOAT_TEXT + 1) + 2);
  const into = out.bytes;
  let at = to;
  into[at++] = 0x5b;
  for (let next = start; next < end; next += FLOAT_BYTES) {
    if (next > start) into[at++] = COMMA;
    at = writeFloat32(into, at, bytes.readFloatLE(next));
  }
  into[at++] = 0x5d;
  out.close(Cell.text, at);
}

/** A vector behind its length. */
export function vectorDecoder(prefix: number): ColumnDecoder {
  return {
    decode(bytes, at, out) {
      const start = at + prefix;
      const end = start + readLength(bytes, at, prefix);
      vectorCell(bytes, start, end, out);
      return end;
    },
  };
}
