/** What `check` finds: each fault with the statement that mends it. Looks, changes nothing. */
import pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { Clock } from '../../contracts/runtime.ts';
import { tableName } from '../../contracts/schema.ts';
import { text } from './catalog/catalog-query.ts';
import { postgresError } from './errors.ts';
import type { PostgresOptions } from './options.ts';
import { addStatement, createStatement, missingTables, publicationFaults, readPublication } from './catalog/publication.ts';
import { endClient, type Session, type TextRow, type WireConnection } from './session.ts';
import { readSlot, slotFault } from './slot.ts';
import { isCapturable, needsWidth, type SourceCatalog } from './catalog/source-catalog.ts';
import { fullIdentityStatement, quoted, quoteIdentifier, type SourceTable } from './catalog/source-table.ts';

export async function preflight(session: Session, catalog: SourceCatalog, options: PostgresOptions): Promise<Finding[]> {
  const selected = await catalog.selected(session);
  const { tables } = await catalog.read(session, selected.map((table) => table.oid));
  const capturable = tables.filter(isCapturable);
  return [
    ...(await serverFindings(session)),
    ...(await poolerFindings(session)),
    ...(await roleFindings(session)),
    ...tableFindings(catalog, tables),
    ...(await readingFindings(session, tables)),
    ...(await publicationFindings(session, options, capturable)),
    ...(await slotFindings(session, options)),
    ...(await standbyFindings(session, options)),
  ];
}

const ok = (code: string, what: string): Finding => ({ severity: 'ok', code, what, remedy: '' });
const error = (code: string, what: string, remedy: string, table?: string): Finding => finding('error', code, what, remedy, table);
const warning = (code: string, what: string, remedy: string, table?: string): Finding => finding('warning', code, what, remedy, table);

function finding(severity: Finding['severity'], code: string, what: string, remedy: string, table: string | undefined): Finding {
  return { severity, code, what, remedy, ...(table === undefined ? {} : { table }) };
}

async function serverFindings(session: Session): Promise<Finding[]> {
  const rows = await session.query(
    `SELECT name, setting, current_setting(name) AS shown FROM pg_settings
      WHERE name IN ('wal_level', 'max_wal_senders', 'max_slot_wal_keep_size', 'idle_replication_slot_timeout')`,
  );
  const setting = (name: string): TextRow => rows.find((row) => row['name'] === name) ?? {};
  const findings = [ok('version', `PostgreSQL ${Math.floor(session.version / 10_000)}.${session.version % 10_000}`)];
  if (session.inRecovery && session.version < 160_000) {
    findings.push(error('standby', 'the server is a standby, from which changes can be read since PostgreSQL 16 only', 'Use the address of the primary'));
  }
  const level = setting('wal_level')['setting'];
  findings.push(level === 'logical'
    ? ok('wal-level', 'wal_level is logical')
    : error('wal-level', `wal_level is ${level ?? 'unknown'}`, 'ALTER SYSTEM SET wal_level = logical; then restart the server'));
  const keep = setting('max_slot_wal_keep_size');
  if (keep['setting'] !== '-1') {
    findings.push(warning('slot-wal-limit', `max_slot_wal_keep_size is ${keep['shown'] ?? ''}: the slot is lost when the hub is that far behind`,
      'ALTER SYSTEM SET max_slot_wal_keep_size = -1, or a size that lasts for the longest time the hub is away'));
  }
  const idle = setting('idle_replication_slot_timeout');
  if (idle['setting'] !== undefined && idle['setting'] !== '0') {
    findings.push(warning('slot-idle-limit', `idle_replication_slot_timeout is ${idle['shown'] ?? ''}: the slot is lost when the hub is away that long`,
      'ALTER SYSTEM SET idle_replication_slot_timeout = 0'));
  }
  const [senders] = await session.query(
    `SELECT current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender') AS free`,
  );
  if (Number(senders?.['free'] ?? 1) < 1) {
    findings.push(error('wal-senders', 'no WAL sender is free', 'ALTER SYSTEM SET max_wal_senders = 20; then restart the server'));
  }
  return findings;
}

/** A pooler that lets settings through gives itself away by the process that it names at connect. */
async function poolerFindings(session: Session): Promise<Finding[]> {
  const [row] = await session.query('SELECT pg_backend_pid() AS pid');
  if (session.announcedPid === null || row?.['pid'] === String(session.announcedPid)) return [];
  return [warning('pooler', 'the address seems to lead to a proxy or a connection pooler, which may share one session among several or refuse replication',
    'If it is a pooler, use the address of the server itself')];
}

