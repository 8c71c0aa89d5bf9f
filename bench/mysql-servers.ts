import { type MysqlOptions, type MysqlServer, type MysqlSettings, startMysql } from '../test/fixtures/mysql.ts';

/**
 * Of every server of the MySQL benches, on either side: a small production server. The default redo log (100 MB) and buffer
 * pool (128 MB) make a bulk load wait for its pages; what decides whether a commit is durable stays at the server's default.
 */
export const BENCH_SETTINGS = { innodb_buffer_pool_size: '1G', innodb_redo_log_capacity: '4G' } satisfies MysqlSettings;

const SHOWN = [
  'innodb_flush_log_at_trx_commit', 'sync_binlog', 'innodb_doublewrite', 'innodb_flush_method', 'innodb_buffer_pool_size', 'innodb_redo_log_capacity',
  'binlog_row_image', 'binlog_row_metadata', 'gtid_mode',
] as const;

export function startBenchMysql(options: Pick<MysqlOptions, 'databases'> = {}): Promise<MysqlServer> {
  return startMysql({ ...options, durable: true, settings: BENCH_SETTINGS });
}

/** Of its database `shop`. Without TLS, as everybody else in these benches. */
export function benchUrl(server: MysqlServer): string {
  return `${server.url('shop')}?ssl-mode=disabled`;
}

/** Version and settings, for the output. */
export async function describeServer(server: MysqlServer): Promise<string> {
  const [row] = await server.query(`SELECT VERSION() AS version, ${SHOWN.map((name) => `@@GLOBAL.${name} AS ${name}`).join(', ')}`);
  return `MySQL ${row?.['version']}: ${SHOWN.map((name) => `${name} ${row?.[name]}`).join(', ')}; no TLS on either side`;
}

/** All that the server has executed. */
export async function executedGtids(server: MysqlServer): Promise<string> {
  const [row] = await server.query('SELECT @@GLOBAL.gtid_executed AS gtids');
  const gtids = row?.['gtids']?.replaceAll(/\s/g, '') ?? '';
  if (gtids === '') throw new Error('the server has executed nothing under a GTID');
  return gtids;
}

/** Rows of the table, and sums over all their values: equal on both sides when the tables are. */
export async function fingerprint(server: MysqlServer, database: string, table = 'bench'): Promise<string> {
  const columns = await server.query(
    `SELECT column_name AS name FROM information_schema.columns WHERE table_schema = '${database}' AND table_name = '${table}' ORDER BY column_name`,
  );
  if (columns.length === 0) throw new Error(`there is no table ${database}.${table}`);
  // NULL is another value than the empty text.
  const values = columns.map(({ name }) => `IFNULL(\`${name}\`, CHAR(0))`).join(', ');
  const [row] = await server.query(
    `SELECT COUNT(*) AS n, SUM(CRC32(v)) AS sum, SUM(CAST(CONV(LEFT(SHA2(v, 224), 12), 16, 10) AS UNSIGNED)) AS hash
     FROM (SELECT CONCAT_WS('|', ${values}) AS v FROM \`${table}\`) AS rows_of_it`,
    database,
  );
  return `${row?.['n']} rows, sums ${row?.['sum']} and ${row?.['hash']}`;
}

export async function mustBeEqual(source: MysqlServer, from: string, replica: MysqlServer, to: string): Promise<void> {
  const [wanted, got] = [await fingerprint(source, from), await fingerprint(replica, to)];
  if (wanted !== got) throw new Error(`the replica ${to} differs: ${got} instead of ${wanted}`);
}
