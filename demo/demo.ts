import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { HubStatus } from '../hub/service.ts';
import type { TableComparison } from '../test/fixtures/compare-databases.ts';
import { type HubProcess, startHubProcess } from '../test/fixtures/hub-process.ts';
import type { ShopWorkload } from '../test/fixtures/shop/writers.ts';
import { mysqlStand } from './mysql-stand.ts';
import type { DemoOptions } from './options.ts';
import { postgresStand } from './postgres-stand.ts';
import { type Screen, grouped, table } from './screen.ts';
import type { DemoSource, DemoStand, StandBuilder } from './stand.ts';

const SHOP = { customers: 2_000, products: 300, orders: 5_000 };
const TRANSACTIONS_PER_SECOND = 300;
const COPY_LIMIT_MS = 120_000;
const CATCH_UP_LIMIT_MS = 120_000;

/**
 * The demo from start to verdict; answers whether source and replica are equal. What it started and made is in `stack`,
 * which the caller disposes, also when the signal aborts at any moment.
 */
export async function runDemo(options: DemoOptions, screen: Screen, stack: AsyncDisposableStack, signal: AbortSignal): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-demo-'));
  const kept = { value: false };
  stack.defer(async () => {
    if (!kept.value) await rm(directory, { recursive: true, force: true });
  });
  try {
    const equal = await runIn(directory, options, screen, stack, signal);
    // To look at, or to find out what went wrong.
    kept.value = !options.keep;
    return equal;
  } catch (error) {
    kept.value = !signal.aborted;
    if (kept.value) screen.step(`The hub's folder, with its configuration, log and output: ${directory}`);
    throw error;
  }
}

async function runIn(directory: string, options: DemoOptions, screen: Screen, stack: AsyncDisposableStack, signal: AbortSignal): Promise<boolean> {
  const started = performance.now();
  const builder = builderOf(options.source);
  screen.step(builder.opening);
  const stand = stack.use(await builder.open(signal));
  signal.throwIfAborted();
  await stand.createShop(SHOP);
  screen.step(`  ${stand.place}: ${grouped(SHOP.customers)} customers, ${grouped(SHOP.products)} products, ${grouped(SHOP.orders)} orders, ready in ${seconds(started)} s`);
  signal.throwIfAborted();

  screen.step('Starting the hub: it copies the shop into its log, and the sinks from the log');
  const copyStarted = performance.now();
  const hub = stack.use(await startHubProcess({ directory, config: stand.config }, signal));
  const copied = await hub.until('every table is copied and at the sinks', isCopied, COPY_LIMIT_MS, signal);
  screen.step(`  ${grouped(offsets(copied).log)} records in the log, every table consistent, in ${seconds(copyStarted)} s`);

  const workload = stack.use(stand.startWorkload({ writers: 2, transactionsPerSecond: TRANSACTIONS_PER_SECOND }));
  await business(options, screen, hub, workload, signal);
  screen.step('Stopping the writers, waiting for the replica to reach the last change');
  await workload.stop();
  await waitForLast(stand, hub, screen, signal);

  const comparisons = await stand.compare();
  signal.throwIfAborted();
  const equal = verdict(comparisons, screen, workload);
  if (!options.keep) await hub.stop();
  sayWhatNext(options, screen, stand, directory);
  if (options.keep) await untilAborted(signal);
  return equal;
}

function builderOf(source: DemoSource): StandBuilder {
  return source === 'postgres' ? postgresStand : mysqlStand(source);
}

function isCopied({ sources, sinks }: HubStatus): boolean {
  for (const { error } of [...sources, ...sinks]) if (error !== null) throw new Error(`${error.code}: ${error.message}. ${error.remedy}`);
  const [source] = sources;
  if (source === undefined || source.tables.length === 0) return false;
  return source.tables.every(({ state }) => state === 'consistent') && sinks.every((sink) => sink.offset >= source.highWatermark);
}

function offsets({ sources, sinks }: HubStatus): { log: number; replica: number; lagSeconds: number } {
  const replica = sinks.find(({ name }) => name === 'replica');
  return { log: sources[0]?.highWatermark ?? 0, replica: replica?.offset ?? 0, lagSeconds: replica?.lag.seconds ?? 0 };
}

