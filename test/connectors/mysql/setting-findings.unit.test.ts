import { expect, test } from 'vitest';
import type { ServerIdentity } from '../../../connectors/mysql/identity.ts';
import { parseVersion } from '../../../connectors/mysql/server-version.ts';
import { logsCascades, settingFindings } from '../../../connectors/mysql/setting-findings.ts';

const GOOD = {
  log_bin: 'ON', binlog_format: 'ROW', binlog_row_image: 'FULL', binlog_row_metadata: 'FULL', binlog_row_value_options: '', gtid_mode: 'ON', gtid_strict_mode: 'ON',
  binlog_expire_logs_seconds: '2592000', binlog_checksum: 'CRC32', sync_binlog: '1', lower_case_table_names: '0', innodb_native_foreign_keys: 'OFF',
};

function identity(version: string, settings: Readonly<Record<string, string>> = {}): ServerIdentity {
  const all = new Map(Object.entries({ ...GOOD, ...settings }));
  const parsed = parseVersion(version);
  return { version: parsed, server: 'x', serverId: 1, isByGtid: parsed.flavor === 'mariadb' || all.get('gtid_mode') === 'ON', settings: all };
}

const faults = (version: string, settings: Readonly<Record<string, string>>): string[] =>
  settingFindings(identity(version, settings)).filter(({ severity }) => severity !== 'ok').map(({ severity, code }) => `${severity} ${code}`);

test.each(['8.0.15', '9.7.4', '10.11.18-MariaDB', '11.8.6-MariaDB'])('nothing is wrong with %s as it should be', (version) => {
  expect(faults(version, {})).toEqual([]);
});

test.each([
  ['9.7.4', { log_bin: 'OFF' }, 'error binlog'],
  ['9.7.4', { binlog_format: 'STATEMENT' }, 'error binlog-format'],
  ['9.7.4', { binlog_format: 'MIXED' }, 'error binlog-format'],
  ['9.7.4', { binlog_row_image: 'MINIMAL' }, 'warning row-image'],
  ['9.7.4', { binlog_row_image: 'NOBLOB' }, 'warning row-image'],
  ['9.7.4', { binlog_row_metadata: 'MINIMAL' }, 'warning row-metadata'],
  ['11.8.6-MariaDB', { binlog_row_metadata: 'NO_LOG' }, 'warning row-metadata'],
  ['9.7.4', { binlog_row_value_options: 'PARTIAL_JSON' }, 'warning partial-json'],
  ['9.7.4', { gtid_mode: 'OFF_PERMISSIVE' }, 'warning gtid'],
  ['10.11.18-MariaDB', { gtid_strict_mode: 'OFF' }, 'warning gtid'],
  ['9.7.4', { binlog_expire_logs_seconds: '3600' }, 'warning retention'],
  ['11.8.6-MariaDB', { max_binlog_total_size: '1000000000' }, 'warning retention'],
  ['9.7.4', { binlog_checksum: 'NONE' }, 'warning checksum'],
  ['9.7.4', { sync_binlog: '0' }, 'warning sync-binlog'],
  ['9.7.4', { innodb_native_foreign_keys: 'ON' }, 'warning native-foreign-keys'],
])('%s with %j: %s', (version, settings, fault) => {
  expect(faults(version, settings)).toEqual([fault]);
});

test('a part of a JSON value without the row before is put together from the log', () => {
  expect(faults('9.7.4', { binlog_row_value_options: 'PARTIAL_JSON', binlog_row_image: 'NOBLOB' })).toEqual(['warning row-image', 'warning partial-json']);
});

test('MariaDB must send whole rows', () => {
  expect(faults('11.8.6-MariaDB', { binlog_row_image: 'MINIMAL' })).toEqual(['error row-image']);
  expect(faults('11.8.6-MariaDB', { binlog_row_image: 'NOBLOB' })).toEqual(['error row-image']);
  expect(faults('11.8.6-MariaDB', { binlog_row_image: 'FULL_NODUP' })).toEqual([]);
});

test('every fault has a remedy, and a binlog that is not purged by age is good', () => {
  for (const one of settingFindings(identity('9.7.4', { binlog_row_image: 'MINIMAL', binlog_checksum: 'NONE', gtid_mode: 'OFF' }))) expect(one.remedy === '').toBe(one.severity === 'ok');
  expect(faults('10.11.18-MariaDB', { binlog_expire_logs_seconds: '0', expire_logs_days: '0.000000' })).toEqual([]);
  expect(faults('9.7.4', { binlog_expire_logs_seconds: '60', binlog_expire_logs_auto_purge: 'OFF' })).toEqual([]);
});

test('cascades are in the binlog from MySQL 9.6 on, unless InnoDB does them by itself', () => {
  expect(logsCascades(identity('9.6.0'))).toBe(true);
  expect(logsCascades(identity('9.7.4', { innodb_native_foreign_keys: 'ON' }))).toBe(false);
  expect(logsCascades(identity('9.5.0'))).toBe(false);
  expect(logsCascades(identity('11.8.6-MariaDB'))).toBe(false);
});
