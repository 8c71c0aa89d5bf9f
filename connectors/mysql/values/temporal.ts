import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Cell } from '../../../contracts/row-image.ts';
import { TIME_TEXT, TIMESTAMP_TEXT, writeClock, writeDate, writeTime, writeTimestamp, type ZeroDates } from './calendar.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { readBig, readU24 } from './digits.ts';
import { DATETIME_TEXT, Form } from './value-form.ts';

/** A fraction of so many bytes counts in so many microseconds. */
const MICROS_OF_UNIT = [1, 10_000, 100, 1] as const;
const MAX_DIGITS = 6;

function fractionBytes(digits: number): number {
  if (digits > MAX_DIGITS) throw new TidemarkError('MYSQL_VALUE', `there are no ${digits} digits of fractional seconds`);
  return (digits + 1) >> 1;
}

/** Three bytes, little-endian: 5 bits of day, 4 of month, 15 of year. */
export function dateDecoder(zeroDates: ZeroDates): ColumnDecoder {
  return {
    ...(zeroDates === 'keep' ? { form: { code: Form.date, size: 0, width: 3, most: DATETIME_TEXT } } : {}),
    decode(bytes, at, out) {
      const packed = readU24(bytes, at);
      const to = out.open(TIMESTAMP_TEXT);
      out.close(Cell.text, writeDate(out.bytes, to, packed >>> 9, (packed >>> 5) & 15, packed & 31, zeroDates));
      return at + 3;
    },
  };
}

/**
 * Big-endian, 40 bits: 1 (always set), 17 of year * 13 + month, 5 each of day and hour, 6 each of minute and second; then the fraction.
 */
export function datetimeDecoder(digits: number, zeroDates: ZeroDates): ColumnDecoder {
  const fraction = fractionBytes(digits);
  const unit = MICROS_OF_UNIT[fraction] ?? 1;
  return {
    ...(zeroDates === 'keep' ? { form: { code: Form.datetime, size: fraction, width: 5 + fraction, most: DATETIME_TEXT } } : {}),
    decode(bytes, at, out) {
      const low = readBig(bytes, at + 1, 4);
      const sign = bytes[at] as number;
      if (sign < 0x80) throw new TidemarkError('MYSQL_VALUE', 'a datetime is negative');
      const days = ((sign & 0x7f) << 15) | (low >>> 17);
      const months = days >>> 5;
      const year = (months / 13) | 0;
      const micros = fraction === 0 ? 0 : readBig(bytes, at + 5, fraction) * unit;
      const to = out.open(TIMESTAMP_TEXT);
      const into = out.bytes;
      const end = writeDate(into, to, year, months - year * 13, days & 31, zeroDates);
      out.close(Cell.text, writeClock(into, end, (low >>> 12) & 31, (low >>> 6) & 63, low & 63, micros));
      return at + 5 + fraction;
    },
  };
}

/** Four bytes, big-endian: seconds since 1970; then the fraction. */
export function timestampDecoder(digits: number, zeroDates: ZeroDates): ColumnDecoder {
  const fraction = fractionBytes(digits);
  const unit = MICROS_OF_UNIT[fraction] ?? 1;
  return {
    decode(bytes, at, out) {
      const micros = fraction === 0 ? 0 : readBig(bytes, at + 4, fraction) * unit;
      const to = out.open(TIMESTAMP_TEXT);
      out.close(Cell.text, writeTimestamp(out.bytes, to, readBig(bytes, at, 4), micros, zeroDates));
      return at + 4 + fraction;
    },
  };
}

/**
 * Big-endian with the fraction as its last bytes: 1 bit of sign (set: positive), 1 free, 10 of hours, 6 of minutes, 6 of
 * seconds. A negative time has the two's complement of all of it.
 */
export function timeDecoder(digits: number): ColumnDecoder {
  const fraction = fractionBytes(digits);
  const unit = MICROS_OF_UNIT[fraction] ?? 1;
  const parts = 256 ** fraction;
  const zero = 0x800000 * parts;
  return {
    decode(bytes, at, out) {
      const packed = readBig(bytes, at, 3 + fraction) - zero;
      const size = Math.abs(packed);
      const clock = Math.floor(size / parts);
      const to = out.open(TIME_TEXT);
      out.close(Cell.text, writeTime(out.bytes, to, packed < 0, clock >>> 12, (clock >>> 6) & 63, clock & 63, (size - clock * parts) * unit));
      return at + 3 + fraction;
    },
  };
}
