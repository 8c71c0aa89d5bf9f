const DIGITS = Buffer.from('0123456789abcdef', 'latin1');
const BACKSLASH = 0x5c;
const X = 0x78;

/** Writes `bytes` as hexadecimal digits into `into` at `at`; answers where they end. */
export function writeHex(bytes: Uint8Array, start: number, end: number, into: Uint8Array, at: number): number {
  for (let from = start; from < end; from++) {
    const byte = bytes[from] as number;
    into[at++] = DIGITS[byte >>> 4] as number;
    into[at++] = DIGITS[byte & 15] as number;
  }
  return at;
}

/** The bytes of `\x0aff...`, or null when the span is not that. */
export function readHex(bytes: Uint8Array, start: number, end: number): Buffer | null {
  if ((end - start) % 2 !== 0 || bytes[start] !== BACKSLASH || bytes[start + 1] !== X) return null;
  const out = Buffer.allocUnsafe((end - start - 2) >>> 1);
  for (let at = 0, from = start + 2; from < end; at++, from += 2) {
    const high = digit(bytes[from] as number);
    const low = digit(bytes[from + 1] as number);
    if (high < 0 || low < 0) return null;
    out[at] = (high << 4) | low;
  }
  return out;
}

function digit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
