/** The shadow's table takes the name and the place of the live one, and everything that the live one was given. */
import type pg from 'pg';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { TargetName } from '../../relational/names.ts';
import type { ReplicaTable } from '../replica-table.ts';
import { ident, literal, qualified } from '../sql.ts';
import { identityConstraint } from '../table-sql.ts';
import { type IndexMatch, keptIndexes, matchIndexes, readIndexes, type TableIndex } from './indexes.ts';
import type { TablePair } from './table-pairs.ts';

interface Grant {
  /** Quoted; `PUBLIC`. */
  readonly grantee: string;
  readonly privilege: string;
  readonly grantable: boolean;
}

interface ColumnTraits {
  readonly name: string;
  readonly comment: string | null;
  readonly statistics: number | null;
  /** The expression; null: none. */
  readonly fallback: string | null;
  /** The name of its not-null constraint, where the server has such. */
  readonly notNull: string | null;
}

/** What a table was given, besides its columns, rows and indexes. */
interface Traits {
  readonly owner: string;
  readonly comment: string | null;
  readonly parameters: readonly string[];
  readonly identity: string;
  readonly identityIndex: string | null;
  readonly hasGrants: boolean;
  readonly grants: readonly Grant[];
  readonly columns: readonly ColumnTraits[];
}

/**
 * The statements that bring the shadow's table to its place once the live one is gone, in order. Valid as long as
 * nobody changes the live one.
 * @throws TidemarkError `INTERNAL` when the shadow lacks an index of the live table
 */
export async function installStatements(client: pg.ClientBase, pair: TablePair, names: TakenNames): Promise<string[]> {
  const { schema, shadow, live, name } = pair;
  if (shadow === null) throw new TidemarkError('INTERNAL', 'a table of the shadow is missing');
  const indexes = await readIndexes(client, live === null ? [shadow] : [live, shadow]);
  const theirIndexes = live === null ? [] : (indexes.get(live.oid) ?? []);
  const match = matchIndexes(keptIndexes(pair, theirIndexes), indexes.get(shadow.oid) ?? []);
  const missing = match.missing[0];
  if (missing !== undefined) throw new TidemarkError('REPLICA_BUSY', `the index ${missing.name} has come meanwhile`);
  const mine = await readTraits(client, shadow);
  const theirs = live === null ? null : await readTraits(client, live);
  const taken = await names.of(name.schema);
  const move = [
    `ALTER TABLE ${qualified(shadow.name)} SET SCHEMA ${ident(name.schema)}`,
    `ALTER TABLE ${qualified({ schema: name.schema, name: shadow.name.name })} RENAME TO ${ident(name.name)}`,
  ];
  if (live?.name.schema === name.schema) for (const gone of [live.name.name, ...theirIndexes.map((index) => index.name)]) taken.delete(gone);
  const indexNames = indexStatements(pair, match, shadow, taken);
  if (theirs === null) return [...move, ...indexNames, ...notNullNames(name, shadow, mine, null), ...(await defaultGrants(client, name))];
  return [...move, ...indexNames, ...notNullNames(name, shadow, mine, theirs), ...carried(pair, schema, mine, theirs, match)];
}

/** The indexes get the names, constraints and comments of those that they stand for. */
function indexStatements({ name }: TablePair, match: IndexMatch, shadow: ReplicaTable, taken: Set<string>): string[] {
  const table = `ALTER TABLE ${qualified(name)}`;
  const at = (index: string): string => qualified({ schema: name.schema, name: index });
  const statements = match.matched.flatMap(({ live, shadow: own }): string[] => {
    const comments = live.comment === null ? [] : [`COMMENT ON INDEX ${at(live.name)} IS ${literal(live.comment)}`];
    const comment = live.constraint?.comment ?? null;
    if (comment !== null) comments.push(`COMMENT ON CONSTRAINT ${ident(live.name)} ON ${qualified(name)} IS ${literal(comment)}`);
    if (live.constraint === null || own.constraint !== null) return [...(own.name === live.name ? [] : [`ALTER INDEX ${at(own.name)} RENAME TO ${ident(live.name)}`]), ...comments];
    const kind = live.constraint.kind === 'p' ? 'PRIMARY KEY' : 'UNIQUE';
    return [`${table} ADD CONSTRAINT ${ident(live.name)} ${kind} USING INDEX ${ident(own.name)}${live.constraint.deferral}`, ...comments];
  });
  for (const { live } of match.matched) taken.add(live.name);
  return [...statements, ...match.extra.flatMap((index) => ownName(index, name, shadow, taken, at))];
}

