import { join } from 'node:path';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { createBacklogTable, createNumbers, fillTable } from './mysql-backlog.ts';
import { dumpInto } from './mysql-native.ts';
import { benchUrl, describeServer, mustBeEqual, startBenchMysql } from './mysql-servers.ts';
import type { Bench } from './runner.ts';
import { openTidemark } from './tidemark-process.ts';

const ROWS = 2_000_000;

/** A table of 2 million rows, source to replica through the log, against mysqldump piped into mysql. */
export const mysqlSnapshotBench: Bench = {
  name: 'mysql-snapshot',
  baselineName: 'mysqldump | mysql',
  units: ['rows/s'],
  goal: { target: 1.6, sense: 'at-least' },
  async prepare({ scale, profile }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const folder = stack.use(await temporaryDirectory('bench-mysql-snapshot')).path;
      const source = stack.use(await startBenchMysql({ databases: ['shop'] }));
      say(await describeServer(source));
      const rows = Math.ceil(ROWS * scale);
      await createNumbers(source);
      await createBacklogTable(source, 'shop');
      say(`filling a table with ${rows} rows; each sample goes into a replica of its own`);
      await fillTable(source, 'shop', rows);
      return {
        async baseline() {
          await using replica = await startBenchMysql({ databases: ['shop'] });
          const seconds = await dumpInto(source, replica);
          await mustBeEqual(source, 'shop', replica, 'shop');
          return { figures: [rows / seconds], rssMb: 0 };
        },
        async tidemark(index) {
          await using replica = await startBenchMysql({ databases: ['shop'] });
          await using tidemark = await openTidemark({
            directory: join(folder, `hub${index}`),
            config: {
              sources: { [`bench${index}`]: { type: 'mysql', url: benchUrl(source), tables: ['shop.bench'] } },
              sinks: { replica: { type: 'mysql', from: `bench${index}`, url: benchUrl(replica), tables: ['shop.bench'] } },
            },
            profile,
          });
          const started = performance.now();
          await tidemark.start();
          await tidemark.caughtUp();
          const seconds = (performance.now() - started) / 1000;
          const rssMb = await tidemark.peakRssMb();
          await tidemark.stop();
          await mustBeEqual(source, 'shop', replica, 'shop');
          return { figures: [rows / seconds], rssMb };
        },
        [Symbol.asyncDispose]: () => stack.disposeAsync(),
      };
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  },
};
