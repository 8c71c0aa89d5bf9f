import { describe, expect, test } from 'vitest';
import { checkHosts } from '../../../connectors/mysql/check-hosts.ts';
import { preflight } from '../../../connectors/mysql/check.ts';
import { MysqlConnector } from '../../../connectors/mysql/connector.ts';
import { readBinlogEnd, readIdentity } from '../../../connectors/mysql/identity.ts';
import type { BinlogPlace } from '../../../connectors/mysql/position.ts';
import type { Session } from '../../../connectors/mysql/session.ts';
import type { SourceConfig } from '../../../contracts/config.ts';
import type { Finding } from '../../../contracts/finding.ts';
import { TESTED_VERSIONS, startMysql, type MysqlServer } from '../../fixtures/mysql.ts';
import { replicaOf } from '../../fixtures/mysql-replica.ts';
import { freePort } from '../../fixtures/ports.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { endpointOf, mysqlSource, never } from './mysql-source.ts';

async function check(server: MysqlServer, more: Partial<SourceConfig> = {}, user = 'root', place: BinlogPlace | null = null): Promise<Finding[]> {
  const config = mysqlSource(server.url('', user), more);
  await using session: Session = await endpointOf(server.url('', user), more).open(never);
  return await preflight(session, config, session.options, place);
}

const faults = (findings: readonly Finding[]): string[] => findings.filter(({ severity }) => severity !== 'ok').map(({ severity, code, table }) => [severity, code, ...(table === undefined ? [] : [table])].join(' '));

/** The fixture does not sync its binlog. */
const ALWAYS = ['warning sync-binlog'];

describe.each(TESTED_VERSIONS)('%s', (version) => {
  test('a server as it should be; then what is wrong with its tables', async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await server.query('CREATE TABLE t (id INT PRIMARY KEY)', 'shop');
    expect(faults(await check(server))).toEqual(ALWAYS);
    await server.query(
      `CREATE TABLE bag (a INT); CREATE TABLE beginning (a BLOB NOT NULL, PRIMARY KEY (a(9))); CREATE TABLE mem (a INT PRIMARY KEY) ENGINE=MEMORY;
       CREATE TABLE isam (a INT PRIMARY KEY) ENGINE=MyISAM; CREATE TABLE hole (a INT NOT NULL) ENGINE=CSV`, 'shop');
    expect(faults(await check(server)).toSorted()).toEqual([
      'error engine shop.hole', 'error engine shop.mem', 'warning engine shop.isam', 'warning key shop.bag', 'warning key shop.beginning', 'warning key shop.hole', ...ALWAYS,
    ]);
    const rules: Partial<SourceConfig> = {
      tables: ({ name }) => name === 't', columns: new Map([['shop.t', { exclude: ['nothing'], hash: [] }], ['shop.gone', { exclude: ['a'], hash: [] }]]),
    };
    expect(faults(await check(server, rules)).toSorted()).toEqual(['error column-rule shop.gone', 'error column-rule shop.t', ...ALWAYS]);
    expect(faults(await check(server, { tables: () => false }))).toEqual([...ALWAYS, 'error tables']);
  });

  test('cascades that are not in the binlog', async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await server.query(`CREATE TABLE parent (id INT PRIMARY KEY); CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT fk FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)`, 'shop');
    const findings = await check(server);
    if (version === 'mysql-9') {
      expect(faults(findings)).toEqual(ALWAYS);
      return;
    }
    expect(faults(findings).toSorted()).toEqual(['error cascade shop.child', ...ALWAYS]);
    expect(findings.find(({ code }) => code === 'cascade')?.remedy).toContain('ALTER TABLE `shop`.`child` DROP FOREIGN KEY `fk`');
    const accepted = { options: { url: server.url(), accept_cascades: ['shop.child'] } };
    expect(faults(await check(server, accepted)).toSorted()).toEqual(['warning cascade shop.child', ...ALWAYS]);
    expect(faults(await check(server, { tables: ({ name }) => name === 'parent' }))).toEqual(ALWAYS);
  });

  test('privileges: the statements that it prints are all that is needed', async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await server.query(`CREATE TABLE t (id INT PRIMARY KEY); CREATE USER \`o'hub\`@'%'; GRANT INSERT ON shop.* TO \`o'hub\`@'%'`, 'shop');
    const before = (await check(server, {}, "o'hub")).filter(({ code }) => code === 'privilege');
    expect(before.filter(({ severity }) => severity === 'error').length).toBe(3);
    for (const { remedy } of before) if (remedy !== '') await server.query(remedy);
    expect(faults(await check(server, {}, "o'hub"))).toEqual(ALWAYS);
  });
});

