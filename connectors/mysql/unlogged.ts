/** Changes that a server makes and does not write into its binlog. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { serverErrorNumber } from './errors.ts';
import type { BinlogEnd, ServerIdentity } from './identity.ts';
import { isAtLeast } from './server-version.ts';
import type { Session } from './session.ts';

const ACCESS_DENIED = 1227;

/** Those of the databases that the server leaves out of its binlog (binlog_do_db, binlog_ignore_db). */
export function leftOut({ onlyDatabases, ignoredDatabases }: Pick<BinlogEnd, 'onlyDatabases' | 'ignoredDatabases'>, namespaces: ReadonlySet<string>): string[] {
  return [...namespaces].filter((name) => ignoredDatabases.includes(name) || (onlyDatabases.length > 0 && !onlyDatabases.includes(name)));
}

/** A replica that does not write on what it gets has a binlog without it. False, too, where the user may not see that. */
export async function isSilentReplica(session: Session, { version, settings }: ServerIdentity): Promise<boolean> {
  const logs = settings.get('log_replica_updates') ?? settings.get('log_slave_updates');
  if (logs === undefined || logs === 'ON' || logs === '1') return false;
  const statement = version.flavor === 'mysql' && isAtLeast(version, 8, 0, 22) ? 'SHOW REPLICA STATUS' : 'SHOW SLAVE STATUS';
  try {
    return (await session.query(statement)).length > 0;
  } catch (cause) {
    if (serverErrorNumber(cause) !== ACCESS_DENIED) throw cause;
    return false;
  }
}

/** @throws TidemarkError `MYSQL_BINLOG_OFF` where changes of the databases are not in the binlog */
export async function requireLogged(session: Session, identity: ServerIdentity, end: BinlogEnd, namespaces: ReadonlySet<string>): Promise<void> {
  const [left] = leftOut(end, namespaces);
  if (left !== undefined) {
    throw new TidemarkError('MYSQL_BINLOG_OFF', `the server leaves the database ${left} out of its binlog`, { remedy: 'Take binlog_do_db and binlog_ignore_db out of my.cnf, and restart the server; or leave the database out.' });
  }
  if (await isSilentReplica(session, identity)) {
    throw new TidemarkError('MYSQL_BINLOG_OFF', 'the server is a replica that does not write what it replicates into its binlog', { remedy: 'log_replica_updates = ON (MariaDB: log_slave_updates) in my.cnf, and restart the server; RESET REPLICA ALL (RESET SLAVE ALL) where it replicates no more; or give the address of its source.' });
  }
}
