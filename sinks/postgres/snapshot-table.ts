/**
 * One table of the replica under a snapshot that others have taken. The snapshot is older than the lock: what it shows of
 * the table's files and of the shape that the sink gave it is compared with what is there under the lock.
 */
import type pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { type NameRules, printedName, targetName, type TargetName } from '../relational/names.ts';
import { sqlState } from './errors.ts';
import { readReplicaTable } from './replica-table.ts';
import type { Session } from './session.ts';
import { type ReadPlan, readPlan, unfit } from './snapshot-plan.ts';
import { qualified } from './sql.ts';

/** How long a lock is waited for; whoever waits behind us for the same table waits, too. */
const LOCK_TIMEOUT_MS = 2_000;

export interface SnapshotTableRequest {
  /** Its transaction gets the snapshot and the lock. */
  readonly reader: Session;
  /** Sees what is there now. */
  readonly looker: { look<T>(work: (client: pg.ClientBase) => Promise<T>): Promise<T> };
  /** As `SET TRANSACTION SNAPSHOT` takes it. */
  readonly snapshotId: string;
  readonly sink: string;
  readonly names: NameRules;
}

export interface LockedTable {
  readonly plan: ReadPlan;
  /** OIDs of what is locked, its partitions too. */
  readonly oids: readonly number[];
  /** OIDs of what holds its rows. */
  readonly leaves: readonly number[];
}

/** @throws TidemarkError `VERIFY_TABLE` */
export async function lockTable(request: SnapshotTableRequest, schema: TableSchema): Promise<LockedTable> {
  const { reader, looker, snapshotId } = request;
  const { client } = reader;
  const name = targetName(request.names, schema);
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  await client.query(`SET TRANSACTION SNAPSHOT '${snapshotId}'`);
  await lock(reader, schema, name, await shownOid(request, schema, name));
  const table = await looker.look((client) => readReplicaTable(client, name));
  if (table === null) throw changing(schema, `${printedName(name)} has just gone`);
  const plan = readPlan(schema, table);
  const leaves = await leavesOf(reader, schema, table.oid, table.kind === 'p');
  return { plan, oids: [table.oid, ...leaves], leaves };
}

export function changing(schema: TableSchema, why: string, cause?: unknown): TidemarkError {
  return new TidemarkError('VERIFY_TABLE', why, { where: { table: tableName(schema) }, ...(cause === undefined ? {} : { cause }) });
}

/** The table as the snapshot shows it, which the sink must have brought to just this version of the log's. */
async function shownOid({ reader, sink }: SnapshotTableRequest, schema: TableSchema, name: TargetName): Promise<string> {
  const { rows } = await reader.client.query<{ sink: string; table: string; version: string; oid: string | null }>(
    `SELECT m.sink, m.table_id::text AS table, m.shape ->> 'version' AS version, c.oid::text AS oid
       FROM tidemark.mirrored_table m
       LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace) ON n.nspname = m.schema_name AND c.relname = m.table_name
      WHERE m.schema_name = $1 AND m.table_name = $2`,
    [name.schema, name.name],
  );
  const [row] = rows;
  if (row === undefined || row.sink !== sink) throw unfit(schema, `${printedName(name)} is not a table that this sink mirrors into`);
  if (row.table !== String(schema.tableId) || row.version !== String(schema.version)) {
    throw changing(schema, `${printedName(name)} has version ${row.version} of table ${row.table} in the log, and version ${schema.version} of table ${schema.tableId} was asked for`);
  }
  if (row.oid === null) throw unfit(schema, `${printedName(name)} does not exist at the replica`);
  return row.oid;
}

async function lock({ client }: Session, schema: TableSchema, name: TargetName, oid: string): Promise<void> {
  try {
    await client.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}; LOCK TABLE ${qualified(name)} IN ACCESS SHARE MODE`);
  } catch (error) {
    const state = sqlState(error);
    if (state === '55P03' || state === '40P01') throw changing(schema, `somebody holds an exclusive lock on ${printedName(name)} for more than ${LOCK_TIMEOUT_MS} ms`, error);
    if (state === '42P01' || state === '3F000') throw changing(schema, `${printedName(name)} has just gone, or got another name`, error);
    throw error;
  }
  const { rows } = await client.query<{ same: boolean }>('SELECT pg_catalog.to_regclass($1)::pg_catalog.oid = $2::pg_catalog.oid AS same', [qualified(name), oid]);
  if (rows[0]?.same !== true) throw changing(schema, `another table has just got the name ${printedName(name)}`);
}

/**
 * What holds the table's rows, which must be what the snapshot shows: queries see its catalog, functions of the server see
 * the one of now.
 */
async function leavesOf({ client }: Session, schema: TableSchema, oid: number, isPartitioned: boolean): Promise<number[]> {
  const { rows } = await client.query<{ same: boolean; leaves: string }>(
    `WITH RECURSIVE tree(oid) AS (
       SELECT $1::oid
        UNION ALL
       SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON $2::bool AND i.inhparent = tree.oid
     ), shown AS (
       SELECT c.oid, c.relfilenode FROM tree JOIN pg_catalog.pg_class c USING (oid) WHERE c.relkind <> 'p'
     ), present AS (
       SELECT p.relid::oid AS oid, pg_catalog.pg_relation_filenode(p.relid) AS file FROM pg_catalog.pg_partition_tree($1::oid) p WHERE $2::bool AND p.isleaf
        UNION ALL
       SELECT $1::oid, pg_catalog.pg_relation_filenode($1::oid) WHERE NOT $2::bool
     )
     SELECT NOT EXISTS (SELECT FROM shown FULL JOIN present USING (oid) WHERE relfilenode IS DISTINCT FROM file) AS same,
            coalesce((SELECT pg_catalog.string_agg(oid::text, ',') FROM present), '') AS leaves`,
    [oid, isPartitioned],
  );
  const [row] = rows;
  if (row?.same !== true) throw changing(schema, 'the table was rewritten, truncated or re-partitioned since the snapshot was taken');
  return row.leaves.split(',').filter((leaf) => leaf !== '').map(Number);
}
