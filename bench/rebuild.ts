import { join } from 'node:path';
import { EmbeddedLogEngine } from '../hub/log/embedded/engine.ts';
import { createRuntime } from '../hub/runtime/runtime.ts';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { createBacklogTable, fillTable } from './backlog.ts';
import { postgresTool } from './postgres-tools.ts';
import type { Bench } from './runner.ts';
import { fingerprint, startBenchPostgres, timedCommand } from './servers.ts';
import { openTidemark } from './tidemark-process.ts';

const ROWS = 10_000_000;
const SOURCE = 'shop';

/**
 * A replica of 10 million rows from a log that was folded into its base, with the source down, against COPY in of the
 * same rows from a file. Both tables have their primary key from the beginning.
 */
export const rebuildBench: Bench = {
  name: 'rebuild',
  baselineName: 'COPY in',
  units: ['rows/s'],
  goal: { target: 0.8, sense: 'at-least' },
  async prepare({ samples, scale, profile }, say) {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await temporaryDirectory('bench-rebuild')).path;
    const directory = join(folder, 'hub');
    const file = join(folder, 'rows.copy');
    const rows = Math.ceil(ROWS * scale);
    const psql = postgresTool('psql');
    const source = stack.use(await startBenchPostgres([SOURCE]));
    await createBacklogTable(source, SOURCE);
    say(`filling a table with ${rows} rows`);
    await fillTable(source, SOURCE, rows);
    await timedCommand('bash', ['-c', '"$1" -qX -d "$2" -c "COPY bench TO STDOUT" > "$3"', 'copy', psql, source.url(SOURCE), file]);
    const sources = { [SOURCE]: { type: 'postgres', url: source.url(SOURCE), tables: ['public.bench'] } };
    say('copying it into the log');
    {
      await using tidemark = await openTidemark({ directory, config: { sources, sinks: {} }, profile: null });
      await tidemark.start();
      await tidemark.caughtUp();
      await tidemark.stop();
    }
    const wanted = await fingerprint(source, SOURCE);
    await source.stop();
    say('folding the log');
    const end = await fold(join(directory, 'data'));
    const databases = Array.from({ length: samples }, (_, i) => [`copied${i}`, `tidemark${i}`]).flat();
    const replica = stack.use(await startBenchPostgres(databases));
    const mustBeWanted = async (database: string): Promise<void> => {
      const got = await fingerprint(replica, database);
      if (got !== wanted) throw new Error(`the replica ${database} differs: ${got} instead of ${wanted}`);
      await replica.query('DROP TABLE bench', [], database);
      await replica.query('CHECKPOINT', [], database);
    };
    const owned = stack.move();
    return {
      async baseline(index) {
        await createBacklogTable(replica, `copied${index}`);
        const { seconds } = await timedCommand('bash', ['-c', '"$1" -qX -d "$2" -c "COPY bench FROM STDIN" < "$3"', 'copy', psql, replica.url(`copied${index}`), file]);
        await mustBeWanted(`copied${index}`);
        return { figures: [rows / seconds], rssMb: 0 };
      },
      async tidemark(index) {
        const sinks = { [`replica${index}`]: { type: 'postgres', from: SOURCE, url: replica.url(`tidemark${index}`), tables: ['public.bench'] } };
        await using tidemark = await openTidemark({ directory, config: { sources, sinks }, profile });
        const started = performance.now();
        await tidemark.start();
        await tidemark.reachedOffset(`replica${index}`, end);
        const seconds = (performance.now() - started) / 1000;
        const rssMb = await tidemark.peakRssMb();
        await tidemark.stop();
        await mustBeWanted(`tidemark${index}`);
        return { figures: [rows / seconds], rssMb };
      },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};

/** Folds all that the hub before has written. Answers where the log ends. */
async function fold(data: string): Promise<number> {
  await using engine = await EmbeddedLogEngine.create(data, createRuntime({ logLevel: 'warn' }));
  const log = await engine.open(SOURCE, { create: false });
  const { highWatermark } = log.state();
  const horizon = await log.compact(highWatermark, { memoryBytes: 256 << 20, share: 1 }, AbortSignal.timeout(30 * 60_000));
  if (horizon === 0) throw new Error('nothing of the log was folded');
  return highWatermark;
}