/** An index of the shadow alone is named as one that the sink makes, where nothing else has that name. */
function ownName(index: TableIndex, name: TargetName, shadow: ReplicaTable, taken: Set<string>, at: (index: string) => string): string[] {
  const wanted = index.name === identityConstraint(shadow.name) ? identityConstraint(name) : derived(index.name, name, shadow);
  if (wanted === index.name || taken.has(wanted)) return [];
  taken.add(wanted);
  return [`ALTER INDEX ${at(index.name)} RENAME TO ${ident(wanted)}`];
}

/** `rebuilt_7_pkey` as `orders_pkey`; a name that would be cut stays. */
function derived(own: string, name: TargetName, shadow: ReplicaTable): string {
  const wanted = own.startsWith(shadow.name.name) ? `${name.name}${own.slice(shadow.name.name.length)}` : own;
  return Buffer.byteLength(wanted) > 63 ? own : wanted;
}

function notNullNames(name: TargetName, shadow: ReplicaTable, mine: Traits, theirs: Traits | null): string[] {
  const names = new Set(mine.columns.flatMap((column) => column.notNull ?? []));
  return mine.columns.flatMap(({ name: column, notNull }) => {
    if (notNull === null) return [];
    const wanted = theirs?.columns.find((other) => other.name === column)?.notNull ?? derived(notNull, name, shadow);
    if (wanted === notNull || names.has(wanted)) return [];
    names.add(wanted);
    return [`ALTER TABLE ${qualified(name)} RENAME CONSTRAINT ${ident(notNull)} TO ${ident(wanted)}`];
  });
}

function carried({ name, mirrored, isSame }: TablePair, schema: TableSchema, mine: Traits, theirs: Traits, match: IndexMatch): string[] {
  const target = qualified(name);
  const table = `ALTER TABLE ${target}`;
  const statements: string[] = [];
  if (theirs.parameters.length > 0) statements.push(`${table} SET (${theirs.parameters.map(parameter).join(', ')})`);
  if (theirs.comment !== null) statements.push(`COMMENT ON TABLE ${target} IS ${literal(theirs.comment)}`);
  for (const column of theirs.columns) {
    const source = mirrored?.columns.find((one) => one.name === column.name);
    const to = source === undefined || !isSame ? column.name : schema.columns.find((one) => one.number === source.number)?.name;
    if (to === undefined || !mine.columns.some((one) => one.name === to)) continue;
    const alter = `${table} ALTER COLUMN ${ident(to)}`;
    if (column.comment !== null) statements.push(`COMMENT ON COLUMN ${target}.${ident(to)} IS ${literal(column.comment)}`);
    if (column.statistics !== null) statements.push(`${alter} SET STATISTICS ${column.statistics}`);
    // A default of the source's comes with the shape; this one is the replica's own.
    const isOwn = [source, schema.columns.find((one) => one.name === to)].every((one) => (one?.constantDefault ?? null) === null);
    if (column.fallback !== null && isOwn) statements.push(`${alter} SET DEFAULT ${column.fallback}`);
  }
  return [...statements, ...identityStatements(table, mine, theirs, match), ...ownership(target, mine, theirs)];
}

/** `fillfactor=70` as `fillfactor = '70'`. */
function parameter(text: string): string {
  const equals = text.indexOf('=');
  const [key, value] = [text.slice(0, equals), text.slice(equals + 1)];
  return `${key.split('.').map(ident).join('.')} = ${literal(value)}`;
}

function identityStatements(table: string, mine: Traits, theirs: Traits, match: IndexMatch): string[] {
  const index = match.matched.find(({ live }) => live.name === theirs.identityIndex)?.shadow.name ?? null;
  if (theirs.identity === mine.identity && (theirs.identity !== 'i' || index === mine.identityIndex)) return [];
  const kinds: Readonly<Record<string, string>> = { d: 'DEFAULT', n: 'NOTHING', f: 'FULL' };
  const kind = theirs.identity === 'i' ? (theirs.identityIndex === null ? null : `USING INDEX ${ident(theirs.identityIndex)}`) : (kinds[theirs.identity] ?? null);
  return kind === null ? [] : [`${table} REPLICA IDENTITY ${kind}`];
}

