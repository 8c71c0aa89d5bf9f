/** What `check` says of the server's settings: pure, from what the server has answered. */
import type { Finding } from '../../contracts/finding.ts';
import type { ServerIdentity } from './identity.ts';
import { isLossy, stopsLargeTables } from './requirements.ts';
import { isAtLeast, versionName, type ServerVersion } from './server-version.ts';

const DAY_S = 86_400;

export const ok = (code: string, what: string): Finding => ({ severity: 'ok', code, what, remedy: '' });
export const error = (code: string, what: string, remedy: string, table?: string): Finding => finding('error', code, what, remedy, table);
export const warning = (code: string, what: string, remedy: string, table?: string): Finding => finding('warning', code, what, remedy, table);

function finding(severity: Finding['severity'], code: string, what: string, remedy: string, table: string | undefined): Finding {
  return { severity, code, what, remedy, ...(table === undefined ? {} : { table }) };
}

/** How a setting is changed so that it lasts. Managed services have a parameter group in its place. */
function setStatement({ flavor }: Pick<ServerVersion, 'flavor'>, name: string, value: string): string {
  return flavor === 'mysql' ? `SET PERSIST ${name} = ${value}` : `SET GLOBAL ${name} = ${value}; and the same line in my.cnf`;
}

export function settingFindings(identity: ServerIdentity): Finding[] {
  const { version, settings } = identity;
  const value = (name: string): string => settings.get(name) ?? '';
  const findings = [ok('version', `${versionName(version)} (${version.text})`)];
  if (value('log_bin') === 'OFF' || value('log_bin') === '0') {
    findings.push(error('binlog', 'the server writes no binlog', 'log_bin = binlog in my.cnf (managed services: turn automated backups on); then restart the server'));
    return findings;
  }
  findings.push(ok('binlog', `the server ${identity.server} writes a binlog`));
  const format = value('binlog_format');
  findings.push(format === 'ROW' || format === ''
    ? ok('binlog-format', 'the binlog has rows')
    : error('binlog-format', `binlog_format is ${format}: changes may come as statements, which stop their tables`, `${setStatement(version, 'binlog_format', 'ROW')}; then open the sessions of the application anew`));
  return [...findings, ...rowFindings(identity), ...gtidFindings(identity), ...retentionFindings(identity), ...safetyFindings(identity)];
}

function rowFindings({ version, settings }: ServerIdentity): Finding[] {
  const findings: Finding[] = [];
  const image = settings.get('binlog_row_image') ?? 'FULL';
  if (isLossy(version, image)) findings.push(error('row-image', `binlog_row_image is ${image}, with which MariaDB leaves out what a REPLACE changes`, setStatement(version, 'binlog_row_image', 'FULL')));
  else if (stopsLargeTables(version, image)) {
    findings.push(error('row-image', `binlog_row_image is ${image}, with which MariaDB leaves out texts and blobs that a REPLACE changes: a table with such columns stops at its first update`, setStatement(version, 'binlog_row_image', 'FULL')));
  } else findings.push(image.toUpperCase().startsWith('FULL')
    ? ok('row-image', 'updates and deletes come with whole rows')
    : warning('row-image', `binlog_row_image is ${image}: what updates leave out is completed from an index of the hub`, setStatement(version, 'binlog_row_image', 'FULL')));
  const metadata = settings.get('binlog_row_metadata');
  if (metadata === undefined) findings.push(ok('row-metadata', 'the server does not write names of columns into the binlog: they are followed through the DDL in it'));
  else if (metadata.toUpperCase() === 'FULL') findings.push(ok('row-metadata', 'rows come with the names of their columns'));
  else {
    findings.push(warning('row-metadata', `binlog_row_metadata is ${metadata}: names of columns are followed through the DDL in the binlog, and DDL that was kept out of it (sql_log_bin=0) goes unnoticed`,
      setStatement(version, 'binlog_row_metadata', 'FULL')));
  }
  if ((settings.get('binlog_row_value_options') ?? '').toUpperCase().includes('PARTIAL_JSON')) findings.push(partialJson(version, image));
  return findings;
}

