/**
 * What the system catalogs say of tables and types. Read in one statement each, so under one snapshot; the answers are
 * of now, which for a stream that lags is the future.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Session, TextRow } from '../session.ts';
import type { SourceColumn, SourceTable } from './source-table.ts';
import type { NativeType, NativeTypes } from './types.ts';

/** Tables in one statement at most: bounds memory where there are thousands. */
const TABLES_PER_QUERY = 500;

export interface TableEntry {
  readonly oid: number;
  readonly namespace: string;
  readonly name: string;
}

/** Every table that could be captured: permanent ones, ordinary or partitioned roots, not of the system. */
export async function listTables(session: Session): Promise<TableEntry[]> {
  const rows = await session.query(`
    SELECT c.oid, n.nspname, c.relname
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE ${CAPTURABLE}
     ORDER BY n.nspname, c.relname`);
  return rows.map((row) => ({ oid: integer(row, 'oid'), namespace: text(row, 'nspname'), name: text(row, 'relname') }));
}

const CAPTURABLE = `c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'`;

/** Tables by OID; those that do not exist (any more) are left out. */
export async function readTables(session: Session, oids: readonly number[], publication: string): Promise<SourceTable[]> {
  const tables: SourceTable[] = [];
  for (let at = 0; at < oids.length; at += TABLES_PER_QUERY) {
    const rows = await session.prepared(tablesSql(session.version), [`{${oids.slice(at, at + TABLES_PER_QUERY).join(',')}}`, publication]);
    for (const row of rows) tables.push(sourceTable(row));
  }
  return withDefaults(session, tables);
}

/**
 * Which of the tables have values out of line in any row, of before now. Waits for whoever rewrites one of them, unless the
 * caller has locked it.
 */
export async function readToasted(session: Session, oids: readonly number[]): Promise<Set<number>> {
  if (oids.length === 0) return new Set();
  const rows = await session.prepared(
    // Materialized: the size of each table's file is looked at once it is known to be asked for, not for every table.
    `WITH leaf AS (
       SELECT t.oid AS root, t.oid AS oid FROM unnest($1::oid[]) AS t(oid)
        UNION ALL
       SELECT t.oid, p.relid FROM unnest($1::oid[]) AS t(oid), pg_catalog.pg_partition_tree(t.oid) AS p
     ), toast AS MATERIALIZED (
       SELECT l.root, c.reltoastrelid AS oid FROM leaf l JOIN pg_catalog.pg_class c ON c.oid = l.oid WHERE c.reltoastrelid <> 0
     )
     SELECT DISTINCT root AS oid FROM toast WHERE pg_catalog.pg_relation_size(oid) IS DISTINCT FROM 0`,
    [`{${oids.join(',')}}`],
  );
  return new Set(rows.map((row) => integer(row, 'oid')));
}

/**
 * What tells that a table changed, per OID, without reading all of it: compare for equality with
 * `SourceTable.fingerprint`.
 */
export async function readFingerprints(session: Session, oids: readonly number[], publication: string): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  const sql = `SELECT oid, fingerprint FROM (${tablesSql(session.version)}) AS t`;
  for (let at = 0; at < oids.length; at += TABLES_PER_QUERY) {
    const rows = await session.prepared(sql, [`{${oids.slice(at, at + TABLES_PER_QUERY).join(',')}}`, publication]);
    for (const row of rows) found.set(integer(row, 'oid'), text(row, 'fingerprint'));
  }
  return found;
}

