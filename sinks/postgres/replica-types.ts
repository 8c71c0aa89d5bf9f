/** The types of users that tables at the replica need: made, and kept in step. */
import type pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { ident } from './sql.ts';
import { compositeChanges, type CompositeField, creatableTypes, enumChanges, quotedTypeName, splitTypeName } from './type-sql.ts';

/** `CREATE SCHEMA IF NOT EXISTS` asks for the right to create one even where it exists. */
export async function createSchema(client: pg.ClientBase, schema: string): Promise<void> {
  const { rows } = await client.query('SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1', [schema]);
  if (rows.length === 0) await client.query(`CREATE SCHEMA ${ident(schema)}`);
}

/** Makes the types that the schema names and the replica lacks; brings composite types to the fields that they have now. */
export async function createMissingTypes(client: pg.ClientBase, schema: TableSchema): Promise<void> {
  for (const type of schema.columns.flatMap((column) => creatableTypes(column.type))) {
    if (!(await typeExists(client, type.name))) {
      await createSchema(client, splitTypeName(type.name).schema);
      await client.query(type.create);
    } else if (type.fields !== null) {
      await changeComposite(client, type.name, type.fields);
    }
  }
}

async function typeExists(client: pg.ClientBase, typeName: string): Promise<boolean> {
  const { schema, name } = splitTypeName(typeName);
  const { rows } = await client.query(
    'SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1 AND t.typname = $2',
    [schema, name],
  );
  return rows.length > 0;
}

async function changeComposite(client: pg.ClientBase, typeName: string, fields: readonly CompositeField[]): Promise<void> {
  const { schema, name } = splitTypeName(typeName);
  const { rows } = await client.query<{ attname: string }>(
    `SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'c' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
    [schema, name],
  );
  // A row type of a table changes with its table.
  if (rows.length === 0) return;
  const changes = compositeChanges(quotedTypeName(typeName), rows.map((row) => row.attname), fields);
  if (changes === null) throw new TidemarkError('REPLICA_TYPE', `the type ${typeName} has its fields in another order at the replica`);
  for (const sql of changes) await client.query(sql);
}

/**
 * Adds to the replica's enums the labels that the schema has and they lack, each in its place; renames one that stands
 * where a new one is. To be run outside of the batch's transaction: a label can be used only once it is committed.
 * Idempotent.
 */
export async function addEnumLabels(client: pg.ClientBase, schema: TableSchema): Promise<void> {
  for (const { name: typeName, labels } of schema.columns.flatMap((column) => creatableTypes(column.type))) {
    if (labels === null) continue;
    const { schema: namespace, name } = splitTypeName(typeName);
    const { rows } = await client.query<{ enumlabel: string }>(
      `SELECT e.enumlabel FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1 AND t.typname = $2 ORDER BY e.enumsortorder`,
      [namespace, name],
    );
    if (rows.length === 0) continue;
    for (const sql of enumChanges(quotedTypeName(typeName), rows.map((row) => row.enumlabel), labels)) await client.query(sql);
  }
}
