import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { PostgresServer } from '../test/fixtures/embedded-postgres.ts';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { disableSubscription, enableSubscription, prepareSubscription } from './native-subscription.ts';
import { percentile } from './report.ts';
import type { Bench } from './runner.ts';
import { startBenchPostgres } from './servers.ts';
import { openTidemark } from './tidemark-process.ts';

const TRANSACTIONS_PER_SECOND = 1_000;
const SECONDS = 15;
const WARM_UP_SECONDS = 3;
const DRAIN_LIMIT_MS = 30_000;

const TABLE = 'CREATE TABLE bench (id bigint PRIMARY KEY, note text NOT NULL, changed integer NOT NULL DEFAULT 0)';

/** From commit at the source to visible at the replica, at 1,000 transactions a second, against a native subscription. */
export const latencyBench: Bench = {
  name: 'latency',
  baselineName: 'native subscription',
  units: ['ms (p50)', 'ms (p99)'],
  goal: { target: 2, sense: 'at-most' },
  async prepare({ samples, scale, profile }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const folder = stack.use(await temporaryDirectory('bench-latency')).path;
      // A thousand commits a second one after the other: the source does not wait for its disk.
      const source = stack.use(await startBenchPostgres(['shop'], false));
      const databases = Array.from({ length: samples }, (_, i) => [`native${i}`, `tidemark${i}`]).flat();
      const replica = stack.use(await startBenchPostgres(databases));
      const count = Math.ceil(SECONDS * scale * TRANSACTIONS_PER_SECOND);
      say(`${count} transactions a sample, after ${WARM_UP_SECONDS} s of the same`);
      await source.query(TABLE, [], 'shop');
      await source.query('CREATE PUBLICATION native FOR TABLE bench', [], 'shop');
      return {
        async baseline(index) {
          await source.query('TRUNCATE bench', [], 'shop');
          await replica.query(TABLE, [], `native${index}`);
          await prepareSubscription(source, 'shop', replica, `native${index}`);
          await enableSubscription(replica, `native${index}`);
          const figures = await measure(source, replica, `native${index}`, count);
          await disableSubscription(replica, `native${index}`);
          await dropSlot(source, `native${index}`);
          return { figures, rssMb: 0 };
        },
        async tidemark(index) {
          await source.query('TRUNCATE bench', [], 'shop');
          await using tidemark = await openTidemark({
            directory: join(folder, `hub${index}`),
            config: {
              sources: { [`bench${index}`]: { type: 'postgres', url: source.url('shop'), tables: ['public.bench'] } },
              sinks: { replica: { type: 'postgres', from: `bench${index}`, url: replica.url(`tidemark${index}`), tables: ['public.bench'] } },
            },
            profile,
          });
          await tidemark.start();
          await tidemark.caughtUp();
          const figures = await measure(source, replica, `tidemark${index}`, count);
          const rssMb = await tidemark.peakRssMb();
          await tidemark.stop();
          return { figures, rssMb };
        },
        [Symbol.asyncDispose]: () => stack.disposeAsync(),
      };
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  },
};

/** A slot that nobody reads would make the later samples read its WAL. The subscription's worker lets go of it at its end. */
async function dropSlot(source: PostgresServer, slot: string): Promise<void> {
  const limit = performance.now() + DRAIN_LIMIT_MS;
  for (;;) {
    const [row] = await source.query<{ active: boolean }>('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [slot]);
    if (row?.active === false) break;
    if (performance.now() > limit) throw new Error(`slot ${slot} stays in use`);
    await delay(20);
  }
  await source.query('SELECT pg_drop_replication_slot($1)', [slot]);
}

/** p50 and p99 of the time from the answer to COMMIT until a reader of the replica sees the row, in milliseconds. */
async function measure(source: PostgresServer, replica: PostgresServer, database: string, count: number): Promise<number[]> {
  const warmUp = WARM_UP_SECONDS * TRANSACTIONS_PER_SECOND;
  const total = warmUp + count;
  const committed = new Float64Array(total + 1);
  const seen = new Float64Array(total + 1);
  await Promise.all([write(source, committed, total), watch(replica, database, seen, total)]);
  const latencies = new Float64Array(count);
  for (let i = 0; i < count; i++) latencies[i] = Math.max(0, (seen[warmUp + 1 + i] ?? 0) - (committed[warmUp + 1 + i] ?? 0));
  return [percentile(latencies, 0.5), percentile(latencies, 0.99)];
}

/** Each transaction inserts row `id` and changes the one before; noted is when its commit was answered. */
async function write(source: PostgresServer, committed: Float64Array, total: number): Promise<void> {
  await using session = await source.connect('shop');
  const begin = performance.now();
  for (let id = 1; id <= total; id++) {
    const early = begin + (id * 1000) / TRANSACTIONS_PER_SECOND - performance.now();
    // Timers are exact to a millisecond: after a longer wait the transactions that are due follow each other at once.
    if (early > 1) await delay(early);
    await session.query(`INSERT INTO bench VALUES (${id}, 'note of ${id}'); UPDATE bench SET changed = changed + 1 WHERE id = ${id - 1}`);
    committed[id] = performance.now();
  }
  const seconds = (performance.now() - begin) / 1000;
  if (total / seconds < TRANSACTIONS_PER_SECOND * 0.9) throw new Error(`this machine made only ${Math.round(total / seconds)} transactions a second`);
}

/** Looks as fast as it can which rows a reader sees; noted is when each was seen first. */
async function watch(replica: PostgresServer, database: string, seen: Float64Array, total: number): Promise<void> {
  await using session = await replica.connect(database);
  let last = 0;
  let changed = performance.now();
  while (last < total) {
    const { rows } = await session.query<{ last: string }>({ name: 'last', text: 'SELECT coalesce(max(id), 0) AS last FROM bench' });
    const now = performance.now();
    const top = Number(rows[0]?.last);
    if (top > last) changed = now;
    else if (now - changed > DRAIN_LIMIT_MS) throw new Error(`the replica stays at row ${last} of ${total}`);
    while (last < top) seen[++last] = now;
    await delay(1);
  }
}
