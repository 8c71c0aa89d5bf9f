/** What `check` finds: each fault with the statement that mends it. Looks, changes nothing. */
import type { SourceConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import { serverErrorNumber } from './errors.ts';
import { checkPlace, readBinlogEnd, readIdentity, type BinlogEnd, type ServerIdentity } from './identity.ts';
import type { MysqlOptions } from './options.ts';
import type { BinlogPlace } from './position.ts';
import { isAtLeast } from './server-version.ts';
import type { Session } from './session.ts';
import { error, ok, settingFindings, warning } from './setting-findings.ts';
import { tableFindings } from './table-findings.ts';
import { isSilentReplica, leftOut } from './unlogged.ts';

/** `place`: where the log is; null: there is no log yet. @throws TidemarkError when the server cannot be asked */
export async function preflight(session: Session, config: SourceConfig, options: MysqlOptions, place: BinlogPlace | null): Promise<Finding[]> {
  const identity = await readIdentity(session);
  const findings = settingFindings(identity);
  const user = await userName(session);
  const tables = await tableFindings(session, identity, config, options, user);
  findings.push(...tables.findings);
  if (!findings.some(({ code, severity }) => code === 'binlog' && severity === 'error')) {
    findings.push(...(await privilegeFindings(session, identity, user)));
    findings.push(...(await endFindings(session, identity, tables.namespaces, user)));
    if (place !== null) findings.push(...(await placeFindings(session, identity, place)));
  }
  findings.push(...(await replicaFindings(session, identity)));
  return findings;
}

/** `'repl'@'%'`, as GRANT wants it. */
async function userName(session: Session): Promise<string> {
  const [row] = await session.query('SELECT CURRENT_USER() AS user');
  const match = /^(.*)@([^@]*)$/s.exec(row?.['user'] ?? '');
  return match === null ? 'CURRENT_USER' : [match[1], match[2]].map((part) => `'${(part ?? '').replaceAll("'", "''")}'`).join('@');
}

const ACCESS_DENIED = 1227;
const XA_DENIED = 1401;

/** Statements that want the privileges that the stream wants: what is granted by a role, or by a managed service, counts too. */
async function privilegeFindings(session: Session, identity: ServerIdentity, user: string): Promise<Finding[]> {
  const findings: Finding[] = [];
  // Reads the head of the oldest file, and needs what a binlog dump needs.
  const dump = await refusal(session, 'SHOW BINLOG EVENTS LIMIT 1');
  findings.push(dump === ACCESS_DENIED
    ? error('privilege', `${user} may not read the binlog`, `GRANT REPLICATION SLAVE ON *.* TO ${user}`)
    : ok('privilege', `${user} may read the binlog`));
  if (identity.version.flavor === 'mysql' && (await refusal(session, 'XA RECOVER')) === XA_DENIED) {
    findings.push(warning('privilege', `${user} may not see prepared XA transactions: where the application uses XA, their rows can be missed by a copy`, `GRANT XA_RECOVER_ADMIN ON *.* TO ${user}`));
  }
  if (!identity.isByGtid && (await cannotLock(session))) {
    findings.push(warning('privilege', `${user} may not lock tables, which a copy needs for a moment where GTIDs are off`, `GRANT LOCK TABLES ON *.* TO ${user}; or turn GTIDs on`));
  }
  return findings;
}

/** The number of the error that the statement meets; null: none. @throws TidemarkError when the connection is lost */
async function refusal(session: Session, statement: string): Promise<number | null> {
  try {
    await session.query(statement);
    return null;
  } catch (cause) {
    const number = serverErrorNumber(cause);
    if (number === null) throw cause;
    return number;
  }
}

async function cannotLock(session: Session): Promise<boolean> {
  const grants = (await session.query('SHOW GRANTS')).flatMap((row) => Object.values(row));
  return !grants.some((grant) => /\b(LOCK TABLES|ALL PRIVILEGES)\b/i.test(grant ?? ''));
}

async function endFindings(session: Session, identity: ServerIdentity, namespaces: ReadonlySet<string>, user: string): Promise<Finding[]> {
  let end: BinlogEnd;
  try {
    end = await readBinlogEnd(session, identity);
  } catch (cause) {
    const word = identity.version.flavor === 'mysql' || !isAtLeast(identity.version, 10, 5, 0) ? 'REPLICATION CLIENT' : 'BINLOG MONITOR';
    if (serverErrorNumber(cause) === ACCESS_DENIED) return [error('privilege', `${user} may not see where the binlog ends`, `GRANT ${word} ON *.* TO ${user}`)];
    if (cause instanceof TidemarkError && cause.code === 'MYSQL_BINLOG_OFF') return [error('binlog', cause.message, cause.remedy)];
    throw cause;
  }
  return leftOut(end, namespaces).map((name) => error('binlog-filter', `the server leaves ${name} out of its binlog`, 'Take binlog_do_db and binlog_ignore_db out of my.cnf; then restart the server'));
}

async function placeFindings(session: Session, identity: ServerIdentity, place: BinlogPlace): Promise<Finding[]> {
  try {
    await checkPlace(session, identity, place);
    return [ok('position', 'the server has the place that the log is at')];
  } catch (cause) {
    if (!(cause instanceof TidemarkError) || cause.retry === 'auto') throw cause;
    return [error('position', cause.message, cause.remedy)];
  }
}

async function replicaFindings(session: Session, identity: ServerIdentity): Promise<Finding[]> {
  if (!(await isSilentReplica(session, identity))) return [];
  const name = identity.settings.has('log_replica_updates') ? 'log_replica_updates' : 'log_slave_updates';
  return [error('replica-updates', `the server is a replica, and ${name} is OFF: what it replicates is not in its binlog`, `${name} = ON in my.cnf; then restart the server`)];
}