/** The shop is in business, with the live line; in the middle the shape of a table changes. */
async function business(options: DemoOptions, screen: Screen, hub: HubProcess, workload: ShopWorkload, signal: AbortSignal): Promise<void> {
  screen.step(`The shop is in business for ${options.seconds} s: orders, payments, returns, prices, texts of 6 kB, keys that change`);
  const begin = performance.now();
  const end = begin + options.seconds * 1000;
  let altered = false;
  let before = { at: begin, rows: 0 };
  while (performance.now() < end) {
    const pause = delay(Math.min(1000, Math.max(0, end - performance.now())), undefined, { signal });
    await Promise.race([pause, workload.failed]);
    if (!altered && performance.now() - begin > options.seconds * 500) {
      altered = true;
      await workload.alter();
      screen.step('  ALTER TABLE orders ADD COLUMN channel, while the writers go on');
    }
    const { log, replica, lagSeconds } = offsets(await hub.status(signal));
    const now = { at: performance.now(), rows: workload.counts.rowChanges };
    const rate = ((now.rows - before.rows) * 1000) / Math.max(1, now.at - before.at);
    before = now;
    const elapsed = Math.round((now.at - begin) / 1000);
    screen.live(
      `  ${String(elapsed).padStart(3)} s  ${grouped(rate)} row changes/s  log at ${grouped(log)}  replica at ${grouped(replica)}  lag ${grouped(log - replica)} records, ${lagSeconds.toFixed(2)} s`,
    );
  }
}

/** Read your writes: every sink has what the shop had when the writers stopped. */
async function waitForLast(stand: DemoStand, hub: HubProcess, screen: Screen, signal: AbortSignal): Promise<void> {
  const started = performance.now();
  const { shown, token } = await stand.position();
  const { sinks } = await hub.status(signal);
  const offset = Math.max(...(await Promise.all(sinks.map(({ name }) => hub.api.wait(name, token, CATCH_UP_LIMIT_MS, signal)))));
  const where = sinks.length === 1 ? 'at the replica' : 'at the replica and in the cache';
  screen.step(`  position ${shown} is offset ${grouped(offset)}, ${where} after ${Math.round(performance.now() - started)} ms`);
}

function verdict(comparisons: readonly TableComparison[], screen: Screen, workload: ShopWorkload): boolean {
  const { transactions, rowChanges } = workload.counts;
  screen.step(`Comparing every row after ${grouped(transactions)} transactions with ${grouped(rowChanges)} row changes`);
  for (const line of table(comparisons.map(({ table: name, rows, equal }) => [name, `${grouped(rows)} rows`, equal ? 'equal' : 'NOT EQUAL']))) screen.step(`  ${line}`);
  for (const { table: name, differences } of comparisons) for (const difference of differences) screen.step(`  ${name}: ${difference}`);
  const equal = comparisons.length > 0 && comparisons.every((comparison) => comparison.equal);
  screen.step(equal ? 'The replica equals the shop.' : 'THE REPLICA DOES NOT EQUAL THE SHOP. Please report this, with the folder below.');
  return equal;
}

function sayWhatNext(options: DemoOptions, screen: Screen, stand: DemoStand, directory: string): void {
  const config = join(directory, 'tidemark.yaml');
  const tidemark = 'npm run --silent tidemark --';
  screen.step(`\nThe hub's folder, with its configuration, log and output: ${directory}`);
  screen.step('Try next:');
  const read = `${tidemark} read shop ${stand.orders} --config ${config} --limit 5`;
  const tables = `${tidemark} tables --config ${config}`;
  const commands = options.keep ? [`${tidemark} status --config ${config} --watch`, tables, read] : [read, tables, `npm run demo -- --keep${options.source === 'postgres' ? '' : ` --source ${options.source}`}`];
  for (const command of commands) screen.step(`  ${command}`);
  if (!options.keep) return;
  screen.step('\nThe databases, for any client: change the first and look at the others.');
  for (const url of stand.urls) screen.step(`  ${url}`);
  screen.step('\nEverything keeps running. Ctrl-C ends it and removes the folder.');
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // Keeps the process alive: nothing else here does.
    const alive = setInterval(() => undefined, 60_000);
    const end = (): void => {
      clearInterval(alive);
      resolve();
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}
