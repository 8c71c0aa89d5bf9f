/**
 * The temporal formats of MariaDB's tables from before version 10.1, or made with `mysql56_temporal_format=OFF`: with
 * fractional seconds they have a width that table maps do not tell.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Cell } from '../../../contracts/row-image.ts';
import { TIME_TEXT, TIMESTAMP_TEXT, writeClock, writeDate, writeTime, writeTimestamp, type ZeroDates } from './calendar.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { readBig, readU24, readU32 } from './digits.ts';

const DATETIME_BYTES = [8, 6, 6, 7, 7, 7, 8] as const;
const TIME_BYTES = [3, 4, 4, 5, 5, 5, 6] as const;
const TIMESTAMP_BYTES = [4, 5, 5, 6, 6, 7, 7] as const;
const MICROS = 1_000_000;
/** 839 hours: stored times are counted from minus this. */
const TIME_ZERO_SECONDS = 3_020_400;

/** Bytes of a value, by the digits of its fraction. */
export function oldTemporalBytes(name: 'datetime' | 'time' | 'timestamp', digits: number): number {
  const bytes = (name === 'datetime' ? DATETIME_BYTES : name === 'time' ? TIME_BYTES : TIMESTAMP_BYTES)[digits];
  if (bytes === undefined) throw new TidemarkError('MYSQL_VALUE', `there are no ${digits} digits of fractional seconds`);
  return bytes;
}

/** Without a fraction: the decimal digits YYYYMMDDhhmmss, little-endian. With one: see `fractionalDatetime`. */
export function oldDatetimeDecoder(digits: number, zeroDates: ZeroDates): ColumnDecoder {
  return digits === 0 ? decimalDatetime(zeroDates) : fractionalDatetime(digits, zeroDates);
}

function decimalDatetime(zeroDates: ZeroDates): ColumnDecoder {
  return {
    decode(bytes, at, out) {
      const packed = readU32(bytes, at + 4) * 0x100000000 + readU32(bytes, at);
      const date = Math.floor(packed / MICROS);
      const time = packed - date * MICROS;
      const days = Math.floor(date / 100);
      const minutes = (time / 100) | 0;
      const hour = (minutes / 100) | 0;
      const year = Math.floor(days / 100);
      const to = out.open(TIMESTAMP_TEXT);
      const end = writeDate(out.bytes, to, year, days - year * 100, date - days * 100, zeroDates);
      out.close(Cell.text, writeClock(out.bytes, end, hour, minutes - hour * 100, time - minutes * 100, 0));
      return at + 8;
    },
  };
}

/** Big-endian: ((((year * 13 + month) * 32 + day) * 24 + hour) * 60 + minute) * 60 + second, then the fraction's digits. */
function fractionalDatetime(digits: number, zeroDates: ZeroDates): ColumnDecoder {
  const length = oldTemporalBytes('datetime', digits);
  const unit = 10n ** BigInt(digits);
  const micros = 10 ** (6 - digits);
  return {
    decode(bytes, at, out) {
      // Eight bytes hold more than a safe integer; the seconds alone do not.
      const packed = (BigInt(readBig(bytes, at, length - 4)) << 32n) | BigInt(readBig(bytes, at + length - 4, 4));
      const seconds = Number(packed / unit);
      const fraction = Number(packed % unit) * micros;
      const minutes = Math.floor(seconds / 60);
      const hours = Math.floor(minutes / 60);
      const days = Math.floor(hours / 24);
      const months = Math.floor(days / 32);
      const year = Math.floor(months / 13);
      const to = out.open(TIMESTAMP_TEXT);
      const end = writeDate(out.bytes, to, year, months - year * 13, days - months * 32, zeroDates);
      out.close(Cell.text, writeClock(out.bytes, end, hours - days * 24, minutes - hours * 60, seconds - minutes * 60, fraction));
      return at + length;
    },
  };
}

/** Without a fraction: the decimal digits hhmmss, little-endian, signed. With one: big-endian, in units of it, from -839 hours on. */
export function oldTimeDecoder(digits: number): ColumnDecoder {
  const length = oldTemporalBytes('time', digits);
  const unit = 10 ** digits;
  const micros = 10 ** (6 - digits);
  return {
    decode(bytes, at, out) {
      const to = out.open(TIME_TEXT);
      if (digits === 0) {
        const packed = (readU24(bytes, at) << 8) >> 8;
        const size = Math.abs(packed);
        const minutes = (size / 100) | 0;
        const hour = (minutes / 100) | 0;
        out.close(Cell.text, writeTime(out.bytes, to, packed < 0, hour, minutes - hour * 100, size - minutes * 100, 0));
        return at + length;
      }
      const value = readBig(bytes, at, length) - TIME_ZERO_SECONDS * unit;
      const size = Math.abs(value);
      const seconds = Math.floor(size / unit);
      const minutes = Math.floor(seconds / 60);
      const hour = Math.floor(minutes / 60);
      out.close(Cell.text, writeTime(out.bytes, to, value < 0, hour, minutes - hour * 60, seconds - minutes * 60, (size - seconds * unit) * micros));
      return at + length;
    },
  };
}

/** Seconds since 1970: little-endian without a fraction, else big-endian before its digits. */
export function oldTimestampDecoder(digits: number, zeroDates: ZeroDates): ColumnDecoder {
  const length = oldTemporalBytes('timestamp', digits);
  const micros = 10 ** (6 - digits);
  return {
    decode(bytes, at, out) {
      const to = out.open(TIMESTAMP_TEXT);
      const seconds = digits === 0 ? readU32(bytes, at) : readBig(bytes, at, 4);
      out.close(Cell.text, writeTimestamp(out.bytes, to, seconds, readBig(bytes, at + 4, length - 4) * micros, zeroDates));
      return at + length;
    },
  };
}
