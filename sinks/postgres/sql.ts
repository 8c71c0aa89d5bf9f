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
