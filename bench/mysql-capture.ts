import { join } from 'node:path';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { changesIn, createBacklogTable, createNumbers, makeBacklog, mysqlBacklogOf } from './mysql-backlog.ts';
import { benchUrl, describeServer, executedGtids, startBenchMysql } from './mysql-servers.ts';
import type { Bench } from './runner.ts';
import { openTidemark } from './tidemark-process.ts';
import { countByZongji } from './zongji.ts';

/** Binlog to durable log, against `@vlasky/zongji` reading the same backlog for a consumer that only counts. */
export const mysqlCaptureBench: Bench = {
  name: 'mysql-capture',
  baselineName: '@vlasky/zongji',
  units: ['row changes/s'],
  goal: { target: 2, sense: 'at-least' },
  async prepare({ samples, scale, profile }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const folder = stack.use(await temporaryDirectory('bench-mysql-capture')).path;
      const source = stack.use(await startBenchMysql({ databases: ['shop'] }));
      say(await describeServer(source));
      await createNumbers(source);
      await createBacklogTable(source, 'shop');
      const hub = (index: number) => ({
        directory: join(folder, `hub${index}`),
        config: { sources: { [`bench${index}`]: { type: 'mysql', url: benchUrl(source), tables: ['shop.bench'] } }, sinks: {} },
        profile,
      });
      const starts: number[] = [];
      for (let index = 0; index < samples; index++) {
        await using tidemark = await openTidemark({ ...hub(index), profile: null });
        await tidemark.start();
        await tidemark.caughtUp();
        starts.push(await tidemark.offset(`bench${index}`));
        await tidemark.stop();
      }
      const before = await executedGtids(source);
      const backlog = mysqlBacklogOf(scale);
      const changes = changesIn(backlog);
      say(`making a backlog of ${changes} row changes in ${backlog.transactions} transactions`);
      await makeBacklog(source, 'shop', backlog);
      return {
        async baseline() {
          return { figures: [changes / (await countByZongji(source, before, changes))], rssMb: 0 };
        },
        async tidemark(index) {
          await using tidemark = await openTidemark(hub(index));
          const started = performance.now();
          await tidemark.start();
          // Every change is a record of its own, and offsets are dense.
          await tidemark.durable(`bench${index}`, (starts[index] ?? 0) + changes);
          const seconds = (performance.now() - started) / 1000;
          const rssMb = await tidemark.peakRssMb();
          await tidemark.stop();
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
