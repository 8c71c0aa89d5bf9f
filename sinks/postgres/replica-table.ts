/** What the replica's catalog says of one table: read once, kept until the table is changed or the sink opened anew. */
import type pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { TargetName } from '../relational/names.ts';

export interface ReplicaColumn {
  readonly name: string;
  readonly number: number;
  /** The type as a cast writes it, without its modifier, quoted and with its schema where it has one. */
  readonly castType: string;
  /** The type as DDL writes it: `character varying(20)`. */
  readonly nativeType: string;
  readonly notNull: boolean;
  readonly hasDefault: boolean;
  readonly generated: boolean;
  readonly identity: 'no' | 'always' | 'by-default';
  /** The equality operator of the type's default btree or hash class, as OPERATOR(...) writes it; null: it has none. */
  readonly equality: string | null;
}

export interface ReplicaIndex {
  readonly name: string;
  readonly primary: boolean;
  readonly unique: boolean;
  /** An exclusion constraint. */
  readonly exclusion: boolean;
  /** False: the constraint is deferrable, and cannot serve an upsert. */
  readonly immediate: boolean;
  readonly nullsNotDistinct: boolean;
  readonly predicate: string | null;
  /** Each indexed column or expression, and the operator under which two entries must not match. */
  readonly keys: readonly { readonly expression: string; readonly column: string | null; readonly operator: string }[];
}

export interface ReplicaTable {
  readonly oid: number;
  readonly name: TargetName;
  /** r: table, p: partitioned; others cannot be written as a replica. */
  readonly kind: string;
  readonly columns: readonly ReplicaColumn[];
  /** Unique indexes and exclusion constraints, valid ones only. */
  readonly indexes: readonly ReplicaIndex[];
  /** A foreign key of another table points at it: TRUNCATE is refused. */
  readonly referenced: boolean;
  /** Foreign keys and triggers that act unless the session's role for replication keeps them from it. */
  readonly held: readonly string[];
  /** Triggers that fire even then (ENABLE ALWAYS or ENABLE REPLICA). */
  readonly firing: readonly string[];
}

/** The table as it is now in the session's transaction; null when there is none. */
export async function readReplicaTable(client: pg.ClientBase, name: TargetName): Promise<ReplicaTable | null> {
  const [table] = await readReplicaTables(client, [name]);
  return table ?? null;
}

/** Tables of one statement at most: their columns and indexes are in memory at once, here and at the server. */
const TABLES_PER_QUERY = 200;

/** The same for many at once, in order. The statement stays prepared: planning it takes longer than running it. */
export async function readReplicaTables(client: pg.ClientBase, names: readonly TargetName[]): Promise<(ReplicaTable | null)[]> {
  const tables: (ReplicaTable | null)[] = [];
  for (let at = 0; at < names.length; at += TABLES_PER_QUERY) {
    const some = names.slice(at, at + TABLES_PER_QUERY);
    const { rows } = await client.query<{ place: string; shape: unknown }>({
      name: 'tidemark_replica_tables', text: SHAPES_SQL, values: [some.map(({ schema }) => schema), some.map(({ name }) => name)],
    });
    const shapes = new Map(rows.map(({ place, shape }) => [Number(place) - 1, shape]));
    some.forEach((name, index) => tables.push(shapes.has(index) ? shapeOf(shapes.get(index), name) : null));
  }
  return tables;
}

/** An index on exactly these columns by which INSERT ... ON CONFLICT finds the row; null: none. */
export function upsertIndex(table: ReplicaTable, keyColumns: readonly string[]): ReplicaIndex | null {
  const wanted = new Set(keyColumns);
  const fits = (index: ReplicaIndex): boolean =>
    index.unique && index.immediate && index.predicate === null && index.keys.length === wanted.size &&
    index.keys.every((key) => key.column !== null && wanted.has(key.column));
  // The server looks at every index on these columns, and refuses when one of them is deferrable.
  const sameColumns = (index: ReplicaIndex): boolean =>
    index.keys.length === wanted.size && index.keys.every((key) => key.column !== null && wanted.has(key.column));
  if (table.indexes.some((index) => index.unique && !index.immediate && sameColumns(index))) return null;
  return table.indexes.find((index) => index.primary && fits(index)) ?? table.indexes.find(fits) ?? null;
}