// An anyarray's text is the literal of an array with one element, the value; read as text[] it gives the value's text.
function tablesSql(version: number): string {
  // A member's row is made anew whenever the member is; the publication's own whenever what it sends is changed.
  const schemas = version < 150_000 ? '' : ` || coalesce((SELECT '.' || s.oid || '.' || s.xmin FROM pg_catalog.pg_publication_namespace s
                          WHERE s.pnpubid = pub.oid AND s.pnnspid = c.relnamespace), '')`;
  return `
    SELECT t.*, md5(concat_ws('|', t.nspname, t.relname, t.is_partition, t.identity, t.columns::text, t.primary_key, t.identity_index, t.storage, t.types, t.published)) AS fingerprint
      FROM (
        SELECT c.oid, n.nspname, c.relname, c.relkind = 'p' AS partitioned, c.relispartition AS is_partition, c.relreplident AS identity,
               columns.list AS columns, columns.types,
               (SELECT i.indkey::text FROM pg_catalog.pg_index i
                 WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid AND i.indimmediate) AS primary_key,
               (SELECT i.indkey::text FROM pg_catalog.pg_index i
                 WHERE i.indrelid = c.oid AND i.indisreplident AND i.indisvalid AND i.indimmediate) AS identity_index,
               (SELECT i.indnkeyatts FROM pg_catalog.pg_index i
                 WHERE i.indrelid = c.oid AND i.indisprimary) AS primary_columns,
               (SELECT i.indnkeyatts FROM pg_catalog.pg_index i
                 WHERE i.indrelid = c.oid AND i.indisreplident) AS identity_columns,
               CASE WHEN c.relkind = 'p'
                 THEN (SELECT string_agg(p.relid::oid || ':' || coalesce(pg_catalog.pg_relation_filenode(p.relid), 0), ',' ORDER BY p.relid::oid)
                         FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf)
                 ELSE coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::text END AS storage,
               CASE WHEN c.relkind = 'p'
                 THEN EXISTS (SELECT 1 FROM pg_catalog.pg_partition_tree(c.oid) p JOIN pg_catalog.pg_class l ON l.oid = p.relid
                               WHERE l.reltoastrelid <> 0)
                 ELSE c.reltoastrelid <> 0 END AS toastable,
               (SELECT pub.oid || '.' || pub.xmin || coalesce('.' || m.oid || '.' || m.xmin, '')${schemas}
                  FROM pg_catalog.pg_publication pub LEFT JOIN pg_catalog.pg_publication_rel m ON m.prpubid = pub.oid AND m.prrelid = c.oid
                 WHERE pub.pubname = $2) AS published
          FROM pg_catalog.pg_class c
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          CROSS JOIN LATERAL (
            SELECT json_agg(json_build_object(
                     'number', a.attnum, 'name', a.attname, 'dropped', a.attisdropped, 'type', a.atttypid::int8, 'typmod', a.atttypmod,
                     'native', CASE WHEN NOT a.attisdropped THEN pg_catalog.format_type(a.atttypid, a.atttypmod) END,
                     'plain', CASE WHEN ty.typtype IS DISTINCT FROM 'd' THEN pg_catalog.format_type(a.atttypid, -1) END,
                     'notNull', a.attnotnull, 'generated', a.attgenerated, 'identity', a.attidentity,
                     'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
                     'hasMissing', a.atthasmissing,
                     'missing', CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END
                   ) ORDER BY a.attnum) AS list,
                   string_agg(ty.xmin::text || coalesce(el.xmin::text, '') || coalesce(
                     (SELECT string_agg(e.enumsortorder::text || e.enumlabel, ',' ORDER BY e.enumsortorder)
                        FROM pg_catalog.pg_enum e WHERE e.enumtypid IN (ty.oid, ty.typelem, ty.typbasetype)), '')
                     || coalesce(
                     (SELECT string_agg(f.xmin::text, ',' ORDER BY f.attnum)
                        FROM pg_catalog.pg_attribute f WHERE f.attrelid IN (ty.typrelid, el.typrelid) AND f.attrelid <> 0 AND f.attnum > 0), ''),
                     ',' ORDER BY a.attnum) AS types
              FROM pg_catalog.pg_attribute a
              LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
              LEFT JOIN pg_catalog.pg_type ty ON ty.oid = a.atttypid AND ty.oid >= 16384
              LEFT JOIN pg_catalog.pg_type el ON el.oid = ty.typelem
             WHERE a.attrelid = c.oid AND a.attnum > 0
          ) AS columns
         WHERE c.oid = ANY ($1::oid[])
      ) AS t`;
}

