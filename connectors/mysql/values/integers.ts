import { Cell } from '../../../contracts/row-image.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { Form, INTEGER_TEXT, type ValueForm } from './value-form.ts';
import { readU16, readU24, readU32, writeSigned64, writeUnsigned64 } from './digits.ts';

function integer(code: number, width: number): ValueForm {
  return { code, size: 0, width, most: INTEGER_TEXT };
}

/** By width in bytes: integers, little-endian. */
export const SIGNED: Readonly<Record<1 | 2 | 3 | 4 | 8, ColumnDecoder>> = {
  1: { form: integer(Form.int8, 1), decode: (bytes, at, out) => (out.integer(((bytes[at] as number) << 24) >> 24), at + 1) },
  2: { form: integer(Form.int16, 2), decode: (bytes, at, out) => (out.integer((readU16(bytes, at) << 16) >> 16), at + 2) },
  3: { form: integer(Form.int24, 3), decode: (bytes, at, out) => (out.integer((readU24(bytes, at) << 8) >> 8), at + 3) },
  4: { form: integer(Form.int32, 4), decode: (bytes, at, out) => (out.integer(readU32(bytes, at) | 0), at + 4) },
  8: {
    form: integer(Form.int64, 8),
    decode(bytes, at, out) {
      const to = out.open(20);
      out.close(Cell.text, writeSigned64(out.bytes, to, readU32(bytes, at + 4), readU32(bytes, at)));
      return at + 8;
    },
  },
};

export const UNSIGNED: Readonly<Record<1 | 2 | 3 | 4 | 8, ColumnDecoder>> = {
  1: { form: integer(Form.uint8, 1), decode: (bytes, at, out) => (out.integer(bytes[at] as number), at + 1) },
  2: { form: integer(Form.uint16, 2), decode: (bytes, at, out) => (out.integer(readU16(bytes, at)), at + 2) },
  3: { form: integer(Form.uint24, 3), decode: (bytes, at, out) => (out.integer(readU24(bytes, at)), at + 3) },
  4: { form: integer(Form.uint32, 4), decode: (bytes, at, out) => (out.integer(readU32(bytes, at)), at + 4) },
  8: {
    form: integer(Form.uint64, 8),
    decode(bytes, at, out) {
      const to = out.open(20);
      out.close(Cell.text, writeUnsigned64(out.bytes, to, readU32(bytes, at + 4), readU32(bytes, at)));
      return at + 8;
    },
  },
};

const YEAR_ZERO = 1900;

/** A byte: years since 1900; 0 is the year zero. */
export const YEAR: ColumnDecoder = {
  decode(bytes, at, out) {
    const year = bytes[at] as number;
    out.integer(year === 0 ? 0 : year + YEAR_ZERO);
    return at + 1;
  },
};
