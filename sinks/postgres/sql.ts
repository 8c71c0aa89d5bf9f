import type { TargetName } from '../relational/names.ts';

/** An identifier, always quoted. */
export function ident(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A string literal that means the same under every `standard_conforming_strings`. */
export function literal(text: string): string {
  const quoted = text.replaceAll("'", "''");
  return text.includes('\\') ? `E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`;
}

export function qualified(name: TargetName): string {
  return `${ident(name.schema)}.${ident(name.name)}`;
}

/** A table as statements on its own rows name it: without tables that inherit from it, but with its partitions. */
export function rowsOf(table: { readonly name: TargetName; readonly kind: string }): string {
  return table.kind === 'p' ? qualified(table.name) : `ONLY ${qualified(table.name)}`;
}
