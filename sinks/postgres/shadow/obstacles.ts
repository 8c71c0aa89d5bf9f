/**
 * What a live table has, beside its rows, that a table in its place would not have: for what is listed here the rows are
 * merged into the live table, which stays. What the shadow's table can be given is not listed (owner, grants, comments,
 * indexes, unique constraints, defaults, storage parameters, replica identity).
 */
import type pg from 'pg';
import type { Column } from '../../../contracts/schema.ts';
import type { ReplicaColumn } from '../replica-table.ts';
import type { TablePair } from './table-pairs.ts';

/** The one that does not outlast a change of the columns. */
export const OTHER_ORDER = 'another order of the columns';

/** Tables of one statement at most. */
const TABLES_PER_QUERY = 200;

/** For each pair with a live table, by its oid: objects and properties, for people. */
export async function readObstacles(client: pg.ClientBase, pairs: readonly TablePair[]): Promise<Map<number, string[]>> {
  const found = new Map<number, string[]>();
  const live = pairs.filter((pair) => pair.live !== null);
  for (const { live: table } of live) if (table !== null) found.set(table.oid, []);
  for (let at = 0; at < live.length; at += TABLES_PER_QUERY) {
    const oids = live.slice(at, at + TABLES_PER_QUERY).flatMap((pair) => pair.live?.oid ?? []);
    const { rows } = await client.query<{ oid: string; what: string }>({ name: 'tidemark_obstacles', text: OBSTACLES_SQL, values: [oids] });
    for (const { oid, what } of rows) found.get(Number(oid))?.push(what);
  }
  for (const pair of live) if (pair.live !== null) found.get(pair.live.oid)?.push(...columnObstacles(pair));
  return found;
}

/** For each live table, by its oid: another text once somebody has changed it or a column of it, or made something that depends on it. */
export async function readFingerprints(client: pg.ClientBase, pairs: readonly TablePair[]): Promise<Map<number, string>> {
  const { rows } = await client.query<{ oid: string; print: string }>(
    `SELECT c.oid::int8::text AS oid, pg_catalog.concat_ws(':', c.xmin::text, pg_catalog.count(d.*), pg_catalog.sum(d.objid::int8),
              (SELECT pg_catalog.sum(a.xmin::text::int8) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid),
              (SELECT pg_catalog.sum(x.xmin::text::int8) FROM pg_catalog.pg_description x WHERE x.classoid = 'pg_catalog.pg_class'::regclass AND x.objoid = c.oid)) AS print
       FROM pg_catalog.pg_class c
       LEFT JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
      WHERE c.oid = ANY ($1::oid[]) GROUP BY c.oid, c.xmin::text`,
    [pairs.flatMap((pair) => pair.live?.oid ?? [])],
  );
  return new Map(rows.map(({ oid, print }) => [Number(oid), print]));
}

/** Columns of the live table that somebody added or changed at the replica. Pure. */
function columnObstacles({ schema, live, mirrored, shadow }: Pick<TablePair, 'schema' | 'live' | 'mirrored' | 'shadow'>): string[] {
  if (live === null) return [];
  const own = new Map((mirrored ?? schema).columns.map((column) => [column.name, column]));
  const target = new Map(shadow?.columns.map((column) => [column.name, column]));
  const found = live.columns.flatMap((column) => {
    const source = own.get(column.name);
    if (source === undefined) return [`column ${column.name}, which the source does not have`];
    return ownChanges(column, source, target.get(column.name));
  });
  const common = live.columns.filter((column) => target.has(column.name)).map((column) => column.name);
  const names = new Set(common);
  const order = shadow?.columns.filter((column) => names.has(column.name)).map((column) => column.name) ?? common;
  return common.some((name, index) => name !== order[index]) ? [...found, OTHER_ORDER] : found;
}

function ownChanges(column: ReplicaColumn, { nativeType, nullable }: Column, target: ReplicaColumn | undefined): string[] {
  const found: string[] = [];
  if (column.generated) found.push(`column ${column.name}, generated at the sink`);
  else if (column.nativeType !== nativeType) found.push(`column ${column.name} of ${column.nativeType}, which is ${nativeType} at the source`);
  if (column.identity !== 'no') found.push(`identity of column ${column.name}`);
  if (column.notNull && nullable && target?.notNull === false) found.push(`not null of column ${column.name}`);
  return found;
}

/**
 * Everything that depends on the table or its row type but what is made anew with it, and properties that nothing
 * depends on. The rule of a view stands for the view.
 */
