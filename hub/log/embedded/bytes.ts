/** Unsigned 64-bit integers as two 32-bit halves, so that no BigInt is made. Big-endian, like the records. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { readU32, writeU32 } from '../../../contracts/record.ts';

const HALF = 2 ** 32;
/** The high half of 2^53 - 1. */
const MAX_HIGH = 0x1fffff;

export function writeU64(into: Buffer, value: number, at: number): number {
  const high = Math.floor(value / HALF);
  writeU32(into, at, high);
  writeU32(into, at + 4, value - high * HALF);
  return at + 8;
}

/** @throws TidemarkError `OFFSET_RANGE` above 2^53 - 1 */
export function readU64(from: Buffer, at: number): number {
  const high = readU32(from, at);
  if (high > MAX_HIGH) throw new TidemarkError('OFFSET_RANGE', 'a stored number is above 2^53 - 1');
  return high * HALF + readU32(from, at + 4);
}

/** A signed safe integer in 64 bits. */
export function writeI64(into: Buffer, value: number, at: number): number {
  const high = Math.floor(value / HALF);
  into.writeInt32BE(high, at);
  return into.writeUInt32BE(value - high * HALF, at + 4);
}

/** @throws TidemarkError `OFFSET_RANGE` outside the safe integers */
export function readI64(from: Buffer, at: number): number {
  const value = from.readInt32BE(at) * HALF + from.readUInt32BE(at + 4);
  if (!Number.isSafeInteger(value)) throw new TidemarkError('OFFSET_RANGE', 'a stored number is not a safe integer');
  return value;
}