test.each(['mysql-8.0', 'mysql-9', 'mariadb-11.4'] as const)('%s: settings that cost something, and a binlog that is off', async (version) => {
  const settings = { binlog_row_image: 'MINIMAL', binlog_row_metadata: version === 'mariadb-11.4' ? 'NO_LOG' : 'MINIMAL', binlog_checksum: 'NONE', binlog_expire_logs_seconds: 3600, sync_binlog: 1 };
  await using server = await startMysql({ version, databases: ['shop'], settings });
  await server.query('CREATE TABLE t (id INT PRIMARY KEY)', 'shop');
  // What a REPLACE changes is not in MariaDB's images of some columns.
  const image = version === 'mariadb-11.4' ? 'error row-image' : 'warning row-image';
  expect(faults(await check(server))).toEqual([image, 'warning row-metadata', 'warning retention', 'warning checksum']);
  const mysqlOnly = version === 'mariadb-11.4' ? {} : { gtid_mode: 'OFF', enforce_gtid_consistency: 'OFF', binlog_row_value_options: 'PARTIAL_JSON' };
  await server.restart('term', { ...mysqlOnly, binlog_format: 'STATEMENT', binlog_row_image: 'FULL', binlog_ignore_db: 'shop' });
  expect(faults(await check(server))).toEqual([
    'error binlog-format', 'warning row-metadata', ...(version === 'mariadb-11.4' ? [] : ['warning partial-json', 'warning gtid']), 'warning retention', 'warning checksum', 'error binlog-filter',
  ]);
  await server.restart('term', { log_bin: null, skip_log_bin: true, binlog_ignore_db: null, ...(version === 'mariadb-11.4' ? { log_slave_updates: null } : {}) });
  expect(faults(await check(server))).toEqual(['error binlog']);
});

test.each(['mysql-8.0', 'mariadb-11.8'] as const)('%s: a replica that does not write on what it gets', async (version) => {
  await using primary = await startMysql({ version, databases: ['shop'] });
  await primary.query('CREATE TABLE t (id INT PRIMARY KEY)', 'shop');
  await using replica = await replicaOf(primary, { settings: { log_slave_updates: false } });
  await replica.caughtUp().catch(() => undefined);
  expect(faults(await check(replica.server))).toContain('error replica-updates');
});

test('the place that the log is at', async () => {
  await using one = await startMysql({ version: 'mysql-9', databases: ['shop'] });
  await using two = await startMysql({ version: 'mysql-9', databases: ['shop'] });
  await one.query('CREATE TABLE t (id INT PRIMARY KEY)', 'shop');
  await two.query('CREATE TABLE t (id INT PRIMARY KEY)', 'shop');
  await using session = await endpointOf(one.url()).open(never);
  const { place } = await readBinlogEnd(session, await readIdentity(session));
  expect((await check(one, {}, 'root', place)).filter(({ code }) => code === 'position')).toMatchObject([{ severity: 'ok' }]);
  expect((await check(two, {}, 'root', place)).filter(({ code }) => code === 'position')).toMatchObject([
    { severity: 'error', what: expect.stringContaining('which the server has not executed') as unknown, remedy: expect.stringContaining('resync') as unknown },
  ]);
});

test('every host of the address is looked at: faults of the one that the log can go on at, warnings of the others', async () => {
  await using one = await startMysql({ version: 'mysql-9', databases: ['shop'] });
  await using two = await startMysql({ version: 'mysql-9', databases: ['shop'], settings: { binlog_format: 'STATEMENT', sync_binlog: 1 } });
  await one.query('CREATE TABLE t (id INT PRIMARY KEY)', 'shop');
  await using session = await endpointOf(one.url()).open(never);
  const { place } = await readBinlogEnd(session, await readIdentity(session));
  const away = await freePort();
  const url = `mysql://root@127.0.0.1:${away},127.0.0.1:${two.port},127.0.0.1:${one.port}/`;
  const endpoint = endpointOf(url);
  const look = (at: Session): Promise<Finding[]> => preflight(at, mysqlSource(url), at.options, place);
  const findings = (await checkHosts(endpoint, place, look, never)).filter(({ severity }) => severity !== 'ok');
  expect(faults(findings)).toEqual([...ALWAYS, 'warning host', 'warning binlog-format']);
  expect(findings.map(({ what }) => what).slice(1)).toEqual([expect.stringContaining(`127.0.0.1:${away}, another host of the address, cannot take over`), expect.stringContaining(`127.0.0.1:${two.port}, another host of the address: binlog_format is STATEMENT`)]);
  await using connector = new MysqlConnector(mysqlSource(url), createTestRuntime());
  expect(faults(await connector.check(never))).toEqual([...ALWAYS, 'warning host', 'warning binlog-format']);
  // Where no host will do, the first that answers says why.
  const other = endpointOf(`mysql://root@127.0.0.1:${away},127.0.0.1:${two.port}/`);
  expect(faults(await checkHosts(other, place, look, never))).toContain('error binlog-format');
});
