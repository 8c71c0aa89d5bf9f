import { Cell } from '../../../contracts/row-image.ts';
import type { CellWriter } from './cell-writer.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { Form } from './value-form.ts';
import { FLOAT_TEXT, writeFloat32, writeFloat64 } from '../../../contracts/types/float-text.ts';

export const FLOAT: ColumnDecoder = {
  decode(bytes, at, out) {
    float32Cell(out, bytes.readFloatLE(at));
    return at + 4;
  },
};

export const DOUBLE: ColumnDecoder = {
  form: { code: Form.double, size: 0, width: 8, most: FLOAT_TEXT },
  decode(bytes, at, out) {
    float64Cell(out, bytes.readDoubleLE(at));
    return at + 8;
  },
};

export function float32Cell(out: CellWriter, value: number): void {
  const to = out.open(FLOAT_TEXT);
  out.close(Cell.text, writeFloat32(out.bytes, to, value));
}

export function float64Cell(out: CellWriter, value: number): void {
  const to = out.open(FLOAT_TEXT);
  out.close(Cell.text, writeFloat64(out.bytes, to, value));
}
