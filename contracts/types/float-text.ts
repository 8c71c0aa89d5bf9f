/**
 * Floating point numbers as the shortest decimal text that reads back as the same number, in the layout of Postgres:
 * fixed notation for decimal exponents of -4 to 5 (float) or 14 (double), else `1e-05`, `1.5e+20`.
 */
const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const ZERO = 0x30;
const POWERS = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7] as const;
const LEAST_FIXED = 1e-4;
/** The most bytes of a text. */
export const FLOAT_TEXT = 32;

interface Kind {
  /** Numbers from here on have an exponent. */
  readonly fixedEnd: number;
  /** Every decimal of fewer digits than this has a number of its own, to which it reads back. */
  readonly exactDigits: number;
  round(value: number): number;
  /** JavaScript's own text of such a number is its shortest one: `0.0001` to `999999999999999.9` stand in it as they are wanted. */
  readonly isNative: boolean;
  /** `1.5e+20`: shortest digits. */
  exponential(value: number): string;
}

const SINGLE: Kind = { fixedEnd: 1e6, exactDigits: 1e6, round: Math.fround, isNative: false, exponential: singleExponential };
const DOUBLE: Kind = { fixedEnd: 1e15, exactDigits: 1e15, round: (value) => value, isNative: true, exponential: doubleExponential };

/** `value` must be a float of 32 bits. Answers where the text ends. */
export function writeFloat32(into: Uint8Array, at: number, value: number): number {
  return write(into, at, value, SINGLE);
}

export function writeFloat64(into: Uint8Array, at: number, value: number): number {
  return write(into, at, value, DOUBLE);
}

