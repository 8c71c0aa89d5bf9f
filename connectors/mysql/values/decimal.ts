import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Cell } from '../../../contracts/row-image.ts';
import type { CellWriter } from './cell-writer.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { readBig, writeDigits, writePadded } from './digits.ts';
import { Form, type ValueForm } from './value-form.ts';

const GROUP = 9;
const GROUP_BYTES = 4;
/** Bytes of a group of this many digits. */
const BYTES_OF_DIGITS = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4] as const;
const LARGEST = [0, 9, 99, 999, 9_999, 99_999, 999_999, 9_999_999, 99_999_999, 999_999_999] as const;
const MAX_PRECISION = 65;
const MAX_SCALE = 30;
const MAX_BYTES = 40;
/** The most bytes of a decimal's text. */
export const DECIMAL_TEXT = MAX_PRECISION + 3;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/**
 * The packed form of a decimal: groups of nine digits in four bytes, big-endian, on both sides of the point; the digits
 * that fill no group stand in fewer bytes before the first, and behind the last one. The highest bit of the first byte is
 * inverted, and all bits are where the value is negative.
 */
export class DecimalDecoder implements ColumnDecoder {
  /** Of the value. */
  readonly length: number;
  readonly form: ValueForm;
  readonly #first: number;
  readonly #whole: number;
  readonly #fraction: number;
  readonly #last: number;
  /** The bits of the value at hand as those of a positive one. */
  readonly #plain = new Uint8Array(MAX_BYTES);

  /** @throws TidemarkError `MYSQL_VALUE` when no decimal is of this precision and scale */
  constructor(precision: number, scale: number) {
    if (precision < 1 || precision > MAX_PRECISION || scale > MAX_SCALE || scale > precision) throw new TidemarkError('MYSQL_VALUE', `there is no decimal(${precision},${scale})`);
    const digits = precision - scale;
    this.#whole = Math.floor(digits / GROUP);
    this.#first = digits % GROUP;
    this.#fraction = Math.floor(scale / GROUP);
    this.#last = scale % GROUP;
    this.length = (this.#whole + this.#fraction) * GROUP_BYTES + bytesOf(this.#first) + bytesOf(this.#last);
    this.form = { code: Form.decimal, size: 0, width: this.length, most: DECIMAL_TEXT };
  }

  decode(bytes: Buffer, at: number, out: CellWriter): number {
    const to = out.open(DECIMAL_TEXT);
    out.close(Cell.text, this.write(bytes, at, out.bytes, to));
    return at + this.length;
  }

  /** Writes the text into `into` from `to` on, DECIMAL_TEXT bytes at most, and answers where it ends. */
  write(bytes: Uint8Array, at: number, into: Uint8Array, to: number): number {
    const negative = ((bytes[at] as number) & 0x80) === 0;
    const plain = this.#plain;
    const mask = negative ? 0xff : 0;
    for (let next = 0; next < this.length; next++) plain[next] = (bytes[at + next] as number) ^ mask;
    plain[0] = (plain[0] as number) ^ 0x80;
    const begin = negative ? to + 1 : to;
    into[to] = MINUS;
    let from = bytesOf(this.#first);
    let end = begin;
    const first = group(plain, 0, from, this.#first);
    if (first > 0) end = writeDigits(into, end, first);
    for (let left = this.#whole; left > 0; left--, from += GROUP_BYTES) {
      const digits = group(plain, from, GROUP_BYTES, GROUP);
      if (end > begin) {
        writePadded(into, end, GROUP, digits);
        end += GROUP;
      } else if (digits > 0) end = writeDigits(into, end, digits);
    }
    if (end === begin) into[end++] = ZERO;
    if (this.#fraction + this.#last > 0) into[end++] = POINT;
    for (let left = this.#fraction; left > 0; left--, from += GROUP_BYTES) {
      writePadded(into, end, GROUP, group(plain, from, GROUP_BYTES, GROUP));
      end += GROUP;
    }
    if (this.#last > 0) {
      writePadded(into, end, this.#last, group(plain, from, bytesOf(this.#last), this.#last));
      end += this.#last;
    }
    return end;
  }
}

function bytesOf(digits: number): number {
  return BYTES_OF_DIGITS[digits] ?? 0;
}

function group(bytes: Uint8Array, at: number, length: number, digits: number): number {
  const value = readBig(bytes, at, length);
  if (value > (LARGEST[digits] ?? 0)) throw new TidemarkError('MYSQL_VALUE', `a decimal has ${value} where ${digits} digits stand`);
  return value;
}
