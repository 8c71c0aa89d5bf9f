import { type SqlContext, SQL_MODE } from './context.ts';

/**
 * - `word`: an identifier or keyword without quotes
 * - `name`: an identifier in backticks (or, under ANSI_QUOTES, in double quotes)
 * - `string`: the text between the quotes, escapes undone
 * - `hex`, `bits`: the digits of `x'4F'`, `0x4F`, `b'01'`, `0b01`
 * - `number`: as written, without sign
 * - `introducer`: the character set of `_latin1'…'`; a string, hex or bits token follows
 * - `national`: the N of `N'…'`; a string follows
 * - `symbol`: one character of punctuation or an operator
 * - `broken`: what is left of the text behind a quote or comment that never ends
 * - `end`
 */
export type TokenKind = 'word' | 'name' | 'string' | 'hex' | 'bits' | 'number' | 'introducer' | 'national' | 'symbol' | 'broken' | 'end';

export interface Token {
  readonly kind: TokenKind;
  /** Of a word: as written; of a name or string: without quotes. */
  readonly text: string;
  /** Of a word: in upper case, to compare with keywords; else ''. */
  readonly upper: string;
}

const END: Token = { kind: 'end', text: '', upper: '' };

const BLANK = /[ \t-\r\0]*/y;
const WORD = /[0-9A-Za-z$_\u0080-\u{10ffff}]+/uy;
const NUMBER = /(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
const HEX = /0x([0-9A-Fa-f]+)(?![0-9A-Za-z$_\u0080-\u{10ffff}])/uy;
const BITS = /0b([01]+)(?![0-9A-Za-z$_\u0080-\u{10ffff}])/uy;
const QUOTED_HEX = /[xX]'([0-9A-Fa-f]*)'/y;
const QUOTED_BITS = /[bB]'([01]*)'/y;
const CONDITION = /!(\d{6}|\d{5})?/y;
const MARIADB_CONDITION = /M!(\d{6}|\d{5})?/y;
const PLAIN_BACKTICKS = /[^`]*/y;
const PLAIN_SINGLE = /[^'\\]*/y;
const PLAIN_DOUBLE = /[^"\\]*/y;
const LAST_LINE = /[^\n]*/y;

const ESCAPES: Readonly<Record<string, string>> = { '0': '\0', b: '\b', n: '\n', r: '\r', t: '\t', Z: '\x1a', '%': '\\%', _: '\\_' };

/** Versions that MariaDB does not take for its own: what MySQL 5.7 and later put in `/*!50701 … *\/` is a comment there. */
const MYSQL_ONLY_FROM = 50_700;
const MYSQL_ONLY_TO = 99_999;

/**
 * The tokens of one statement, read as they are asked for: one pass over the text, each character looked at a bounded
 * number of times. Never throws: what cannot be read is a `broken` token, and the end.
 *
 * The text is the statement in Unicode, decoded from the character set of its client; in a character set whose second
 * bytes can be a backslash or a quote (gbk, sjis, big5) nothing else would do.
 */
export class Tokenizer {
  readonly #sql: string;
  readonly #context: SqlContext;
  readonly #ansiQuotes: boolean;
  readonly #backslash: boolean;
  #at = 0;
  /** Within an executable comment, whose end is a blank. */
  #conditional = false;
  /** The last token was an identifier and a period: what follows is one too, though it begin with digits. */
  #qualifies = false;
  #lastWasName = false;

  constructor(sql: string, context: SqlContext) {
    this.#sql = sql;
    this.#context = context;
    const oracle = context.flavor === 'mariadb' && (context.sqlMode & SQL_MODE.ORACLE) !== 0n;
    this.#ansiQuotes = oracle || (context.sqlMode & SQL_MODE.ANSI_QUOTES) !== 0n;
    this.#backslash = (context.sqlMode & SQL_MODE.NO_BACKSLASH_ESCAPES) === 0n;
  }

  /** The next token; `end` for ever behind the last one. */
  next(): Token {
    const before = this.#at;
    if (!this.#skipBlanks()) return this.#broken(before);
    const sql = this.#sql;
    if (this.#at >= sql.length) return END;
    const character = sql.charAt(this.#at);
    const adjacent = this.#at === before;
    const token = this.#token(character, adjacent && this.#qualifies, adjacent && this.#lastWasName);
    this.#qualifies = token.kind === 'symbol' && token.text === '.' && this.#lastWasName;
    this.#lastWasName = token.kind === 'word' || token.kind === 'name';
    return token;
  }

  #token(character: string, afterPeriod: boolean, afterName: boolean): Token {
    switch (character) {
      case '`':
        return this.#quoted('name', '`', PLAIN_BACKTICKS, false);
      case '"':
        return this.#quoted(this.#ansiQuotes ? 'name' : 'string', '"', PLAIN_DOUBLE, !this.#ansiQuotes && this.#backslash);
      case "'":
        return this.#quoted('string', "'", PLAIN_SINGLE, this.#backslash);
      default:
        return afterPeriod ? this.#word(character, false) : (this.#literal(character) ?? this.#word(character, this.#numberFollows(character, afterName)));
    }
  }

  #literal(character: string): Token | null {
    const next = this.#sql.charAt(this.#at + 1);
    if (next === "'") {
      if (character === 'x' || character === 'X') return this.#matched('hex', QUOTED_HEX);
      if (character === 'b' || character === 'B') return this.#matched('bits', QUOTED_BITS);
      if (character === 'n' || character === 'N') {
        this.#at++;
        return { kind: 'national', text: character, upper: '' };
      }
    }
    if (character === '0' && next === 'x') return this.#matched('hex', HEX);
    if (character === '0' && next === 'b') return this.#matched('bits', BITS);
    return null;
  }

  #numberFollows(character: string, afterName: boolean): boolean {
    return isDigit(character) || (character === '.' && !afterName && isDigit(this.#sql.charAt(this.#at + 1)));
  }

  /** A word may begin with digits (`2fa`), or be a number as far as it goes (`1e5`, the `1e` of `1e+5`). */
  #word(character: string, mayBeNumber: boolean): Token {
    const digits = mayBeNumber ? this.#match(NUMBER) : null;
    const word = this.#match(WORD);
    if (digits !== null && digits.length >= (word ?? '').length) {
      this.#at += digits.length;
      return { kind: 'number', text: digits, upper: '' };
    }
    if (word === null) {
      this.#at++;
      return { kind: 'symbol', text: character, upper: '' };
    }
    this.#at += word.length;
    if (word.startsWith('_') && word.length > 1 && this.#introduces()) return { kind: 'introducer', text: word.slice(1), upper: '' };
    return { kind: 'word', text: word, upper: word.toUpperCase() };
  }

  /** `_utf8mb4'…'` and `_utf8mb4 x'…'`, but not a column whose name begins with an underscore. */
  #introduces(): boolean {
    BLANK.lastIndex = this.#at;
    BLANK.exec(this.#sql);
    const rest = this.#sql.slice(BLANK.lastIndex, BLANK.lastIndex + 2);
    return /^(?:'|[xXbB]'|0[xb])/.test(rest) || (!this.#ansiQuotes && rest.startsWith('"'));
  }

  #matched(kind: 'hex' | 'bits', pattern: RegExp): Token | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#sql);
    if (found === null) return null;
    this.#at = pattern.lastIndex;
    return { kind, text: found[1] ?? '', upper: '' };
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#sql)?.[0] ?? null;
  }

  #quoted(kind: 'name' | 'string', quote: string, plain: RegExp, backslash: boolean): Token {
    const sql = this.#sql;
    const from = this.#at;
    const parts: string[] = [];
    this.#at++;
    for (;;) {
      const text = this.#match(plain) ?? '';
      this.#at += text.length;
      parts.push(text);
      if (this.#at >= sql.length) return this.#broken(from);
      if (sql.charAt(this.#at) === '\\') {
        if (!backslash) {
          parts.push('\\');
          this.#at++;
          continue;
        }
        const escaped = String.fromCodePoint(sql.codePointAt(this.#at + 1) ?? 0);
        if (this.#at + 1 >= sql.length) return this.#broken(from);
        parts.push(ESCAPES[escaped] ?? escaped);
        this.#at += 1 + escaped.length;
      } else if (sql.charAt(this.#at + 1) === quote) {
        parts.push(quote);
        this.#at += 2;
      } else {
        this.#at++;
        return { kind, text: parts.join(''), upper: '' };
      }
    }
  }

  #broken(from: number): Token {
    this.#at = this.#sql.length;
    return { kind: 'broken', text: this.#sql.slice(from), upper: '' };
  }

  /** False when a comment does not end. */
  #skipBlanks(): boolean {
    const sql = this.#sql;
    for (;;) {
      BLANK.lastIndex = this.#at;
      BLANK.exec(sql);
      this.#at = BLANK.lastIndex;
      const character = sql.charAt(this.#at);
      if (character === '#' || (character === '-' && this.#isDashComment())) {
        this.#at += (this.#match(LAST_LINE) ?? '').length;
      } else if (character === '/' && sql.charAt(this.#at + 1) === '*') {
        if (!this.#comment()) return false;
      } else if (this.#conditional && character === '*' && sql.charAt(this.#at + 1) === '/') {
        this.#conditional = false;
        this.#at += 2;
      } else {
        return true;
      }
    }
  }

  /** Two hyphens are a comment only with a blank, a control character or the end behind them. */
  #isDashComment(): boolean {
    const sql = this.#sql;
    return sql.charAt(this.#at + 1) === '-' && (this.#at + 2 >= sql.length || sql.charAt(this.#at + 2) <= ' ');
  }

  /** At a comment's beginning: passes over it, or over the beginning alone where its content counts. */
  #comment(): boolean {
    this.#at += 2;
    const plain = this.#condition(CONDITION);
    const own = plain === null && this.#context.flavor === 'mariadb' ? this.#condition(MARIADB_CONDITION) : null;
    const condition = plain ?? own;
    if (condition === null) return this.#skipTo(false);
    if (!this.#counts(condition.version, own !== null)) return this.#skipTo(true);
    this.#at += condition.length;
    this.#conditional = true;
    return true;
  }

  #condition(pattern: RegExp): { readonly version: number; readonly length: number } | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#sql);
    return found === null ? null : { version: Number(found[1] ?? 0), length: found[0].length };
  }

  #counts(version: number, own: boolean): boolean {
    if (version > this.#context.version) return false;
    const foreign = this.#context.flavor === 'mariadb' && version >= MYSQL_ONLY_FROM && version <= MYSQL_ONLY_TO;
    return own || !foreign;
  }

  /** Behind the comment's end. One that does not count may hold one other comment at a time. */
  #skipTo(nested: boolean): boolean {
    for (;;) {
      const end = this.#sql.indexOf('*/', this.#at);
      if (end < 0) return false;
      const inner = nested ? this.#sql.slice(this.#at, end).indexOf('/*') : -1;
      this.#at = end + 2;
      if (inner < 0) return true;
    }
  }
}

function isDigit(character: string): boolean {
  return character >= '0' && character <= '9';
}
