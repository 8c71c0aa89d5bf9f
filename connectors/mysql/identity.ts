/** Which server it is, where its binlog ends, and whether the log's position is a place in it. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { GtidSet } from './gtid-set.ts';
import { formatMariadbGtid, MariadbGtids, parseMariadbGtid, type MariadbGtid } from './mariadb-gtid.ts';
import { formatPlace, parseBinlogFile, type BinlogPlace, type MariadbPlace, type MysqlPlace } from './position.ts';
import type { PreparedXa } from './prepared-xa.ts';
import { isAtLeast, type ServerVersion } from './server-version.ts';
import type { Session, TextRow } from './session.ts';

export interface ServerIdentity {
  readonly version: ServerVersion;
  /** MySQL: its UUID. MariaDB: its server id, in decimal. As positions name it. */
  readonly server: string;
  readonly serverId: number;
  /** True where GTIDs are the coordinate: on MariaDB always, on MySQL with `gtid_mode=ON`. */
  readonly isByGtid: boolean;
  /** Variables that the connector looks at, as the server has them now, by name in lower case. A server has not all of them. */
  readonly settings: ReadonlyMap<string, string>;
}

/** What the connector looks at, of both flavors and all versions. */
const SETTINGS = [
  'server_uuid', 'server_id', 'gtid_mode', 'gtid_strict_mode', 'gtid_domain_id', 'log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata',
  'binlog_row_value_options', 'binlog_expire_logs_seconds', 'expire_logs_days', 'binlog_expire_logs_auto_purge', 'max_binlog_total_size', 'binlog_checksum',
  'lower_case_table_names', 'time_zone', 'system_time_zone', 'binlog_transaction_compression', 'log_bin_compress', 'binlog_order_commits',
  'innodb_native_foreign_keys', 'log_replica_updates', 'log_slave_updates', 'sync_binlog', 'innodb_flush_log_at_trx_commit', 'read_only',
  'max_allowed_packet', 'binlog_encryption', 'encrypt_binlog', 'have_ssl', 'version_comment', 'binlog_legacy_event_pos', 'aurora_version',
] as const;

/** @throws TidemarkError */
export async function readIdentity(session: Session): Promise<ServerIdentity> {
  const rows = await session.query(`SHOW GLOBAL VARIABLES WHERE Variable_name IN (${SETTINGS.map((name) => `'${name}'`).join(', ')})`);
  const settings = new Map(rows.map((row) => [(row['Variable_name'] ?? '').toLowerCase(), row['Value'] ?? '']));
  const { version } = session;
  const serverId = Number(settings.get('server_id'));
  const server = version.flavor === 'mysql' ? settings.get('server_uuid') : settings.get('server_id');
  if (server === undefined || server === '' || !Number.isInteger(serverId)) throw new TidemarkError('MYSQL_QUERY', 'the server does not say which it is');
  return { version, server, serverId, isByGtid: version.flavor === 'mariadb' || settings.get('gtid_mode') === 'ON', settings };
}

/** Updates may come without columns that they leave as they are, or with parts of JSON values. */
export function leavesColumnsOut({ settings }: Pick<ServerIdentity, 'settings'>): boolean {
  const image = settings.get('binlog_row_image') ?? 'FULL';
  return !image.toUpperCase().startsWith('FULL') || (settings.get('binlog_row_value_options') ?? '').toUpperCase().includes('PARTIAL_JSON');
}

/** What the server says of its binlog: names of the databases that it writes, where it does not write all. */
export interface BinlogEnd {
  /** The place: all that has been committed is before it. */
  readonly place: BinlogPlace;
  readonly onlyDatabases: readonly string[];
  readonly ignoredDatabases: readonly string[];
}

/** Attempts to read file and GTIDs of MariaDB with nothing committed in between, before the file is searched for them. */
const ATTEMPTS = 5;

/**
 * The end of the binlog. Reads nothing of the files, but on a MariaDB that never rests: there it has the server look the
 * GTIDs up in the last one.
 * @throws TidemarkError `MYSQL_BINLOG_OFF`, `MYSQL_ACCESS`
 */
