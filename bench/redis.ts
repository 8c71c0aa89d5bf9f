import { join } from 'node:path';
import { type RedisServer, startRedis } from '../test/fixtures/redis.ts';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { backlogOf, changesIn, createBacklogTable, makeBacklog } from './backlog.ts';
import type { Bench } from './runner.ts';
import { startBenchPostgres, timedCommand } from './servers.ts';
import { type TidemarkProcess, openTidemark } from './tidemark-process.ts';

const FIELDS = ['customer', 'product', 'status', 'amount', 'note'] as const;
/** As long as the fields are in the backlog. */
const VALUES = ['customer', '54321', 'product', '4321', 'status', 'shipped', 'amount', '543.21', 'note', `note of ${'a'.repeat(32)}`];

/**
 * The captured backlog into an empty cache, as hashes of five fields, against redis-benchmark sending as many HSETs of
 * the same size over one connection.
 */
export const redisBench: Bench = {
  name: 'redis',
  baselineName: 'redis-benchmark',
  units: ['row changes/s'],
  goal: { target: 0.6, sense: 'at-least' },
  async prepare({ samples, scale, profile }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const folder = stack.use(await temporaryDirectory('bench-redis')).path;
      const source = stack.use(await startBenchPostgres(['shop']));
      await createBacklogTable(source, 'shop');
      const sources = { shop: { type: 'postgres', url: source.url('shop'), tables: ['public.bench'] } };
      const open = (sinks: Readonly<Record<string, unknown>>, profileTo: string | null): Promise<TidemarkProcess> =>
        openTidemark({ directory: join(folder, 'hub'), config: { sources, sinks }, profile: profileTo });
      const backlog = backlogOf(scale);
      const changes = changesIn(backlog);
      let end = '';
      {
        await using capture = await open({}, null);
        await capture.start();
        await capture.caughtUp();
        say(`making and capturing a backlog of ${changes} row changes in ${backlog.transactions} transactions`);
        end = await makeBacklog(source, 'shop', backlog);
        await capture.caughtUp();
        await capture.stop();
      }
      say(`${samples} times: into an empty Redis`);
      const rows = Number((await source.query<{ n: string }>('SELECT count(*) AS n FROM bench', [], 'shop'))[0]?.n);
      return {
        async baseline() {
          await using redis = await startRedis();
          const command = ['HSET', `${'bench:'}__rand_int__`, ...VALUES];
          const load = ['-n', String(changes), '-r', String(backlog.inserts), '-P', '100', '-c', '1', '-q'];
          const { seconds } = await timedCommand('redis-benchmark', ['-h', redis.host, '-p', String(redis.port), ...load, ...command]);
          return { figures: [changes / seconds], rssMb: 0 };
        },
        async tidemark() {
          await using redis = await startRedis();
          const table = { key: 'bench:{id}', columns: [...FIELDS] };
          const cache = { type: 'redis', from: 'shop', url: redis.url, tables: { 'public.bench': table } };
          await using tidemark = await open({ cache }, profile);
          const started = performance.now();
          await tidemark.start();
          await tidemark.reached('cache', `lsn:${end}`);
          const seconds = (performance.now() - started) / 1000;
          const rssMb = await tidemark.peakRssMb();
          await tidemark.stop();
          await mustHold(redis, rows);
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

async function mustHold(redis: RedisServer, rows: number): Promise<void> {
  await using client = redis.client();
  let found = 0;
  let cursor = '0';
  do {
    const [next, keys] = await client.scan(cursor, 'MATCH', 'bench:*', 'COUNT', 10_000);
    cursor = next;
    found += keys.length;
  } while (cursor !== '0');
  if (found !== rows) throw new Error(`the cache holds ${found} rows instead of ${rows}`);
  const fields = await client.hkeys('bench:1');
  if (fields.toSorted().join() !== [...FIELDS].toSorted().join()) throw new Error(`a row has the fields ${fields.join()}`);
}
