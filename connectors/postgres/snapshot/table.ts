/**
 * One table under a snapshot that others have taken. The snapshot is older than the lock, so that the table may have been
 * rewritten, truncated or re-partitioned in between: its rows would then be missing without an error (such changes are not
 * versioned). So what the snapshot shows of the table's files is compared with what is there under the lock.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { CopierDeps, DescribedTable } from '../copy/copier-deps.ts';
import { checkNames, lock, lockRefusal, LOCK_TIMEOUT_MS, namesOf } from '../copy/transaction.ts';
import type { Session } from '../session.ts';
import { readingOf, type RowsReading } from './columns.ts';
import { leavesOf } from '../copy/table-size.ts';

/** A table that nobody can rewrite until the transaction ends. */
export interface LockedTable {
  readonly reading: RowsReading;
  /** What is locked. */
  readonly oids: readonly string[];
  /** Qualified and quoted names of the relations that hold its rows. */
  readonly leaves: readonly string[];
  readonly leafOids: readonly string[];
  /** Its name for FROM: with its partitions, without what inherits from it. */
  readonly from: string;
  readonly described: DescribedTable;
}

/** Sessions with one server: the reader's transaction has the snapshot, the other one is between transactions and sees what is there now. */
export interface SnapshotSessions {
  readonly reader: Session;
  readonly looker: Session;
}

/**
 * Locks the table as a SELECT does, and makes sure that the snapshot's rows are all there.
 * @throws TidemarkError `VERIFY_TABLE` (retry: auto)
 */
export async function lockTable(deps: CopierDeps, sessions: SnapshotSessions, snapshotId: string, table: TableSchema): Promise<LockedTable> {
  const { reader, looker } = sessions;
  try {
    const before = await describeNow(deps, looker, table);
    const oids = [...new Set([table.sourceTableId, ...(await leafOids(looker, before))])];
    const names = await namesOf(looker, oids, table);
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await reader.query(`SET TRANSACTION SNAPSHOT '${snapshotId}'`);
    await reader.query('SET LOCAL max_parallel_workers_per_gather = 0');
    await lock(reader, [...names.values()], table);
    await checkNames(reader, names, table);
    const described = await describeNow(deps, looker, table);
    const leaves = await leafOids(looker, described);
    if (leaves.some((oid) => !names.has(oid))) throw changing(table, 'partitions came while it was being locked');
    await requireSameFiles(reader, table, described, leaves);
    const reading = readingOf(table, described);
    if (typeof reading === 'string') throw changing(table, reading);
    const name = names.get(table.sourceTableId) ?? '';
    return { reading, oids: [...names.keys()], leaves: leaves.map((oid) => names.get(oid) ?? ''), leafOids: leaves, from: described.partitioned ? name : `ONLY ${name}`, described };
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    if (lockRefusal(error) === 'held') throw changing(table, `somebody holds an exclusive lock on the table for more than ${LOCK_TIMEOUT_MS} ms`, error);
    // What a copy says of a table that is gone or held, as it is said here.
    throw error.code === 'COPY_VOID' || error.code === 'POSTGRES_COPY_LOCKED' ? changing(table, error.message, error) : error;
  }
}

/**
 * The labels of an enum, say, are printed as they are now, whatever the snapshot and the lock: had they changed while rows
 * were read, some would have the old ones.
 * @throws TidemarkError `VERIFY_TABLE` (retry: auto)
 */
export async function checkUnchanged(deps: CopierDeps, looker: Session, { described }: LockedTable): Promise<void> {
  const now = await describeNow(deps, looker, described.schema);
  if (JSON.stringify(now.schema.columns) !== JSON.stringify(described.schema.columns)) throw changing(described.schema, 'a type of its columns was changed while it was read');
}

export function changing(table: TableSchema, why: string, cause?: unknown): TidemarkError {
  return new TidemarkError('VERIFY_TABLE', why, { where: { table: tableName(table) }, ...(cause === undefined ? {} : { cause }) });
}

async function describeNow(deps: CopierDeps, looker: Session, table: TableSchema): Promise<DescribedTable> {
  const [described] = await deps.describe(looker, [table.sourceTableId]);
  if (described === undefined) throw changing(table, 'the table is not at the source any more');
  return described;
}

async function leafOids(looker: Session, described: DescribedTable): Promise<string[]> {
  return (await leavesOf(looker, described)).map((leaf) => leaf.oid);
}

/** The reader's queries see the catalog of the snapshot; functions of the server see the one of now. */
async function requireSameFiles(reader: Session, table: TableSchema, described: DescribedTable, leaves: readonly string[]): Promise<void> {
  const [row] = await reader.query(
    `WITH RECURSIVE tree(oid) AS (
       SELECT $1::oid
        UNION ALL
       SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON $3::bool AND i.inhparent = tree.oid
     ), shown AS (
       SELECT c.oid, c.relfilenode FROM tree JOIN pg_catalog.pg_class c USING (oid) WHERE c.relkind <> 'p'
     )
     SELECT (SELECT count(*) FROM shown WHERE relfilenode = pg_catalog.pg_relation_filenode(oid) AND oid = ANY ($2::oid[]))::text AS same,
            (SELECT count(*) FROM shown)::text AS before`,
    [table.sourceTableId, `{${leaves.join(',')}}`, described.partitioned],
  );
  if (row?.['same'] === String(leaves.length) && row['before'] === row['same']) return;
  throw changing(table, 'the table was rewritten, truncated or re-partitioned since the snapshot was taken');
}
