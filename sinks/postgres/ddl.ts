import type pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { decodeSchema, encodeSchema, tableName, type TableSchema } from '../../contracts/schema.ts';
import { type NameRules, printedName, targetName, type TargetName } from '../relational/names.ts';
import { diffSchema } from '../relational/schema-diff.ts';
import { sinkError, sqlState } from './errors.ts';
import { moveTable } from './rename.ts';
import { readReplicaTable, type ReplicaTable } from './replica-table.ts';
import { qualified, rowsOf } from './sql.ts';
import { alterSteps, type AlterStep, createTableSql, identityConstraint, keySql, notNullStep } from './table-sql.ts';
import { createSchema } from './replica-types.ts';
import type { TypeRules } from './sink-target.ts';

export interface DdlContext {
  readonly client: pg.ClientBase;
  readonly sink: string;
  readonly names: NameRules;
  readonly types: TypeRules;
  /** Schemas that are known to be there, in the transaction that is open. */
  readonly schemas: Set<string>;
}

/** A table that a sink has made or filled. */
interface Registered {
  readonly sink: string;
  readonly shape: TableSchema;
}

/**
 * When a table that is made gets its key. `loaded`: once its rows are there, by {@link keyLoadedTable}; until then the
 * sink's own record of its shape has no key either, so that whatever comes in between is known to lack it.
 */
export type KeyTime = 'at-once' | 'loaded';

/**
 * Makes the replica's table follow a schema step, in the transaction that is open on the client.
 * @throws TidemarkError `REPLICA_TABLE_TAKEN`, `REPLICA_TYPE`, `REPLICA_DENIED`, `REPLICA_BUSY` (lock timeout)
 */
export async function applySchemaStep(context: DdlContext, before: TableSchema | null, after: TableSchema, keyTime: KeyTime): Promise<void> {
  const where = { table: tableName(after) };
  const name = targetName(context.names, after);
  try {
    const shape = await context.types.provide(context.client, after);
    if (before === null) await register(context, name, await beginGeneration(context, name, shape, keyTime));
    else {
      await changeShape(context, targetName(context.names, before), name, before, shape);
      await register(context, name, shape);
    }
  } catch (error) {
    throw sinkError(error, where);
  }
}

/**
 * The key of a table whose rows were to come first. Readers of the table wait meanwhile. False: it had its key all along.
 * @throws TidemarkError `REPLICA_BUSY` when readers leave no room
 */
export async function keyLoadedTable(context: DdlContext, schema: TableSchema): Promise<boolean> {
  const name = targetName(context.names, schema);
  try {
    const ours = schema.keyKind === 'none' ? null : await registered(context.client, name);
    if (ours === null || ours.sink !== context.sink || ours.shape.keyKind !== 'none') return false;
    const shape = { ...ours.shape, keyKind: schema.keyKind, key: schema.key };
    await giveKey(context.client, name, shape, await readReplicaTable(context.client, name));
    await register(context, name, shape);
    return true;
  } catch (error) {
    throw sinkError(error, { table: tableName(schema) });
  }
}

/**
 * Not null, where it had to wait for the rows to be copied. False: there was nothing to do.
 * @param known the table as it was last read, if it was; of thousands that were just made none has to be read again
 */
export async function tightenTable(context: DdlContext, schema: TableSchema, known: ReplicaTable | null): Promise<boolean> {
  if (known !== null && looseColumns(schema, known).length === 0) return false;
  const name = targetName(context.names, schema);
  const table = await readReplicaTable(context.client, name);
  const loose = table === null ? [] : looseColumns(schema, table);
  for (const column of loose) await alterTable(context.client, notNullStep(`ALTER TABLE ${qualified(name)}`, column));
  return loose.length > 0;
}

/** Columns that take nulls at the replica and not at the source. */
function looseColumns(schema: TableSchema, table: ReplicaTable): string[] {
  return schema.columns
    .filter((column) => !column.nullable && table.columns.some((target) => target.name === column.name && !target.notNull))
    .map((column) => column.name);
}

