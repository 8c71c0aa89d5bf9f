/** What `check` looks at: whether the role can do what the sink does, and whether the tables that exist can be mirrored into. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { type NameRules, printedName, targetName, type TargetName } from '../relational/names.ts';
import { keyNames } from '../relational/schema-diff.ts';
import { unfitFindings } from '../relational/unfit.ts';
import { sqlState } from './errors.ts';
import { findingIndex, readReplicaTable, type ReplicaTable } from './replica-table.ts';
import type { ReplicaSchemas } from './replica-schemas.ts';
import type { Session } from './session.ts';
import { ident, literal, qualified, rowsOf } from './sql.ts';
import { creatableTypes } from './type-sql.ts';

const MIN_VERSION = 130_000;
const VERSION_OF_PARAMETER_GRANTS = 150_000;
/** From here on `"char"` prints bytes from 0x80 on as `\ooo`, and reads that; before, it takes the backslash alone. */
const VERSION_OF_CHAR_ESCAPES = 150_000;

export interface CheckContext {
  readonly session: Session;
  readonly sink: string;
  readonly names: NameRules;
  readonly schemas: ReplicaSchemas;
}

interface Server {
  readonly role: string;
  readonly superuser: boolean;
  readonly version: number;
  readonly standby: boolean;
  readonly mayCreate: boolean;
  readonly database: string;
}

/** Looks at server, role and the tables; changes nothing. @throws what the session throws */
export async function checkReplica(context: CheckContext, tables: readonly TableSchema[]): Promise<Finding[]> {
  const server = await readServer(context.session);
  await context.schemas.learn(context.session.client);
  const findings = [...serverFindings(server), ...(await ownTables(context, server))];
  const enforced = !(await mayHoldTriggers(context.session));
  const taken = new Map<string, string>();
  for (const logged of tables) {
    const schema = fitted(context.schemas, logged, findings);
    if (schema === null) continue;
    const name = targetName(context.names, schema);
    const other = taken.get(printedName(name));
    if (other !== undefined) {
      findings.push(error('replica-name', `${other} and ${tableName(schema)} would both be written to ${printedName(name)}`, 'Give one of them another name with `as`.', schema));
    }
    taken.set(printedName(name), tableName(schema));
    findings.push(...(await tableFindings(context, server, schema, name, enforced)));
  }
  if (findings.every((finding) => finding.severity !== 'error')) {
    findings.push({ severity: 'ok', code: 'replica', what: `role ${server.role} can mirror into ${server.database}`, remedy: '' });
  }
  return findings;
}

/** The table as the replica has it; null: it cannot have it, and a finding says so. */
function fitted(schemas: ReplicaSchemas, schema: TableSchema, findings: Finding[]): TableSchema | null {
  try {
    findings.push(...unfitFindings(schema, schemas.columns(schema).map(({ column, ...rest }) => ({ ...rest, name: column.name, type: column.nativeType }))));
    return schemas.of(schema);
  } catch (failure) {
    if (!(failure instanceof TidemarkError)) throw failure;
    findings.push(error(failure.code === 'REPLICA_NAMES' ? 'replica-name' : 'replica-type', failure.message, failure.remedy, schema));
    return null;
  }
}

async function readServer(session: Session): Promise<Server> {
  const { rows } = await session.client.query<Server>(
    `SELECT current_user::text AS role, pg_catalog.current_setting('is_superuser') = 'on' AS superuser,
            pg_catalog.current_setting('server_version_num')::int AS version, pg_catalog.pg_is_in_recovery() AS standby,
            pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS "mayCreate", pg_catalog.current_database()::text AS database`,
  );
  const server = rows[0];
  if (server === undefined) throw new Error('the server says nothing of itself');
  return server;
}

