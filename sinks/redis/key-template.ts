/**
 * Names a row in Redis. A template as people write it:
 *
 *     template    = { text | placeholder }
 *     placeholder = "{" column "}"            the canonical text (or bytes) of a key column
 *                 | "{key...}"                all key columns in key order with ":" between them
 *                 | "{schema}" | "{table}"    the table's names
 *                 | "{column:" name "}"       a column that is called schema, table or key...
 *     "{{" and "}}" stand for a brace
 *
 * Two rows never get the same key: in every placeholder but the last, "%" and the byte that follows the placeholder in
 * the template are written as "%25" and "%XX". Read from the left, each value then ends at the first such byte; the
 * last one ends where the template's last text begins. So a key can be read back, too: `match` tells whether a key
 * found in Redis is one of the table's.
 */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { readU32 } from '../../contracts/record.ts';
import { tableName, type Column, type TableSchema } from '../../contracts/schema.ts';
import { baseType } from '../../contracts/types/logical-type.ts';
import { KeyScratch } from './key-scratch.ts';

/** What the values of a placeholder look like, where that is narrow enough to tell foreign keys apart. */
type Alphabet = 'integer' | 'uuid' | 'bool' | 'any';

export interface Placeholder {
  /** Index in the key, not in the columns. */
  readonly ordinal: number;
  /** The byte after it in the template, written as %XX in values; -1 for the last placeholder. */
  readonly escape: number;
  readonly alphabet: Alphabet;
}

/** A template as JSON. */
export interface StoredTemplate {
  readonly literals: readonly string[];
  readonly placeholders: readonly Placeholder[];
  readonly keyColumns: number;
}

const PERCENT = 0x25;
const HEX = Buffer.from('0123456789ABCDEF', 'latin1');

export class KeyTemplate {
  /** `literals[n]` stands before placeholder n, the last one after them all. */
  readonly literals: readonly Buffer[];
  readonly placeholders: readonly Placeholder[];
  /** Equal for templates that name every row of a table alike; a column that is renamed changes nothing. */
  readonly fingerprint: string;
  readonly #keyColumns: number;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  readonly #single: boolean;

  /** @param keyColumns how many columns the table's key has */
  constructor(literals: readonly Buffer[], placeholders: readonly Placeholder[], keyColumns: number) {
    this.literals = literals;
    this.placeholders = placeholders;
    this.#keyColumns = keyColumns;
    this.#starts = new Int32Array(keyColumns);
    this.#ends = new Int32Array(keyColumns);
    this.#single = keyColumns === 1 && placeholders.length === 1;
    this.fingerprint = literals.map((literal, index) => `${literal.toString('hex')}{${placeholders[index]?.ordinal ?? ''}}`).join('');
  }

  /** For storage: `fromStored` gives an equal template. */
  toStored(): StoredTemplate {
    return { literals: this.literals.map((literal) => literal.toString('base64')), placeholders: this.placeholders, keyColumns: this.#keyColumns };
  }

  static fromStored({ literals, placeholders, keyColumns }: StoredTemplate): KeyTemplate {
    return new KeyTemplate(literals.map((literal) => Buffer.from(literal, 'base64')), placeholders, keyColumns);
  }

  /** The text that every key begins with. Never empty. */
  get prefix(): Buffer {
    return this.literals[0] as Buffer;
  }

  /** The text that every key ends with; may be empty. */
  get suffix(): Buffer {
    return this.literals[this.literals.length - 1] as Buffer;
  }

  /** Appends the Redis key of the row whose key (key.ts) stands at `start .. end` of `bytes`. */
  write(bytes: Uint8Array, start: number, end: number, into: KeyScratch): void {
    into.append(this.prefix, 0, this.prefix.length);
    if (this.#single) {
      if (end - start < 4 || readU32(bytes, start) !== end - start - 4) throw corruptKey();
      into.append(bytes, start + 4, end);
      into.append(this.suffix, 0, this.suffix.length);
      return;
    }
    this.#locate(bytes, start, end);
    for (let i = 0; i < this.placeholders.length; i++) {
      const { ordinal, escape } = this.placeholders[i] as Placeholder;
      const from = this.#starts[ordinal] as number;
      const to = this.#ends[ordinal] as number;
      if (escape < 0) into.append(bytes, from, to);
      else appendEscaped(bytes, from, to, escape, into);
      const literal = this.literals[i + 1] as Buffer;
      into.append(literal, 0, literal.length);
    }
  }

  /** The values by which a Redis key names its row, one per placeholder; null when it is no key of this template. */
  match(key: Buffer): Buffer[] | null {
    const { prefix, suffix } = this;
    if (key.length < prefix.length + suffix.length || !startsWith(key, prefix, 0)) return null;
    const limit = key.length - suffix.length;
    if (!startsWith(key, suffix, limit)) return null;
    const values: Buffer[] = [];
    let at = prefix.length;
    for (let i = 0; i < this.placeholders.length; i++) {
      const { escape, alphabet } = this.placeholders[i] as Placeholder;
      const end = escape < 0 ? limit : key.indexOf(escape, at);
      if (end < 0 || end > limit) return null;
      const value = escape < 0 ? key.subarray(at, end) : unescaped(key.subarray(at, end), escape);
      if (value === null || !fits(value, alphabet)) return null;
      values.push(value);
      at = end;
      if (escape < 0) continue;
      const literal = this.literals[i + 1] as Buffer;
      if (at + literal.length > limit || !startsWith(key, literal, at)) return null;
      at += literal.length;
    }
    return values;
  }

  /** The Redis key of the row that another template of the same table named by these values. */
  rename(values: readonly Buffer[], into: KeyScratch): void {
    into.append(this.prefix, 0, this.prefix.length);
    for (let i = 0; i < this.placeholders.length; i++) {
      const { escape } = this.placeholders[i] as Placeholder;
      const value = values[i];
      if (value === undefined) throw new TidemarkError('INTERNAL', 'a key has fewer values than its template');
      if (escape < 0) into.append(value, 0, value.length);
      else appendEscaped(value, 0, value.length, escape, into);
      const literal = this.literals[i + 1] as Buffer;
      into.append(literal, 0, literal.length);
    }
  }

  #locate(bytes: Uint8Array, start: number, end: number): void {
    let at = start;
    for (let ordinal = 0; ordinal < this.#keyColumns; ordinal++) {
      if (at + 4 > end) throw corruptKey();
      const from = at + 4;
      at = from + readU32(bytes, at);
      if (at > end) throw corruptKey();
      this.#starts[ordinal] = from;
      this.#ends[ordinal] = at;
    }
    if (at !== end) throw corruptKey();
  }
}

