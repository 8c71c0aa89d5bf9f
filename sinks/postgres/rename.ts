/** Tables of the replica that get another name. A name that is still in use changes hands, as it did at the source. */
import type pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { printedName, sameName, type TargetName } from '../relational/names.ts';
import { createSchema } from './replica-types.ts';
import { ident, qualified } from './sql.ts';
import { identityConstraint } from './table-sql.ts';

/** Bytes of a table's name that a name made from it keeps: Postgres cuts names at 63. */
const KEPT_BYTES = 40;

/** Which table of the log a table of the replica is. */
interface Owner {
  readonly sink: string;
  readonly tableId: number;
}

/**
 * Brings a table of the sink to another name, from wherever it stands. A table of the sink that has the name still is
 * put aside: its own change of name is to come, or it is gone from the source and keeps its rows under the new name.
 * @param from where it stands if nobody has put it aside
 * @throws TidemarkError `REPLICA_TABLE_TAKEN` when something that is not the sink's has the name
 */
export async function moveTable(client: pg.ClientBase, sink: string, tableId: number, from: TargetName, to: TargetName): Promise<void> {
  const at = await placeOf(client, sink, tableId, from);
  if (sameName(at, to)) return;
  await makeRoom(client, sink, to);
  await renameTo(client, at, to, tableId);
  await client.query('DELETE FROM tidemark.mirrored_table WHERE schema_name = $1 AND table_name = $2', [at.schema, at.name]);
}

/** Where the sink's own records say that the table stands. @throws TidemarkError `REPLICA_SHAPE` when another has its place */
async function placeOf(client: pg.ClientBase, sink: string, tableId: number, from: TargetName): Promise<TargetName> {
  const { rows } = await client.query<{ schema_name: string; table_name: string }>(
    'SELECT schema_name, table_name FROM tidemark.mirrored_table WHERE sink = $1 AND table_id = $2',
    [sink, tableId],
  );
  const [row] = rows;
  if (row !== undefined) return { schema: row.schema_name, name: row.table_name };
  const other = await ownerOf(client, from);
  if (other === null) return from;
  throw new TidemarkError('REPLICA_SHAPE', `${printedName(from)} holds another table meanwhile, and the rows that it had are gone`);
}

/** A table of the sink that has the name gives it up. @throws TidemarkError `REPLICA_TABLE_TAKEN` when it is not the sink's */
export async function makeRoom(client: pg.ClientBase, sink: string, name: TargetName): Promise<void> {
  const { rows } = await client.query(
    'SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2',
    [name.schema, name.name],
  );
  if (rows.length === 0) return;
  const owner = await ownerOf(client, name);
  if (owner?.sink !== sink) {
    throw new TidemarkError('REPLICA_TABLE_TAKEN', `${printedName(name)} exists already, and a table of the source has got that name`, {
      remedy: `Rename or drop ${qualified(name)}, or map the source table to another name with \`as\`.`,
    });
  }
  const aside: TargetName = { schema: name.schema, name: asideName(name.name, owner.tableId) };
  await renameTo(client, name, aside, owner.tableId);
  await client.query('UPDATE tidemark.mirrored_table SET table_name = $3 WHERE schema_name = $1 AND table_name = $2', [name.schema, name.name, aside.name]);
}

/** Over a name that nobody has: in the schemas on the way somebody else may have the old name or the new one. */
async function renameTo(client: pg.ClientBase, from: TargetName, to: TargetName, tableId: number): Promise<void> {
  let at = from;
  const rename = async (name: string): Promise<void> => {
    if (name === at.name) return;
    await client.query(`ALTER TABLE ${qualified(at)} RENAME TO ${ident(name)}`);
    at = { schema: at.schema, name };
  };
  if (from.schema !== to.schema) {
    await createSchema(client, to.schema);
    await rename(asideName(from.name, tableId));
    await client.query(`ALTER TABLE ${qualified(at)} SET SCHEMA ${ident(to.schema)}`);
    at = { schema: to.schema, name: at.name };
  }
  await rename(to.name);
  const [was, is] = [identityConstraint(from), identityConstraint(to)];
  const { rows } = await client.query('SELECT FROM pg_catalog.pg_constraint WHERE conrelid = $1::regclass AND conname = $2', [qualified(to), was]);
  if (was !== is && rows.length > 0) await client.query(`ALTER TABLE ${qualified(to)} RENAME CONSTRAINT ${ident(was)} TO ${ident(is)}`);
}

async function ownerOf(client: pg.ClientBase, name: TargetName): Promise<Owner | null> {
  const { rows } = await client.query<{ sink: string; table_id: string }>(
    'SELECT sink, table_id::text FROM tidemark.mirrored_table WHERE schema_name = $1 AND table_name = $2',
    [name.schema, name.name],
  );
  const [row] = rows;
  return row === undefined ? null : { sink: row.sink, tableId: Number(row.table_id) };
}

/** A name of its own for each table of a log. */
function asideName(name: string, tableId: number): string {
  return `${Buffer.from(name, 'utf8').subarray(0, KEPT_BYTES).toString('utf8').replace(/\uFFFD$/, '')}_tidemark_${tableId}`;
}