/** Any index, deferrable ones too, that finds a row by these columns. */
export function findingIndex(table: ReplicaTable, keyColumns: readonly string[]): ReplicaIndex | null {
  const wanted = new Set(keyColumns);
  return (
    table.indexes.find(
      (index) => index.unique && index.predicate === null && index.keys.every((key) => key.column !== null && wanted.has(key.column)),
    ) ?? null
  );
}

/**
 * Foreign keys of the table or at it, by the triggers that they act through: constraints have no index by the table that
 * they point at, and of thousands of tables each would read all of them.
 */
const FOREIGN_KEYS = `pg_catalog.pg_trigger r JOIN pg_catalog.pg_constraint f ON f.oid = r.tgconstraint
                       WHERE r.tgrelid = c.oid AND r.tgconstraint <> 0 AND f.contype = 'f'`;

const SHAPES_SQL = `
SELECT wanted.place, json_build_object(
  'oid', c.oid::int8, 'kind', c.relkind,
  'referenced', EXISTS (SELECT 1 FROM ${FOREIGN_KEYS} AND f.confrelid = c.oid AND f.conrelid <> c.oid),
  'held', (SELECT coalesce(json_agg(h.name), '[]') FROM (
      SELECT DISTINCT f.conname AS name FROM ${FOREIGN_KEYS}
      UNION ALL SELECT g.tgname FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled = 'O') AS h),
  'firing', (SELECT coalesce(json_agg(g.tgname), '[]') FROM pg_catalog.pg_trigger g
              WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled IN ('A', 'R')),
  'columns', (SELECT coalesce(json_agg(json_build_object(
      'name', a.attname, 'number', a.attnum,
      'castType', CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace
                       THEN 'pg_catalog.' || quote_ident(t.typname) ELSE format_type(t.oid, NULL) END,
      'nativeType', format_type(a.atttypid, a.atttypmod),
      'notNull', a.attnotnull, 'hasDefault', a.atthasdef OR a.attidentity <> '', 'generated', a.attgenerated <> '',
      'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by-default' ELSE 'no' END,
      'equality', (SELECT quote_ident(n.nspname) || '.' || o.oprname
                     FROM pg_catalog.pg_opclass k
                     JOIN pg_catalog.pg_am am ON am.oid = k.opcmethod
                     JOIN pg_catalog.pg_amop p ON p.amopfamily = k.opcfamily AND p.amopstrategy = CASE am.amname WHEN 'btree' THEN 3 ELSE 1 END
                      AND p.amoplefttype = k.opcintype AND p.amoprighttype = k.opcintype
                     JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
                     JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
                    WHERE k.opcdefault AND am.amname IN ('btree', 'hash')
                      AND k.opcintype IN (base.oid, CASE WHEN base.typcategory = 'A' AND base.typelem <> 0 THEN 'anyarray'::regtype
                                                         WHEN base.typtype = 'e' THEN 'anyenum'::regtype
                                                         WHEN base.typtype = 'r' THEN 'anyrange'::regtype
                                                         WHEN base.typtype = 'c' THEN 'record'::regtype
                                                         WHEN base.oid = 'varchar'::regtype THEN 'text'::regtype
                                                         WHEN base.oid = 'cidr'::regtype THEN 'inet'::regtype END)
                    ORDER BY am.amname, k.opcintype = base.oid DESC LIMIT 1)
    ) ORDER BY a.attnum), '[]')
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    JOIN LATERAL (WITH RECURSIVE up AS (
        SELECT t.oid, t.typtype, t.typbasetype, t.typcategory, t.typelem
        UNION ALL SELECT b.oid, b.typtype, b.typbasetype, b.typcategory, b.typelem
                    FROM up JOIN pg_catalog.pg_type b ON up.typtype = 'd' AND b.oid = up.typbasetype)
      SELECT * FROM up WHERE typtype <> 'd') base ON true
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'indexes', (SELECT coalesce(json_agg(json_build_object(
      'name', ic.relname, 'primary', i.indisprimary, 'unique', i.indisunique, 'exclusion', i.indisexclusion,
      'immediate', i.indimmediate,
      'nullsNotDistinct', coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
      'predicate', pg_get_expr(i.indpred, i.indrelid),
      'keys', (SELECT json_agg(json_build_object(
          'expression', pg_get_indexdef(i.indexrelid, k.n, false),
          'column', (SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = i.indkey[k.n - 1] AND a.attnum <> 0),
          'operator', (SELECT quote_ident(n.nspname) || '.' || o.oprname
             FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
            WHERE o.oid = CASE WHEN i.indisexclusion
              THEN (SELECT x.conexclop[k.n] FROM pg_catalog.pg_constraint x WHERE x.conindid = i.indexrelid AND x.contype = 'x')
              ELSE (SELECT p.amopopr FROM pg_catalog.pg_opclass oc JOIN pg_catalog.pg_amop p ON p.amopfamily = oc.opcfamily
                     WHERE oc.oid = i.indclass[k.n - 1] AND p.amopstrategy = 3
                       AND p.amoplefttype = oc.opcintype AND p.amoprighttype = oc.opcintype) END)
        ) ORDER BY k.n) FROM generate_series(1, i.indnkeyatts) AS k(n))
    ) ORDER BY i.indisprimary DESC, ic.relname), '[]')
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    WHERE i.indrelid = c.oid AND i.indisvalid AND (i.indisunique OR i.indisexclusion))
) AS shape
FROM ROWS FROM (pg_catalog.unnest($1::name[]), pg_catalog.unnest($2::name[])) WITH ORDINALITY AS wanted (schema, name, place)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name`;