function serverFindings(server: Server): Finding[] {
  const findings: Finding[] = [];
  if (server.version < MIN_VERSION) findings.push(error('replica-version', `the replica is PostgreSQL ${Math.floor(server.version / 10_000)}`, 'Use PostgreSQL 13 or newer.'));
  if (server.standby) findings.push(error('replica-standby', 'the replica is a standby and takes no writes', 'Give the address of a primary.'));
  return findings;
}

/** The sink's own tables: there and writable, or to be made. */
async function ownTables({ session }: CheckContext, server: Server): Promise<Finding[]> {
  const { rows } = await session.client.query<{ there: boolean; writable: boolean | null }>(
    `SELECT pg_catalog.to_regclass('tidemark.checkpoint') IS NOT NULL AS there,
            (SELECT pg_catalog.bool_and(pg_catalog.has_table_privilege(t.relid, r.name))
               FROM pg_catalog.unnest(ARRAY['tidemark.checkpoint', 'tidemark.mirrored_table']) AS n(name),
                    LATERAL (SELECT pg_catalog.to_regclass(n.name)::oid) AS t(relid),
                    pg_catalog.unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS r(name)) AS writable`,
  );
  const state = rows[0];
  if (state?.there === true && state.writable !== true) {
    return [error('replica-checkpoint', `role ${server.role} may not write tidemark.checkpoint`, `GRANT USAGE ON SCHEMA tidemark TO ${ident(server.role)}; GRANT ALL ON ALL TABLES IN SCHEMA tidemark TO ${ident(server.role)}`)];
  }
  if (state?.there === true || server.mayCreate) return [];
  return [error('replica-create', `role ${server.role} may not create the schema tidemark for checkpoints`, `GRANT CREATE ON DATABASE ${ident(server.database)} TO ${ident(server.role)}`)];
}

/** True when the session can keep foreign keys and triggers from acting. */
async function mayHoldTriggers({ client }: Session): Promise<boolean> {
  await client.query('BEGIN');
  try {
    await client.query('SET LOCAL session_replication_role = replica');
    return true;
  } catch (failure) {
    if (sqlState(failure) !== '42501') throw failure;
    return false;
  } finally {
    await client.query('ROLLBACK');
  }
}

async function tableFindings({ session, sink }: CheckContext, server: Server, schema: TableSchema, name: TargetName, enforced: boolean): Promise<Finding[]> {
  const table = await readReplicaTable(session.client, name);
  const types = [...(await typeFindings(session, schema)), ...charFindings(server, schema)];
  if (table === null) return [...types, ...(await placeFindings(session, server, schema, name))];
  if (table.kind !== 'r' && table.kind !== 'p') {
    return [error('replica-kind', `${printedName(name)} is not a table`, 'Drop it, or map the source table to another name with `as`.', schema)];
  }
  return [
    ...types,
    ...columnFindings(schema, table),
    ...triggerFindings(server, schema, table, enforced),
    ...(await rightFindings(session, server, sink, schema, table)),
  ];
}

/** Types that the log cannot make: those of extensions, most often. */
async function typeFindings({ client }: Session, schema: TableSchema): Promise<Finding[]> {
  const wanted = schema.columns.filter((column) => creatableTypes(column.type).length === 0).map((column) => column.nativeType.replace(/\(.*?\)/, ''));
  if (wanted.length === 0) return [];
  const { rows } = await client.query<{ type: string }>(
    'SELECT DISTINCT type FROM pg_catalog.unnest($1::text[]) AS type WHERE pg_catalog.to_regtype(type) IS NULL',
    [wanted],
  );
  return rows.map(({ type }) =>
    error('replica-type', `the replica has no type ${type}`, `Create it, most often by its extension (CREATE EXTENSION ${ident(type.replace(/\[\]$/, '').split('.').at(-1) ?? type)} in the schema that the source has it in).`, schema),
  );
}

