import { join } from 'node:path';
import type { MysqlReplica } from '../test/fixtures/mysql-replica.ts';
import type { MysqlServer } from '../test/fixtures/mysql.ts';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { changesIn, createBacklogTable, createNumbers, makeBacklog, mysqlBacklogOf } from './mysql-backlog.ts';
import { catchUp, prepareNativeReplica } from './mysql-native.ts';
import { benchUrl, describeServer, executedGtids, mustBeEqual, startBenchMysql } from './mysql-servers.ts';
import type { Bench } from './runner.ts';
import { openTidemark } from './tidemark-process.ts';

/** Backlog to replica, end to end through the log, against a native replica with four workers that catches up with the same backlog. */
export const mysqlMirrorBench: Bench = {
  name: 'mysql-mirror',
  baselineName: 'native replica',
  units: ['row changes/s'],
  goal: { target: 1, sense: 'at-least' },
  async prepare({ samples, scale, profile }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const folder = stack.use(await temporaryDirectory('bench-mysql-mirror')).path;
      const source = stack.use(await startBenchMysql({ databases: ['shop'] }));
      say(`${await describeServer(source)}; native replica: replica_parallel_workers 4, by write sets, in commit order`);
      await createNumbers(source);
      await createBacklogTable(source, 'shop');
      const hub = (index: number, replica: MysqlServer) => ({
        directory: join(folder, `hub${index}`),
        config: {
          sources: { [`bench${index}`]: { type: 'mysql', url: benchUrl(source), tables: ['shop.bench'] } },
          sinks: { replica: { type: 'mysql', from: `bench${index}`, url: benchUrl(replica), tables: ['shop.bench'] } },
        },
        profile,
      });
      const natives: MysqlReplica[] = [];
      const replicas: MysqlServer[] = [];
      for (let index = 0; index < samples; index++) {
        natives.push(stack.use(await prepareNativeReplica(source)));
        const replica = stack.use(await startBenchMysql({ databases: ['shop'] }));
        await using tidemark = await openTidemark({ ...hub(index, replica), profile: null });
        await tidemark.start();
        await tidemark.caughtUp();
        await tidemark.stop();
        // A server waits for its sample without memory of its own.
        await replica.stop();
        replicas.push(replica);
      }
      const backlog = mysqlBacklogOf(scale);
      const changes = changesIn(backlog);
      say(`making a backlog of ${changes} row changes in ${backlog.transactions} transactions`);
      await makeBacklog(source, 'shop', backlog);
      const end = await executedGtids(source);
      return {
        async baseline(index) {
          const native = natives[index];
          if (native === undefined) throw new Error(`there is no native replica ${index}`);
          const seconds = await catchUp(native.server, end);
          await mustBeEqual(source, 'shop', native.server, 'shop');
          await native.server.stop();
          return { figures: [changes / seconds], rssMb: 0 };
        },
        async tidemark(index) {
          const replica = replicas[index];
          if (replica === undefined) throw new Error(`there is no replica ${index}`);
          await replica.start();
          await using tidemark = await openTidemark(hub(index, replica));
          const started = performance.now();
          await tidemark.start();
          await tidemark.reached('replica', `gtid:${end}`);
          const seconds = (performance.now() - started) / 1000;
          const rssMb = await tidemark.peakRssMb();
          await tidemark.stop();
          await mustBeEqual(source, 'shop', replica, 'shop');
          await replica.stop();
          return { figures: [changes / seconds], rssMb };
        },
        [Symbol.asyncDispose]: () => stack.disposeAsync(),
      };
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  },
};