function sourceTable(row: TextRow): SourceTable {
  const attributes = parseAttributes(text(row, 'columns'));
  return {
    oid: integer(row, 'oid'),
    namespace: text(row, 'nspname'),
    name: text(row, 'relname'),
    partitioned: row['partitioned'] === 't',
    identity: identityLetter(text(row, 'identity')),
    columns: attributes.filter((one) => !one.dropped).map((one) => one.column),
    dropped: attributes.filter((one) => one.dropped).map((one) => one.column.number),
    primaryKey: keyNumbers(row['primary_key'], row['primary_columns']),
    identityIndex: keyNumbers(row['identity_index'], row['identity_columns']),
    isPartition: row['is_partition'] === 't',
    toastable: row['toastable'] === 't',
    published: row['published'] ?? null,
    storage: row['storage'] ?? '',
    fingerprint: text(row, 'fingerprint'),
  };
}

/** `indkey` holds the columns that are only included after those of the key. */
function keyNumbers(list: string | null | undefined, columns: string | null | undefined): number[] {
  if (list === null || list === undefined || list === '') return [];
  return list.split(' ').slice(0, Number(columns)).map(Number);
}

interface Attribute {
  readonly dropped: boolean;
  readonly column: SourceColumn;
}

function parseAttributes(json: string): Attribute[] {
  const list: unknown = JSON.parse(json);
  if (!Array.isArray(list)) throw unexpected('a list of columns');
  return list.map((value: unknown) => {
    const entry = record(value);
    const generated = entry['generated'] === 's' ? 'stored' : entry['generated'] === 'v' ? 'virtual' : 'no';
    const expression = optional(entry['default']);
    const defaultText = generated === 'no' ? expression : null;
    const plain = optional(entry['plain']);
    const column: SourceColumn = {
      number: numeric(entry['number']),
      name: String(entry['name']),
      typeOid: numeric(entry['type']),
      typmod: numeric(entry['typmod']),
      nativeType: optional(entry['native']) ?? '',
      notNull: entry['notNull'] === true,
      generated,
      expression: generated === 'no' ? null : expression,
      identity: entry['identity'] === 'a' ? 'always' : entry['identity'] === 'd' ? 'by-default' : 'no',
      hasDefault: defaultText !== null,
      // Until the server has printed its value: an expression that gives it. Cast to the type without its modifier,
      // since a value that is too long for the column would be an error here; not to a domain, whose check may fail.
      constantDefault: defaultText !== null && plain !== null && isLiteral(defaultText) ? `(${defaultText})::${plain}` : null,
      hasMissing: entry['hasMissing'] === true,
      missing: optional(entry['missing']),
    };
    return { dropped: entry['dropped'] === true, column };
  });
}

/**
 * A literal, perhaps with casts to types: nothing that could have another value tomorrow, nor run a function of the
 * user's. `NULL` is no default at all.
 */
const LITERAL = /^\(?(?:'(?:[^']|'')*'|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|true|false)\)?(?:::[a-z_ ]+(?:\([0-9, ]+\))?(?:\[\])*)?$/i;

export function isLiteral(expression: string): boolean {
  return LITERAL.test(expression);
}

/** Literals in one statement at most: a result has at most 1,664 columns. */
const LITERALS_PER_QUERY = 500;

/** Replaces literals by the canonical text of their value as the column's type prints it. */
async function withDefaults(session: Session, tables: readonly SourceTable[]): Promise<SourceTable[]> {
  const literals = [...new Set(tables.flatMap((table) => table.columns.map((column) => column.constantDefault ?? [])).flat())];
  const printed = new Map<string, string | null>();
  for (let at = 0; at < literals.length; at += LITERALS_PER_QUERY) {
    const some = literals.slice(at, at + LITERALS_PER_QUERY);
    const [row] = await session.query(`SELECT ${some.map((literal, index) => `${literal} AS "${index}"`).join(', ')}`);
    some.forEach((literal, index) => printed.set(literal, row?.[String(index)] ?? null));
  }
  return tables.map((table) => {
    if (table.columns.every((column) => column.constantDefault === null)) return table;
    const columns = table.columns.map((column) =>
      column.constantDefault === null ? column : { ...column, constantDefault: printed.get(column.constantDefault) ?? null });
    return { ...table, columns };
  });
}