export async function readBinlogEnd(session: Session, identity: ServerIdentity): Promise<BinlogEnd> {
  const { version, server, isByGtid } = identity;
  if (version.flavor === 'mysql') {
    const row = await binlogStatus(session);
    const place: MysqlPlace = { flavor: 'mysql', server, isByGtid, ...fileOf(row), executed: GtidSet.parse(row['Executed_Gtid_Set'] ?? '') };
    return { place, ...databasesOf(row) };
  }
  for (let attempt = 1; ; attempt++) {
    const before = await binlogGtids(session);
    const row = await binlogStatus(session);
    const file = fileOf(row);
    const isQuiet = before === (await binlogGtids(session));
    const gtids = isQuiet ? before : attempt < ATTEMPTS ? null : await gtidsAt(session, file);
    if (gtids === null) continue;
    const place: MariadbPlace = { flavor: 'mariadb', server, isByGtid, ...file, executed: MariadbGtids.parse(gtids) };
    return { place, ...databasesOf(row) };
  }
}

async function binlogStatus(session: Session): Promise<TextRow> {
  const isNew = session.version.flavor === 'mysql' && isAtLeast(session.version, 8, 2, 0);
  const [row] = await session.query(isNew ? 'SHOW BINARY LOG STATUS' : 'SHOW MASTER STATUS');
  if (row === undefined) throw new TidemarkError('MYSQL_BINLOG_OFF', 'the server writes no binlog');
  return row;
}

async function binlogGtids(session: Session): Promise<string> {
  const [row] = await session.query('SELECT @@GLOBAL.gtid_binlog_pos AS gtids');
  return row?.['gtids'] ?? '';
}

async function gtidsAt(session: Session, { file, offset }: { readonly file: string; readonly offset: number }): Promise<string | null> {
  const [row] = await session.query(`SELECT BINLOG_GTID_POS(?, ?) AS gtids`, [file, offset]);
  return row?.['gtids'] ?? null;
}

function fileOf(row: TextRow): { file: string; offset: number } {
  const [file, offset] = [row['File'] ?? '', Number(row['Position'])];
  parseBinlogFile(file);
  return { file, offset };
}

function databasesOf(row: TextRow): Pick<BinlogEnd, 'onlyDatabases' | 'ignoredDatabases'> {
  const names = (list: string | null | undefined): string[] => (list ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '');
  return { onlyDatabases: names(row['Binlog_Do_DB']), ignoredDatabases: names(row['Binlog_Ignore_DB']) };
}

export interface BinlogFileSize {
  readonly file: string;
  readonly bytes: number;
}

/** The binlog files that the server still has, oldest first. @throws TidemarkError `MYSQL_ACCESS`, `MYSQL_BINLOG_OFF` */
export async function readBinlogFiles(session: Session): Promise<BinlogFileSize[]> {
  const rows = await session.query('SHOW BINARY LOGS');
  return rows.map((row) => ({ file: row['Log_name'] ?? '', bytes: Number(row['File_size']) }));
}

/** Bytes of binlog behind `place`; null: the server does not have its file. */
export function bytesBehind(files: readonly BinlogFileSize[], { file, offset }: Pick<BinlogPlace, 'file' | 'offset'>): number | null {
  const at = files.findIndex((one) => one.file === file);
  if (at < 0) return null;
  return files.slice(at).reduce((sum, { bytes }) => sum + bytes, 0) - offset;
}

/**
 * Those of the prepared XA transactions of `place` whose rows are still in the binlog of that server.
 * @throws TidemarkError
 */
export async function readablePrepared(session: Session, identity: ServerIdentity, place: BinlogPlace): Promise<PreparedXa[]> {
  const { prepared = [] } = place;
  if (prepared.length === 0) return [];
  if (place.flavor === 'mariadb') {
    const start = await oldestGtids(session);
    return prepared.filter(({ after }) => firstMissed(start.gtids, MariadbGtids.parse(after)) === undefined);
  }
  if (place.isByGtid && identity.isByGtid) {
    const [row] = await session.query('SELECT @@GLOBAL.gtid_purged AS purged');
    const purged = GtidSet.parse(row?.['purged'] ?? '');
    return prepared.filter(({ gtid }) => gtid !== '' && !GtidSet.parse(gtid).isSubsetOf(purged));
  }
  const files = new Set((await readBinlogFiles(session)).map(({ file }) => file));
  return prepared.filter(({ file }) => files.has(file));
}