/** Whether a replication session can be had at all. What the role or the server's limits forbid, the other findings name. */
export async function replicationFindings(wire: WireConnection, clock: Clock, signal: AbortSignal): Promise<Finding[]> {
  const config: pg.ClientConfig & { replication: string } = { ...wire.config, replication: 'database' };
  const client = new pg.Client(config);
  client.on('error', () => undefined);
  const abort = (): void => void wire.socket.destroy(new TidemarkError('ABORTED', 'the check was asked to stop'));
  signal.addEventListener('abort', abort, { once: true });
  try {
    await client.connect();
    await client.query('IDENTIFY_SYSTEM');
    return [ok('replication', 'a replication session can be opened')];
  } catch (cause) {
    signal.throwIfAborted();
    const known = postgresError(cause);
    if (known.code === 'POSTGRES_ACCESS') return [];
    return [error('replication', `no replication session can be opened: ${known.message}`, known.remedy)];
  } finally {
    signal.removeEventListener('abort', abort);
    await endClient(client, wire.socket, clock);
  }
}

async function roleFindings(session: Session): Promise<Finding[]> {
  const [row = {}] = await session.query(
    `SELECT rolname, rolsuper OR rolreplication OR EXISTS (
              SELECT 1 FROM pg_roles g WHERE g.rolname IN ('rds_replication', 'rds_superuser', 'azure_pg_admin', 'cloudsqlsuperuser')
                 AND pg_has_role(r.rolname, g.oid, 'member')) AS replicates
       FROM pg_roles r WHERE rolname = current_user`,
  );
  const role = text(row, 'rolname');
  if (row['replicates'] === 't') return [ok('role', `the role ${role} may replicate`)];
  return [error('role', `the role ${role} may not replicate`, `ALTER ROLE ${quoteIdentifier(role)} REPLICATION`)];
}

function tableFindings(catalog: SourceCatalog, tables: readonly SourceTable[]): Finding[] {
  const findings: Finding[] = [];
  if (tables.length === 0) {
    findings.push(error('tables', `no table matches ${catalog.config.tablePatterns.join(', ')}`, 'Correct `tables` of the source'));
  } else findings.push(ok('tables', `${tables.length} tables are selected`));
  for (const table of tables) {
    const name = tableName(table);
    if (!isCapturable(table)) {
      findings.push(error('replica-identity', `${name} has no primary key and no usable replica identity`,
        `${fullIdentityStatement(table)}; or give it a primary key, or leave it out with "!${name}"`, name));
    }
    const rule = catalog.ruleError(table);
    if (rule !== null) findings.push(error('column-rule', rule.message, rule.remedy, name));
  }
  const present = new Set(tables.map((table) => tableName(table)));
  for (const name of catalog.config.columns.keys()) {
    if (!present.has(name)) findings.push(error('column-rule', `there are column rules for ${name}, which is not captured`, 'Correct `columns` of the source', name));
  }
  const remembered = tables.filter((table) => isCapturable(table) && needsWidth(table));
  if (remembered.length > 0) {
    findings.push(ok('whole-rows', `${remembered.length} tables can hold large values; unchanged ones are completed from an index of the hub, ` +
      'which REPLICA IDENTITY FULL would make unnecessary'));
  }
  return findings;
}

/** What the copy needs: rows that may be read, all of them. */
async function readingFindings(session: Session, tables: readonly SourceTable[]): Promise<Finding[]> {
  if (tables.length === 0) return [];
  const rows = await session.query(
    `SELECT c.oid, current_user AS role, n.nspname, has_schema_privilege(n.oid, 'USAGE') AS usage, has_table_privilege(c.oid, 'SELECT') AS readable,
            c.relrowsecurity AND row_security_active(c.oid) AS filtered
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[])`,
    [`{${tables.map((table) => table.oid).join(',')}}`],
  );
  const findings: Finding[] = [];
  for (const row of rows) {
    const table = tables.find((one) => one.oid === Number(row['oid']));
    if (table === undefined) continue;
    const name = tableName(table);
    const role = quoteIdentifier(text(row, 'role'));
    if (row['usage'] !== 't') findings.push(error('privilege', `the schema ${table.namespace} may not be used`, `GRANT USAGE ON SCHEMA ${quoteIdentifier(table.namespace)} TO ${role}`, name));
    if (row['readable'] !== 't') findings.push(error('privilege', `${name} may not be read`, `GRANT SELECT ON ${quoted(table)} TO ${role}`, name));
    if (row['filtered'] === 't') findings.push(error('row-security', `a policy hides rows of ${name} from the role`, `ALTER ROLE ${role} BYPASSRLS`, name));
  }
  return findings;
}