/** Columns of which an older server stores some values as others without a word; such bytes of an older source it refuses. */
function charFindings({ version }: Server, schema: TableSchema): Finding[] {
  if (version >= VERSION_OF_CHAR_ESCAPES) return [];
  const names = schema.columns.filter(({ nativeType }) => nativeType === '"char"' || nativeType === '"char"[]').map(({ name }) => name);
  if (names.length === 0) return [];
  const what = `${names.join(', ')}: PostgreSQL ${Math.floor(version / 10_000)} stores a "char" of 0x80 or above as a backslash when it comes from PostgreSQL 15 or newer`;
  return [warning('replica-char', what, 'Use PostgreSQL 15 or newer for the replica, or keep such values in a column of another type (bytea, smallint) at the source.', schema)];
}

/** Where a table is to be made: the schema exists and lets us, or can be made. */
async function placeFindings({ client }: Session, server: Server, schema: TableSchema, name: TargetName): Promise<Finding[]> {
  const { rows } = await client.query<{ may: boolean }>('SELECT pg_catalog.has_schema_privilege(oid, \'USAGE, CREATE\') AS may FROM pg_catalog.pg_namespace WHERE nspname = $1', [name.schema]);
  const role = ident(server.role);
  if (rows[0] === undefined) {
    return server.mayCreate ? [] : [error('replica-create', `role ${server.role} may not create the schema ${name.schema}`, `CREATE SCHEMA ${ident(name.schema)} AUTHORIZATION ${role}`, schema)];
  }
  return rows[0].may ? [] : [error('replica-create', `role ${server.role} may not create tables in the schema ${name.schema}`, `GRANT USAGE, CREATE ON SCHEMA ${ident(name.schema)} TO ${role}`, schema)];
}

function columnFindings(schema: TableSchema, table: ReplicaTable): Finding[] {
  const findings: Finding[] = [];
  const target = qualified(table.name);
  const printed = printedName(table.name);
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  for (const column of schema.columns) {
    const found = byName.get(column.name);
    if (found === undefined) {
      findings.push(warning('replica-column', `${printed} has no column ${column.name}; it is added when the table is first filled`, `ALTER TABLE ${target} ADD COLUMN ${ident(column.name)} ${column.nativeType}`, schema));
    } else if (found.nativeType !== column.nativeType && !found.generated) {
      findings.push(warning('replica-column-type', `${printed}.${column.name} is ${found.nativeType}, the source has ${column.nativeType}`, `ALTER TABLE ${target} ALTER COLUMN ${ident(column.name)} TYPE ${column.nativeType}`, schema));
    }
  }
  const mirrored = new Set(schema.columns.map((column) => column.name));
  for (const column of table.columns) {
    if (mirrored.has(column.name) || !column.notNull || column.hasDefault || column.generated) continue;
    findings.push(error('replica-extra-column', `${printed}.${column.name} is not in the source, must not be null and has no default`, `ALTER TABLE ${target} ALTER COLUMN ${ident(column.name)} DROP NOT NULL`, schema));
  }
  const key = keyNames(schema);
  if (schema.keyKind !== 'none' && findingIndex(table, key) === null) {
    findings.push(warning('replica-key', `${printed} has no unique index on its key (${key.join(', ')}): every change reads the whole table`, `CREATE UNIQUE INDEX ON ${target} (${key.map(ident).join(', ')})`, schema));
  }
  return findings;
}

function triggerFindings(server: Server, schema: TableSchema, table: ReplicaTable, enforced: boolean): Finding[] {
  const findings: Finding[] = [];
  const target = qualified(table.name);
  if (enforced && table.held.length > 0) {
    const role = ident(server.role);
    const grant = server.version >= VERSION_OF_PARAMETER_GRANTS ? `GRANT SET ON PARAMETER session_replication_role TO ${role}` : `ALTER ROLE ${role} SUPERUSER`;
    findings.push(error('replica-triggers', `foreign keys or triggers of ${printedName(table.name)} (${table.held.join(', ')}) would act while applying`, grant, schema));
  }
  for (const trigger of table.firing) {
    findings.push(warning('replica-trigger-always', `the trigger ${trigger} of ${printedName(table.name)} fires for mirrored changes too`, `ALTER TABLE ${target} ENABLE TRIGGER ${ident(trigger)} (without ALWAYS or REPLICA), unless that is what it is for`, schema));
  }
  return findings;
}

