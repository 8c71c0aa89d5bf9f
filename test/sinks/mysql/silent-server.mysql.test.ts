import { afterAll, beforeAll, expect, test } from 'vitest';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import { type MysqlServer, startMysql } from '../../fixtures/mysql.ts';
import { createTestRuntime, SimulatedClock } from '../../fixtures/runtime.ts';
import { startTcpProxy } from '../../fixtures/tcp-proxy.ts';
import { MysqlSink } from '../../../sinks/mysql/sink.ts';
import { replicaPlace, sinkConfig } from './replica-place.ts';

let server: MysqlServer;
const { signal } = new AbortController();

beforeAll(async () => {
  server = await startMysql({ version: 'mariadb-11.8' });
});
afterAll(() => server?.[Symbol.asyncDispose]());

test('a replica that has gone without a word is noticed, one that takes its time is waited for', async () => {
  await using place = await replicaPlace(server);
  await using proxy = await startTcpProxy(server.port);
  const clock = new SimulatedClock();
  const config = sinkConfig(`mysql://root@127.0.0.1:${proxy.port}/`, { options: { own_database: place.ownDatabase, schemas: { kit: place.database } } });
  await using sink = new MysqlSink(config, createTestRuntime({ clock }));
  const model = new SinkModel();
  await sink.open(model.start(), signal);
  const table = model.createTable('kit', 'things', [{ name: 'id', type: { kind: 'int32' }, nativeType: 'int', nullable: false }], ['id']);
  await sink.apply(model.batch(), signal).durable;

  await place.reader.query(`LOCK TABLES ${place.database}.things WRITE`);
  model.insert(table, ['1']);
  const slow = sink.apply(model.batch(), signal).durable;
  const waiting = "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%lock'";
  await expect.poll(async () => (await place.reader.query(waiting)).length).toBe(1);
  const { pending } = clock;
  for (let tick = 0; tick < 12; tick++) {
    await clock.advance(10_000);
    // Until no question is under way: what was found has been weighed.
    await expect.poll(() => clock.pending, { timeout: 10_000 }).toBe(pending);
  }
  await place.reader.query('UNLOCK TABLES');
  await slow;

  proxy.hold();
  model.insert(table, ['2']);
  const outcome = Promise.allSettled([sink.apply(model.batch(), signal).durable]);
  let settled = false;
  void outcome.then(() => {
    settled = true;
  });
  await expect.poll(async () => {
    await clock.advance(10_000);
    return settled;
  }).toBe(true);
  expect(await outcome).toMatchObject([{ status: 'rejected', reason: { code: 'SINK_UNREACHABLE', retry: 'auto' } }]);
  proxy.resume();
});
