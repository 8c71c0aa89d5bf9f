import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Cell } from '../../../contracts/row-image.ts';
import { setBytes } from './wire-column.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { readU16 } from './digits.ts';

const COMMA = 0x2c;

/** The number of a label, from 1, in one byte or two; 0 is the empty text that stands for what was no label. */
export function enumDecoder(labels: readonly string[]): ColumnDecoder {
  const texts = ['', ...labels].map((label) => Buffer.from(label));
  const width = labels.length < 256 ? 1 : 2;
  return {
    decode(bytes, at, out) {
      const index = width === 1 ? (bytes[at] as number) : readU16(bytes, at);
      const text = texts[index];
      if (text === undefined) throw new TidemarkError('MYSQL_VALUE', `an enum of ${labels.length} labels has no label ${index}`);
      out.text(text, 0, text.length);
      return at + width;
    },
  };
}

/** A bit for each label, the first one lowest, little-endian. */
export function setDecoder(labels: readonly string[]): ColumnDecoder {
  const texts = labels.map((label) => Buffer.from(label));
  const width = setBytes(labels.length);
  const most = texts.reduce((sum, text) => sum + text.length + 1, 0);
  return {
    decode(bytes, at, out) {
      const to = out.open(most);
      const into = out.bytes;
      let next = to;
      for (let bit = 0; bit < width * 8; bit++) {
        if ((((bytes[at + (bit >> 3)] as number) >> (bit & 7)) & 1) === 0) continue;
        const text = texts[bit];
        if (text === undefined) throw new TidemarkError('MYSQL_VALUE', `a set of ${labels.length} labels has no label ${bit + 1}`);
        if (next > to) into[next++] = COMMA;
        into.set(text, next);
        next += text.length;
      }
      out.close(Cell.text, next);
      return at + width;
    },
  };
}