const OBSTACLES_SQL = `
WITH wanted AS (SELECT c.*, n.nspname, t.typarray FROM pg_catalog.unnest($1::oid[]) AS w(oid)
                  JOIN pg_catalog.pg_class c ON c.oid = w.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                  LEFT JOIN pg_catalog.pg_type t ON t.oid = c.reltype),
dependent AS (
  SELECT w.oid AS tab, w.reltype, w.typarray, d.classid, d.objid, d.objsubid
    FROM wanted w JOIN pg_catalog.pg_depend d
      ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = w.oid
      OR d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (w.reltype, w.typarray)
   WHERE NOT (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = w.oid)
     AND NOT (d.classid = 'pg_catalog.pg_type'::regclass AND d.objid IN (w.reltype, w.typarray)))
SELECT DISTINCT d.tab::int8::text AS oid,
       coalesce('view ' || v.oid::regclass::text, k.what, pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)) AS what
  FROM dependent d
  LEFT JOIN pg_catalog.pg_class r ON d.classid = 'pg_catalog.pg_class'::regclass AND r.oid = d.objid
  LEFT JOIN pg_catalog.pg_constraint c ON d.classid = 'pg_catalog.pg_constraint'::regclass AND c.oid = d.objid
  LEFT JOIN pg_catalog.pg_trigger g ON d.classid = 'pg_catalog.pg_trigger'::regclass AND g.oid = d.objid
  LEFT JOIN pg_catalog.pg_attrdef a ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND a.oid = d.objid
  LEFT JOIN pg_catalog.pg_rewrite w ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND w.oid = d.objid
  LEFT JOIN pg_catalog.pg_class v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm')
  LEFT JOIN LATERAL (SELECT 'foreign key ' || c.conname || ' of ' || c.conrelid::regclass::text AS what WHERE c.contype = 'f') k ON true
 WHERE NOT (r.oid IS NOT NULL AND d.objsubid = 0 AND r.relkind IN ('i', 't'))
   AND NOT (c.oid IS NOT NULL AND c.conrelid = d.tab AND c.contype IN ('p', 'u', 'n'))
   AND NOT (g.oid IS NOT NULL AND g.tgisinternal)
   AND d.classid <> 'pg_catalog.pg_publication_rel'::regclass
   AND NOT (a.oid IS NOT NULL AND a.adrelid = d.tab)
UNION ALL
SELECT w.oid::int8::text, 'publication ' || p.pubname FROM wanted w JOIN pg_catalog.pg_publication_tables p ON p.schemaname = w.nspname AND p.tablename = w.relname
UNION ALL
SELECT w.oid::int8::text, x.what FROM wanted w CROSS JOIN LATERAL (
  SELECT 'partitions' WHERE w.relkind = 'p'
  UNION ALL SELECT 'inheritance from ' || i.inhparent::regclass::text FROM pg_catalog.pg_inherits i WHERE i.inhrelid = w.oid
  UNION ALL SELECT 'extension ' || e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = w.oid AND d.deptype = 'e'
  UNION ALL SELECT 'row security' WHERE w.relrowsecurity OR w.relforcerowsecurity
  UNION ALL SELECT 'persistence' WHERE w.relpersistence <> 'p'
  UNION ALL SELECT 'tablespace' WHERE w.reltablespace <> 0
  UNION ALL SELECT 'type ' || w.reloftype::regtype::text WHERE w.reloftype <> 0
  UNION ALL SELECT 'access method' WHERE w.relam <> (SELECT m.oid FROM pg_catalog.pg_am m WHERE m.amname = pg_catalog.current_setting('default_table_access_method'))
  UNION ALL SELECT 'owner ' || pg_catalog.pg_get_userbyid(w.relowner) WHERE NOT pg_catalog.pg_has_role(w.relowner, 'MEMBER')
  UNION ALL SELECT 'no right to create in schema ' || w.nspname
             WHERE NOT pg_catalog.has_schema_privilege(w.relnamespace, 'CREATE') OR NOT pg_catalog.has_schema_privilege(w.relowner, w.relnamespace, 'CREATE')
  UNION ALL SELECT 'security label' WHERE EXISTS (SELECT FROM pg_catalog.pg_seclabel s WHERE s.classoid = 'pg_catalog.pg_class'::regclass AND s.objoid = w.oid)
  UNION ALL SELECT DISTINCT 'grant by ' || pg_catalog.pg_get_userbyid(x.grantor) FROM pg_catalog.aclexplode(w.relacl) x WHERE x.grantor <> w.relowner
  UNION ALL SELECT 'grant on column ' || a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attacl IS NOT NULL
  UNION ALL SELECT 'storage of column ' || a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
             WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
               AND (a.attstorage <> t.typstorage OR a.attoptions IS NOT NULL OR a.attcollation <> t.typcollation OR coalesce(to_jsonb(a) ->> 'attcompression', '') <> '')
  UNION ALL SELECT 'index ' || ic.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
             WHERE i.indrelid = w.oid AND (NOT i.indisvalid OR i.indisclustered OR i.indisexclusion OR ic.reltablespace <> 0
                OR NOT pg_catalog.starts_with(pg_catalog.pg_get_indexdef(i.indexrelid), pg_catalog.format('CREATE %sINDEX %I ON %I.%I USING ',
                     CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, ic.relname, w.nspname, w.relname)))
) AS x(what)`;