/** The given types and all that they are made of. */
export async function readTypes(session: Session, oids: readonly number[]): Promise<NativeTypes> {
  const multirange = session.version >= 140_000;
  const rows = await session.prepared(
    `
    WITH RECURSIVE needed(oid) AS (
      SELECT unnest($1::oid[])
      UNION
      SELECT part.oid FROM needed
        JOIN pg_catalog.pg_type t ON t.oid = needed.oid
        CROSS JOIN LATERAL (
          SELECT t.typbasetype WHERE t.typtype = 'd'
          UNION ALL SELECT t.typelem WHERE t.typlen = -1 AND t.typelem <> 0
          UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
          ${multirange ? 'UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid' : ''}
          UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
            WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        ) AS part(oid)
    )
    SELECT t.oid, n.nspname, t.typname, t.typtype, t.typlen, t.typalign, t.typtypmod,
           t.typcategory = 'A' AND t.typlen = -1 AND t.typelem <> 0 AND t.typdelim <> ' ' AND t.typname NOT IN ('int2vector', 'oidvector') AS is_array,
           CASE t.typtype WHEN 'd' THEN t.typbasetype
             WHEN 'r' THEN (SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid)
             ${multirange ? "WHEN 'm' THEN (SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid)" : ''}
             ELSE CASE WHEN t.typlen = -1 THEN t.typelem ELSE 0 END END AS element,
           (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) AS labels,
           (SELECT json_agg(json_build_object('name', a.attname, 'type', a.atttypid::int8, 'typmod', a.atttypmod) ORDER BY a.attnum)
              FROM pg_catalog.pg_attribute a
             WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS fields
      FROM needed JOIN pg_catalog.pg_type t ON t.oid = needed.oid
      JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace`,
    [`{${[...new Set(oids)].join(',')}}`],
  );
  return new Map(rows.map((row) => [integer(row, 'oid'), nativeType(row)]));
}

const ALIGNMENTS: Readonly<Record<string, number>> = { c: 1, s: 2, i: 4, d: 8 };

function nativeType(row: TextRow): NativeType {
  return {
    oid: integer(row, 'oid'),
    namespace: text(row, 'nspname'),
    name: text(row, 'typname'),
    kind: typeKind(text(row, 'typtype')),
    length: integer(row, 'typlen'),
    alignment: ALIGNMENTS[text(row, 'typalign')] ?? 8,
    element: integer(row, 'element'),
    isArray: row['is_array'] === 't',
    elementTypmod: integer(row, 'typtypmod'),
    labels: list(row['labels']).map(String),
    fields: list(row['fields']).map((value) => {
      const field = record(value);
      return { name: String(field['name']), type: numeric(field['type']), typmod: numeric(field['typmod']) };
    }),
  };
}

/** `format_type` for pairs of type and modifier that are no column of now. */
export async function formatTypes(session: Session, pairs: readonly { readonly oid: number; readonly typmod: number }[]): Promise<string[]> {
  const rows = await session.query(
    `SELECT pg_catalog.format_type(oid, typmod) AS name FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS t(oid, typmod, place) ORDER BY place`,
    [`{${pairs.map((pair) => pair.oid).join(',')}}`, `{${pairs.map((pair) => pair.typmod).join(',')}}`],
  );
  return rows.map((row) => text(row, 'name'));
}

export function text(row: TextRow, name: string): string {
  const value = row[name];
  if (value === null || value === undefined) throw unexpected(name);
  return value;
}

export function integer(row: TextRow, name: string): number {
  const value = Number(text(row, name));
  if (!Number.isSafeInteger(value)) throw unexpected(name);
  return value;
}

function list(json: string | null | undefined): unknown[] {
  if (json === null || json === undefined) return [];
  const value: unknown = JSON.parse(json);
  if (!Array.isArray(value)) throw unexpected('a list');
  return value;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw unexpected('an object');
  return { ...value };
}

function numeric(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw unexpected('a number');
  return value;
}

function optional(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function identityLetter(letter: string): SourceTable['identity'] {
  if (letter === 'd' || letter === 'n' || letter === 'f' || letter === 'i') return letter;
  throw unexpected(`replica identity ${letter}`);
}

function typeKind(letter: string): NativeType['kind'] {
  if (letter === 'b' || letter === 'c' || letter === 'd' || letter === 'e' || letter === 'p' || letter === 'r' || letter === 'm') return letter;
  throw unexpected(`type kind ${letter}`);
}

function unexpected(what: string): TidemarkError {
  return new TidemarkError('POSTGRES_QUERY', `the catalog of the server is not as expected: ${what}`);
}
