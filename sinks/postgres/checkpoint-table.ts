/** The checkpoints of the sinks that write to this database: `tidemark.checkpoint`, one row for each sink. */
import type pg from 'pg';
import type { CheckpointMove } from '../relational/apply-line.ts';
import type { StoredCheckpoint } from '../relational/checkpoint.ts';
import type { Pipeline } from './pipeline.ts';
import { textParameter } from './wire.ts';

export const CHECKPOINT_TABLES_SQL = [
  'CREATE SCHEMA IF NOT EXISTS tidemark',
  `CREATE TABLE IF NOT EXISTS tidemark.checkpoint (
     sink text PRIMARY KEY,
     log_id text NOT NULL,
     epoch text NOT NULL,
     "offset" bigint NOT NULL,
     "position" bytea NOT NULL,
     fence bigint NOT NULL,
     owner text NOT NULL,
     commit_time timestamptz,
     load_cursor bytea,
     applied_at timestamptz NOT NULL DEFAULT pg_catalog.now())`,
  // Of a sink that is being filled from the log's base. A table that an earlier version made lacks it.
  'ALTER TABLE tidemark.checkpoint ADD COLUMN IF NOT EXISTS load_cursor bytea',
  `CREATE TABLE IF NOT EXISTS tidemark.mirrored_table (
     schema_name text NOT NULL,
     table_name text NOT NULL,
     sink text NOT NULL,
     table_id bigint NOT NULL,
     shape jsonb NOT NULL,
     PRIMARY KEY (schema_name, table_name))`,
];

/** The row of a sink, null when it has none; locked until the transaction ends when `lock`. */
export async function readCheckpoint(client: pg.ClientBase, sink: string, lock: boolean): Promise<StoredCheckpoint | null> {
  const { rows } = await client.query<Record<'log_id' | 'epoch' | 'at' | 'place' | 'fence' | 'owner', string> & { readonly cursor: string | null }>(
    `SELECT log_id, epoch, "offset"::text AS at, pg_catalog.encode("position", 'hex') AS place,
            pg_catalog.encode(load_cursor, 'hex') AS cursor, fence::text AS fence, owner
       FROM tidemark.checkpoint WHERE sink = $1${lock ? ' FOR UPDATE' : ''}`,
    [sink],
  );
  const row = rows[0];
  if (row === undefined) return null;
  return {
    logId: row.log_id,
    epoch: row.epoch,
    offset: Number(row.at),
    position: Buffer.from(row.place, 'hex'),
    cursor: row.cursor === null ? null : Buffer.from(row.cursor, 'hex'),
    fence: Number(row.fence),
    owner: row.owner,
  };
}

/** Sets the row at an opening: a new fence and owner; the rest as given. */
export async function writeOpened(client: pg.ClientBase, sink: string, opened: StoredCheckpoint): Promise<void> {
  await client.query(
    `INSERT INTO tidemark.checkpoint AS c (sink, log_id, epoch, "offset", "position", fence, owner)
     VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (sink) DO UPDATE SET fence = excluded.fence, owner = excluded.owner`,
    [sink, opened.logId, opened.epoch, opened.offset, Buffer.from(opened.position), opened.fence, opened.owner],
  );
}

/** Fails with a division by zero when there was nothing to set, so that what follows in the pipeline is not run. */
const MOVE_SQL = `
WITH moved AS (
  UPDATE tidemark.checkpoint
     SET epoch = $1::text, "offset" = $2::text::bigint, "position" = pg_catalog.decode($3::text, 'hex'),
         commit_time = pg_catalog.to_timestamp($4::text::numeric / 1000000), applied_at = pg_catalog.clock_timestamp(),
         load_cursor = pg_catalog.decode($11::text, 'hex')
   WHERE sink = $5::text AND log_id = $6::text AND fence = $7::text::bigint AND epoch = $8::text AND "offset" = $9::text::bigint
     AND owner = $10::text
  RETURNING 1)
SELECT 1 / pg_catalog.count(*) FROM moved`;

/** Adds the compare-and-set. Answers the index of its statement. */
export function addCheckpointMove(pipeline: Pipeline, move: CheckpointMove): number {
  const values = [
    move.epoch, String(move.to), Buffer.from(move.position).toString('hex'), String(move.commitTime),
    move.sink, move.logId, String(move.fence), move.fromEpoch, String(move.from), move.owner,
    move.cursor === null ? null : Buffer.from(move.cursor).toString('hex'),
  ];
  return pipeline.prepared(MOVE_SQL, values.map(textParameter));
}

/** SQLSTATE of a compare-and-set that found nothing to set. */
export const NOTHING_MOVED = '22012';
