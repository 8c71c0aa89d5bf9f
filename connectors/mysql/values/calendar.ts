/** Dates and times as canonical text, written in place, and what is wrong with a date. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { writeDigits, writeFraction, writePadded, writeTwo } from './digits.ts';

/** Dates with a year, month or day of zero, or a day that the month has not: handed on as they are, or an error. */
export type ZeroDates = 'keep' | 'refuse';

const DASH = 0x2d;
const COLON = 0x3a;
const BLANK = 0x20;
/** The most bytes of a date with time, fraction and zone. */
export const TIMESTAMP_TEXT = 29;
/** The most bytes of a time: `-838:59:59.999999`. */
export const TIME_TEXT = 20;

const DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;
const LAST_YEAR = 9999;

/** `2026-11-21`. @throws TidemarkError `MYSQL_VALUE`, `MYSQL_ZERO_DATE` */
export function writeDate(into: Uint8Array, at: number, year: number, month: number, day: number, zeroDates: ZeroDates): number {
  if (year > LAST_YEAR || month > 12 || day > 31) throw new TidemarkError('MYSQL_VALUE', `there is no date ${year}-${month}-${day}`);
  if (zeroDates === 'refuse') checkDate(year, month, day);
  writePadded(into, at, 4, year);
  into[at + 4] = DASH;
  writeTwo(into, at + 5, month);
  into[at + 7] = DASH;
  writeTwo(into, at + 8, day);
  return at + 10;
}

/** @throws TidemarkError `MYSQL_ZERO_DATE` */
export function checkDate(year: number, month: number, day: number): void {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  if (year === 0 || month === 0 || day === 0 || day > (DAYS[month - 1] ?? 0) || (month === 2 && day === 29 && !isLeap)) {
    throw new TidemarkError('MYSQL_ZERO_DATE', `the date ${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')} is not one of the calendar`);
  }
}

/** ` 12:30:00.5`, with a blank in front. @throws TidemarkError `MYSQL_VALUE` */
export function writeClock(into: Uint8Array, at: number, hour: number, minute: number, second: number, micros: number): number {
  if (hour > 23) throw new TidemarkError('MYSQL_VALUE', `a day has no hour ${hour}`);
  checkSmall(minute, second, micros);
  into[at] = BLANK;
  writeTwo(into, at + 1, hour);
  into[at + 3] = COLON;
  writeTwo(into, at + 4, minute);
  into[at + 6] = COLON;
  writeTwo(into, at + 7, second);
  return writeFraction(into, at + 9, micros);
}

function checkSmall(minute: number, second: number, micros: number): void {
  if (minute > 59 || second > 59 || micros > 999_999) throw new TidemarkError('MYSQL_VALUE', `there is no time with ${minute} minutes, ${second} seconds and ${micros} microseconds`);
}

const LAST_HOUR = 838;

/** `-838:59:59.5`: at least two digits of hours. @throws TidemarkError `MYSQL_VALUE` */
export function writeTime(into: Uint8Array, at: number, negative: boolean, hour: number, minute: number, second: number, micros: number): number {
  if (hour > LAST_HOUR) throw new TidemarkError('MYSQL_VALUE', `a time has no ${hour} hours`);
  checkSmall(minute, second, micros);
  let to = at;
  if (negative) into[to++] = DASH;
  if (hour < 100) {
    writeTwo(into, to, hour);
    to += 2;
  } else to = writeDigits(into, to, hour);
  into[to] = COLON;
  writeTwo(into, to + 1, minute);
  into[to + 3] = COLON;
  writeTwo(into, to + 4, second);
  return writeFraction(into, to + 6, micros);
}

const DAY_SECONDS = 86_400;

/** Seconds since 1970 in UTC, and microseconds, with `+00`; both zero: the zero timestamp. */
export function writeTimestamp(into: Uint8Array, at: number, seconds: number, micros: number, zeroDates: ZeroDates): number {
  let to: number;
  if (seconds === 0 && micros === 0) {
    to = writeDate(into, at, 0, 0, 0, zeroDates);
    to = writeClock(into, to, 0, 0, 0, 0);
  } else {
    const days = Math.floor(seconds / DAY_SECONDS);
    to = writeDay(into, at, days);
    const second = seconds - days * DAY_SECONDS;
    const minutes = (second / 60) | 0;
    const hour = (minutes / 60) | 0;
    to = writeClock(into, to, hour, minutes - hour * 60, second - minutes * 60, micros);
  }
  into[to] = 0x2b;
  into[to + 1] = 0x30;
  into[to + 2] = 0x30;
  return to + 3;
}

/** Days of 400 years, of 100 and of 4; the years begin in March, so that a leap day is their last. */
const DAYS_400 = 146_097;
const DAYS_BEFORE_1970 = 719_468;

function writeDay(into: Uint8Array, at: number, days: number): number {
  const sinceZero = days + DAYS_BEFORE_1970;
  const era = Math.floor(sinceZero / DAYS_400);
  const dayOfEra = sinceZero - era * DAYS_400;
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  return writeDate(into, at, yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day, 'keep');
}
