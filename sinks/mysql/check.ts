/** What `check` looks at: whether the user can do what the sink does, and whether the tables that exist can be mirrored into. */
import type { Finding } from '../../contracts/finding.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { versionName } from '../../contracts/types/mysql-version.ts';
import { mysqlColumn } from '../relational/identifiers.ts';
import { printedName, targetName, type TargetName } from '../relational/names.ts';
import { keyNames } from '../relational/schema-diff.ts';
import { shadowNames } from '../relational/shadow-names.ts';
import { unfitFindings } from '../relational/unfit.ts';
import { mirroredTable } from './checkpoint-table.ts';
import { sinkError } from './errors.ts';
import type { MysqlSinkOptions } from './options.ts';
import { readReplicaTable, type ReplicaTable, uniqueIndexOn } from './replica-table.ts';
import { readServer, type ServerFacts } from './server.ts';
import type { Session } from './session.ts';
import { type SinkTarget, targetAt } from './sink-target.ts';
import { qualified, quoteName, quoteText } from './sql.ts';
import { planTable } from './table-plan.ts';
import { replicaShape, type ReplicaShape } from './types/replica-shape.ts';

export interface CheckContext {
  readonly session: Session;
  readonly options: MysqlSinkOptions;
  readonly target: SinkTarget;
}

/** Looks at server, user and the tables; changes nothing. @throws what the session throws */
export async function checkReplica(asked: CheckContext, tables: readonly TableSchema[]): Promise<Finding[]> {
  const { session } = asked;
  const server = await readServer(session);
  const target = targetAt(server, asked.target);
  const context = { ...asked, target };
  const findings = await checkServer(asked, tables);
  const taken = new Map<string, string>();
  for (const schema of tables) {
    const name = targetName(target.names, schema);
    const printed = printedName(name);
    const other = taken.get(printed);
    if (other !== undefined) {
      findings.push(error('replica-name', `${other} and ${tableName(schema)} would both be written to ${printed}`, 'Give one of them another name with `as`.', schema));
    }
    taken.set(printed, tableName(schema));
    findings.push(...(await tableFindings(context, server, schema, name)));
  }
  if (findings.every((finding) => finding.severity !== 'error')) {
    findings.push({ severity: 'ok', code: 'replica', what: `the sink can mirror into ${versionName(server.types.version)}`, remedy: '' });
  }
  return findings;
}

/** What is wrong with a server itself, and with the user's rights there; tables are not looked at. */
export async function checkServer({ session, options, target: asked }: CheckContext, tables: readonly TableSchema[]): Promise<Finding[]> {
  const server = await readServer(session);
  const target = targetAt(server, asked);
  const databases = new Set(tables.map((schema) => targetName(target.names, schema).schema));
  return [...serverFindings(server, options), ...(await rightFindings(session, options, databases, shadowNames(target.sink).schema, server.types.version.flavor === 'mysql'))];
}

/** Bytes; the least default of the servers. */
const ENOUGH_PACKET = 16 << 20;

function serverFindings(server: ServerFacts, { loadWay }: MysqlSinkOptions): Finding[] {
  const findings: Finding[] = [];
  if (server.readOnly) findings.push(error('replica-read-only', 'the server is read only', 'SET GLOBAL read_only = OFF, or give the address of a server that takes writes'));
  if (server.flushAtCommit !== '1') {
    findings.push(warning('replica-flush', `innodb_flush_log_at_trx_commit is ${server.flushAtCommit}: a crash of the replica's machine takes commits back that were called durable; checkpoint and rows go back together, and the sink goes on from there`, 'SET GLOBAL innodb_flush_log_at_trx_commit = 1'));
  }
  if (!server.loadsLocal) {
    const what = 'local_infile is OFF: rows go in by INSERT statements, which is slower than LOAD DATA LOCAL';
    findings.push((loadWay === 'load-data' ? error : warning)('replica-local-infile', what, 'SET GLOBAL local_infile = ON'));
  }
  if (server.maxStatement < ENOUGH_PACKET) {
    findings.push(warning('replica-max-packet', `max_allowed_packet is ${server.maxStatement}: a row of more bytes is refused as an error of the data`, `SET GLOBAL max_allowed_packet = ${4 * ENOUGH_PACKET}`));
  }
  if (server.binlogFormat === 'STATEMENT') findings.push(error('replica-binlog-format', 'binlog_format is STATEMENT, under which the replica takes no transactions of this isolation', 'SET GLOBAL binlog_format = ROW'));
  if (server.requiresPrimaryKey) findings.push(warning('replica-require-key', 'sql_require_primary_key is ON: tables without a primary key cannot be made', 'SET GLOBAL sql_require_primary_key = OFF, or leave such tables out of the sink'));
  return findings;
}

