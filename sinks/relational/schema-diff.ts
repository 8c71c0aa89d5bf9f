/** What must change at a relational sink between two shapes of a table, in an order in which it can be done. Pure. */
import type { Column, TableSchema } from '../../contracts/schema.ts';

export type ShapeChange =
  | { readonly kind: 'drop-key' }
  | { readonly kind: 'drop-column'; readonly name: string }
  | { readonly kind: 'rename-column'; readonly from: string; readonly to: string }
  | { readonly kind: 'add-column'; readonly column: Column }
  | { readonly kind: 'retype'; readonly column: Column; readonly before: Column }
  | { readonly kind: 'drop-not-null'; readonly name: string }
  | { readonly kind: 'set-not-null'; readonly name: string }
  | { readonly kind: 'default'; readonly column: Column }
  | { readonly kind: 'add-key'; readonly columns: readonly string[]; readonly primary: boolean };

/** How columns of the two shapes are told to be the same: `number` within a generation, `name` across two. */
export type Identity = 'number' | 'name';

/**
 * Changes of columns and key from `before` to `after` (names of the tables are the caller's). Renames that would meet a
 * name still in use (a swap) go over a name that nobody has.
 */
export function diffSchema(before: TableSchema, after: TableSchema, by: Identity = 'number'): ShapeChange[] {
  const identity = (column: Column): number | string => column[by];
  const old = new Map(before.columns.map((column) => [identity(column), column]));
  const kept = new Set(after.columns.map(identity));
  const changes: ShapeChange[] = [];
  const keyChanges = !sameKey(before, after, identity);
  if (keyChanges && before.keyKind !== 'none') changes.push({ kind: 'drop-key' });
  for (const column of before.columns) {
    if (!kept.has(identity(column))) changes.push({ kind: 'drop-column', name: column.name });
  }
  changes.push(...renames(before, after, old, identity));
  for (const column of after.columns) {
    if (!old.has(identity(column))) changes.push({ kind: 'add-column', column });
  }
  for (const column of after.columns) {
    const was = old.get(identity(column));
    if (was !== undefined) changes.push(...columnChanges(was, column));
  }
  if (keyChanges && after.keyKind !== 'none') changes.push({ kind: 'add-key', columns: keyNames(after), primary: after.keyKind === 'primary' });
  return changes;
}

/** Names of the key columns in key order. */
export function keyNames(schema: TableSchema): string[] {
  return schema.key.flatMap((index) => schema.columns[index]?.name ?? []);
}

function columnChanges(was: Column, column: Column): ShapeChange[] {
  const changes: ShapeChange[] = [];
  if (was.nativeType !== column.nativeType) changes.push({ kind: 'retype', column, before: was });
  if (was.nullable && !column.nullable) changes.push({ kind: 'set-not-null', name: column.name });
  if (!was.nullable && column.nullable) changes.push({ kind: 'drop-not-null', name: column.name });
  if (was.constantDefault !== column.constantDefault) changes.push({ kind: 'default', column });
  return changes;
}

function sameKey(before: TableSchema, after: TableSchema, identity: (column: Column) => number | string): boolean {
  const identities = (schema: TableSchema): string =>
    JSON.stringify([schema.keyKind, schema.key.map((index) => (schema.columns[index] === undefined ? index : identity(schema.columns[index])))]);
  return identities(before) === identities(after);
}

function renames(
  before: TableSchema,
  after: TableSchema,
  old: ReadonlyMap<number | string, Column>,
  identity: (column: Column) => number | string,
): ShapeChange[] {
  const pending = after.columns.flatMap((column) => {
    const was = old.get(identity(column));
    return was !== undefined && was.name !== column.name ? [{ from: was.name, to: column.name }] : [];
  });
  const keptNames = new Set(after.columns.flatMap((column) => old.get(identity(column))?.name ?? []));
  const ordered: { from: string; to: string }[] = [];
  const aside: { from: string; to: string }[] = [];
  for (const rename of pending) {
    if (keptNames.has(rename.to)) {
      const parked = freeName(`~${aside.length}`, before, after);
      ordered.push({ from: rename.from, to: parked });
      aside.push({ from: parked, to: rename.to });
    } else ordered.push(rename);
  }
  return [...ordered, ...aside].map((rename) => ({ kind: 'rename-column', ...rename }));
}

function freeName(wanted: string, ...schemas: readonly TableSchema[]): string {
  const taken = (name: string): boolean => schemas.some((schema) => schema.columns.some((column) => column.name === name));
  let name = wanted;
  while (taken(name)) name += '~';
  return name;
}
