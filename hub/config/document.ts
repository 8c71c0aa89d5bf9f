/** The configuration file as plain values, with the place of each in the file. */
import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument, type Document } from 'yaml';
import { TidemarkError } from '../../contracts/errors/error.ts';

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface ConfigDocument {
  /** Objects, arrays and scalars; objects have no prototype. References are not resolved yet. */
  readonly value: unknown;
  /** Where the value at a JSON pointer begins; '' is the whole. */
  placeOf(pointer: string): Place;
  /** Where the key at a JSON pointer stands. */
  placeOfKey(pointer: string): Place;
}

/** Values in one file, aliases expanded: what bounds a file that repeats itself. */
const MAX_VALUES = 100_000;
/** Depth of nesting; an anchor that holds itself ends here. */
const MAX_DEPTH = 64;
const START: Place = { line: 1, column: 1 };

/** The document, or every fault of its syntax; no text of the file is in them, since it may be a secret. */
export function parseConfigDocument(text: string): { document: ConfigDocument } | { faults: TidemarkError[] } {
  const lines = new LineCounter();
  const shield = shieldFor(text);
  const parsed = parseDocument(shield.cover(text), { lineCounter: lines, prettyErrors: false, version: '1.2' });
  if (parsed.errors.length > 0) {
    return { faults: parsed.errors.map((error) => syntaxError(describe(error.code), placeAt(lines, error.pos[0]))) };
  }
  const walk = new Walk(parsed, lines, shield);
  try {
    const value = walk.value(parsed.contents, '');
    return { document: { value, placeOf: (pointer) => walk.place(pointer), placeOfKey: (pointer) => walk.keyPlace(pointer) } };
  } catch (error) {
    if (error instanceof TidemarkError) return { faults: [error] };
    throw error;
  }
}

/** A JSON pointer one step further. */
export function pointerTo(parent: string, key: string | number): string {
  return `${parent}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

/** The steps of a JSON pointer. */
export function pointerSteps(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/**
 * In a flow map a plain `{ url: ${NAME} }` is not YAML: braces and commas end the value. References are therefore covered
 * while the file is parsed: the signs of the syntax in them are replaced, one for one so that places stay true, by signs
 * for private use.
 */
interface Shield {
  cover(text: string): string;
  uncover(text: string): string;
}

const COVERED = /[\uE000-\uE07F]/;
const REFERENCE = /\$\{[^{}"'\\\n]*\}/g;

function shieldFor(text: string): Shield {
  // A file with such signs of its own has to quote its references.
  if (COVERED.test(text)) return { cover: (plain) => plain, uncover: (plain) => plain };
  const cover = (sign: string): string => String.fromCharCode(0xe000 + sign.charCodeAt(0));
  const uncover = (sign: string): string => String.fromCharCode(sign.charCodeAt(0) - 0xe000);
  return {
    cover: (plain) => plain.replace(REFERENCE, (reference) => reference.replaceAll(/[{}[\],:#&*!|>%@`-]/g, cover)),
    uncover: (covered) => covered.replaceAll(new RegExp(COVERED, 'g'), uncover),
  };
}

class Walk {
  readonly #parsed: Document;
  readonly #lines: LineCounter;
  readonly #shield: Shield;
  readonly #places = new Map<string, Place>();
  readonly #keyPlaces = new Map<string, Place>();
  #count = 0;
  #depth = 0;

  constructor(parsed: Document, lines: LineCounter, shield: Shield) {
    this.#parsed = parsed;
    this.#lines = lines;
    this.#shield = shield;
  }

  /** Of the value, or of the nearest one around it. */
  place(pointer: string): Place {
    const found = this.#places.get(pointer);
    if (found !== undefined) return found;
    return pointer === '' ? START : this.place(pointer.slice(0, pointer.lastIndexOf('/')));
  }

  keyPlace(pointer: string): Place {
    return this.#keyPlaces.get(pointer) ?? this.place(pointer);
  }

  value(node: unknown, pointer: string): unknown {
    const place = this.#placeOfNode(node, pointer);
    this.#places.set(pointer, place);
    if (++this.#count > MAX_VALUES) throw syntaxError(`the file has more than ${MAX_VALUES} values`, place);
    if (++this.#depth > MAX_DEPTH) throw syntaxError(`values are nested more than ${MAX_DEPTH} deep`, place);
    const value = this.#valueOf(node, pointer, place);
    this.#depth--;
    return value;
  }

  #valueOf(node: unknown, pointer: string, place: Place): unknown {
    if (isAlias(node)) {
      const target = node.resolve(this.#parsed);
      if (target === undefined) throw syntaxError('an alias names an anchor that does not exist', place);
      return this.value(target, pointer);
    }
    if (isMap(node)) return this.#map(node.items, pointer, place);
    if (isSeq(node)) return node.items.map((item, index) => this.value(item, pointerTo(pointer, index)));
    if (isScalar(node)) return typeof node.value === 'string' ? this.#shield.uncover(node.value) : node.value;
    if (node === null || node === undefined) return null;
    throw syntaxError('a value of a kind that a configuration cannot have', place);
  }

  #map(items: readonly { key: unknown; value: unknown }[], pointer: string, place: Place): Record<string, unknown> {
    const result: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const { key, value } of items) {
      if (!isScalar(key)) throw syntaxError('a key must be a plain name', place);
      const name = this.#shield.uncover(String(key.value));
      const inner = pointerTo(pointer, name);
      this.#keyPlaces.set(inner, this.#placeOfNode(key, pointer));
      result[name] = this.value(value, inner);
    }
    return result;
  }

  #placeOfNode(node: unknown, pointer: string): Place {
    if (typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)) {
      const [start] = node.range as readonly unknown[];
      if (typeof start === 'number') return placeAt(this.#lines, start);
    }
    return this.#keyPlaces.get(pointer) ?? this.place(pointer);
  }
}

function placeAt(lines: LineCounter, position: number): Place {
  const { line, col } = lines.linePos(position);
  return line === 0 ? START : { line, column: col };
}

function syntaxError(what: string, place: Place): TidemarkError {
  return new TidemarkError('CONFIG_SYNTAX', what, { where: { line: place.line, column: place.column } });
}

/** `BAD_INDENT`, `MISSING_CHAR`, ... in words. */
function describe(code: string): string {
  switch (code) {
    case 'BAD_INDENT':
      return 'the indentation does not fit, or a bracket or brace above is not closed';
    case 'TAB_AS_INDENT':
      return 'a tab is used as indentation; use blanks';
    case 'DUPLICATE_KEY':
      return 'the same key stands twice in one place';
    case 'MISSING_CHAR':
      return 'a closing quote or bracket, a colon or a comma is missing';
    case 'MULTILINE_IMPLICIT_KEY':
      return 'a key goes over more than one line';
    case 'BAD_ALIAS':
      return 'an anchor or alias cannot be read';
    case 'MULTIPLE_DOCS':
      return 'the file holds more than one document';
    default:
      return `not well-formed YAML (${code.toLowerCase().replaceAll('_', ' ')})`;
  }
}
