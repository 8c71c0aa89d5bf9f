import { join } from 'node:path';
import { stat } from 'node:fs/promises';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { backlogOf, changesIn, createBacklogTable, makeBacklog } from './backlog.ts';
import { postgresTool } from './postgres-tools.ts';
import type { Bench } from './runner.ts';
import { confirmed, startBenchPostgres, timedCommand } from './servers.ts';
import { openTidemark } from './tidemark-process.ts';

/** Slot to durable log, acknowledged, against pg_recvlogical writing the same backlog to a file. */
export const captureBench: Bench = {
  name: 'capture',
  baselineName: 'pg_recvlogical',
  units: ['row changes/s'],
  goal: { target: 0.9, sense: 'at-least' },
  async prepare({ samples, scale, profile }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const folder = stack.use(await temporaryDirectory('bench-capture')).path;
      const source = stack.use(await startBenchPostgres(['shop']));
      await createBacklogTable(source, 'shop');
      await source.query('CREATE PUBLICATION baseline FOR TABLE bench', [], 'shop');
      const hub = (index: number) => ({
        directory: join(folder, `hub${index}`),
        config: { sources: { [`bench${index}`]: { type: 'postgres', url: source.url('shop'), tables: ['public.bench'] } } },
        profile,
      });
      const slots: string[] = [];
      for (let index = 0; index < samples; index++) {
        await source.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [`baseline${index}`], 'shop');
        const known = new Set(await slotNames(source));
        await using tidemark = await openTidemark({ ...hub(index), profile: null });
        await tidemark.start();
        await tidemark.caughtUp();
        await tidemark.stop();
        slots.push((await slotNames(source)).find((name) => !known.has(name)) ?? '');
      }
      const backlog = backlogOf(scale);
      say(`making a backlog of ${changesIn(backlog)} row changes in ${backlog.transactions} transactions`);
      const end = await makeBacklog(source, 'shop', backlog);
      const watch = stack.use(await source.connect('shop'));
      return {
        async baseline(index) {
          const file = join(folder, `baseline${index}`);
          const connection = ['-h', '127.0.0.1', '-p', String(source.port), '-U', 'postgres', '-d', 'shop'];
          const options = ['-o', 'proto_version=1', '-o', 'publication_names=baseline', '--endpos', end, '--no-loop'];
          const { seconds } = await timedCommand(postgresTool('pg_recvlogical'), [...connection, '--slot', `baseline${index}`, '--start', '-f', file, ...options]);
          if ((await stat(file)).size < changesIn(backlog) * 20) throw new Error('pg_recvlogical has not written the backlog');
          return { figures: [changesIn(backlog) / seconds], rssMb: 0 };
        },
        async tidemark(index) {
          await using tidemark = await openTidemark(hub(index));
          const started = performance.now();
          await tidemark.start();
          await confirmed(watch, slots[index] ?? '', end);
          const seconds = (performance.now() - started) / 1000;
          const offset = await tidemark.offset(`bench${index}`);
          if (offset < changesIn(backlog)) throw new Error(`the log ends at ${offset}: not every change was captured`);
          const rssMb = await tidemark.peakRssMb();
          await tidemark.stop();
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

async function slotNames(source: Awaited<ReturnType<typeof startBenchPostgres>>): Promise<string[]> {
  const rows = await source.query<{ slot_name: string }>("SELECT slot_name FROM pg_replication_slots WHERE slot_name NOT LIKE 'baseline%'");
  return rows.map((row) => row.slot_name);
}
