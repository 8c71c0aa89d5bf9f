import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type MysqlServer, startMysql } from '../../fixtures/mysql.ts';
import { bagAtRandom, hardKeys, readsOfDeletes } from './hard-rows.ts';

describe('rows that are hard to find again', () => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test.each(['load-data', 'statements'])('a bag is what it should be after each batch (%s)', (load) => bagAtRandom(server, load, randomInt(2 ** 31)));

  test('rows of a bag go by two readings of the table, however many they are', async () => {
    expect(await readsOfDeletes(server, 3_000, 600)).toBeLessThan(30_000);
  });

  test.each([['load-data', 0], ['statements', 1]] as const)('by keys of every kind (%s)', (load, prefix) => hardKeys(server, load, prefix));
});
