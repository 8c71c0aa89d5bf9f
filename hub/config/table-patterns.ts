/**
 * Patterns of tables as the configuration and the command line write them:
 *
 *     pattern   = [ "!" ] part "." part          namespace, then table
 *     part      = glob | '"' name '"'            in double quotes exactly that name; "" stands for one quote
 *     glob      = "*" | "?" | "[a-z]" | "[!a-z]" | "{one,other}" | any other character for itself
 *
 * A name of a table is no path: dots, slashes and line breaks have no meaning of their own, so these are not the globs
 * of files. Letters match exactly as the catalog has them.
 */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { TableSelector } from '../../contracts/sink.ts';

export type TableNaming = Pick<TableSchema, 'namespace' | 'name'>;

export interface TablePattern {
  readonly text: string;
  /** True for a pattern with `!`: what it matches is left out. */
  readonly leavesOut: boolean;
  /** The one table that it names when it has no glob. */
  readonly exact: TableNaming | null;
  matches(table: TableNaming): boolean;
}

/** Longest pattern in characters: two names of 63 bytes in quotes, with room for alternatives. */
const MAX_PATTERN = 1000;

/** @throws TidemarkError `CONFIG_TABLE_PATTERN` */
export function parseTablePattern(text: string): TablePattern {
  if (text.length > MAX_PATTERN) throw invalid(text, `is longer than ${MAX_PATTERN} characters`);
  const leavesOut = text.startsWith('!');
  const reader = new PatternReader(text, leavesOut ? 1 : 0);
  const namespace = reader.part();
  reader.dot();
  const name = reader.part();
  reader.end();
  return {
    text,
    leavesOut,
    exact: namespace.literal === null || name.literal === null ? null : { namespace: namespace.literal, name: name.literal },
    matches: (table) => namespace.matches(table.namespace) && name.matches(table.name),
  };
}

/**
 * The tables that match at least one pattern without `!` and none with it; the order of the patterns means nothing.
 * @throws TidemarkError `CONFIG_TABLE_PATTERN`
 */
export function selectTables(patterns: readonly string[]): TableSelector {
  const parsed = patterns.map(parseTablePattern);
  const wanted = parsed.filter((pattern) => !pattern.leavesOut);
  const unwanted = parsed.filter((pattern) => pattern.leavesOut);
  return (table) =>
    wanted.some((pattern) => pattern.matches(table)) && !unwanted.some((pattern) => pattern.matches(table));
}

/** The pattern that matches exactly this table: `public.orders`, `public."order items"`. */
export function exactPattern(table: TableNaming): string {
  return `${quoted(table.namespace)}.${quoted(table.name)}`;
}

/**
 * The table that a pattern names exactly, as `tableName` writes it.
 * @throws TidemarkError `CONFIG_TABLE_PATTERN` when it is a glob or leaves out
 */
export function exactTable(text: string): TableNaming {
  const pattern = parseTablePattern(text);
  if (pattern.exact === null || pattern.leavesOut) throw invalid(text, 'must name one table, without * ? [ ] { } and !');
  return pattern.exact;
}

/** As `exactTable`, in the form of `tableName`. */
export function exactTableName(text: string): string {
  return tableName(exactTable(text));
}

function quoted(name: string): string {
  return /^[\p{L}\p{N}_$-]+$/u.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

interface Part {
  readonly literal: string | null;
  matches(name: string): boolean;
}

/** Walks a pattern by UTF-16 unit; what it looks for is ASCII. */
class PatternReader {
  readonly #text: string;
  #at: number;

  constructor(text: string, at: number) {
    this.#text = text;
    this.#at = at;
  }

  part(): Part {
    return this.#text[this.#at] === '"' ? this.#quotedPart() : this.#globPart();
  }

  dot(): void {
    if (this.#text[this.#at] !== '.') throw invalid(this.#text, 'needs a namespace and a table with a dot between them');
    this.#at++;
  }

  end(): void {
    if (this.#at < this.#text.length) {
      throw invalid(this.#text, 'goes on after the table; a name that has a dot or a quote in it stands in double quotes');
    }
  }

  #quotedPart(): Part {
    let name = '';
    for (this.#at++; ; this.#at++) {
      const char = this.#text[this.#at];
      if (char === undefined) throw invalid(this.#text, 'lacks a closing double quote');
      if (char !== '"') name += char;
      else if (this.#text[this.#at + 1] === '"') {
        name += '"';
        this.#at++;
      } else break;
    }
    this.#at++;
    if (name === '') throw invalid(this.#text, 'has an empty name');
    return { literal: name, matches: (other) => other === name };
  }

  #globPart(): Part {
    const start = this.#at;
    const expression = this.#glob(['.']);
    const source = this.#text.slice(start, this.#at);
    if (source === '') throw invalid(this.#text, 'has an empty part; for every one write *');
    if (!/[*?[{]/.test(source)) return { literal: source, matches: (other) => other === source };
    const regex = new RegExp(`^${expression}$`, 'su');
    return { literal: null, matches: (other) => regex.test(other) };
  }

  /** Up to one of `ends`, or the end of the text. */
  #glob(ends: readonly string[]): string {
    let expression = '';
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || ends.includes(char)) return expression;
      if (char === '"') throw invalid(this.#text, 'has a quote inside a part; quotes enclose a whole part');
      if (char === '[') expression += this.#characters();
      else if (char === '{') expression += this.#alternatives();
      else {
        this.#at++;
        if (char === ']' || char === '}') throw invalid(this.#text, `has a ${char} that closes nothing`);
        if (char === '*') expression = expression.endsWith('.*') ? expression : `${expression}.*`;
        else expression += char === '?' ? '.' : literal(char);
      }
    }
  }

  #characters(): string {
    const negated = this.#text[this.#at + 1] === '!' || this.#text[this.#at + 1] === '^';
    const start = this.#at + (negated ? 2 : 1);
    // A ] that comes first is a member of the set.
    const close = this.#text.indexOf(']', start + 1);
    if (close < 0) throw invalid(this.#text, 'lacks a closing ]');
    const inside = this.#text.slice(start, close);
    this.#at = close + 1;
    const set = inside.replace(/[\\\]^[&]/g, String.raw`\$&`);
    const expression = `[${negated ? '^' : ''}${set}]`;
    if (set === '' || !compiles(expression)) throw invalid(this.#text, `has a set of signs, [${inside}], that cannot be read`);
    return expression;
  }

  #alternatives(): string {
    const choices: string[] = [];
    do {
      this.#at++;
      choices.push(this.#glob([',', '}', '.']));
    } while (this.#text[this.#at] === ',');
    if (this.#text[this.#at] !== '}') throw invalid(this.#text, 'lacks a closing } before the dot or the end');
    this.#at++;
    return `(?:${choices.join('|')})`;
  }
}

function literal(char: string): string {
  return /[\\^$.*+?()[\]{}|/]/.test(char) ? `\\${char}` : char;
}

function compiles(expression: string): boolean {
  try {
    return new RegExp(expression, 'su').source !== '';
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

function invalid(text: string, why: string): TidemarkError {
  return new TidemarkError('CONFIG_TABLE_PATTERN', `the table pattern '${text}' ${why}`);
}
