/** Which changes of a column's type leave the canonical text of every value as it is. */
import type { Column } from '../../../contracts/schema.ts';
import { baseType, type LogicalType } from '../../../contracts/types/logical-type.ts';

type TypedColumn = Pick<Column, 'type' | 'nativeType'>;

/** Digits of the largest value, the sign not counted. */
const INTEGER_DIGITS: ReadonlyMap<string, number> = new Map([['int16', 5], ['int32', 10], ['int64', 19]]);

/** Native types of one logical kind whose values are printed alike. */
const TEXT_NAMES = /^(text|character varying|citext|name|.*\.citext)(\([0-9]+\))?$/;

/**
 * True when a value of `before`, changed to the type of `after` by the cast that ALTER TABLE uses, keeps its canonical
 * text: a wider integer, a longer varchar, varchar to text, more digits, a label added to an enum.
 */
export function keepsForm(before: TypedColumn, after: TypedColumn): boolean {
  return keepsType(baseType(before.type), baseType(after.type)) && keepsNative(before, after);
}

/** Types of one kind that are printed differently: json and jsonb, macaddr and macaddr8, one unknown type and another. */
function keepsNative(before: TypedColumn, after: TypedColumn): boolean {
  const one = baseType(before.type);
  const other = baseType(after.type);
  if (one.kind !== other.kind || withoutModifier(before.nativeType) === withoutModifier(after.nativeType)) return true;
  if (before.type.kind === 'domain' || after.type.kind === 'domain') return one.kind !== 'json' && one.kind !== 'macaddr' && one.kind !== 'unknown';
  if (one.kind === 'text') return isFixed(one) === isFixed(other) && TEXT_NAMES.test(before.nativeType) && TEXT_NAMES.test(after.nativeType);
  // Arrays and named types were compared by what they are made of; a renamed type has another name.
  return ['enum', 'array', 'composite', 'range', 'multirange'].includes(one.kind);
}

function keepsType(before: LogicalType, after: LogicalType): boolean {
  const digits = INTEGER_DIGITS.get(before.kind);
  if (digits !== undefined) return integerFits(digits, after);
  switch (before.kind) {
    case 'text':
      return after.kind === 'text' && before.fixed === after.fixed && atLeast(after.length, before.length) &&
        (!before.fixed || after.length === before.length);
    case 'decimal':
      return after.kind === 'decimal' && (after.scale === null || (after.scale === before.scale && atLeast(after.precision, before.precision)));
    case 'bit':
      return after.kind === 'bit' && after.varying === before.varying && (before.varying ? atLeast(after.length, before.length) : after.length === before.length);
    case 'time': case 'timetz': case 'timestamp': case 'timestamptz': case 'interval':
      return after.kind === before.kind && after.digits >= before.digits;
    case 'enum':
      return (after.kind === 'enum' && isSubsequence(before.labels, after.labels)) || isUnlimitedText(after);
    case 'array':
      return after.kind === 'array' && keepsType(baseType(before.element), baseType(after.element));
    case 'range': case 'multirange':
      return after.kind === before.kind && same(before.element, after.element);
    case 'composite':
      return after.kind === 'composite' && after.fields.length === before.fields.length &&
        before.fields.every((field, index) => keepsType(baseType(field.type), baseType(after.fields[index]?.type ?? field.type)));
    case 'vector':
      return after.kind === 'vector' && (after.dimensions === null || after.dimensions === before.dimensions);
    case 'uuid':
      return after.kind === 'uuid' || isUnlimitedText(after);
    case 'bool': case 'int16': case 'int32': case 'int64': case 'uint64': case 'float32': case 'float64': case 'bytes':
    case 'date': case 'json': case 'inet': case 'cidr': case 'macaddr': case 'money': case 'hstore': case 'ltree':
    case 'tsvector': case 'xml': case 'geometry': case 'set': case 'domain': case 'unknown':
      return same(before, after);
  }
}

function integerFits(digits: number, after: LogicalType): boolean {
  const wider = INTEGER_DIGITS.get(after.kind);
  if (wider !== undefined) return wider >= digits;
  if (after.kind === 'decimal') return after.scale === null || after.scale === 0;
  return isUnlimitedText(after);
}

/** Null is unlimited. */
function atLeast(after: number | null, before: number | null): boolean {
  return after === null || (before !== null && after >= before);
}

function isUnlimitedText(type: LogicalType): boolean {
  return type.kind === 'text' && !type.fixed && type.length === null;
}

function isFixed(type: LogicalType): boolean {
  return type.kind === 'text' && type.fixed;
}

/** A label that is renamed or removed is printed differently in every row that has it. */
function isSubsequence(before: readonly string[], after: readonly string[]): boolean {
  let at = 0;
  for (const label of after) if (label === before[at]) at++;
  return at === before.length;
}

function withoutModifier(name: string): string {
  return name.replace(/\([0-9, -]+\)/, '');
}

function same(a: LogicalType, b: LogicalType): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
