import { join } from 'node:path';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { createBacklogTable, fillTable } from './backlog.ts';
import type { Bench } from './runner.ts';
import { fingerprint, startBenchPostgres } from './servers.ts';
import { openTidemark } from './tidemark-process.ts';

const ROWS = 10_000_000;

/**
 * Source = log = sink for a table of 10 million rows in two Postgres servers and a log of which most has been folded,
 * against a sum over the hashes of all rows by each server itself, both at once.
 */
export const verifyBench: Bench = {
  name: 'verify',
  baselineName: 'hashtextextended on both',
  units: ['rows/s'],
  goal: { target: 0.3, sense: 'at-least' },
  async prepare({ scale, profile }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const folder = stack.use(await temporaryDirectory('bench-verify')).path;
      const source = stack.use(await startBenchPostgres(['shop']));
      const replica = stack.use(await startBenchPostgres(['replica']));
      const rows = Math.ceil(ROWS * scale);
      await createBacklogTable(source, 'shop');
      say(`filling a table with ${rows} rows`);
      await fillTable(source, 'shop', rows);
      const tidemark = {
        directory: join(folder, 'hub'),
        config: {
          sources: { shop: { type: 'postgres', url: source.url('shop'), tables: ['public.bench'] } },
          sinks: { replica: { type: 'postgres', from: 'shop', url: replica.url('replica'), tables: ['public.bench'] } },
        },
      };
      {
        await using hub = await openTidemark({ ...tidemark, profile: null });
        await hub.start();
        await hub.caughtUp();
        say(`folding the log: the horizon is ${await hub.compact('shop')}`);
        await hub.stop();
      }
      for (const server of [source, replica]) await server.query('CHECKPOINT');
      await replica.query('VACUUM (FREEZE, ANALYZE) bench', [], 'replica');
      return {
        async baseline() {
          const started = performance.now();
          const [wanted, got] = await Promise.all([fingerprint(source, 'shop'), fingerprint(replica, 'replica')]);
          const seconds = (performance.now() - started) / 1000;
          if (wanted !== got) throw new Error(`the replica differs: ${got} instead of ${wanted}`);
          return { figures: [rows / seconds], rssMb: 0 };
        },
        async tidemark() {
          await using hub = await openTidemark({ ...tidemark, profile });
          await hub.start();
          await hub.caughtUp();
          const started = performance.now();
          const compared = await hub.verify('replica');
          const seconds = (performance.now() - started) / 1000;
          if (compared !== rows) throw new Error(`${compared} rows were compared instead of ${rows}`);
          const rssMb = await hub.peakRssMb();
          await hub.stop();
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
