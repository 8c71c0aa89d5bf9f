import type { DescribedTable } from './copier-deps.ts';
import type { Session, TextRow } from '../session.ts';

/** A table that holds rows: the table itself, or a leaf partition. */
export interface LeafSize {
  readonly oid: string;
  readonly pages: number;
  /** With out-of-line values, as stored. */
  readonly bytes: number;
  /** The server's estimate. */
  readonly rows: number;
}

const LEAF_COLUMNS = `c.oid::text AS oid, pg_table_size(c.oid)::text AS bytes, greatest(c.reltuples, 0)::int8::text AS rows, c.relpages::text AS analyzed,
            (pg_relation_size(c.oid) / current_setting('block_size')::int8)::text AS pages`;

const LEAVES_SQL = `SELECT ${LEAF_COLUMNS} FROM pg_partition_tree($1::oid::regclass) AS leaf JOIN pg_class c ON c.oid = leaf.relid
  WHERE leaf.isleaf ORDER BY c.oid`;
const PLAIN_SQL = `SELECT ${LEAF_COLUMNS} FROM pg_class c WHERE c.oid = ANY ($1::oid[])`;

/** The relations that hold a table's rows, with their sizes now. */
export async function leavesOf(session: Session, table: DescribedTable): Promise<LeafSize[]> {
  return (await leavesOfAll(session, [table])).get(table.schema.sourceTableId) ?? [];
}

/** The same for many tables, by `sourceTableId`. */
export async function leavesOfAll(session: Session, tables: readonly DescribedTable[]): Promise<Map<string, LeafSize[]>> {
  const plain = tables.filter((table) => !table.partitioned).map((table) => table.schema.sourceTableId);
  const leaves = new Map<string, LeafSize[]>();
  if (plain.length > 0) {
    for (const row of await session.prepared(PLAIN_SQL, [`{${plain.join(',')}}`])) leaves.set(row['oid'] ?? '', [leafSize(row)]);
  }
  for (const { partitioned, schema } of tables) {
    if (!partitioned) continue;
    leaves.set(schema.sourceTableId, (await session.prepared(LEAVES_SQL, [schema.sourceTableId])).map(leafSize));
  }
  return leaves;
}

function leafSize(row: TextRow): LeafSize {
  const pages = Number(row['pages'] ?? 0);
  const analyzed = Number(row['analyzed'] ?? 0);
  const known = Number(row['rows'] ?? 0);
  // The estimate is as of the last ANALYZE; the table has grown or shrunk in proportion.
  return { oid: row['oid'] ?? '', pages, bytes: Number(row['bytes'] ?? 0), rows: Math.round(analyzed > 0 ? (known * pages) / analyzed : known) };
}