function shapeOf(value: unknown, name: TargetName): ReplicaTable {
  const table = fields(value);
  return {
    oid: Number(table['oid']),
    name,
    kind: text(table['kind']),
    referenced: table['referenced'] === true,
    held: list(table['held']).map(text),
    firing: list(table['firing']).map(text),
    columns: list(table['columns']).map((entry) => {
      const column = fields(entry);
      const identity = column['identity'];
      return {
        name: text(column['name']),
        number: Number(column['number']),
        castType: plainType(text(column['castType'])),
        nativeType: text(column['nativeType']),
        notNull: column['notNull'] === true,
        hasDefault: column['hasDefault'] === true,
        generated: column['generated'] === true,
        identity: identity === 'always' || identity === 'by-default' ? identity : 'no',
        equality: textOrNull(column['equality']),
      };
    }),
    indexes: list(table['indexes']).map((entry) => {
      const index = fields(entry);
      return {
        name: text(index['name']),
        primary: index['primary'] === true,
        unique: index['unique'] === true,
        exclusion: index['exclusion'] === true,
        immediate: index['immediate'] === true,
        nullsNotDistinct: index['nullsNotDistinct'] === true,
        predicate: textOrNull(index['predicate']),
        keys: list(index['keys']).map((part) => {
          const key = fields(part);
          return { expression: text(key['expression']), column: textOrNull(key['column']), operator: textOrNull(key['operator']) ?? 'pg_catalog.=' };
        }),
      };
    }),
  };
}

/** `pg_catalog."numeric"` without its quotes: behind a schema's name a keyword needs none. `"char"` is not char, and keeps them. */
function plainType(castType: string): string {
  return castType.replace(/^pg_catalog\."(?!char")([a-z][a-z0-9_]*)"$/, 'pg_catalog.$1');
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw unexpected();
  return { ...value };
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw unexpected();
  return value;
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw unexpected();
  return value;
}

function textOrNull(value: unknown): string | null {
  return value === null || value === undefined ? null : text(value);
}

function unexpected(): TidemarkError {
  return new TidemarkError('INTERNAL', 'the catalog of the replica was not read as it was asked for');
}