async function publicationFindings(session: Session, { publication }: PostgresOptions, tables: readonly SourceTable[]): Promise<Finding[]> {
  const state = await readPublication(session, publication);
  const [row = {}] = await session.query(`SELECT has_database_privilege(current_database(), 'CREATE') AS creates, current_database() AS name, current_user AS role`);
  const missing = missingTables(state, tables);
  const foreign = await notOwned(session, state === null ? tables : missing);
  if (state === null) {
    if (session.inRecovery) return [error('publication', `there is no publication ${publication}`, `Run on the primary: ${createStatement(publication, tables, session.version)}`)];
    if (row['creates'] === 't' && foreign.length === 0) return [ok('publication', `the publication ${publication} will be made`)];
    return [error('publication', `the role ${text(row, 'role')} may not make the publication ${publication}`,
      `Run as the owner of the tables: ${createStatement(publication, tables, session.version)}`)];
  }
  const findings = publicationFaults(state, tables).map((fault) => error('publication', fault.what, fault.statement));
  if (missing.length > 0 && (foreign.length > 0 || session.inRecovery)) {
    findings.push(error('publication', `the publication ${publication} lacks ${missing.length} tables`, `Run as their owner: ${addStatement(publication, missing)}`));
  }
  return findings.length > 0 ? findings : [ok('publication', `the publication ${publication} is usable`)];
}

/** A publication takes tables of their owners only. */
async function notOwned(session: Session, tables: readonly SourceTable[]): Promise<string[]> {
  if (tables.length === 0) return [];
  const rows = await session.query(
    `SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.oid = ANY ($1::oid[]) AND NOT pg_has_role(c.relowner, 'USAGE')`,
    [`{${tables.map((table) => table.oid).join(',')}}`],
  );
  return rows.map((row) => text(row, 'name'));
}

async function slotFindings(session: Session, options: PostgresOptions): Promise<Finding[]> {
  const slot = await readSlot(session, options.slot);
  if (slot !== null) {
    const [database] = await session.query('SELECT current_database() AS name');
    const fault = slotFault(slot, text(database ?? {}, 'name'), null);
    return [fault === null ? ok('slot', `the slot ${options.slot} is usable`) : error('slot', fault.message, fault.remedy)];
  }
  const [row] = await session.query(`SELECT current_setting('max_replication_slots')::int - count(*) AS free FROM pg_replication_slots`);
  if (Number(row?.['free'] ?? 0) > 0) return [ok('slot', `the slot ${options.slot} will be made`)];
  return [error('slot', 'no replication slot is free', 'ALTER SYSTEM SET max_replication_slots = 20; then restart the server')];
}

/** After a failover the new primary has the slot only if it was kept in step there, and not behind. */
async function standbyFindings(session: Session, options: PostgresOptions): Promise<Finding[]> {
  if (session.inRecovery) return [];
  const standbys = await session.query(
    `SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'physical' AND active`,
  );
  if (standbys.length === 0) return [];
  if (session.version < 170_000) {
    return [warning('failover', 'the server has standbys: after a failover the slot is gone, and the tables are copied again', 'PostgreSQL 17 and newer keep slots in step on standbys')];
  }
  const slot = await readSlot(session, options.slot);
  const findings: Finding[] = [];
  if (!options.failover || slot?.failover === false) {
    findings.push(warning('failover', 'the server has standbys, and the slot is not kept in step there', 'Set `failover: true` for the source before its slot is made'));
  }
  const [row] = await session.query(`SELECT current_setting('synchronized_standby_slots') AS slots`);
  if (row?.['slots'] === '') {
    const names = standbys.map((standby) => text(standby, 'slot_name')).join(', ');
    findings.push(warning('failover', 'changes may be read before standbys have them: a failover would lose what the hub already has',
      `ALTER SYSTEM SET synchronized_standby_slots = '${names}'; SELECT pg_reload_conf()`));
  }
  return findings;
}
