import { afterAll, beforeAll, expect, test } from 'vitest';
import { type MysqlServer, startMysql } from '../../fixtures/mysql.ts';
import { createTestRuntime, SimulatedClock } from '../../fixtures/runtime.ts';
import { startTcpProxy } from '../../fixtures/tcp-proxy.ts';
import { MysqlSink } from '../../../sinks/mysql/sink.ts';
import { noticesSilence } from '../relational/silent-server.ts';
import { replicaPlace, sinkConfig } from './replica-place.ts';

let server: MysqlServer;

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
  const waiting = "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%lock'";
  await noticesSilence({
    sink, clock, proxy, namespace: 'kit', nativeType: 'int',
    lock: async () => void (await place.reader.query(`LOCK TABLES ${place.database}.things WRITE`)),
    release: async () => void (await place.reader.query('UNLOCK TABLES')),
    waiting: async () => (await place.reader.query(waiting)).length,
    watched: async () => {
      const { pending } = clock;
      for (let tick = 0; tick < 12; tick++) {
        await clock.advance(10_000);
        // Until no question is under way.
        await expect.poll(() => clock.pending).toBe(pending);
      }
    },
  });
});
