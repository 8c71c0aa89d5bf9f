/** Packed lengths of the MySQL protocol: a byte up to 250; 0xfc u16, 0xfd u24, 0xfe u64. Little-endian. */
import { TidemarkError } from '../../../contracts/errors/error.ts';

/** In place of a length. */
export const NULL_VALUE = 0xfb;
const TWO = 0xfc;
const THREE = 0xfd;
const EIGHT = 0xfe;

/** The length that stands at `at`. @throws TidemarkError `MYSQL_PROTOCOL` */
export function packedLength(bytes: Buffer, at: number): number {
  const first = bytes[at] as number;
  if (first < NULL_VALUE) return first;
  if (first === TWO) return (bytes[at + 1] as number) | ((bytes[at + 2] as number) << 8);
  if (first === THREE) return (bytes[at + 1] as number) | ((bytes[at + 2] as number) << 8) | ((bytes[at + 3] as number) << 16);
  if (first === EIGHT && at + 9 <= bytes.length && bytes.readUInt32LE(at + 5) === 0) return bytes.readUInt32LE(at + 1);
  throw new TidemarkError('MYSQL_PROTOCOL', 'a packed length is none, or above 4 GiB');
}

/** Where begins what has its length at `at`. */
export function packedStart(bytes: Buffer, at: number): number {
  const first = bytes[at] as number;
  return first < NULL_VALUE ? at + 1 : first === TWO ? at + 3 : first === THREE ? at + 4 : at + 9;
}
