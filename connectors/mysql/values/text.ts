import { isUtf8 } from 'node:buffer';
import { Cell } from '../../../contracts/row-image.ts';
import type { Transcoder } from '../charset/transcoder.ts';
import { readLength } from './bytes.ts';
import type { CellWriter } from './cell-writer.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { Form } from './value-form.ts';

const BLANK = 0x20;
/** Up to this many bytes a loop that looks and copies at once is quicker than two calls. */
const SHORT = 64;
const FIRST_OF_OTHERS = 0x80;

/** Writes text of a charset as a cell. `trim`: without blanks at its end, as the server gives a char. */
export function textCell(transcoder: Transcoder, trim: boolean, bytes: Uint8Array, start: number, end: number, out: CellWriter): void {
  if (transcoder.isUtf8) {
    let last = end;
    while (trim && last > start && bytes[last - 1] === BLANK) last--;
    if (last - start <= SHORT && asciiCell(bytes, start, last, out)) return;
    // MariaDB takes surrogates into utf8, which no other reader of the log would.
    if (isUtf8(bytes.subarray(start, last))) {
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

/** False where not all of it is ASCII: then nothing is written. */
function asciiCell(bytes: Uint8Array, start: number, end: number, out: CellWriter): boolean {
  let to = out.open(end - start);
  const into = out.bytes;
  let seen = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    seen |= byte;
    into[to++] = byte;
  }
  if (seen >= FIRST_OF_OTHERS) return false;
  out.close(Cell.text, to);
  return true;
}

/** Text behind a length of `prefix` bytes. */
export function textDecoder(transcoder: Transcoder, prefix: number, trim: boolean): ColumnDecoder {
  return {
    ...(transcoder.isUtf8 ? { form: { code: trim ? Form.trimmed : Form.text, size: prefix, width: -1, most: 0 } } : {}),
    decode(bytes, at, out) {
      const start = at + prefix;
      const end = start + readLength(bytes, at, prefix);
      textCell(transcoder, trim, bytes, start, end, out);
      return end;
    },
  };
}
