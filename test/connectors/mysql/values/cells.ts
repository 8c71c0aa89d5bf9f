import { CellSpans, CellWriter } from '../../../../connectors/mysql/values/cell-writer.ts';
import { copyValueOf } from '../../../../connectors/mysql/values/copy-values.ts';
import { decoderOf } from '../../../../connectors/mysql/values/decoder.ts';
import { DEFAULT_VALUE_OPTIONS, type ValueOptions } from '../../../../connectors/mysql/values/value-options.ts';
import type { WireColumn } from '../../../../connectors/mysql/values/wire-column.ts';
import type { MysqlType } from '../../../../contracts/types/mysql-types.ts';
import { Cell } from '../../../../contracts/row-image.ts';

const writer = new CellWriter();
const spans = new CellSpans();

/** The cell that `write` writes: its text, or `0x` and the bytes in hexadecimal. */
export function cellOf(write: (out: CellWriter) => void): string {
  writer.reset();
  writer.beginImage(spans, 1);
  write(writer);
  writer.endImage();
  const value = writer.bytes.subarray(spans.starts[0], spans.ends[0]);
  return spans.kinds[0] === Cell.binary ? `0x${value.toString('hex')}` : value.toString();
}

/** A value of the binary log; its decoder must end where the value does. */
export function decoded(wire: WireColumn, type: MysqlType, value: Buffer, options: ValueOptions = DEFAULT_VALUE_OPTIONS): string {
  // Decoders read inside a larger buffer.
  const around = Buffer.concat([Buffer.from([0xfe, 0xff]), value, Buffer.from([0xff])]);
  return cellOf((out) => {
    const end = decoderOf(wire, type, options).decode(around, 2, out);
    if (end !== 2 + value.length) throw new Error(`a value of ${type.text} ends at ${end - 2}, not ${value.length}`);
  });
}

export function copied(type: MysqlType, value: Buffer, options: ValueOptions = DEFAULT_VALUE_OPTIONS): string {
  const around = Buffer.concat([Buffer.from('1.'), value, Buffer.from('00')]);
  return cellOf((out) => copyValueOf(type, options)(around, 2, 2 + value.length, out));
}
