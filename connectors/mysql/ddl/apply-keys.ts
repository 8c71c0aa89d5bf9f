import { foldCase, sameName } from './context.ts';
import type { KeyDefinition } from './key-definition.ts';
import type { ColumnShape, KeyShape } from './shape.ts';
import { doesNotFit } from './shape-error.ts';

export const PRIMARY = 'PRIMARY';

/** Characters or bytes that a whole value of the column takes, where a prefix is possible; null: no prefix is, or no bound. */
function wholeLength(column: ColumnShape): number | null {
  const sized = /^(?:var)?(?:char|binary)\((\d+)\)/.exec(column.type);
  return sized === null ? null : Number(sized[1]);
}

function takesPrefix(column: ColumnShape): boolean {
  return /char|binary|text|blob|geom|point|linestring|polygon/.test(column.type);
}

/** A prefix as long as the column, or of a type that has none, is the whole value. */
export function prefixLength(length: number | null, column: ColumnShape): number | null {
  if (length === null || !takesPrefix(column)) return null;
  const whole = wholeLength(column);
  return whole !== null && length >= whole ? null : length;
}

/** Adds a key as the server does: it is named if it has no name, and takes the place of one that was made for a foreign key. */
export function addKey(keys: KeyShape[], definition: KeyDefinition, columns: readonly ColumnShape[]): void {
  if (definition.kind === 'primary' && keys.some((key) => key.kind === 'primary') && definition.ifNotExists) return;
  const parts = definition.parts.map(({ column, length }) => {
    if (column === null) return { column: null, length: null };
    const found = columns.find((candidate) => sameName(candidate.name, column));
    if (found === undefined) throw doesNotFit(`a key is made of the column ${column}, which is not there`);
    return { column: found.number, length: prefixLength(length, found) };
  });
  if (definition.generated && keys.some((key) => serves(key.parts, parts))) return;
  if (!definition.generated) dropServed(keys, parts);
  const name = definition.kind === 'primary' ? PRIMARY : (definition.name ?? freeName(keys, firstName(definition, columns)));
  if (keys.some((key) => sameName(key.name, name))) throw doesNotFit(`a key ${name} is made, which is there already`);
  keys.push({ name, kind: definition.kind, parts, generated: definition.generated });
}

/** An index of which the foreign key's columns are the first ones. */
function serves(index: KeyShape['parts'], wanted: KeyShape['parts']): boolean {
  return wanted.length <= index.length && wanted.every((part, at) => part.column === index[at]?.column && index[at]?.length === null);
}

function dropServed(keys: KeyShape[], parts: KeyShape['parts']): void {
  for (let at = keys.length - 1; at >= 0; at--) {
    const key = keys[at];
    if (key !== undefined && key.generated && serves(parts, key.parts)) keys.splice(at, 1);
  }
}

function firstName(definition: KeyDefinition, columns: readonly ColumnShape[]): string {
  const written = definition.parts[0]?.column ?? null;
  if (written === null) return 'functional_index';
  return columns.find((column) => sameName(column.name, written))?.name ?? written;
}

/** `a`, `a_2`, `a_3`, …: the first that no key before has. A column called `primary` gives `primary_2`. */
function freeName(keys: readonly KeyShape[], base: string): string {
  const taken = new Set([PRIMARY, ...keys.map((key) => key.name)].map(foldCase));
  if (!taken.has(foldCase(base))) return base;
  for (let suffix = 2; ; suffix++) {
    if (!taken.has(foldCase(`${base}_${suffix}`))) return `${base}_${suffix}`;
  }
}
