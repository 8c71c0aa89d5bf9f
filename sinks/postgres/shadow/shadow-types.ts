/**
 * Types of users in the shadow. It is filled from long ago, when a type may have had other labels or fields than the
 * tables have that are served meanwhile and use the same type: it must not be changed. Where it is not as the log says,
 * the shadow's column is of text until the swap.
 */
import type pg from 'pg';
import type { Column, TableSchema } from '../../../contracts/schema.ts';
import type { ReplicaTable } from '../replica-table.ts';
import { createSchema } from '../replica-types.ts';
import type { TypeRules } from '../sink-target.ts';
import { ident, literal, qualified } from '../sql.ts';
import { type CreatableType, creatableTypes, enumChanges, quotedTypeName, splitTypeName } from '../type-sql.ts';
import { addNote } from './notes.ts';
import type { ShadowNames } from './shadow-names.ts';

export function shadowTypes(names: ShadowNames): TypeRules {
  return { prepare: () => Promise.resolve(), provide: (client, schema) => provide(client, names, schema) };
}

/** Types that are missing are made and noted; columns of types that are not as the schema has them become text. */
async function provide(client: pg.ClientBase, names: ShadowNames, schema: TableSchema): Promise<TableSchema> {
  if (!hasUserTypes(schema)) return schema;
  const columns: Column[] = [];
  for (const column of schema.columns) {
    const fits = await provideType(client, names, column);
    columns.push(fits ? column : { ...column, nativeType: 'text', type: { kind: 'text', length: null, fixed: false } });
  }
  return { ...schema, columns };
}

export function hasUserTypes(schema: Pick<TableSchema, 'columns'>): boolean {
  return schema.columns.some((column) => creatableTypes(column.type).length > 0);
}

/** Every type of users in the column is at the replica as the schema has it. */
export async function typesFit(client: pg.ClientBase, column: Column): Promise<boolean> {
  for (const type of creatableTypes(column.type)) if ((await stateOf(client, type)) !== 'same') return false;
  return true;
}

async function provideType(client: pg.ClientBase, names: ShadowNames, column: Column): Promise<boolean> {
  for (const type of creatableTypes(column.type)) {
    const state = await stateOf(client, type);
    if (state === 'other') return false;
    if (state === 'same') continue;
    await makeType(client, names, type);
  }
  return true;
}

/** Makes a type that is missing, and notes it: it goes again if the rebuild is given up. */
async function makeType(client: pg.ClientBase, names: ShadowNames, type: CreatableType): Promise<void> {
  const { schema } = splitTypeName(type.name);
  const { rows } = await client.query('SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1', [schema]);
  if (rows.length === 0) {
    await createSchema(client, schema);
    await addNote(client, names, { kind: 'schema', name: ident(schema) });
  }
  await client.query(type.create);
  await addNote(client, names, { kind: 'type', name: quotedTypeName(type.name) });
}

type TypeState = 'missing' | 'same' | 'other';

async function stateOf(client: pg.ClientBase, type: CreatableType): Promise<TypeState> {
  const { schema, name } = splitTypeName(type.name);
  const { rows } = await client.query<{ labels: string[]; fields: string[] }>(
    `SELECT ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) AS labels,
            ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS fields
       FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1 AND t.typname = $2`,
    [schema, name],
  );
  const found = rows[0];
  if (found === undefined) return 'missing';
  if (type.labels !== null && !type.labels.every((label) => found.labels.includes(label))) return 'other';
  if (type.fields !== null && JSON.stringify(type.fields.map((field) => field.name)) !== JSON.stringify(found.fields)) return 'other';
  return 'same';
}

export interface EnumStatements {
  /** A label that comes can be used only once it is committed. It harms nobody. */
  readonly before: readonly string[];
  /** Labels that get another name do so together with the rows. */
  readonly within: readonly string[];
}

/** What brings the enums of a table to the labels that it has as of the swap. */
export async function enumStatements(client: pg.ClientBase, schema: TableSchema): Promise<EnumStatements> {
  const before: string[] = [];
  const within: string[] = [];
  for (const type of schema.columns.flatMap((column) => creatableTypes(column.type))) {
    const labels = type.labels === null ? [] : await labelsOf(client, type);
    if (type.labels === null || labels.length === 0) continue;
    const changes = enumChanges(quotedTypeName(type.name), labels, type.labels);
    // A label's place is said by its neighbours: with new names these are all of one piece.
    const renames = changes.every((sql) => sql.includes(' RENAME VALUE '));
    (renames ? within : before).push(...changes);
  }
  return { before, within };
}

async function labelsOf(client: pg.ClientBase, type: CreatableType): Promise<string[]> {
  const { schema, name } = splitTypeName(type.name);
  const { rows } = await client.query<{ label: string }>(
    `SELECT e.enumlabel AS label FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid
       JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1 AND t.typname = $2 ORDER BY e.enumsortorder`,
    [schema, name],
  );
  return rows.map((row) => row.label);
}

/** Columns of types of users that the shadow has as text. */
export function textColumns(columns: readonly Column[], shadow: ReplicaTable): Column[] {
  const texts = new Set(shadow.columns.filter((column) => column.castType === 'pg_catalog.text').map((column) => column.name));
  return columns.filter((column) => texts.has(column.name) && column.nativeType !== 'text' && hasUserTypes({ columns: [column] }));
}

/** Gives columns of text their types; null: there are none. */
export function retypeSql(shadow: ReplicaTable, columns: readonly Column[]): string | null {
  if (columns.length === 0) return null;
  const changes = columns.flatMap((column) => {
    const name = ident(column.name);
    const retype = [`ALTER COLUMN ${name} DROP DEFAULT`, `ALTER COLUMN ${name} TYPE ${column.nativeType} USING ${name}::${column.nativeType}`];
    if (column.constantDefault !== null) retype.push(`ALTER COLUMN ${name} SET DEFAULT ${literal(column.constantDefault)}::${column.nativeType}`);
    return retype;
  });
  return `ALTER TABLE ${qualified(shadow.name)} ${changes.join(', ')}`;
}
