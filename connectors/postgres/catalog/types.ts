/**
 * Native types to logical ones. Values stay the text that the server prints under the fixed session settings, `bytea`
 * apart; so a type that is not known here loses nothing, it only says less.
 */
import type { LogicalType } from '../../../contracts/types/logical-type.ts';

/** A type of the catalog, with what it is made of. */
export interface NativeType {
  readonly oid: number;
  readonly namespace: string;
  readonly name: string;
  /** base, composite, domain, enum, pseudo, range, multirange */
  readonly kind: 'b' | 'c' | 'd' | 'e' | 'p' | 'r' | 'm';
  /** Bytes in a row; -1: of varying length. */
  readonly length: number;
  /** Alignment in bytes. */
  readonly alignment: number;
  /** Element type of an array, base type of a domain, subtype of a range, range of a multirange; else 0. */
  readonly element: number;
  readonly isArray: boolean;
  /** Type modifier of a domain's base; else -1. */
  readonly elementTypmod: number;
  readonly labels: readonly string[];
  readonly fields: readonly { readonly name: string; readonly type: number; readonly typmod: number }[];
}

export type NativeTypes = ReadonlyMap<number, NativeType>;

export const BYTEA_OID = 17;

const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };

const PLAIN: ReadonlyMap<number, LogicalType> = new Map<number, LogicalType>([
  [16, { kind: 'bool' }],
  [BYTEA_OID, { kind: 'bytes' }],
  [18, { kind: 'text', length: 1, fixed: false }],
  [19, TEXT],
  [20, { kind: 'int64' }],
  [21, { kind: 'int16' }],
  [23, { kind: 'int32' }],
  [25, TEXT],
  [26, { kind: 'int64' }],
  [28, { kind: 'int64' }],
  [114, { kind: 'json' }],
  [142, { kind: 'xml' }],
  [650, { kind: 'cidr' }],
  [700, { kind: 'float32' }],
  [701, { kind: 'float64' }],
  [774, { kind: 'macaddr' }],
  [790, { kind: 'money' }],
  [829, { kind: 'macaddr' }],
  [869, { kind: 'inet' }],
  [1082, { kind: 'date' }],
  [2950, { kind: 'uuid' }],
  [3614, { kind: 'tsvector' }],
  [3802, { kind: 'json' }],
  [5069, { kind: 'uint64' }],
]);

const TIMES: ReadonlyMap<number, 'time' | 'timetz' | 'timestamp' | 'timestamptz'> = new Map([
  [1083, 'time'],
  [1114, 'timestamp'],
  [1184, 'timestamptz'],
  [1266, 'timetz'],
]);

const MAX_DIGITS = 6;
/** Bytes that a type modifier counts besides its meaning, for the types of varying length. */
const VARHDRSZ = 4;
/** Deeper nesting than any table can have: a catalog that is not consistent must not recurse for ever. */
const MAX_DEPTH = 64;

/**
 * The logical type of a column or element. `nativeName` is the type as DDL writes it, for types that are not known.
 */
export function logicalType(types: NativeTypes, oid: number, typmod: number, nativeName: string, depth = 0): LogicalType {
  const known = builtIn(oid, typmod);
  if (known !== null) return known;
  const type = types.get(oid);
  if (type === undefined || depth > MAX_DEPTH) return { kind: 'unknown', nativeType: nativeName };
  const name = qualifiedName(type);
  const element = (): LogicalType => logicalType(types, type.element, -1, nameOf(types, type.element), depth + 1);
  if (type.isArray) {
    return { kind: 'array', element: logicalType(types, type.element, typmod, elementName(nativeName), depth + 1) };
  }
  switch (type.kind) {
    case 'e':
      return { kind: 'enum', name, labels: type.labels };
    case 'd':
      return { kind: 'domain', name, base: logicalType(types, type.element, type.elementTypmod, nameOf(types, type.element), depth + 1) };
    case 'r':
      return { kind: 'range', name, element: element() };
    case 'm': {
      const range = types.get(type.element);
      const inner = range?.element ?? 0;
      return { kind: 'multirange', name, element: logicalType(types, inner, -1, nameOf(types, inner), depth + 1) };
    }
    case 'c': {
      const fields = type.fields.map((field) => ({
        name: field.name,
        type: logicalType(types, field.type, field.typmod, nameOf(types, field.type), depth + 1),
      }));
      return { kind: 'composite', name, fields };
    }
    case 'b':
      return extensionType(type, typmod) ?? { kind: 'unknown', nativeType: nativeName };
    case 'p':
      return { kind: 'unknown', nativeType: nativeName };
  }
}

function builtIn(oid: number, typmod: number): LogicalType | null {
  const plain = PLAIN.get(oid);
  if (plain !== undefined) return plain;
  const time = TIMES.get(oid);
  if (time !== undefined) return { kind: time, digits: typmod < 0 ? MAX_DIGITS : typmod };
  switch (oid) {
    case 1042:
    case 1043:
      return { kind: 'text', length: typmod < VARHDRSZ ? null : typmod - VARHDRSZ, fixed: oid === 1042 };
    case 1186: {
      const digits = typmod & 0xffff;
      return { kind: 'interval', digits: typmod < 0 || digits > MAX_DIGITS ? MAX_DIGITS : digits };
    }
    case 1560:
    case 1562:
      return { kind: 'bit', length: typmod < 0 ? null : typmod, varying: oid === 1562 };
    case 1700:
      return numeric(typmod);
    default:
      return null;
  }
}

/** Precision in the high half; scale in the low 11 bits, with sign since PostgreSQL 15. */
function numeric(typmod: number): LogicalType {
  if (typmod < VARHDRSZ) return { kind: 'decimal', precision: null, scale: null };
  const packed = typmod - VARHDRSZ;
  return { kind: 'decimal', precision: (packed >>> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 };
}

/** Types of the usual extensions, known by name whatever schema the extension was put into. */
function extensionType(type: NativeType, typmod: number): LogicalType | null {
  switch (type.name) {
    case 'hstore':
      return { kind: 'hstore' };
    case 'ltree':
      return { kind: 'ltree' };
    case 'citext':
      return TEXT;
    case 'vector':
      return { kind: 'vector', dimensions: typmod < 0 ? null : typmod };
    case 'geometry':
    case 'geography':
      return { kind: 'geometry' };
    default:
      return null;
  }
}

function qualifiedName(type: NativeType): string {
  return type.namespace === 'pg_catalog' ? type.name : `${type.namespace}.${type.name}`;
}

function nameOf(types: NativeTypes, oid: number): string {
  const type = types.get(oid);
  return type === undefined ? `type ${oid}` : qualifiedName(type);
}

function elementName(arrayName: string): string {
  return arrayName.endsWith('[]') ? arrayName.slice(0, -2) : arrayName;
}