/** The owner, and exactly the privileges that the live table gave. */
function ownership(target: string, mine: Traits, theirs: Traits): string[] {
  const statements: string[] = [];
  if (mine.hasGrants || theirs.hasGrants) {
    const before = new Set([...mine.grants.map((grant) => grant.grantee), ident(mine.owner)]);
    statements.push(`REVOKE ALL ON TABLE ${target} FROM ${[...before].join(', ')}`);
  }
  if (mine.owner !== theirs.owner) statements.push(`ALTER TABLE ${target} OWNER TO ${ident(theirs.owner)}`);
  if (mine.hasGrants || theirs.hasGrants) {
    statements.push(...theirs.grants.map((grant) => grantSql(target, grant)));
  }
  return statements;
}

/** A table that is made in the schema would have these privileges at once; the shadow's was made in another. */
async function defaultGrants(client: pg.ClientBase, name: TargetName): Promise<string[]> {
  const { rows } = await client.query<Grant>(
    `SELECT x.privilege_type AS privilege, x.is_grantable AS grantable,
            CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
       FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace, pg_catalog.aclexplode(d.defaclacl) AS x
      WHERE d.defaclobjtype = 'r' AND n.nspname = $1 AND d.defaclrole = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)`,
    [name.schema],
  );
  return rows.map((grant) => grantSql(qualified(name), grant));
}

function grantSql(target: string, { grantee, privilege, grantable }: Grant): string {
  return `GRANT ${privilege} ON TABLE ${target} TO ${grantee}${grantable ? ' WITH GRANT OPTION' : ''}`;
}

/** Names of tables and indexes in the schemas that shadow tables come to, read once for all of them. */
export class TakenNames {
  readonly #client: pg.ClientBase;
  readonly #schemas = new Map<string, Set<string>>();

  constructor(client: pg.ClientBase) {
    this.#client = client;
  }

  /** The caller notes in it what it takes and gives back. */
  async of(schema: string): Promise<Set<string>> {
    const known = this.#schemas.get(schema);
    if (known !== undefined) return known;
    const { rows } = await this.#client.query<{ name: string }>(
      'SELECT c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1',
      [schema],
    );
    const names = new Set(rows.map((row) => row.name));
    this.#schemas.set(schema, names);
    return names;
  }
}

const TRAITS_SQL = `
SELECT pg_catalog.pg_get_userbyid(c.relowner)::text AS owner, pg_catalog.obj_description(c.oid, 'pg_class') AS comment,
  ARRAY(SELECT p FROM pg_catalog.unnest(c.reloptions) AS p
        UNION ALL SELECT 'toast.' || p FROM pg_catalog.pg_class t, pg_catalog.unnest(t.reloptions) AS p WHERE t.oid = c.reltoastrelid) AS parameters,
  c.relreplident::text AS identity,
  (SELECT ic.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident) AS "identityIndex",
  c.relacl IS NOT NULL AS "hasGrants",
  (SELECT coalesce(json_agg(json_build_object('privilege', x.privilege_type, 'grantable', x.is_grantable,
      'grantee', CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END)), '[]')
     FROM pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) AS x) AS grants,
  (SELECT coalesce(json_agg(json_build_object('name', a.attname, 'comment', pg_catalog.col_description(c.oid, a.attnum),
      'statistics', nullif(a.attstattarget, -1),
      'fallback', (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = c.oid AND d.adnum = a.attnum AND a.attgenerated = ''),
      'notNull', (SELECT x.conname FROM pg_catalog.pg_constraint x WHERE x.conrelid = c.oid AND x.contype = 'n' AND x.conkey[1] = a.attnum)
    ) ORDER BY a.attnum), '[]') FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
  FROM pg_catalog.pg_class c WHERE c.oid = $1`;

async function readTraits(client: pg.ClientBase, table: ReplicaTable): Promise<Traits> {
  const { rows } = await client.query<Traits>({ name: 'tidemark_traits', text: TRAITS_SQL, values: [table.oid] });
  const traits = rows[0];
  if (traits === undefined) throw new TidemarkError('REPLICA_BUSY', `${qualified(table.name)} was removed meanwhile`);
  return traits;
}
