/** The decoder of a column of the binary log: chosen once per table map and column. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { isGeometry, type MysqlType } from '../../../contracts/types/mysql-types.ts';
import { ColumnType } from '../binlog/column-types.ts';
import { requireTranscoder, type Transcoder } from '../charset/transcoder.ts';
import { binaryDecoder, bitDecoder, GEOMETRY, inet4Decoder, inet6Decoder, paddedDecoder, uuidDecoder } from './bytes.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { compressedDecoder } from './compressed.ts';
import { DecimalDecoder } from './decimal.ts';
import { DOUBLE, FLOAT } from './floats.ts';
import { SIGNED, UNSIGNED, YEAR } from './integers.ts';
import { JsonDecoder } from './json.ts';
import { enumDecoder, setDecoder } from './labels.ts';
import { oldDatetimeDecoder, oldTimeDecoder, oldTimestampDecoder } from './old-temporal.ts';
import { dateDecoder, datetimeDecoder, timeDecoder, timestampDecoder } from './temporal.ts';
import { textDecoder } from './text.ts';
import type { ValueOptions } from './value-options.ts';
import { vectorDecoder } from './vector.ts';
import { fits, stringForm, type WireColumn } from './wire-column.ts';

/**
 * @param type the column's definition as of the table map; where there is none, `typeOfWireColumn`
 * @throws TidemarkError `MYSQL_TYPE_UNKNOWN` when the form is not known or is not one of the type; `MYSQL_TEXT` for an unknown charset
 */
export function decoderOf(wire: WireColumn, type: MysqlType, options: ValueOptions): ColumnDecoder {
  const decoder = fits(wire, type) ? (numberDecoder(wire, type) ?? temporalDecoder(wire, type, options) ?? stringDecoder(wire, type, options)) : null;
  if (decoder !== null) return decoder;
  throw new TidemarkError('MYSQL_TYPE_UNKNOWN', `a column of the type ${type.text} has the form ${wire.type} (metadata ${wire.metadata}) in the binary log`);
}

function numberDecoder({ type, metadata }: WireColumn, { unsigned }: MysqlType): ColumnDecoder | null {
  const integers = unsigned ? UNSIGNED : SIGNED;
  switch (type) {
    case ColumnType.tiny:
      return integers[1];
    case ColumnType.short:
      return integers[2];
    case ColumnType.int24:
      return integers[3];
    case ColumnType.long:
      return integers[4];
    case ColumnType.longLong:
      return integers[8];
    case ColumnType.float:
      return FLOAT;
    case ColumnType.double:
      return DOUBLE;
    case ColumnType.year:
      return YEAR;
    case ColumnType.newDecimal:
      return new DecimalDecoder(metadata & 0xff, metadata >>> 8);
    case ColumnType.bit:
      return bitDecoder((metadata & 0xff) + (metadata >>> 8) * 8);
    default:
      return null;
  }
}

function temporalDecoder({ type, metadata }: WireColumn, { digits }: MysqlType, { zeroDates }: ValueOptions): ColumnDecoder | null {
  switch (type) {
    case ColumnType.date:
    case ColumnType.newDate:
      return dateDecoder(zeroDates);
    case ColumnType.dateTime2:
      return datetimeDecoder(metadata, zeroDates);
    case ColumnType.timestamp2:
      return timestampDecoder(metadata, zeroDates);
    case ColumnType.time2:
      return timeDecoder(metadata);
    case ColumnType.dateTime:
      return oldDatetimeDecoder(digits ?? 0, zeroDates);
    case ColumnType.timestamp:
      return oldTimestampDecoder(digits ?? 0, zeroDates);
    case ColumnType.time:
      return oldTimeDecoder(digits ?? 0);
    default:
      return null;
  }
}

function stringDecoder(wire: WireColumn, type: MysqlType, { invalidText }: ValueOptions): ColumnDecoder | null {
  const { metadata } = wire;
  const transcoder = type.charset === null ? null : requireTranscoder(type.charset, invalidText);
  switch (wire.type) {
    case ColumnType.varchar: {
      const prefix = metadata > 255 ? 2 : 1;
      return type.name === 'vector' ? vectorDecoder(prefix) : contentDecoder(transcoder, prefix);
    }
    case ColumnType.varcharCompressed:
      return compressedDecoder(metadata > 255 ? 2 : 1, transcoder);
    case ColumnType.blob:
      return contentDecoder(transcoder, metadata);
    case ColumnType.blobCompressed:
      return compressedDecoder(metadata, transcoder);
    case ColumnType.json:
      return new JsonDecoder();
    case ColumnType.vector:
      return vectorDecoder(metadata);
    case ColumnType.geometry:
      return isGeometry(type.name) ? GEOMETRY : null;
    case ColumnType.enum:
      return enumDecoder(type.labels);
    case ColumnType.set:
      return setDecoder(type.labels);
    case ColumnType.string:
      return fixedDecoder(stringForm(metadata), type, transcoder);
    default:
      return null;
  }
}

function contentDecoder(transcoder: Transcoder | null, prefix: number): ColumnDecoder {
  return transcoder === null ? binaryDecoder(prefix) : textDecoder(transcoder, prefix, false);
}

function fixedDecoder(form: { readonly type: number; readonly length: number }, { name, labels }: MysqlType, transcoder: Transcoder | null): ColumnDecoder | null {
  const special: string = name;
  switch (special) {
    case 'enum':
      return enumDecoder(labels);
    case 'set':
      return setDecoder(labels);
    case 'uuid':
      return uuidDecoder();
    case 'inet4':
      return inet4Decoder();
    case 'inet6':
      return inet6Decoder();
    default: {
      const prefix = form.length > 255 ? 2 : 1;
      return transcoder === null ? paddedDecoder(form.length, prefix) : textDecoder(transcoder, prefix, true);
    }
  }
}
