import { isUtf8 } from 'node:buffer';
import { Cell } from '../../../contracts/row-image.ts';
import type { Transcoder } from '../charset/transcoder.ts';
import { readLength } from './bytes.ts';
import type { CellWriter } from './cell-writer.ts';
import type { ColumnDecoder } from './column-decoder.ts';

const BLANK = 0x20;
/** Up to this many bytes a loop is quicker than a call. */
const SHORT = 24;

/** Writes text of a charset as a cell. `trim`: without blanks at its end, as the server gives a char. */
export function textCell(transcoder: Transcoder, trim: boolean, bytes: Uint8Array, start: number, end: number, out: CellWriter): void {
  if (transcoder.isUtf8) {
    let last = end;
    while (trim && last > start && bytes[last - 1] === BLANK) last--;
    // MariaDB takes surrogates into utf8, which no other reader of the log would.
    if (isText(bytes, start, last)) {
      out.text(bytes, start, last);
      return;
    }
  }
  const to = out.open((end - start) * transcoder.growth);
  const into = out.bytes;
  let next = transcoder.transcode(bytes, start, end, into, to);
  while (trim && next > to && into[next - 1] === BLANK) next--;
  out.close(Cell.text, next);
}

function isText(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start <= SHORT) {
    let seen = 0;
    for (let at = start; at < end; at++) seen |= bytes[at] as number;
    if (seen < 0x80) return true;
  }
  return isUtf8(bytes.subarray(start, end));
}

/** Text behind a length of `prefix` bytes. */
export function textDecoder(transcoder: Transcoder, prefix: number, trim: boolean): ColumnDecoder {
  return {
    decode(bytes, at, out) {
      const start = at + prefix;
      const end = start + readLength(bytes, at, prefix);
      textCell(transcoder, trim, bytes, start, end, out);
      return end;
    },
  };
}
