/**
 * Records the golden binary logs: `node test/connectors/mysql/golden/record.ts [version ...]`. For every scenario the log
 * file, what the server itself says of its events (SHOW BINLOG EVENTS), and the content of its tables.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { MYSQL_VERSIONS, type MysqlRow, type MysqlServer, type MysqlVersion, startMysql } from '../../../fixtures/mysql.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';

const asked = process.argv.slice(2);
for (const version of MYSQL_VERSIONS) {
  if (asked.length === 0 || asked.includes(version)) await recordVersion(version);
}

async function recordVersion(version: MysqlVersion): Promise<void> {
  const folder = join(import.meta.dirname, version);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await using server = await startMysql({ version });
  for (const scenario of SCENARIOS) {
    if (scenario.versions(version, server.flavor)) await recordScenario(server, scenario, folder);
  }
  if (server.flavor === 'mysql') {
    await server.restart('term', { gtid_mode: 'OFF', enforce_gtid_consistency: 'OFF' });
    await recordScenario(server, { name: 'anonymous', versions: () => true, sql: () => 'CREATE TABLE plain (id int); INSERT INTO plain VALUES (1), (1)' }, folder);
  }
}

async function recordScenario(server: MysqlServer, scenario: Scenario, folder: string): Promise<void> {
  await server.query('DROP DATABASE IF EXISTS golden; CREATE DATABASE golden CHARACTER SET utf8mb4');
  if (scenario.settings !== undefined) await server.query(scenario.settings);
  await server.query('FLUSH BINARY LOGS');
  const file = await newestLog(server);
  await server.query(scenario.sql(server.flavor, server.version), 'golden');
  const tables: Record<string, MysqlRow[]> = {};
  for (const [table, select] of Object.entries(scenario.tables ?? {})) tables[table] = await server.query(select, 'golden');
  await server.query('FLUSH BINARY LOGS');
  const events = await server.query(`SHOW BINLOG EVENTS IN '${file}'`);
  const described = events.map((row) => [row['Event_type'], Number(row['Pos']), Number(row['End_log_pos']), Number(row['Server_id']), row['Info']]);
  if (scenario.after !== undefined) await server.query(scenario.after);
  await writeFile(join(folder, `${scenario.name}.binlog.gz`), gzipSync(await readFile(join(server.dataDir, file)), { level: 9 }));
  const json = `[\n${described.map((event) => JSON.stringify(event)).join(',\n')}\n]`;
  await writeFile(join(folder, `${scenario.name}.json`), `{"file": ${JSON.stringify(file)}, "tables": ${JSON.stringify(tables)}, "events": ${json}}\n`);
}

async function newestLog(server: MysqlServer): Promise<string> {
  const logs = await server.query('SHOW BINARY LOGS');
  return logs.at(-1)?.['Log_name'] ?? '';
}
