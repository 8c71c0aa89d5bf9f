import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MYSQL_VERSIONS, type MysqlServer, startMysql } from '../../fixtures/mysql.ts';
import { bagAtRandom, hardKeys, readsOfDeletes } from './hard-rows.ts';

describe.each(MYSQL_VERSIONS)('rows that are hard to find again on %s', (version) => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test.each(['load-data', 'statements'])('a bag is what it should be after each batch (%s)', (load) => bagAtRandom(server, load, randomInt(2 ** 31)));

  test('rows of a bag go by two readings of the table, however many they are', async () => {
    expect(await readsOfDeletes(server, 3_000, 600)).toBeLessThan(30_000);
  });

  test.each([['load-data', 0], ['load-data', 1], ['statements', 0], ['statements', 1]] as const)('by keys of every kind (%s, %i before)', (load, prefix) => hardKeys(server, load, prefix));
});