/** Where a name in the configuration is looked up: the column's index in the schema, -1 when it is in no version. */
export type ColumnFinder = (name: string) => number;

export interface TemplateSource {
  /** As people wrote it; null: the default. */
  readonly text: string | null;
  readonly partial: boolean;
  readonly find: ColumnFinder;
}

/** @throws TidemarkError `REDIS_KEYLESS`, `REDIS_KEY_TEMPLATE` */
export function compileTemplate(schema: TableSchema, source: TemplateSource): KeyTemplate {
  const table = tableName(schema);
  if (schema.keyKind === 'none' || schema.key.length === 0) {
    throw new TidemarkError('REDIS_KEYLESS', `${table} has no key`, { where: { table } });
  }
  const refuse = (why: string): TidemarkError =>
    new TidemarkError('REDIS_KEY_TEMPLATE', `the key template '${source.text ?? DEFAULT}' of ${table} ${why}`, { where: { table } });
  const literals: string[] = [''];
  const ordinals: number[] = [];
  const placeholder = (ordinal: number): void => {
    if (ordinals.includes(ordinal)) throw refuse(`names column ${keyColumn(schema, ordinal).name} twice`);
    ordinals.push(ordinal);
    literals.push('');
  };
  const text = (more: string): void => void (literals[literals.length - 1] += more);
  for (const part of splitTemplate(source.text ?? DEFAULT, refuse)) {
    if (part.kind === 'text') text(part.text);
    else if (part.text === 'schema' || part.text === 'table') {
      const name = part.text === 'schema' ? schema.namespace : schema.name;
      text(source.text === null ? name.replaceAll(/[%.:]/g, encodeByte) : name);
    } else if (part.text === 'key...') {
      schema.key.forEach((_, ordinal) => {
        if (ordinal > 0) text(':');
        placeholder(ordinal);
      });
    } else placeholder(ordinalOf(schema, part.text.replace(/^column:/, ''), source, refuse));
  }
  if (literals[0] === '') throw refuse('does not begin with a text of its own');
  if (ordinals.length === 0) throw refuse('names no column');
  if (literals.slice(1, -1).includes('')) throw refuse('has two columns without anything between them');
  const missing = schema.key.findIndex((_, ordinal) => !ordinals.includes(ordinal));
  if (missing >= 0 && !source.partial) {
    throw refuse(`leaves out the key column ${keyColumn(schema, missing).name} (if the others are unique by themselves, say \`partial_key: true\`)`);
  }
  const encoded = literals.map((literal) => Buffer.from(literal, 'utf8'));
  const placeholders = ordinals.map((ordinal, index) => ({
    ordinal,
    escape: index === ordinals.length - 1 ? -1 : (encoded[index + 1]?.[0] ?? -1),
    alphabet: alphabetOf(keyColumn(schema, ordinal)),
  }));
  if (placeholders.some(({ escape }) => escape === PERCENT)) throw refuse('has a % right after a column');
  return new KeyTemplate(encoded, placeholders, schema.key.length);
}

const DEFAULT = '{schema}.{table}:{key...}';

interface TemplatePart {
  readonly kind: 'text' | 'placeholder';
  readonly text: string;
}