/**
 * Whether the stream may go on at `place` on that server.
 * @throws TidemarkError `MYSQL_SERVER_CHANGED`, `MYSQL_DIVERGED`, `MYSQL_BINLOG_PURGED`
 */
export async function checkPlace(session: Session, identity: ServerIdentity, place: BinlogPlace): Promise<void> {
  const where = { position: formatPlace(place) };
  if (place.flavor !== identity.version.flavor) {
    throw new TidemarkError('MYSQL_SERVER_CHANGED', `the log was read from ${place.flavor === 'mysql' ? 'MySQL' : 'MariaDB'}, the server is ${identity.version.text}`, { where });
  }
  try {
    if (place.flavor === 'mariadb') await checkDomains(session, identity, place);
    else if (place.isByGtid && identity.isByGtid) await checkSet(session, identity, place);
    else await checkFile(session, identity, place);
  } catch (error) {
    throw error instanceof TidemarkError ? error.at(where) : error;
  }
}

/** Whether the tables of the server are those of the log: it is the same one, or has executed something of what the log has. */
export async function isSameSystem(session: Session, identity: ServerIdentity, place: BinlogPlace): Promise<boolean> {
  if (place.flavor !== identity.version.flavor) return false;
  if (place.server === identity.server) return true;
  if (place.flavor === 'mariadb') {
    const [row] = await session.query('SELECT @@GLOBAL.gtid_binlog_state AS state');
    const state = statesOf(row?.['state'] ?? '');
    return place.executed.all.some(({ domain, server }) => state.some((one) => one.domain === domain && one.server === server));
  }
  const [row] = await session.query('SELECT @@GLOBAL.gtid_executed AS executed');
  const unknown = place.executed.subtract(GtidSet.parse(row?.['executed'] ?? ''));
  return !place.executed.isEmpty && unknown.count() < place.executed.count();
}

async function checkSet(session: Session, identity: ServerIdentity, place: MysqlPlace): Promise<void> {
  const [row] = await session.query('SELECT @@GLOBAL.gtid_executed AS executed, @@GLOBAL.gtid_purged AS purged');
  const purged = GtidSet.parse(row?.['purged'] ?? '');
  const unknown = place.executed.subtract(GtidSet.parse(row?.['executed'] ?? ''));
  if (!unknown.isEmpty) throw new TidemarkError('MYSQL_DIVERGED', `the log has ${shortened(unknown.toString())}, which the server has not executed`);
  const missed = purged.subtract(place.executed);
  if (!missed.isEmpty) throw new TidemarkError('MYSQL_BINLOG_PURGED', `the server has purged ${shortened(missed.toString())}, which the log does not have`);
  // Who has reset the binlog may have told the server what was executed before.
  if (!place.executed.isSubsetOf(purged)) await checkNotReset(session, identity, place);
}

/** After a reset a server gives the log's GTIDs to other transactions: its files, which begin anew, tell it as long as they are behind the log's place. */
async function checkNotReset(session: Session, identity: ServerIdentity, place: BinlogPlace): Promise<void> {
  if (place.server !== identity.server || place.file === '') return;
  const newest = (await readBinlogFiles(session)).at(-1);
  if (newest === undefined) return;
  const [wanted, last] = [parseBinlogFile(place.file), parseBinlogFile(newest.file)];
  if (wanted.base !== last.base || wanted.number < last.number || (wanted.number === last.number && place.offset <= newest.bytes)) return;
  const what = `the binlog of the server ends at ${newest.file}:${newest.bytes}, before ${place.file}:${place.offset}, where the log is`;
  throw new TidemarkError('MYSQL_DIVERGED', `${what}: it was reset, and the GTIDs of the log are those of other transactions there`);
}

/** Of a dump by file and offset. A file is only longer where one transaction is. */
const FARTHEST = 0xffff_ffff;

