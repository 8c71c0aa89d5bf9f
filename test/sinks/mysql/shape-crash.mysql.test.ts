import { afterAll, beforeAll, describe, test } from 'vitest';
import { type MysqlServer, startMysql } from '../../fixtures/mysql.ts';
import { faultsAt } from './shape-crash.ts';

/** Each time others of them; the long tests take each. */
const SOME = 3;

describe('a MySQL sink that is cut off at some of its statements', () => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version: 'mysql-9' });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test('goes on as if nothing had happened', { timeout: 120_000 }, () => faultsAt(server, 'load-data', (count) => Array.from({ length: SOME }, () => 1 + Math.floor(Math.random() * count))));
});
