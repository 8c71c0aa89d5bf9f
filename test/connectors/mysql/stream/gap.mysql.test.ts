import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConnectorUnderTest } from '../../../../contracts/kit/connector-kit-common.ts';
import { insert } from '../../../../contracts/kit/connector-kit-stream.ts';
import { type MysqlServer, startMysql } from '../../../fixtures/mysql.ts';
import { MysqlKitSource } from '../kit-source.ts';

let server: MysqlServer;
beforeAll(async () => {
  server = await startMysql();
});
afterAll(() => server?.[Symbol.asyncDispose]());

test('behind a gap the log gets a position before anything else, whoever asks for progress while the stream connects', async () => {
  await using test = await ConnectorUnderTest.make(() => MysqlKitSource.make(server));
  await test.source.createTable('a');
  await test.run();
  await test.source.transact([insert('a', 1)]);
  await test.caughtUp();
  await test.stop();
  const told = test.progress.length;
  test.log.position = null;
  test.restart();
  const stream = await test.run();
  const asking = setInterval(() => stream.requestProgress(), 1);
  try {
    await test.caughtUp();
  } finally {
    clearInterval(asking);
  }
  expect(test.progress.length).toBeGreaterThan(told);
  expect(test.progress.filter((position) => position.length === 0)).toEqual([]);
});
