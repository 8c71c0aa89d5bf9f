/**
 * Reads Postgres' literals of arrays and composites, as its own output functions write them:
 *
 *     array     = "{" [ element { delimiter element } ] "}"      element = array | NULL | bare | quoted
 *     composite = "(" [ field ] { "," [ field ] } ")"            nothing between the commas: null
 *     quoted    = '"' ... '"'      a backslash, or (composite) a second quote, before a quote or backslash
 *
 * An array with bounds (`[2:4]={...}`) is not read: JSON arrays have no bounds.
 */

/** What a literal consists of, in order. */
export interface LiteralVisitor {
  open(): void;
  close(): void;
  /** A value, unescaped; valid during the call only. */
  value(bytes: Uint8Array, start: number, end: number): void;
  nothing(): void;
}

const OPEN = 0x7b;
const CLOSE = 0x7d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const MAX_DEPTH = 6;

/** False when the text is no array literal (the visitor has then seen some of it). */
export function readArray(bytes: Uint8Array, start: number, end: number, delimiter: number, visitor: LiteralVisitor): boolean {
  return new ArrayLiteral(bytes, start, end, delimiter, visitor).read();
}

class ArrayLiteral {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #delimiter: number;
  readonly #visitor: LiteralVisitor;
  #at: number;

  constructor(bytes: Uint8Array, start: number, end: number, delimiter: number, visitor: LiteralVisitor) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#delimiter = delimiter;
    this.#visitor = visitor;
  }

  read(): boolean {
    return this.#array(0) && this.#at === this.#end;
  }

  #array(depth: number): boolean {
    if (depth === MAX_DEPTH || this.#next() !== OPEN) return false;
    this.#at++;
    this.#visitor.open();
    if (this.#next() === CLOSE) {
      this.#at++;
      this.#visitor.close();
      return true;
    }
    for (;;) {
      if (!this.#element(depth)) return false;
      const byte = this.#next();
      this.#at++;
      if (byte === CLOSE) {
        this.#visitor.close();
        return true;
      }
      if (byte !== this.#delimiter) return false;
    }
  }

  #element(depth: number): boolean {
    const byte = this.#next();
    if (byte === OPEN) return this.#array(depth + 1);
    if (byte === QUOTE) {
      const value = readQuoted(this.#bytes, this.#at, this.#end, false);
      if (value === null) return false;
      this.#visitor.value(value.bytes, value.start, value.end);
      this.#at = value.next;
      return true;
    }
    const start = this.#at;
    for (; this.#at < this.#end; this.#at++) {
      const char = this.#bytes[this.#at];
      if (char === this.#delimiter || char === CLOSE) break;
      if (char === OPEN || char === QUOTE || char === BACKSLASH) return false;
    }
    if (this.#at === start) return false;
    if (isNull(this.#bytes, start, this.#at)) this.#visitor.nothing();
    else this.#visitor.value(this.#bytes, start, this.#at);
    return true;
  }

  #next(): number {
    return this.#at < this.#end ? (this.#bytes[this.#at] as number) : -1;
  }
}

/** False when the text is no composite literal (the visitor has then seen some of it). */
export function readComposite(bytes: Uint8Array, start: number, end: number, visitor: LiteralVisitor): boolean {
  if (end - start < 2 || bytes[start] !== 0x28 || bytes[end - 1] !== 0x29) return false;
  const last = end - 1;
  visitor.open();
  for (let at = start + 1; ; at++) {
    if (at === last || bytes[at] === COMMA) visitor.nothing();
    else if (bytes[at] === QUOTE) {
      const value = readQuoted(bytes, at, last, true);
      if (value === null) return false;
      visitor.value(value.bytes, value.start, value.end);
      at = value.next;
    } else {
      const from = at;
      while (at < last && bytes[at] !== COMMA) at++;
      visitor.value(bytes, from, at);
    }
    if (at === last) break;
    if (bytes[at] !== COMMA) return false;
  }
  visitor.close();
  return true;
}

interface Quoted {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** After the closing quote. */
  readonly next: number;
}

function readQuoted(bytes: Uint8Array, at: number, end: number, doubled: boolean): Quoted | null {
  const start = at + 1;
  let close = start;
  let escapes = 0;
  for (; close < end; close++) {
    const byte = bytes[close];
    if (byte === BACKSLASH || (doubled && byte === QUOTE && close + 1 < end && bytes[close + 1] === QUOTE)) {
      escapes++;
      close++;
    } else if (byte === QUOTE) break;
  }
  if (close >= end) return null;
  if (escapes === 0) return { bytes, start, end: close, next: close + 1 };
  const plain = new Uint8Array(close - start - escapes);
  for (let from = start, to = 0; from < close; from++) {
    const byte = bytes[from] as number;
    if (byte === BACKSLASH || byte === QUOTE) from++;
    plain[to++] = bytes[from] as number;
  }
  return { bytes: plain, start: 0, end: plain.length, next: close + 1 };
}

function isNull(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === 4 && bytes[start] === 0x4e && bytes[start + 1] === 0x55 && bytes[start + 2] === 0x4c && bytes[start + 3] === 0x4c;
}
