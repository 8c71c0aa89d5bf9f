/**
 * How a password proves itself under MariaDB's `ed25519`: an Ed25519 signature (RFC 8032) of what the server sends, whose
 * secret is the hash of the password itself. The runtime signs with secrets of 32 bytes only, and a password has any
 * length, so that the curve is here. It takes milliseconds per login.
 */
import { createHash } from 'node:crypto';

const PRIME = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
/** -121665/121666 */
const CURVE_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;
const BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202n;
const BASE_Y = 46316835694926478169428394003475163141307993866256225615783033603165251855960n;

/** Extended coordinates: x = X/Z, y = Y/Z, T = XY/Z. */
interface Point {
  readonly X: bigint;
  readonly Y: bigint;
  readonly Z: bigint;
  readonly T: bigint;
}

const BASE: Point = { X: BASE_X, Y: BASE_Y, Z: 1n, T: (BASE_X * BASE_Y) % PRIME };
const ZERO: Point = { X: 0n, Y: 1n, Z: 1n, T: 0n };

/** 64 bytes: what the server wants as the answer to `message`. */
export function signWithPassword(password: string, message: Uint8Array): Buffer {
  const { scalar, prefix, publicKey } = secretOf(password);
  const nonce = integerOf(sha512(prefix, message)) % ORDER;
  const point = encoded(times(BASE, nonce));
  const challenge = integerOf(sha512(point, publicKey, message)) % ORDER;
  return Buffer.concat([point, bytesOf((nonce + challenge * scalar) % ORDER)]);
}

/** 32 bytes: what the server keeps of a password (in base64 without `=`: the text behind IDENTIFIED VIA ed25519 USING). */
export function publicKeyOf(password: string): Buffer {
  return secretOf(password).publicKey;
}

function secretOf(password: string): { scalar: bigint; prefix: Buffer; publicKey: Buffer } {
  const hash = sha512(Buffer.from(password, 'utf8'));
  const low = Buffer.from(hash.subarray(0, 32));
  low[0] = (low[0] as number) & 0xf8;
  low[31] = ((low[31] as number) & 0x7f) | 0x40;
  const scalar = integerOf(low);
  return { scalar, prefix: hash.subarray(32), publicKey: encoded(times(BASE, scalar)) };
}

function sha512(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function add(a: Point, b: Point): Point {
  const A = modulo((a.Y - a.X) * (b.Y - b.X));
  const B = modulo((a.Y + a.X) * (b.Y + b.X));
  const C = modulo(2n * a.T * CURVE_D * b.T);
  const D = modulo(2n * a.Z * b.Z);
  const [E, F, G, H] = [B - A, D - C, D + C, B + A];
  return { X: modulo(E * F), Y: modulo(G * H), Z: modulo(F * G), T: modulo(E * H) };
}

function times(point: Point, scalar: bigint): Point {
  let [result, doubled] = [ZERO, point];
  for (let rest = scalar; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = add(result, doubled);
    doubled = add(doubled, doubled);
  }
  return result;
}

/** y, with the sign of x in its highest bit. */
function encoded({ X, Y, Z }: Point): Buffer {
  const inverse = power(Z, PRIME - 2n);
  const bytes = bytesOf(modulo(Y * inverse));
  bytes[31] = (bytes[31] as number) | (Number(modulo(X * inverse) & 1n) << 7);
  return bytes;
}

function power(base: bigint, exponent: bigint): bigint {
  let [result, square] = [1n, base];
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = modulo(result * square);
    square = modulo(square * square);
  }
  return result;
}

function modulo(value: bigint): bigint {
  const rest = value % PRIME;
  return rest < 0n ? rest + PRIME : rest;
}

/** Little-endian. */
function integerOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes.toReversed()).toString('hex')}`);
}

function bytesOf(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
}
