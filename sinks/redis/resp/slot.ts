/** The hash slot of a key, as Redis Cluster computes it: CRC-16/XMODEM of the key, or of its hash tag `{...}`. */
export const SLOTS = 16_384;

const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  return crc & 0xffff;
});

export function crc16(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0;
  for (let at = start; at < end; at++) crc = ((crc << 8) ^ (TABLE[((crc >> 8) ^ (bytes[at] as number)) & 0xff] as number)) & 0xffff;
  return crc;
}

/** Only what stands between the first `{` and the next `}` counts, if that is not empty. */
export function slotOf(bytes: Uint8Array, start: number, end: number): number {
  for (let open = start; open < end; open++) {
    if (bytes[open] !== 0x7b) continue;
    for (let close = open + 1; close < end; close++) {
      if (bytes[close] !== 0x7d) continue;
      return close === open + 1 ? crc16(bytes, start, end) % SLOTS : crc16(bytes, open + 1, close) % SLOTS;
    }
    break;
  }
  return crc16(bytes, start, end) % SLOTS;
}

/** A short text whose slot is `slot`: used as a hash tag, it puts a key into that slot. */
export function tagOf(slot: number): string {
  for (let n = 0; ; n++) {
    const tag = n.toString(36);
    const bytes = Buffer.from(tag, 'latin1');
    if (crc16(bytes, 0, bytes.length) % SLOTS === slot) return tag;
  }
}
