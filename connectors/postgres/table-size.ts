import type { DescribedTable } from './copier-deps.ts';
import type { Session } from './session.ts';

/** A table that holds rows: the table itself, or a leaf partition. */
export interface LeafSize {
  readonly oid: string;
  readonly pages: number;
  /** With out-of-line values, as stored. */
  readonly bytes: number;
  /** The server's estimate. */
  readonly rows: number;
}

/** The relations that hold a table's rows, with their sizes now. */
export async function leavesOf(session: Session, table: DescribedTable): Promise<LeafSize[]> {
  const source = table.partitioned
    ? 'SELECT relid AS oid FROM pg_partition_tree($1::oid::regclass) WHERE isleaf'
    : 'SELECT $1::oid AS oid';
  const rows = await session.query(
    `SELECT c.oid::text AS oid, pg_table_size(c.oid)::text AS bytes, greatest(c.reltuples, 0)::int8::text AS rows, c.relpages::text AS analyzed,
            (pg_relation_size(c.oid) / current_setting('block_size')::int8)::text AS pages
       FROM (${source}) AS leaf JOIN pg_class c ON c.oid = leaf.oid ORDER BY c.oid`,
    [table.schema.sourceTableId],
  );
  return rows.map((row) => {
    const pages = Number(row['pages'] ?? 0);
    const analyzed = Number(row['analyzed'] ?? 0);
    const known = Number(row['rows'] ?? 0);
    // The estimate is as of the last ANALYZE; the table has grown or shrunk in proportion.
    return { oid: row['oid'] ?? '', pages, bytes: Number(row['bytes'] ?? 0), rows: Math.round(analyzed > 0 ? (known * pages) / analyzed : known) };
  });
}
