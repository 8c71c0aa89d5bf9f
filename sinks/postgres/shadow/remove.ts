/** Removing a shadow: whole or half-made, given up or swapped in. Every step may be done again. */
import type pg from 'pg';
import { sqlState } from '../errors.ts';
import { endOlderSessions } from '../opening.ts';
import type { Session } from '../session.ts';
import { ident, qualified } from '../sql.ts';
import { readNotes } from './notes.ts';
import type { ShadowNames } from './shadow-names.ts';

/** Tables dropped in one transaction: each takes locks that the server has a limited number of. */
const TABLES_AT_ONCE = 50;
const PATIENCE_MS = 5_000;
const LAST_PATIENCE_MS = 30_000;

/** Gives the shadow up: its checkpoint first, so that nothing is applied to it any more. */
export async function discardShadow(session: Session, names: ShadowNames): Promise<void> {
  if (await hasCheckpoints(session.client)) {
    try {
      await removeCheckpoint(session, names, PATIENCE_MS);
    } catch (error) {
      if (sqlState(error) !== '55P03') throw error;
      await endOlderSessions(session, names.checkpoint);
      await removeCheckpoint(session, names, LAST_PATIENCE_MS);
    }
  }
  const notes = await readNotes(session.client, names);
  const wasSwapped = notes.some((note) => note.kind === 'swapped');
  await removeTables(session.client, names);
  for (const { kind, name } of wasSwapped ? [] : notes.toSorted((a, b) => (a.kind === b.kind ? 0 : a.kind === 'type' ? -1 : 1))) {
    await dropUnlessUsed(session.client, `DROP ${kind === 'type' ? 'TYPE' : 'SCHEMA'} IF EXISTS ${name}`);
  }
  await session.client.query(`DROP SCHEMA IF EXISTS ${ident(names.schema)} CASCADE`);
}

/** True when the sinks of this database have their tables of checkpoints. */
export async function hasCheckpoints(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ there: boolean }>("SELECT pg_catalog.to_regclass('tidemark.checkpoint') IS NOT NULL AND pg_catalog.to_regclass('tidemark.mirrored_table') IS NOT NULL AS there");
  return rows[0]?.there === true;
}

async function removeCheckpoint({ client }: Session, names: ShadowNames, patienceMs: number): Promise<void> {
  await client.query(`BEGIN; SET LOCAL lock_timeout = ${patienceMs}`);
  try {
    await client.query('DELETE FROM tidemark.checkpoint WHERE sink = $1', [names.checkpoint]);
    await client.query('DELETE FROM tidemark.mirrored_table WHERE sink = $1', [names.checkpoint]);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

/** All but the notes, which the rest of the removal goes by. */
async function removeTables(client: pg.ClientBase, { schema }: ShadowNames): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'notes' ORDER BY c.oid`,
    [schema],
  );
  for (let at = 0; at < rows.length; at += TABLES_AT_ONCE) {
    const tables = rows.slice(at, at + TABLES_AT_ONCE).map(({ name }) => qualified({ schema, name }));
    await client.query(`DROP TABLE IF EXISTS ${tables.join(', ')} CASCADE`);
  }
}

/** Somebody may have come to use what was made for the shadow: then it stays. */
async function dropUnlessUsed(client: pg.ClientBase, sql: string): Promise<void> {
  try {
    await client.query(sql);
  } catch (error) {
    if (sqlState(error) !== '2BP01') throw error;
  }
}