function splitTemplate(template: string, refuse: (why: string) => TidemarkError): TemplatePart[] {
  const parts: TemplatePart[] = [];
  for (let at = 0; at < template.length; ) {
    const char = template[at] as string;
    if ((char === '{' || char === '}') && template[at + 1] === char) {
      parts.push({ kind: 'text', text: char });
      at += 2;
    } else if (char === '{') {
      const close = template.indexOf('}', at);
      if (close <= at + 1) throw refuse(close < 0 ? 'lacks a closing }' : 'has an empty {}');
      parts.push({ kind: 'placeholder', text: template.slice(at + 1, close) });
      at = close + 1;
    } else if (char === '}') {
      throw refuse('has a } that closes nothing; a brace itself is written as }}');
    } else {
      const end = template.slice(at).search(/[{}]/);
      parts.push({ kind: 'text', text: end < 0 ? template.slice(at) : template.slice(at, at + end) });
      at = end < 0 ? template.length : at + end;
    }
  }
  return parts;
}

function ordinalOf(schema: TableSchema, name: string, source: TemplateSource, refuse: (why: string) => TidemarkError): number {
  const index = source.find(name);
  if (index < 0) throw refuse(`names column ${name}, which the table does not have`);
  const ordinal = schema.key.indexOf(index);
  if (ordinal >= 0) return ordinal;
  throw refuse(`names column ${name}, which is not part of the key: when it changed, the old Redis key would stay`);
}

function keyColumn(schema: TableSchema, ordinal: number): Column {
  const column = schema.columns[schema.key[ordinal] ?? -1];
  if (column === undefined) throw new TidemarkError('SCHEMA_INVALID', `the key of ${tableName(schema)} names a column that is not there`);
  return column;
}

function alphabetOf(column: Column): Alphabet {
  const { kind } = baseType(column.type);
  if (kind === 'int16' || kind === 'int32' || kind === 'int64' || kind === 'uint64') return 'integer';
  return kind === 'uuid' || kind === 'bool' ? kind : 'any';
}

function fits(value: Buffer, alphabet: Alphabet): boolean {
  switch (alphabet) {
    case 'integer':
      return value.length <= 20 && /^-?\d+$/.test(value.toString('latin1'));
    case 'uuid':
      return value.length === 36 && /^[\da-f-]{36}$/.test(value.toString('latin1'));
    case 'bool':
      return value.length === 1 && (value[0] === 0x74 || value[0] === 0x66);
    case 'any':
      return true;
  }
}

/** Bytes that a value of the alphabet can begin with; null: any, or it may be empty. */
function firstBytes(alphabet: Alphabet): string | null {
  if (alphabet === 'integer') return '-0123456789';
  if (alphabet === 'uuid') return '0123456789abcdef';
  return alphabet === 'bool' ? 'tf' : null;
}

/**
 * True when no key can be one of both. Told from how keys begin and end alone: it may say false where the tables' values
 * would never meet.
 */
export function areDisjoint(a: KeyTemplate, b: KeyTemplate): boolean {
  const [short, long] = a.prefix.length <= b.prefix.length ? [a, b] : [b, a];
  if (!startsWith(long.prefix, short.prefix, 0)) return true;
  const [brief, lengthy] = a.suffix.length <= b.suffix.length ? [a.suffix, b.suffix] : [b.suffix, a.suffix];
  if (!lengthy.subarray(lengthy.length - brief.length).equals(brief)) return true;
  if (short.prefix.length === long.prefix.length) return false;
  return !canContinue(short, long.prefix[short.prefix.length] as number);
}

/** True when no key of the template can begin with `prefix`. */
export function avoids(template: KeyTemplate, prefix: Buffer): boolean {
  const own = template.prefix;
  if (own.length >= prefix.length) return !startsWith(own, prefix, 0);
  return !startsWith(prefix, own, 0) || !canContinue(template, prefix[own.length] as number);
}

function canContinue(template: KeyTemplate, byte: number): boolean {
  const first = firstBytes(template.placeholders[0]?.alphabet ?? 'any');
  return first === null || first.includes(String.fromCharCode(byte));
}

function startsWith(bytes: Buffer, part: Buffer, at: number): boolean {
  return at + part.length <= bytes.length && bytes.compare(part, 0, part.length, at, at + part.length) === 0;
}

function appendEscaped(bytes: Uint8Array, start: number, end: number, escape: number, into: KeyScratch): void {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte !== escape && byte !== PERCENT) into.byte(byte);
    else {
      into.byte(PERCENT);
      into.byte(HEX[byte >> 4] as number);
      into.byte(HEX[byte & 15] as number);
    }
  }
}

/** Null when the text was not written by `appendEscaped`. */
function unescaped(text: Buffer, escape: number): Buffer | null {
  if (!text.includes(PERCENT)) return text;
  const scratch = new KeyScratch();
  for (let at = 0; at < text.length; at++) {
    const byte = text[at] as number;
    if (byte !== PERCENT) scratch.byte(byte);
    else {
      const value = HEX.indexOf(text[at + 1] ?? 0) * 16 + HEX.indexOf(text[at + 2] ?? 0);
      if (value !== PERCENT && value !== escape) return null;
      scratch.byte(value);
      at += 2;
    }
  }
  return Buffer.from(scratch.taken());
}

function encodeByte(char: string): string {
  return `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
}

function corruptKey(): TidemarkError {
  return new TidemarkError('RECORD_CORRUPT', 'a key does not have the columns of its table');
}
