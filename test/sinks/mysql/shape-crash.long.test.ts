import { afterAll, beforeAll, describe, test } from 'vitest';
import { type MysqlServer, type MysqlVersion, startMysql } from '../../fixtures/mysql.ts';
import { faultsAt } from './shape-crash.ts';

const SERVERS: readonly (readonly [MysqlVersion, string])[] = [['mysql-9', 'load-data'], ['mysql-8.0', 'statements'], ['mariadb-11.8', 'statements']];

describe.each(SERVERS)('a sink on %s (%s) that is cut off at each of its statements', (version, load) => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  const every = Number(process.env['EVERY'] ?? 1);
  test('goes on as if nothing had happened', () => faultsAt(server, load, (count) => Array.from({ length: Math.floor(count / every) }, (_, index) => 1 + ((index * every + (Date.now() % every)) % count))));
});