function partialJson(version: ServerVersion, image: string): Finding {
  const from = image.toUpperCase().startsWith('FULL') ? 'the row before' : 'what the log has of the row';
  return warning('partial-json', `binlog_row_value_options is PARTIAL_JSON: changed JSON values are put together from ${from}`, setStatement(version, 'binlog_row_value_options', "''"));
}

function gtidFindings({ version, settings, isByGtid }: ServerIdentity): Finding[] {
  if (version.flavor === 'mariadb') {
    if (settings.get('gtid_strict_mode') === 'ON') return [ok('gtid', 'GTIDs are on, in strict order')];
    return [warning('gtid', 'gtid_strict_mode is OFF: after a failover two servers may give one GTID to different transactions', setStatement(version, 'gtid_strict_mode', 'ON'))];
  }
  if (isByGtid) return [ok('gtid', 'GTIDs are on: a failover to another server goes on by them')];
  return [warning('gtid', `gtid_mode is ${settings.get('gtid_mode') ?? 'OFF'}: after a failover to another server the tables are copied again`,
    'Turn gtid_mode and enforce_gtid_consistency ON, step by step as the manual of the server says')];
}

function retentionFindings({ version, settings }: ServerIdentity): Finding[] {
  if (settings.get('binlog_expire_logs_auto_purge') === 'OFF') return [ok('retention', 'binlogs are not purged by age')];
  const seconds = Number(settings.get('binlog_expire_logs_seconds') ?? 0) || Number(settings.get('expire_logs_days') ?? 0) * DAY_S;
  const findings = seconds === 0 || seconds >= DAY_S
    ? [ok('retention', seconds === 0 ? 'binlogs are not purged by age' : `binlogs are kept for ${Math.round((seconds / DAY_S) * 10) / 10} days`)]
    : [warning('retention', `binlogs are purged after ${seconds} s: a hub that is away for longer has to copy the tables again`, setStatement(version, 'binlog_expire_logs_seconds', '604800'))];
  const total = Number(settings.get('max_binlog_total_size') ?? 0);
  if (total > 0) {
    findings.push(warning('retention', `max_binlog_total_size is ${total}: binlogs are purged at that size, whoever still needs them`, setStatement(version, 'max_binlog_total_size', '0')));
  }
  return findings;
}

function safetyFindings({ version, settings }: ServerIdentity): Finding[] {
  const findings: Finding[] = [];
  if (settings.get('binlog_checksum') === 'NONE') {
    findings.push(warning('checksum', 'binlog_checksum is NONE: damage to the binlog goes unnoticed', `SET GLOBAL binlog_checksum = CRC32; and the same line in my.cnf`));
  }
  if (settings.get('sync_binlog') !== undefined && settings.get('sync_binlog') !== '1') {
    findings.push(warning('sync-binlog', `sync_binlog is ${settings.get('sync_binlog') ?? ''}: after a crash of its machine the server may have lost what the log already has, and the tables are copied again`,
      setStatement(version, 'sync_binlog', '1')));
  }
  if (settings.get('innodb_native_foreign_keys') === 'ON') {
    findings.push(warning('native-foreign-keys', 'innodb_native_foreign_keys is ON: what foreign keys change in child tables is not in the binlog', 'innodb_native_foreign_keys = OFF in my.cnf; then restart the server'));
  }
  if (settings.get('binlog_order_commits') === 'OFF') findings.push(ok('order-commits', 'transactions may become visible in another order than the binlog has them, which copies allow for'));
  if (settings.get('binlog_transaction_compression') === 'ON' || settings.get('log_bin_compress') === 'ON') findings.push(ok('compression', 'the binlog is compressed, and read so'));
  const lower = settings.get('lower_case_table_names');
  if (lower !== undefined && lower !== '0') findings.push(ok('table-names', `lower_case_table_names is ${lower}: names of tables are compared in lower case`));
  return findings;
}

/** False where foreign keys change child tables without a trace in the binlog. */
export function logsCascades({ version, settings }: Pick<ServerIdentity, 'version' | 'settings'>): boolean {
  return version.flavor === 'mysql' && isAtLeast(version, 9, 6, 0) && settings.get('innodb_native_foreign_keys') !== 'ON';
}