/** Answers the shape that the table has got. One that stands there keeps its key: somebody may rely on it. */
async function beginGeneration(context: DdlContext, name: TargetName, after: TableSchema, keyTime: KeyTime): Promise<TableSchema> {
  const { client } = context;
  const table = await readReplicaTable(client, name);
  if (table === null) {
    if (!context.schemas.has(name.schema)) await createSchema(client, name.schema);
    context.schemas.add(name.schema);
    const shape = keyTime === 'loaded' ? withoutKey(after) : after;
    for (const sql of createTableSql(name, shape)) await client.query(sql);
    return shape;
  }
  const ours = await registered(client, name);
  if (ours !== null && ours.sink !== context.sink) {
    throw new TidemarkError('REPLICA_TABLE_TAKEN', `${printedName(name)} is mirrored by the sink ${ours.sink}`);
  }
  if (ours === null && (await hasRows(client, table))) {
    throw new TidemarkError('REPLICA_TABLE_TAKEN', `${printedName(name)} has rows that this sink did not write`, {
      remedy: `Empty it (TRUNCATE ${qualified(name)}), rename it, or map the source table to another name with \`as\`.`,
    });
  }
  await client.query(table.referenced ? `DELETE FROM ${rowsOf(table)}` : `TRUNCATE ${rowsOf(table)}`);
  const found: TableSchema = ours?.shape ?? { ...after, columns: after.columns.filter((column) => table.columns.some((one) => one.name === column.name)) };
  const lacksKey = found.keyKind === 'none';
  const shape = lacksKey ? withoutKey(after) : after;
  for (const step of alterSteps(name, diffSchema(found, shape, 'name'), table)) await alterTable(client, step);
  if (!lacksKey || keyTime === 'loaded') return shape;
  await giveKey(client, name, after, table);
  return after;
}

/** @param table as it is but for its columns: somebody may have missed the key, and made it */
async function giveKey(client: pg.ClientBase, name: TargetName, shape: TableSchema, table: ReplicaTable | null): Promise<void> {
  const isThere = table?.indexes.some((index) => (shape.keyKind === 'primary' ? index.primary : index.name === identityConstraint(name))) === true;
  for (const sql of isThere ? [] : keySql(name, shape)) await client.query(sql);
}

function withoutKey(schema: TableSchema): TableSchema {
  return { ...schema, keyKind: 'none', key: [] };
}

async function changeShape(context: DdlContext, from: TargetName, to: TargetName, before: TableSchema, after: TableSchema): Promise<void> {
  const { client } = context;
  await moveTable(client, context.sink, before.tableId, from, to);
  const table = await readReplicaTable(client, to);
  if (table === null) throw new TidemarkError('REPLICA_SHAPE', `${printedName(to)} is gone from the replica`);
  for (const step of alterSteps(to, diffSchema(before, after), table)) await alterTable(client, step);
}

async function hasRows(client: pg.ClientBase, table: ReplicaTable): Promise<boolean> {
  const { rows } = await client.query(`SELECT FROM ${rowsOf(table)} LIMIT 1`);
  return rows.length > 0;
}

async function registered(client: pg.ClientBase, name: TargetName): Promise<Registered | null> {
  const { rows } = await client.query<{ sink: string; shape: string }>(
    'SELECT sink, shape::text AS shape FROM tidemark.mirrored_table WHERE schema_name = $1 AND table_name = $2',
    [name.schema, name.name],
  );
  const row = rows[0];
  return row === undefined ? null : { sink: row.sink, shape: decodeSchema(Buffer.from(row.shape, 'utf8')) };
}

async function register(context: DdlContext, name: TargetName, schema: TableSchema): Promise<void> {
  await context.client.query({
    name: 'tidemark_register',
    text: `INSERT INTO tidemark.mirrored_table (schema_name, table_name, sink, table_id, shape) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (schema_name, table_name) DO UPDATE SET sink = excluded.sink, table_id = excluded.table_id, shape = excluded.shape`,
    values: [name.schema, name.name, context.sink, schema.tableId, encodeSchema(schema).toString('utf8')],
  });
}

/** One step, by the first of its attempts that the rows allow. Part of the transaction that is open. */
export async function alterTable(client: pg.ClientBase, step: AlterStep): Promise<void> {
  for (const [index, attempt] of step.attempts.entries()) {
    await client.query('SAVEPOINT tidemark_alter');
    try {
      for (const sql of attempt) await client.query(sql);
      await client.query('RELEASE SAVEPOINT tidemark_alter');
      return;
    } catch (error) {
      if (!isOfTheRows(error) || (index === step.attempts.length - 1 && !step.mayWait)) throw error;
      await client.query('ROLLBACK TO SAVEPOINT tidemark_alter');
    }
  }
}

/** The rows that stand there do not allow it, or their type cannot be cast. */
function isOfTheRows(error: unknown): boolean {
  const state = sqlState(error);
  return state !== null && (/^2[23]/.test(state) || state === '42804' || state === '42846');
}
