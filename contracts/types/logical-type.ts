/**
 * The canonical logical types. A value is kept as canonical text (cell kind 't') or, for `bytes`, as raw bytes (cell
 * kind 'b'). Canonical text is what Postgres prints under the session settings of docs (DateStyle ISO, IntervalStyle
 * iso... see connectors/postgres/session.ts): bool `t`/`f`, integers in decimal, floats in shortest round-trip form
 * (`NaN`, `Infinity`, `-Infinity`), `2026-11-21`, `12:30:00.000001`, timestamptz in UTC with `+00`, json as its source
 * text, arrays and composites in Postgres' literal syntax, geometry as hex EWKB.
 */
export type LogicalType =
  | { readonly kind: SimpleKind }
  /** precision and scale null: unconstrained. */
  | { readonly kind: 'decimal'; readonly precision: number | null; readonly scale: number | null }
  /** length in characters; null: unlimited. fixed: padded with blanks (char(n)). */
  | { readonly kind: 'text'; readonly length: number | null; readonly fixed: boolean }
  | { readonly kind: 'bit'; readonly length: number | null; readonly varying: boolean }
  /** digits of fractional seconds, 0 .. 6. */
  | { readonly kind: 'time' | 'timetz' | 'timestamp' | 'timestamptz' | 'interval'; readonly digits: number }
  | { readonly kind: 'enum' | 'set'; readonly name: string; readonly labels: readonly string[] }
  | { readonly kind: 'array'; readonly element: LogicalType }
  | { readonly kind: 'range' | 'multirange'; readonly name: string; readonly element: LogicalType }
  | { readonly kind: 'composite'; readonly name: string; readonly fields: readonly { name: string; type: LogicalType }[] }
  | { readonly kind: 'domain'; readonly name: string; readonly base: LogicalType }
  | { readonly kind: 'vector'; readonly dimensions: number | null }
  | { readonly kind: 'unknown'; readonly nativeType: string };

export type SimpleKind =
  | 'bool' | 'int16' | 'int32' | 'int64' | 'uint64' | 'float32' | 'float64' | 'bytes' | 'uuid' | 'date' | 'json'
  | 'inet' | 'cidr' | 'macaddr' | 'money' | 'hstore' | 'ltree' | 'tsvector' | 'xml' | 'geometry';

/** The type under any domains. */
export function baseType(type: LogicalType): LogicalType {
  return type.kind === 'domain' ? baseType(type.base) : type;
}
