import { ColumnType } from '../../../../connectors/mysql/binlog/column-types.ts';
import { stringForm, type WireColumn } from '../../../../connectors/mysql/values/wire-column.ts';

const WIDTHS: Readonly<Record<number, number>> = { 1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 8: 8, 9: 3, 10: 3, 13: 1, 14: 3 };

/** Where the value of a column that begins at `at` ends, by nothing but the table map. */
export function valueEnd({ type, metadata }: WireColumn, bytes: Buffer, at: number): number {
  const width = WIDTHS[type];
  if (width !== undefined) return at + width;
  const fraction = (metadata + 1) >> 1;
  const prefixed = (prefix: number): number => at + prefix + bytes.readUIntLE(at, prefix);
  switch (type) {
    case ColumnType.timestamp2:
      return at + 4 + fraction;
    case ColumnType.dateTime2:
      return at + 5 + fraction;
    case ColumnType.time2:
      return at + 3 + fraction;
    case ColumnType.timestamp:
      return at + 4;
    case ColumnType.dateTime:
      return at + 8;
    case ColumnType.time:
      return at + 3;
    case ColumnType.bit:
      return at + (((metadata & 0xff) + (metadata >>> 8) * 8 + 7) >> 3);
    case ColumnType.newDecimal:
      return at + decimalBytes(metadata & 0xff, metadata >>> 8);
    case ColumnType.varchar:
    case ColumnType.varcharCompressed:
      return prefixed(metadata > 255 ? 2 : 1);
    case ColumnType.blob:
    case ColumnType.blobCompressed:
    case ColumnType.json:
    case ColumnType.geometry:
    case ColumnType.vector:
      return prefixed(metadata);
    case ColumnType.string: {
      const form = stringForm(metadata);
      if (form.type === ColumnType.enum || form.type === ColumnType.set) return at + form.length;
      return prefixed(form.length > 255 ? 2 : 1);
    }
    default:
      throw new Error(`a value of type ${type}`);
  }
}

function decimalBytes(precision: number, scale: number): number {
  const part = (digits: number): number => Math.floor(digits / 9) * 4 + Math.ceil((digits % 9) / 2);
  return part(precision - scale) + part(scale);
}