/** The sink's own database, those of the tables, and that of a rebuild: there, or to be made. */
async function rightFindings(session: Session, { ownDatabase }: MysqlSinkOptions, databases: ReadonlySet<string>, shadow: string, hidesTriggers: boolean): Promise<Finding[]> {
  const [{ user = '' } = {}] = await session.rows('SELECT CURRENT_USER() AS user');
  const grants = await session.rows('SHOW GRANTS');
  const texts = grants.flatMap((row) => Object.values(row)).filter((text) => text !== null);
  const at = (user ?? '').lastIndexOf('@');
  const account = `${quoteText((user ?? '').slice(0, at))}@${quoteText((user ?? '').slice(at + 1))}`;
  return [ownDatabase, ...databases, shadow].flatMap((database) => {
    const missing = missingRights(texts, database, hidesTriggers && databases.has(database) ? [...NEEDED, 'TRIGGER'] : NEEDED);
    if (missing.length === 0) return [];
    const what = `the grants of ${user} do not show ${missing.join(', ')} on ${database}${database === shadow ? ', which a rebuild wants' : ''}; roles are not looked into`;
    return [warning('replica-rights', what, `GRANT ${missing.join(', ')} ON ${quoteName(database)}.* TO ${account}`)];
  });
}

/** Triggers are shown by MySQL only to those who may make some; the sink makes none. */
const NEEDED = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'ALTER', 'DROP', 'INDEX', 'CREATE TEMPORARY TABLES'];

/** Of the rights that a sink needs in a database, those that no grant on it or on all of them names. */
function missingRights(grants: readonly string[], database: string, needed: readonly string[]): string[] {
  const given = new Set<string>();
  for (const grant of grants) {
    const [, rights = '', place = ''] = /^GRANT (.*?) ON (\S+) TO/s.exec(grant) ?? [];
    const pattern = place.replace(/\.\*$/, '').replaceAll('`', '').replaceAll('\\_', '_');
    if (place !== '*.*' && pattern !== database && !(pattern.includes('%') && new RegExp(`^${pattern.replaceAll('%', '.*')}$`).test(database))) continue;
    for (const right of rights.split(',')) given.add(right.trim().toUpperCase());
  }
  return given.has('ALL PRIVILEGES') || given.has('ALL') ? [] : needed.filter((right) => !given.has(right));
}

async function tableFindings(context: CheckContext, server: ServerFacts, schema: TableSchema, name: TargetName): Promise<Finding[]> {
  const findings: Finding[] = [];
  let shape: ReplicaShape;
  try {
    shape = replicaShape(schema, { server: server.types, unfit: context.target.unfit });
  } catch (failure) {
    const { message, remedy } = sinkError(failure);
    return [error('replica-type', message, remedy, schema)];
  }
  findings.push(...unfitFindings(schema, shape.columns.map(({ name: column, sql, beyond, isStandIn }) => ({ name: column, type: sql, beyond, isStandIn }))));
  const table = await readReplicaTable(context.session, name);
  if (table === null) return findings;
  if (table.kind === 'VIEW') return [...findings, error('replica-kind', `${printedName(name)} is a view`, 'Drop it, or map the source table to another name with `as`.', schema)];
  if (table.engine !== 'InnoDB') findings.push(error('replica-engine', `${printedName(name)} is kept by ${table.engine}, which has no transactions`, `ALTER TABLE ${qualified(name)} ENGINE=InnoDB`, schema));
  return [...findings, ...columnFindings(schema, shape, table), ...planFindings(schema, table, server), ...(await triggerFindings(context.session, schema, name)), ...(await foreignKeyFindings(context.session, schema, name)), ...(await ownerFindings(context, schema, name))];
}

function planFindings(schema: TableSchema, table: ReplicaTable, server: ServerFacts): Finding[] {
  if (schema.columns.some(({ name }) => !table.columns.some((column) => column.name.toLowerCase() === mysqlColumn(name)))) return [];
  try {
    planTable(schema, table, server.types);
    return [];
  } catch (failure) {
    const { message, remedy } = sinkError(failure);
    return [error('replica-shape', message, remedy, schema)];
  }
}

