import { join } from 'node:path';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { createBacklogTable, fillTable } from './backlog.ts';
import { postgresTool } from './postgres-tools.ts';
import type { Bench } from './runner.ts';
import { mustBeEqual, startBenchPostgres, timedCommand } from './servers.ts';
import { openTidemark } from './tidemark-process.ts';

const ROWS = 2_000_000;

/** A table of 2 million rows, source to replica through the log, against COPY out piped into COPY in. */
export const snapshotBench: Bench = {
  name: 'snapshot',
  baselineName: 'COPY | COPY',
  units: ['rows/s'],
  goal: { target: 0.6, sense: 'at-least' },
  async prepare({ samples, scale, profile }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const folder = stack.use(await temporaryDirectory('bench-snapshot')).path;
      const source = stack.use(await startBenchPostgres(['shop']));
      const databases = Array.from({ length: samples }, (_, i) => [`copied${i}`, `tidemark${i}`]).flat();
      const replica = stack.use(await startBenchPostgres(databases));
      const rows = Math.ceil(ROWS * scale);
      await createBacklogTable(source, 'shop');
      say(`filling a table with ${rows} rows`);
      await fillTable(source, 'shop', rows);
      const psql = postgresTool('psql');
      return {
        async baseline(index) {
          await createBacklogTable(replica, `copied${index}`);
          const pipe = 'set -o pipefail; "$1" -qX -d "$2" -c "COPY bench TO STDOUT" | "$1" -qX -d "$3" -c "COPY bench FROM STDIN"';
          const { seconds } = await timedCommand('bash', ['-c', pipe, 'copy', psql, source.url('shop'), replica.url(`copied${index}`)]);
          await mustBeEqual(source, 'shop', replica, `copied${index}`);
          await replica.query('CHECKPOINT');
          return { figures: [rows / seconds], rssMb: 0 };
        },
        async tidemark(index) {
          await using tidemark = await openTidemark({
            directory: join(folder, `hub${index}`),
            config: {
              sources: { [`bench${index}`]: { type: 'postgres', url: source.url('shop'), tables: ['public.bench'] } },
              sinks: { replica: { type: 'postgres', from: `bench${index}`, url: replica.url(`tidemark${index}`), tables: ['public.bench'] } },
            },
            profile,
          });
          const started = performance.now();
          await tidemark.start();
          await tidemark.caughtUp();
          const seconds = (performance.now() - started) / 1000;
          const rssMb = await tidemark.peakRssMb();
          await tidemark.stop();
          await mustBeEqual(source, 'shop', replica, `tidemark${index}`);
          await replica.query('CHECKPOINT');
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
