/** What the sink asks of its server once it is connected: what types depend on, how rows may come, what a commit is worth. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { LoadWay } from './options.ts';
import type { Session } from './session.ts';
import { indexBytes, type ReplicaServer } from './types/replica-server.ts';

export interface ServerFacts {
  readonly types: ReplicaServer;
  /** LOAD DATA LOCAL is allowed. */
  readonly loadsLocal: boolean;
  /** The longest statement, bytes. */
  readonly maxStatement: number;
  /** `1`: a commit is on the disk before it is answered. */
  readonly flushAtCommit: string;
  readonly readOnly: boolean;
  /** Names of tables are compared without regard to case, and kept in lower case by some. */
  readonly foldsNames: boolean;
  /** `ROW`, `STATEMENT`, `MIXED`; null: no binlog. */
  readonly binlogFormat: string | null;
  readonly requiresPrimaryKey: boolean;
}

const VARIABLES = [
  'innodb_page_size', 'local_infile', 'max_allowed_packet', 'innodb_flush_log_at_trx_commit', 'read_only', 'super_read_only', 'lower_case_table_names', 'binlog_format', 'log_bin', 'sql_require_primary_key',
];

export async function readServer(session: Session): Promise<ServerFacts> {
  const rows = await session.rows(`SHOW VARIABLES WHERE Variable_name IN (${VARIABLES.map((name) => `'${name}'`).join(', ')})`);
  const values = new Map(rows.map((row) => [row['Variable_name'] ?? '', row['Value'] ?? '']));
  const isOn = (name: string): boolean => /^(on|1)$/i.test(values.get(name) ?? '');
  return {
    types: { version: session.version, collations: await collations(session), indexBytes: indexBytes(Number(values.get('innodb_page_size') ?? 16_384)) },
    loadsLocal: isOn('local_infile'),
    maxStatement: Number(values.get('max_allowed_packet') ?? 1 << 24),
    flushAtCommit: values.get('innodb_flush_log_at_trx_commit') ?? '',
    readOnly: isOn('read_only') || isOn('super_read_only'),
    foldsNames: (values.get('lower_case_table_names') ?? '0') !== '0',
    binlogFormat: isOn('log_bin') ? (values.get('binlog_format') ?? 'ROW') : null,
    requiresPrimaryKey: isOn('sql_require_primary_key'),
  };
}

async function collations(session: Session): Promise<ReadonlyMap<string, string>> {
  const isMariadb = session.version.flavor === 'mariadb';
  const rows = await session.rows(
    isMariadb
      ? 'SELECT FULL_COLLATION_NAME AS name, CHARACTER_SET_NAME AS charset FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY'
      : 'SELECT COLLATION_NAME AS name, CHARACTER_SET_NAME AS charset FROM information_schema.COLLATIONS',
  );
  return new Map(rows.map((row) => [row['name'] ?? '', row['charset'] ?? '']));
}

/** True: by LOAD DATA LOCAL. @throws TidemarkError `REPLICA_DENIED` when that is wanted and not allowed */
export function usesLoadData(way: LoadWay, facts: ServerFacts): boolean {
  if (way === 'load-data' && !facts.loadsLocal) {
    throw new TidemarkError('REPLICA_DENIED', 'the server does not allow LOAD DATA LOCAL, and `load` is `load-data`', { remedy: 'SET GLOBAL local_infile = ON at the replica, or set `load: auto`.' });
  }
  return way !== 'statements' && facts.loadsLocal;
}
