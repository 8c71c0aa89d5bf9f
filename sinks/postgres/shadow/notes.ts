/** Notes that the shadow keeps in its own schema: what was made for it elsewhere, and that it was swapped in. */
import type pg from 'pg';
import { createSchema } from '../replica-types.ts';
import { qualified } from '../sql.ts';
import { notesTable, type ShadowNames } from './shadow-names.ts';

/** `type` and `schema`: made for the shadow outside of its schema. `swapped`: what is left of it is to be removed. */
export type NoteKind = 'type' | 'schema' | 'swapped';

export interface Note {
  readonly kind: NoteKind;
  /** The quoted name of the object; the offset of a swap. */
  readonly name: string;
}

/** Part of the transaction that is open, or one of its own. */
export async function addNote(client: pg.ClientBase, names: ShadowNames, note: Note): Promise<void> {
  const table = qualified(notesTable(names));
  await createSchema(client, names.schema);
  await client.query(`CREATE TABLE IF NOT EXISTS ${table} (kind text NOT NULL, name text NOT NULL, PRIMARY KEY (kind, name))`);
  await client.query(`INSERT INTO ${table} VALUES ($1, $2) ON CONFLICT DO NOTHING`, [note.kind, note.name]);
}

export async function readNotes(client: pg.ClientBase, names: ShadowNames): Promise<Note[]> {
  const table = notesTable(names);
  const { rows } = await client.query<{ there: boolean }>('SELECT pg_catalog.to_regclass($1) IS NOT NULL AS there', [qualified(table)]);
  if (rows[0]?.there !== true) return [];
  const found = await client.query<Note>(`SELECT kind, name FROM ${qualified(table)} ORDER BY kind, name`);
  return found.rows;
}