async function checkFile(session: Session, identity: ServerIdentity, place: BinlogPlace): Promise<void> {
  if (place.server !== identity.server) {
    throw new TidemarkError('MYSQL_SERVER_CHANGED', `the log was read from server ${place.server} by file and offset, the server is ${identity.server}`);
  }
  if (place.offset > FARTHEST) {
    throw new TidemarkError('MYSQL_DUMP_REFUSED', `nobody can ask for ${place.file} from ${place.offset} on: without GTIDs a server is told a place of 32 bits`, {
      remedy: '`tidemark source resync NAME` copies the tables again; with GTIDs such a place can be gone on from.',
    });
  }
  const files = await readBinlogFiles(session);
  const known = files.find(({ file }) => file === place.file);
  if (known !== undefined && known.bytes >= place.offset) return;
  const [oldest] = files;
  if (known === undefined && oldest !== undefined && place.file !== '') {
    const [wanted, first] = [parseBinlogFile(place.file), parseBinlogFile(oldest.file)];
    if (wanted.base === first.base && wanted.number < first.number) {
      throw new TidemarkError('MYSQL_BINLOG_PURGED', `the server has purged ${place.file}; its oldest file is ${oldest.file}`);
    }
  }
  const what = known === undefined ? `the server has no file ${place.file}` : `${place.file} has ${known.bytes} bytes, the log is at ${place.offset}`;
  throw new TidemarkError('MYSQL_DIVERGED', `${what}: its binlog was reset, or the server was restored`);
}

async function checkDomains(session: Session, identity: ServerIdentity, place: MariadbPlace): Promise<void> {
  const [row] = await session.query('SELECT @@GLOBAL.gtid_binlog_state AS state');
  const state = statesOf(row?.['state'] ?? '');
  const strict = identity.settings.get('gtid_strict_mode') === 'ON';
  for (const gtid of place.executed.all) {
    const domain = state.filter(({ domain: one }) => one === gtid.domain);
    // In strict mode a server that has a later number has all before it, whoever wrote them.
    const has = domain.some(({ server, sequence }) => sequence >= gtid.sequence && (strict || server === gtid.server));
    const other = domain.find(({ server, sequence }) => sequence === gtid.sequence && server !== gtid.server);
    if (!has || other !== undefined) {
      const instead = other === undefined ? '' : `: it has ${formatMariadbGtid(other)}`;
      throw new TidemarkError('MYSQL_DIVERGED', `the log has ${formatMariadbGtid(gtid)}, which is not in the binlog of the server${instead}`);
    }
  }
  const { file, gtids } = await oldestGtids(session);
  const missed = firstMissed(gtids, place.executed);
  if (missed !== undefined) {
    throw new TidemarkError('MYSQL_BINLOG_PURGED', `the oldest file of the server, ${file}, begins after ${formatMariadbGtid(missed)}, and the log is at ${formatPlace(place)}`);
  }
  if (gtids.orderTo(place.executed) !== 'equal') await checkNotReset(session, identity, place);
}

/** What was before the oldest file that MariaDB still has. */
async function oldestGtids(session: Session): Promise<{ readonly file: string; readonly gtids: MariadbGtids }> {
  const [oldest] = await readBinlogFiles(session);
  if (oldest === undefined) throw new TidemarkError('MYSQL_BINLOG_OFF', 'the server has no binlog file');
  return { file: oldest.file, gtids: MariadbGtids.parse((await gtidsAt(session, { file: oldest.file, offset: 4 })) ?? '') };
}

/** A transaction before the files that is not in `executed`. */
function firstMissed(start: MariadbGtids, executed: MariadbGtids): MariadbGtid | undefined {
  return start.all.find((gtid) => (executed.get(gtid.domain)?.sequence ?? 0) < gtid.sequence);
}

/** Of every domain the last GTID of each server. */
function statesOf(text: string): MariadbGtid[] {
  return text === '' ? [] : text.split(',').map((part) => parseMariadbGtid(part.trim()));
}

function shortened(text: string): string {
  return text.length <= 300 ? text : `${text.slice(0, 300)}…`;
}
