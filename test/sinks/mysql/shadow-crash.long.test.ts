import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type MysqlServer, type MysqlVersion, startMysql } from '../../fixtures/mysql.ts';
import { swapWithFault } from './shadow-stand.ts';

describe.each<MysqlVersion>(['mysql-9', 'mariadb-11.8'])('the swap of a rebuilt replica on %s, cut off at each of its statements', (version) => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test.each(['lost before', 'lost after'] as const)('%s', async (fault) => {
    let at = 1;
    const every = Number(process.env['EVERY'] ?? 1);
    while (await swapWithFault(server, at, fault)) at += every;
    expect(at).toBeGreaterThan(20);
  });
});