interface Rights {
  readonly write: boolean;
  readonly truncate: boolean;
  readonly owned: boolean;
  readonly policies: boolean;
  readonly rows: boolean | null;
  readonly sink: string | null;
}

async function rightFindings(session: Session, server: Server, sink: string, schema: TableSchema, table: ReplicaTable): Promise<Finding[]> {
  const rights = await readRights(session, table);
  const findings: Finding[] = [];
  const [target, printed, role] = [qualified(table.name), printedName(table.name), ident(server.role)];
  if (!rights.write) findings.push(error('replica-rights', `role ${server.role} may not read and write ${printed}`, `GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ${target} TO ${role}`, schema));
  else if (!rights.truncate) findings.push(warning('replica-rights', `role ${server.role} may not truncate ${printed}; its rows are deleted instead`, `GRANT TRUNCATE ON ${target} TO ${role}`, schema));
  if (!rights.owned) findings.push(warning('replica-owner', `role ${server.role} does not own ${printed}: changes of its shape cannot be followed`, `ALTER TABLE ${target} OWNER TO ${role}`, schema));
  if (rights.policies) findings.push(error('replica-row-security', `row-level security of ${printed} binds role ${server.role}`, `ALTER ROLE ${role} BYPASSRLS`, schema));
  if (rights.sink !== null && rights.sink !== sink) {
    findings.push(error('replica-taken', `${printed} is mirrored by the sink ${rights.sink}`, 'Map the source table to another name with `as`.', schema));
  } else if (rights.sink === null && rights.rows === true) {
    findings.push(error('replica-rows', `${printed} has rows that this sink did not write`, `TRUNCATE ${target}`, schema));
  }
  return findings;
}

async function readRights({ client }: Session, table: ReplicaTable): Promise<Rights> {
  const registered = `(SELECT sink FROM tidemark.mirrored_table WHERE schema_name = ${literal(table.name.schema)} AND table_name = ${literal(table.name.name)})`;
  const { rows: known } = await client.query<{ may: boolean | null }>("SELECT pg_catalog.has_table_privilege(pg_catalog.to_regclass('tidemark.mirrored_table'), 'SELECT') AS may");
  const { rows } = await client.query<Omit<Rights, 'rows'>>(
    `SELECT pg_catalog.has_table_privilege($1::oid, 'SELECT') AND pg_catalog.has_table_privilege($1::oid, 'INSERT')
            AND pg_catalog.has_table_privilege($1::oid, 'UPDATE') AND pg_catalog.has_table_privilege($1::oid, 'DELETE') AS write,
            pg_catalog.has_table_privilege($1::oid, 'TRUNCATE') AS truncate,
            pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owned, pg_catalog.row_security_active($1::oid) AS policies,
            ${known[0]?.may === true ? registered : 'NULL'} AS sink
       FROM pg_catalog.pg_class c WHERE c.oid = $1::oid`,
    [table.oid],
  );
  const rights = rows[0];
  if (rights === undefined) return { write: false, truncate: false, owned: false, policies: false, rows: null, sink: null };
  if (!rights.write || rights.policies) return { ...rights, rows: null };
  const found = await client.query(`SELECT FROM ${rowsOf(table)} LIMIT 1`);
  return { ...rights, rows: found.rows.length > 0 };
}

function error(code: string, what: string, remedy: string, schema?: TableSchema): Finding {
  return { severity: 'error', code, what, remedy, ...(schema === undefined ? {} : { table: tableName(schema) }) };
}

function warning(code: string, what: string, remedy: string, schema: TableSchema): Finding {
  return { severity: 'warning', code, what, remedy, table: tableName(schema) };
}