function write(into: Uint8Array, at: number, value: number, kind: Kind): number {
  if (value === 0) {
    if (Object.is(value, 0)) {
      into[at] = ZERO;
      return at + 1;
    }
    into[at] = MINUS;
    into[at + 1] = ZERO;
    return at + 2;
  }
  if (!Number.isFinite(value)) return writeText(into, at, Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity');
  let to = at;
  if (value < 0) into[to++] = MINUS;
  const size = Math.abs(value);
  if (size >= LEAST_FIXED && size < kind.fixedEnd) {
    // Most numbers that people store have a few decimals: found without a string. The first power that fits has the fewest digits.
    if (kind.isNative && isLong(size)) return writeText(into, to, String(size));
    for (let scale = 0; scale < POWERS.length; scale++) {
      const power = POWERS[scale] as number;
      const digits = Math.round(size * power);
      if (digits >= kind.exactDigits) break;
      if (kind.round(digits / power) === size) return writeScaled(into, to, digits, scale, power);
    }
    if (kind.isNative) return writeText(into, to, String(size));
  }
  return writeLayout(into, to, kind.exponential(size), kind);
}

const LARGEST_POWER = 1e7;
/** Up to here what a double times the largest power is off by is far below a half. */
const MOST_SCALED = 1e14;
const TWO_ULPS = 2 ** -51;

/** True only for numbers with more decimals than the largest power has zeros: times that power they are no integer, nor nearly so. */
function isLong(size: number): boolean {
  const scaled = size * LARGEST_POWER;
  return scaled < MOST_SCALED && Math.abs(scaled - Math.round(scaled)) > scaled * TWO_ULPS;
}

/** `digits / 10^scale`. */
function writeScaled(into: Uint8Array, at: number, digits: number, scale: number, power: number): number {
  const whole = Math.floor(digits / power);
  let to = writeInteger(into, at, whole);
  if (scale === 0) return to;
  into[to++] = POINT;
  let rest = digits - whole * power;
  for (let digit = to + scale - 1; digit >= to; digit--) {
    const tenth = Math.floor(rest / 10);
    into[digit] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return to + scale;
}

function writeInteger(into: Uint8Array, at: number, value: number): number {
  let end = at + 1;
  for (let left = value; left >= 10; left = Math.floor(left / 10)) end++;
  let rest = value;
  for (let digit = end - 1; digit >= at; digit--) {
    const tenth = Math.floor(rest / 10);
    into[digit] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return end;
}

/** @param text `d.ddde+x` of a positive number */
function writeLayout(into: Uint8Array, at: number, text: string, { fixedEnd }: Kind): number {
  const mark = text.indexOf('e');
  const exponent = Number(text.slice(mark + 1));
  const digits = text[1] === '.' ? text[0] + text.slice(2, mark) : text.slice(0, mark);
  if (exponent < -4 || 10 ** exponent >= fixedEnd) {
    let to = writeText(into, at, digits.length > 1 ? `${digits[0]}.${digits.slice(1)}e` : `${digits}e`);
    into[to++] = exponent < 0 ? MINUS : PLUS;
    return writeText(into, to, String(Math.abs(exponent)).padStart(2, '0'));
  }
  if (exponent < 0) return writeText(into, at, `0.${'0'.repeat(-exponent - 1)}${digits}`);
  const point = exponent + 1;
  if (digits.length <= point) return writeText(into, at, digits.padEnd(point, '0'));
  return writeText(into, at, `${digits.slice(0, point)}.${digits.slice(point)}`);
}

function writeText(into: Uint8Array, at: number, text: string): number {
  for (let index = 0; index < text.length; index++) into[at + index] = text.charCodeAt(index);
  return at + text.length;
}

const SINGLE_DIGITS = 9;

/** Nine digits always read back as the same float. */
function singleExponential(value: number): string {
  for (let digits = 0; digits < SINGLE_DIGITS - 1; digits++) {
    const text = value.toExponential(digits);
    if (readsBack(text, value)) {
      const even = evenOfTwo(text, digits, value);
      return withoutZeros(even !== null && readsBack(even, value) ? even : text);
    }
    const above = isPowerOfTwo(value) ? nextDecimal(text) : null;
    if (above !== null && readsBack(above, value)) return above;
  }
  return withoutZeros(value.toExponential(SINGLE_DIGITS - 1));
}

/** Only decimals between these can lie in the very middle between two doubles with 17 digits or fewer. */
const FIRST_MIDDLE = 2 ** 53;
const LAST_MIDDLE = 1e41;
const DOUBLE_DIGITS = 17;

/** A decimal in the middle between two doubles is not taken, although it would be read as the even one of them. */
function doubleExponential(value: number): string {
  const text = value.toExponential();
  if (value < FIRST_MIDDLE || value > LAST_MIDDLE || !isMiddle(text, value)) return text;
  for (let digits = 1; digits < DOUBLE_DIGITS - 1; digits++) {
    const longer = value.toExponential(digits);
    if (Number(longer) === value && !isMiddle(longer, value)) return withoutZeros(longer);
  }
  const longest = value.toExponential(DOUBLE_DIGITS - 1);
  return withoutZeros(evenOfTwo(longest, DOUBLE_DIGITS - 1, value) ?? longest);
}

function isMiddle(text: string, value: number): boolean {
  const mark = text.indexOf('e');
  const digits = text.slice(0, mark).replace('.', '');
  const zeros = Number(text.slice(mark + 1)) - digits.length + 1;
  if (zeros < 0) return false;
  const exact = BigInt(value);
  const twice = 2n * (BigInt(digits) * 10n ** BigInt(zeros) - exact);
  return twice !== 0n && (twice === BigInt(neighbour(value, 1n)) - exact || twice === BigInt(neighbour(value, -1n)) - exact);
}

function neighbour(value: number, step: bigint): number {
  words.setFloat64(0, value);
  words.setBigUint64(0, words.getBigUint64(0) + step);
  return words.getFloat64(0);
}

const ALL_DIGITS = 100;

/**
 * Where the value lies in the middle between two decimals of so many digits, `toExponential` gives the upper one: here the
 * one whose last digit is even, if that is the lower one. Null: it is not.
 */
function evenOfTwo(text: string, digits: number, value: number): string | null {
  const mark = text.indexOf('e');
  const last = text.charCodeAt(mark - 1) - ZERO;
  if (last % 2 === 0 || !/^50*$/.test(value.toExponential(ALL_DIGITS).slice(digits === 0 ? 2 : digits + 2).replace(/e.*$/, ''))) return null;
  return `${text.slice(0, mark - 1)}${last - 1}${text.slice(mark)}`;
}

const words = new DataView(new ArrayBuffer(8));

/** A decimal in the very middle between two floats counts as one that does not read back, although it would be read as the even one of them. */
function readsBack(text: string, value: number): boolean {
  const double = Number(text);
  if (!isBetween(double)) return Math.fround(double) === value;
  return compareDecimal(text, double) !== 0 && nearestFloat32(text) === value;
}

/** The float of 32 bits that is nearest to the decimal number. By way of a double alone some few would be rounded twice. */
export function nearestFloat32(text: string): number {
  const double = Number(text);
  const near = Math.fround(double);
  if (!isBetween(double)) return near;
  const order = compareDecimal(text, double);
  const other = double + (double - near);
  return order === 0 || order > 0 === near > double ? near : other;
}

/** In the middle between two floats. */
function isBetween(double: number): boolean {
  const near = Math.fround(double);
  if (near === double || !Number.isFinite(near)) return false;
  const other = double + (double - near);
  return Math.fround(other) === other;
}

/** Below 0, 0, above 0: the decimal number is smaller than the double, equal, larger. */
function compareDecimal(text: string, double: number): number {
  const [, sign, whole = '', fraction = '', exponent = '0'] = /^([-+]?)(\d*)\.?(\d*)(?:e([-+]?\d+))?$/i.exec(text) ?? [];
  words.setFloat64(0, Math.abs(double));
  const bits = words.getBigUint64(0);
  const power = Number(bits >> 52n);
  const tens = Number(exponent) - fraction.length;
  const twos = (power === 0 ? 1 : power) - 1_075;
  let [one, two] = [BigInt(whole + fraction), (bits & 0xf_ffff_ffff_ffffn) | (power === 0 ? 0n : 0x10_0000_0000_0000n)];
  if (tens >= 0) one *= 10n ** BigInt(tens);
  else two *= 10n ** BigInt(-tens);
  if (twos >= 0) two <<= BigInt(twos);
  else one <<= BigInt(-twos);
  const order = one < two ? -1 : one > two ? 1 : 0;
  return sign === '-' ? -order : order;
}

/** The gap below a power of two is half the one above: the nearest decimal may not read back where the one above it does. */
function isPowerOfTwo(value: number): boolean {
  words.setFloat32(0, value);
  return (words.getUint32(0) & 0x7fffff) === 0;
}

/** The next decimal of as many digits; null: there would be one more. */
function nextDecimal(text: string): string | null {
  const mark = text.indexOf('e');
  const digits = text.slice(0, mark).replace('.', '');
  const next = String(Number(digits) + 1);
  if (next.length !== digits.length) return null;
  return `${next.length > 1 ? `${next[0]}.${next.slice(1)}` : next}${text.slice(mark)}`;
}

function withoutZeros(text: string): string {
  return text.replace(/\.?0+e/, 'e');
}
