/** Values between two others of a key column, as good as can be told without the server: where it is told wrong, a table is divided less well. */
import type { MysqlType } from '../../../contracts/types/mysql-types.ts';

/** How many characters of a text, or bytes, the value in the middle has behind what both have in common. */
const MIDDLE_LENGTH = 6;
const FIRST_PRINTED = 0x20;
const LAST_PRINTED = 0x7e;
const ZERO = 0x30;
const UPPER_A = 0x41;
const LOWER_A = 0x61;
const LETTERS = 26;
const DIGITS = 10;
/** Charsets in which the characters of ASCII are their bytes, and stand for nothing else. */
const ASCII_CHARSETS = /^(?:utf8|utf8mb3|utf8mb4|ascii|latin[1257]|cp\d+|koi8[ru]|greek|hebrew|armscii8|geostd8|dec8|hp8|keybcs2|mac\w+|tis620)$/;
const INTEGERS: ReadonlySet<string> = new Set(['tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'year']);
const BYTES: ReadonlySet<string> = new Set(['binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob']);

/**
 * A value about in the middle of two different ones, in the form in which the server sent these; null: there is none, or
 * nothing is known of the type. It may equal the lesser one.
 */
export function middleOf(type: MysqlType, one: Buffer, other: Buffer): Buffer | null {
  const name: string = type.name;
  if (INTEGERS.has(name)) return decimalMiddle(one, other, 0);
  if (name === 'decimal') return decimalMiddle(one, other, type.digits ?? 0);
  if (BYTES.has(name)) return charactersMiddle(one, other, ANY_BYTE);
  if (name === 'date' || name === 'datetime' || name === 'timestamp') return timeMiddle(one, other, name === 'date');
  // By the numbers of members no index is searched.
  if (name === 'enum' || name === 'set') return null;
  if (type.charset === null || !ASCII_CHARSETS.test(type.charset)) return null;
  if (type.collation?.endsWith('_bin') === true) return charactersMiddle(one, other, PRINTED);
  return charactersMiddle(one, other, isUpper(one) || isUpper(other) ? UPPER_CASE : LOWER_CASE);
}

/** Digits without the point count in units of the last one. */
function decimalMiddle(one: Buffer, other: Buffer, scale: number): Buffer | null {
  const [a, b] = [one, other].map((value) => value.toString('latin1'));
  if (a === undefined || b === undefined || !isDecimal(a, scale) || !isDecimal(b, scale)) return null;
  const sum = BigInt(a.replace('.', '')) + BigInt(b.replace('.', ''));
  // Towards the lesser one, below zero too.
  const middle = sum >= 0n ? sum / 2n : (sum - 1n) / 2n;
  const digits = (middle < 0n ? -middle : middle).toString().padStart(scale + 1, '0');
  const text = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  return Buffer.from(middle < 0n ? `-${text}` : text, 'latin1');
}

function isDecimal(text: string, scale: number): boolean {
  return scale === 0 ? /^-?\d+$/.test(text) : /^-?\d+\.\d+$/.test(text) && text.length - text.indexOf('.') - 1 === scale;
}

function timeMiddle(one: Buffer, other: Buffer, isDate: boolean): Buffer | null {
  const [a, b] = [one, other].map((value) => Date.parse(`${value.toString('latin1').slice(0, 23).replace(' ', 'T')}${isDate ? '' : 'Z'}`));
  if (a === undefined || b === undefined || Number.isNaN(a) || Number.isNaN(b)) return null;
  const text = new Date(Math.floor((a + b) / 2)).toISOString();
  return Buffer.from(isDate ? text.slice(0, 10) : text.slice(0, 19).replace('T', ' '), 'latin1');
}

/** Characters in an order that is that of the column, more or less. */
interface Alphabet {
  readonly size: number;
  /** 0: there is no character any more, or one before all of the alphabet. */
  rank(byte: number | undefined): number;
  /** Of a rank from 1 on. */
  byte(rank: number): number;
}

const ANY_BYTE: Alphabet = { size: 257, rank: (byte) => (byte === undefined ? 0 : byte + 1), byte: (rank) => rank - 1 };
const PRINTED: Alphabet = {
  size: LAST_PRINTED - FIRST_PRINTED + 2,
  rank: (byte) => (byte === undefined ? 0 : Math.max(0, Math.min(byte, LAST_PRINTED) - FIRST_PRINTED + 1)),
  byte: (rank) => rank - 1 + FIRST_PRINTED,
};
const LOWER_CASE = alphanumeric(LOWER_A);
const UPPER_CASE = alphanumeric(UPPER_A);

/** Digits before letters, as collations have it that do not tell the cases of letters apart. */
function alphanumeric(firstLetter: number): Alphabet {
  return {
    size: DIGITS + LETTERS + 1,
    rank(byte) {
      if (byte === undefined || byte < ZERO) return 0;
      if (byte < ZERO + DIGITS) return byte - ZERO + 1;
      const letter = byte < LOWER_A ? byte - UPPER_A : byte - LOWER_A;
      return DIGITS + Math.max(0, Math.min(letter + 1, LETTERS));
    },
    byte: (rank) => (rank <= DIGITS ? rank - 1 + ZERO : rank - DIGITS - 1 + firstLetter),
  };
}

function isUpper(value: Buffer): boolean {
  return value.some((byte) => byte >= UPPER_A && byte < UPPER_A + LETTERS);
}

function charactersMiddle(one: Buffer, other: Buffer, alphabet: Alphabet): Buffer {
  const { size } = alphabet;
  let common = 0;
  while (common < one.length && one[common] === other[common]) common++;
  // Not within a character of several bytes.
  while (size < ANY_BYTE.size && common > 0 && ((one[common] ?? 0) & 0xc0) === 0x80) common--;
  let [a, b] = [0, 0];
  for (let place = common; place < common + MIDDLE_LENGTH; place++) {
    a = a * size + alphabet.rank(one[place]);
    b = b * size + alphabet.rank(other[place]);
  }
  let middle = Math.floor((a + b) / 2);
  const characters: number[] = [];
  for (let place = 0; place < MIDDLE_LENGTH; place++) {
    characters.unshift(middle % size);
    middle = Math.floor(middle / size);
  }
  const end = characters.indexOf(0);
  return Buffer.concat([one.subarray(0, common), Buffer.from((end < 0 ? characters : characters.slice(0, end)).map((rank) => alphabet.byte(rank)))]);
}