function columnFindings(schema: TableSchema, shape: ReplicaShape, table: ReplicaTable): Finding[] {
  const findings: Finding[] = [];
  const [target, printed] = [qualified(table.name), printedName(table.name)];
  const byName = new Map(table.columns.map((column) => [column.name.toLowerCase(), column]));
  for (const column of shape.columns) {
    const found = byName.get(mysqlColumn(column.name));
    if (found === undefined) {
      findings.push(warning('replica-column', `${printed} has no column ${column.name}; it is added when the table is first filled`, `ALTER TABLE ${target} ADD COLUMN ${quoteName(column.name)} ${column.sql}`, schema));
    } else if (found.type.name !== column.type.name && !found.generated) {
      findings.push(warning('replica-column-type', `${printed}.${column.name} is ${found.type.text}, the sink would make it ${column.sql}`, `ALTER TABLE ${target} MODIFY COLUMN ${quoteName(column.name)} ${column.sql}`, schema));
    }
  }
  const mirrored = new Set(schema.columns.map((column) => mysqlColumn(column.name)));
  for (const column of table.columns) {
    if (mirrored.has(column.name.toLowerCase()) || column.nullable || column.hasDefault || column.generated) continue;
    findings.push(error('replica-extra-column', `${printed}.${column.name} is not in the source, must not be null and has no default`, `ALTER TABLE ${target} MODIFY COLUMN ${quoteName(column.name)} ${column.type.text} NULL`, schema));
  }
  const key = keyNames(schema);
  if (schema.keyKind !== 'none' && uniqueIndexOn(table, key) === null && shape.key.kind !== 'index') {
    findings.push(warning('replica-key', `${printed} has no unique index on its key (${key.join(', ')}): every change may read the whole table`, `CREATE UNIQUE INDEX tidemark_key ON ${target} (${key.map(quoteName).join(', ')})`, schema));
  }
  return findings;
}

/** Nothing can keep triggers from firing here. */
async function triggerFindings(session: Session, schema: TableSchema, name: TargetName): Promise<Finding[]> {
  const triggers = await session.rows(`SELECT TRIGGER_NAME AS name FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ${quoteText(name.schema)} AND EVENT_OBJECT_TABLE = ${quoteText(name.name)}`);
  return triggers.map((row) => warning('replica-trigger', `the trigger ${row['name']} of ${printedName(name)} fires for mirrored changes too, and more than once for a row that is replaced`, `DROP TRIGGER ${quoteName(name.schema)}.${quoteName(row['name'] ?? '')}, unless that is what it is for`, schema));
}

/** They are not enforced while applying; but some changes of shape are refused because of them, and so is a rebuild. */
async function foreignKeyFindings(session: Session, schema: TableSchema, name: TargetName): Promise<Finding[]> {
  const rows = await session.rows(
    `SELECT CONSTRAINT_NAME AS name FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ${quoteText(name.schema)} AND TABLE_NAME = ${quoteText(name.name)}`,
  );
  return rows.map((row) => {
    const what = `the foreign key ${row['name']} of ${printedName(name)} is not enforced while applying, and stands in the way of a rebuild and of some changes of the table's shape`;
    return warning('replica-foreign-key', what, `ALTER TABLE ${qualified(name)} DROP FOREIGN KEY ${quoteName(row['name'] ?? '')}`, schema);
  });
}

async function ownerFindings({ session, options, target: { sink } }: CheckContext, schema: TableSchema, name: TargetName): Promise<Finding[]> {
  const made = await session.rows(`SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = ${quoteText(options.ownDatabase)} AND TABLE_NAME = 'mirrored_table'`);
  const [owner] = made.length === 0 ? [] : await session.rows(`SELECT sink FROM ${mirroredTable(options.ownDatabase)} WHERE database_name = ${quoteText(name.schema)} AND table_name = ${quoteText(name.name)}`);
  const printed = printedName(name);
  if (owner !== undefined) return owner['sink'] === sink ? [] : [error('replica-taken', `${printed} is mirrored by the sink ${owner['sink']}`, 'Map the source table to another name with `as`.', schema)];
  const rows = await session.rows(`SELECT 1 FROM ${qualified(name)} LIMIT 1`);
  return rows.length === 0 ? [] : [error('replica-rows', `${printed} has rows that this sink did not write`, `TRUNCATE TABLE ${qualified(name)}`, schema)];
}

function error(code: string, what: string, remedy: string, schema?: TableSchema): Finding {
  return { severity: 'error', code, what, remedy, ...(schema === undefined ? {} : { table: tableName(schema) }) };
}

function warning(code: string, what: string, remedy: string, schema?: TableSchema): Finding {
  return { severity: 'warning', code, what, remedy, ...(schema === undefined ? {} : { table: tableName(schema) }) };
}
