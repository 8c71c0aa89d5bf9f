import { bytesOfCharacter, charsetOfCollation } from './charsets.ts';
import { type DataType, isIntegerBase } from './data-type.ts';
import type { ColumnShape } from './shape.ts';
import { typeOfText } from './text-type.ts';
import { LONG_SIZES, labelOf } from './type-text.ts';

/**
 * Whether every value that a column may hold has the same canonical form after the column was changed, so that rows
 * which are known already need not be read again. False where it is not sure. `strict`: the statement was run under a
 * strict `sql_mode`, which refuses to make a NULL into something else.
 */
export function keepsValues(from: ColumnShape, to: ColumnShape, strict: boolean): boolean {
  if (from.generated !== 'no' || to.generated !== 'no') return false;
  // Zeros and NULLs are numbered.
  if (to.autoIncrement && !from.autoIncrement) return false;
  if (from.nullable && !to.nullable && (!strict || to.type.startsWith('timestamp'))) return false;
  if (from.type === to.type && from.collation === to.collation) return true;
  const [before, after] = [typeOfText(from.type), typeOfText(to.type)];
  return before !== null && after !== null && keepsType(before, after, charsetOf(from), charsetOf(to));
}

function charsetOf({ collation }: ColumnShape): string {
  return collation === null ? 'binary' : charsetOfCollation(collation);
}

const INTEGER_BITS: Readonly<Record<string, number>> = { tinyint: 8, smallint: 16, mediumint: 24, int: 32, bigint: 64 };
const GEOMETRIES: ReadonlySet<string> = new Set(['point', 'linestring', 'polygon', 'multipoint', 'multilinestring', 'multipolygon', 'geometrycollection', 'geomcollection']);

function keepsType(from: DataType, to: DataType, charsetFrom: string, charsetTo: string): boolean {
  if (isIntegerBase(from.base)) return isIntegerBase(to.base) && holdsIntegers(from, to);
  switch (from.base) {
    case 'decimal':
      return to.base === 'decimal' && from.scale === to.scale && (to.length ?? 0) >= (from.length ?? 0) && (from.unsigned || !to.unsigned);
    case 'float':
    case 'double':
      return to.base === from.base && from.length === to.length && from.scale === to.scale && (from.unsigned || !to.unsigned);
    case 'time':
    case 'datetime':
    case 'timestamp':
      return to.base === from.base && (to.length ?? 0) >= (from.length ?? 0);
    case 'enum':
    case 'set':
      return to.base === from.base && keepsLabels(from, to);
    case 'bit':
    case 'vector':
      return to.base === from.base && to.length === from.length;
    default:
      if (GEOMETRIES.has(from.base) && to.base === 'geometry') return true;
      return isBytes(from.base) ? holdsBytes(from, to) : isCharacters(from.base) ? holdsText(from, to, charsetFrom, charsetTo) : from.base === to.base;
  }
}

function holdsIntegers(from: DataType, to: DataType): boolean {
  const [before, after] = [INTEGER_BITS[from.base] ?? 0, INTEGER_BITS[to.base] ?? 0];
  if (from.unsigned === to.unsigned) return after >= before;
  return from.unsigned && after > before;
}

/** Values are changed by their labels. The bits of a set are printed in the order of its labels. */
function keepsLabels(from: DataType, to: DataType): boolean {
  const [before, after] = [from.members.map(labelOf), to.members.map(labelOf)];
  const places = before.map((label) => after.indexOf(label));
  return places.every((place, at) => place >= 0 && (from.base === 'enum' || at === 0 || place > (places[at - 1] ?? -1)));
}

function isBytes(base: string): boolean {
  return base.endsWith('binary') || base.endsWith('blob');
}

function isCharacters(base: string): boolean {
  return base.endsWith('char') || base.endsWith('text');
}

/** Bytes, or for CHAR and VARCHAR characters, that a value has at most. */
function capacity(type: DataType): number {
  const long = /^(tiny|medium|long|)(?:text|blob)$/.exec(type.base);
  return long === null ? (type.length ?? 1) : (LONG_SIZES.find(([prefix]) => prefix === long[1])?.[1] ?? 0);
}

function isLong(base: string): boolean {
  return base.endsWith('text') || base.endsWith('blob');
}

/** A BINARY that becomes longer gets zeros behind its values; one that becomes anything else keeps those it has. */
function holdsBytes(from: DataType, to: DataType): boolean {
  if (!isBytes(to.base)) return false;
  if (to.base === 'binary') return from.base === 'binary' && from.length === to.length;
  return (isLong(to.base) || !isLong(from.base)) && capacity(to) >= capacity(from);
}

/** A CHAR has no blanks at its end; a VARCHAR made into one loses them. */
function holdsText(from: DataType, to: DataType, charsetFrom: string, charsetTo: string): boolean {
  if (!isCharacters(to.base) || !keepsCharacters(charsetFrom, charsetTo)) return false;
  if (to.base === 'char') return from.base === 'char' && capacity(to) >= capacity(from);
  if (!isLong(to.base)) return !isLong(from.base) && capacity(to) >= capacity(from);
  const grows = charsetFrom === charsetTo || charsetFrom === 'utf8mb3' ? 1 : bytesOfCharacter(charsetTo);
  const needed = isLong(from.base) ? capacity(from) * grows : capacity(from) * bytesOfCharacter(charsetTo);
  return to.base === 'longtext' || capacity(to) >= needed;
}

/** Every character of the one is in the other, and every byte of the one is a character. */
function keepsCharacters(from: string, to: string): boolean {
  return from === to || (to === 'utf8mb4' && (from === 'utf8mb3' || from === 'latin1')) || (to === 'utf8mb3' && from === 'latin1');
}
