/** JSON written as bytes into an open argument of a command. */
import type { CommandBuffer } from '../resp/command-buffer.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const HEX = Buffer.from('0123456789abcdef', 'latin1');

/** Second byte of the short escapes, by control character; 0: none. */
const SHORT_ESCAPES = new Uint8Array(32);
for (const [char, escape] of [['\b', 'b'], ['\t', 't'], ['\n', 'n'], ['\f', 'f'], ['\r', 'r']] as const) {
  SHORT_ESCAPES[char.charCodeAt(0)] = escape.charCodeAt(0);
}

/** UTF-8 text as a JSON string. */
export function writeString(out: CommandBuffer, bytes: Uint8Array, start: number, end: number): void {
  out.byte(QUOTE);
  let plain = start;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH) continue;
    out.bytesOf(bytes, plain, at);
    plain = at + 1;
    out.byte(BACKSLASH);
    if (byte >= 0x20) out.byte(byte);
    else if (SHORT_ESCAPES[byte] !== 0) out.byte(SHORT_ESCAPES[byte] as number);
    else {
      out.bytesOf(UNICODE_ESCAPE, 0, UNICODE_ESCAPE.length);
      out.byte(HEX[byte >> 4] as number);
      out.byte(HEX[byte & 15] as number);
    }
  }
  out.bytesOf(bytes, plain, end);
  out.byte(QUOTE);
}

const UNICODE_ESCAPE = Buffer.from('u00', 'latin1');

/** Bytes as a JSON string of base64 (RFC 4648, padded). */
export function writeBase64(out: CommandBuffer, bytes: Uint8Array, start: number, end: number): void {
  out.byte(QUOTE);
  // Pieces of a multiple of three bytes, so that each but the last encodes without padding.
  for (let at = start; at < end; at += PIECE) {
    const piece = Buffer.from(bytes.buffer, bytes.byteOffset + at, Math.min(PIECE, end - at));
    const text = Buffer.from(piece.toString('base64'), 'latin1');
    out.bytesOf(text, 0, text.length);
  }
  out.byte(QUOTE);
}

const PIECE = 48 << 10;

/** The members of a JSON object that was written by this sink: where each begins and ends in the text. */
export interface Member {
  readonly name: string;
  /** The value's text. */
  readonly start: number;
  readonly end: number;
}

/** The top-level members of a JSON object; null when the text is none. Values are walked over, not read. */
export function membersOf(text: Buffer): Member[] | null {
  const scan = new Scan(text);
  const members: Member[] = [];
  scan.blank();
  if (!scan.take(0x7b)) return null;
  scan.blank();
  if (scan.take(0x7d)) return scan.atEnd() ? members : null;
  for (;;) {
    scan.blank();
    const nameStart = scan.at;
    if (!scan.string()) return null;
    const name: unknown = JSON.parse(text.toString('utf8', nameStart, scan.at));
    scan.blank();
    if (!scan.take(0x3a)) return null;
    scan.blank();
    const start = scan.at;
    if (!scan.value()) return null;
    members.push({ name: String(name), start, end: scan.at });
    scan.blank();
    if (scan.take(0x7d)) return scan.atEnd() ? members : null;
    if (!scan.take(0x2c)) return null;
  }
}

/** Walks over JSON text without building values. Whoever wrote the text has checked it; this only finds the ends. */
class Scan {
  at = 0;
  readonly #text: Buffer;

  constructor(text: Buffer) {
    this.#text = text;
  }

  blank(): void {
    for (;;) {
      const byte = this.#text[this.at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.at++;
    }
  }

  take(byte: number): boolean {
    if (this.#text[this.at] !== byte) return false;
    this.at++;
    return true;
  }

  atEnd(): boolean {
    this.blank();
    return this.at === this.#text.length;
  }

  string(): boolean {
    if (!this.take(QUOTE)) return false;
    for (; this.at < this.#text.length; this.at++) {
      const byte = this.#text[this.at];
      if (byte === BACKSLASH) this.at++;
      else if (byte === QUOTE) {
        this.at++;
        return true;
      }
    }
    return false;
  }

  /** A string, an object or array (by counting brackets outside strings), or a bare word or number. */
  value(): boolean {
    const first = this.#text[this.at];
    if (first === QUOTE) return this.string();
    if (first !== 0x7b && first !== 0x5b) {
      const start = this.at;
      while (this.at < this.#text.length && !DELIMITERS.has(this.#text[this.at] as number)) this.at++;
      return this.at > start;
    }
    for (let depth = 0; this.at < this.#text.length; ) {
      const byte = this.#text[this.at] as number;
      if (byte === QUOTE) {
        if (!this.string()) return false;
        continue;
      }
      this.at++;
      if (byte === 0x7b || byte === 0x5b) depth++;
      else if ((byte === 0x7d || byte === 0x5d) && --depth === 0) return true;
    }
    return false;
  }
}

const DELIMITERS: ReadonlySet<number> = new Set([0x2c, 0x7d, 0x5d, 0x20, 0x09, 0x0a, 0x0d]);
