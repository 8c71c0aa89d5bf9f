import { join } from 'node:path';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { backlogOf, changesIn, createBacklogTable, makeBacklog } from './backlog.ts';
import { disableSubscription, enableSubscription, prepareSubscription } from './native-subscription.ts';
import type { Bench } from './runner.ts';
import { confirmed, mustBeEqual, startBenchPostgres } from './servers.ts';
import { openTidemark } from './tidemark-process.ts';

/** Backlog to replica, end to end through the log, against a native subscription of the same backlog. */
export const mirrorBench: Bench = {
  name: 'mirror',
  baselineName: 'native subscription',
  units: ['row changes/s'],
  goal: { target: 1, sense: 'at-least' },
  async prepare({ samples, scale, profile }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const folder = stack.use(await temporaryDirectory('bench-mirror')).path;
      const source = stack.use(await startBenchPostgres(['shop']));
      const databases = Array.from({ length: samples }, (_, i) => [`native${i}`, `tidemark${i}`]).flat();
      const replica = stack.use(await startBenchPostgres(databases));
      await createBacklogTable(source, 'shop');
      await source.query('CREATE PUBLICATION native FOR TABLE bench', [], 'shop');
      const hub = (index: number) => ({
        directory: join(folder, `hub${index}`),
        config: {
          sources: { [`bench${index}`]: { type: 'postgres', url: source.url('shop'), tables: ['public.bench'] } },
          sinks: { replica: { type: 'postgres', from: `bench${index}`, url: replica.url(`tidemark${index}`), tables: ['public.bench'] } },
        },
        profile,
      });
      for (let index = 0; index < samples; index++) {
        await createBacklogTable(replica, `native${index}`);
        await prepareSubscription(source, 'shop', replica, `native${index}`);
        await using tidemark = await openTidemark({ ...hub(index), profile: null });
        await tidemark.start();
        await tidemark.caughtUp();
        await tidemark.stop();
      }
      const backlog = backlogOf(scale);
      say(`making a backlog of ${changesIn(backlog)} row changes in ${backlog.transactions} transactions`);
      const end = await makeBacklog(source, 'shop', backlog);
      const watch = stack.use(await source.connect('shop'));
      return {
        async baseline(index) {
          const started = performance.now();
          await enableSubscription(replica, `native${index}`);
          await confirmed(watch, `native${index}`, end);
          const seconds = (performance.now() - started) / 1000;
          await disableSubscription(replica, `native${index}`);
          return { figures: [changesIn(backlog) / seconds], rssMb: 0 };
        },
        async tidemark(index) {
          await using tidemark = await openTidemark(hub(index));
          const started = performance.now();
          await tidemark.start();
          await tidemark.reached('replica', `lsn:${end}`);
          const seconds = (performance.now() - started) / 1000;
          const rssMb = await tidemark.peakRssMb();
          // The small transaction after the backlog.
          await tidemark.caughtUp();
          await tidemark.stop();
          await mustBeEqual(source, 'shop', replica, `tidemark${index}`);
          return { figures: [changesIn(backlog) / seconds], rssMb };
        },
        [Symbol.asyncDispose]: () => stack.disposeAsync(),
      };
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  },
};
