import { afterAll, beforeAll, expect, test } from 'vitest';
import { setImmediate as turn } from 'node:timers/promises';
import { Session } from '../../../sinks/mysql/session.ts';
import { LOAD_FORMAT_SQL } from '../../../sinks/mysql/types/replica-server.ts';
import { type MysqlServer, startMysql } from '../../fixtures/mysql.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';

let server: MysqlServer;

beforeAll(async () => {
  server = await startMysql({ version: 'mariadb-11.8', databases: ['loads'] });
});
afterAll(() => server?.[Symbol.asyncDispose]());

test('loads that the server refuses leave nothing that listens to the connection, and so nothing of what was loaded', async () => {
  const warnings: string[] = [];
  const warned = ({ name }: Error): void => void warnings.push(name);
  process.on('warning', warned);
  try {
    const settings = { url: server.url(), passwordFile: null, secretsChange: false };
    await using session = await Session.open(settings, createTestRuntime(), new AbortController().signal);
    await session.run('CREATE TABLE loads.t (id int PRIMARY KEY, body text); CREATE TABLE loads.refusing (id int)');
    await session.run("CREATE TRIGGER loads.refuse BEFORE INSERT ON loads.refusing FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused'");
    for (let id = 0; id < 15; id++) {
      expect(await session.load(`LOAD DATA LOCAL INFILE 'rows' INTO TABLE loads.t ${LOAD_FORMAT_SQL}`, [Buffer.from(`${id}\tx${id}\n`)])).toEqual({ rows: 1, warnings: 0 });
      const refused = session.load(`LOAD DATA LOCAL INFILE 'rows' INTO TABLE loads.refusing ${LOAD_FORMAT_SQL}`, [Buffer.from('1\n')]);
      await expect(refused).rejects.toThrow('refused');
    }
    await turn();
    expect(warnings).toEqual([]);
    expect(await session.rows('SELECT CAST(COUNT(*) AS CHAR) AS n FROM loads.t')).toEqual([{ n: '15' }]);
  } finally {
    process.off('warning', warned);
  }
});
