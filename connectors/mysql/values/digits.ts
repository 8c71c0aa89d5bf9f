/** Decimal digits written in place. */
const ZERO = 0x30;
const BILLION = 1_000_000_000;
/** Above this the high half of a 64-bit number times 2^32 is no safe integer any more. */
const SAFE_HIGH = 0x200000;

/** An integer from 0 to 2^53. Answers where it ends. */
export function writeDigits(into: Uint8Array, at: number, value: number): number {
  if (value < 10) {
    into[at] = ZERO + value;
    return at + 1;
  }
  if (value < BILLION) {
    const end = at + digitsOf(value);
    writePadded(into, at, end - at, value);
    return end;
  }
  const high = Math.floor(value / BILLION);
  const middle = writeDigits(into, at, high);
  writePadded(into, middle, 9, value - high * BILLION);
  return middle + 9;
}

/** The last `width` digits of an integer from 0 to 2^31, with zeros in front. */
export function writePadded(into: Uint8Array, at: number, width: number, value: number): void {
  let rest = value;
  for (let digit = at + width - 1; digit >= at; digit--) {
    const tenth = (rest / 10) | 0;
    into[digit] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
}

/** Two digits: 0 to 99. */
export function writeTwo(into: Uint8Array, at: number, value: number): void {
  const tens = (value / 10) | 0;
  into[at] = ZERO + tens;
  into[at + 1] = ZERO + value - tens * 10;
}

/** `high * 2^32 + low`, both from 0 to 2^32 - 1. */
export function writeUnsigned64(into: Uint8Array, at: number, high: number, low: number): number {
  if (high < SAFE_HIGH) return writeDigits(into, at, high * 0x100000000 + low);
  // Long division by a billion, 16 bits at a time: every step stays a safe integer.
  let rest = high % BILLION;
  let quotient = Math.floor(high / BILLION);
  rest = rest * 0x10000 + (low >>> 16);
  let part = Math.floor(rest / BILLION);
  quotient = quotient * 0x10000 + part;
  rest = (rest - part * BILLION) * 0x10000 + (low & 0xffff);
  part = Math.floor(rest / BILLION);
  quotient = quotient * 0x10000 + part;
  rest -= part * BILLION;
  const middle = writeDigits(into, at, quotient);
  writePadded(into, middle, 9, rest);
  return middle + 9;
}

/** As `writeUnsigned64`, of a number in two's complement. */
export function writeSigned64(into: Uint8Array, at: number, high: number, low: number): number {
  if (high < 0x80000000) return writeUnsigned64(into, at, high, low);
  into[at] = 0x2d;
  const negated = ~low + 1;
  return writeUnsigned64(into, at + 1, (~high + (low === 0 ? 1 : 0)) >>> 0, negated >>> 0);
}

/** `.5`: microseconds as a fraction without trailing zeros; nothing for 0. */
export function writeFraction(into: Uint8Array, at: number, micros: number): number {
  if (micros === 0) return at;
  into[at] = 0x2e;
  writePadded(into, at + 1, 6, micros);
  let end = at + 7;
  while (into[end - 1] === ZERO) end--;
  return end;
}

function digitsOf(value: number): number {
  if (value < 100) return 2;
  if (value < 1_000) return 3;
  if (value < 10_000) return 4;
  if (value < 100_000) return 5;
  if (value < 1_000_000) return 6;
  if (value < 10_000_000) return 7;
  return value < 100_000_000 ? 8 : 9;
}

/** Little-endian, at `at`. */
export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

export function readU24(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)) >>> 0;
}

/** Big-endian, of `length` bytes (1 to 6). */
export function readBig(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let next = at; next < at + length; next++) value = value * 256 + (bytes[next] as number);
  return value;
}
