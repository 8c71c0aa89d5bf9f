import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { asyncBufferFromFile, parquetMetadataAsync } from 'hyparquet';
import { peakRssMb } from '../../../bench/rss.ts';
import { BatchBuilder } from '../../../contracts/change-batch.ts';
import { buildKey } from '../../../contracts/key.ts';
import { NEVER } from '../../../contracts/kit/log-engine-kit-common.ts';
import { Op } from '../../../contracts/op.ts';
import { buildImage } from '../../../contracts/row-image.ts';
import { encodeSchema } from '../../../contracts/schema.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { COMMIT_TIME, ORDERS } from '../api/shop-log.ts';

const MAIN = resolve(import.meta.dirname, '../../../hub/cli/main.ts');
const ROWS = 2_000_000;
const CHANGED = 400_000;
const NONE = Buffer.alloc(0);
/** The table is about 500 MB as rows and 600 MB as JSON; what sorts, converts and writes it takes no more than this. */
const MAX_RSS_MB = 450;

let folder: TemporaryDirectory;
let horizon = 0;
let end = 0;

beforeAll(async () => {
  folder = await temporaryDirectory('large');
  await using engine = await EmbeddedLogEngine.create(join(folder.path, 'data'), createTestRuntime());
  const log = await engine.open('shop', { create: true });
  await using writer = await log.openWriter(() => undefined);
  const builder = new BatchBuilder();
  let xid = 0;
  const row = async (op: Op, id: number, text: string): Promise<void> => {
    if (!builder.inTransaction) builder.begin('source', ++xid, COMMIT_TIME + xid);
    builder.record(op, 0, ORDERS.tableId, 1, buildKey([String(id)]), NONE, buildImage([String(id), text.repeat(20), Buffer.alloc(8, id), '12.50']));
    if (builder.length < 900_000) return;
    builder.commit(Buffer.of(1));
    await writer.append(builder.take());
  };
  builder.begin('source', ++xid, COMMIT_TIME);
  builder.record(Op.schema, 0, ORDERS.tableId, 1, NONE, NONE, encodeSchema(ORDERS));
  for (let id = 0; id < ROWS; id++) await row(Op.create, id, 'before 012');
  if (builder.inTransaction) builder.commit(Buffer.of(1));
  await writer.append(builder.take());
  await writer.flush();
  await log.compact(Math.floor(ROWS * 0.9), { memoryBytes: 64 << 20, share: 1 }, NEVER);
  ({ horizon } = log.state());
  expect(horizon).toBeGreaterThan(ROWS / 2);
  end = log.state().highWatermark;
  for (let change = 0; change < CHANGED; change++) await row(Op.update, (change * 7919) % ROWS, 'after 0123');
  builder.commit(Buffer.of(2));
  await writer.append(builder.take());
  await writer.flush();
}, 15 * 60_000);
afterAll(() => folder[Symbol.asyncDispose]());

/** Runs a command in a process of its own; its lines are counted, or go where `--output` says. */
async function run(...args: string[]): Promise<{ readonly lines: number; readonly last: string; readonly seconds: number; readonly peakMb: number }> {
  const began = performance.now();
  const child = spawn(process.execPath, [MAIN, ...args, '--data', join(folder.path, 'data')], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  let peakMb = 0;
  const watch = setInterval(() => {
    peakRssMb(child.pid ?? 0).then((peak) => { peakMb = Math.max(peakMb, peak); }, () => undefined);
  }, 50);
  let lines = 0;
  let last = '';
  for await (const line of createInterface({ input: child.stdout })) {
    lines++;
    last = line;
  }
  await closed;
  clearInterval(watch);
  expect(child.exitCode).toBe(0);
  const seconds = (performance.now() - began) / 1000;
  console.log(`${args.join(' ')}: ${seconds.toFixed(1)} s, peak ${peakMb.toFixed(0)} MB, ${lines} lines`);
  expect(peakMb).toBeLessThan(MAX_RSS_MB);
  return { lines, last, seconds, peakMb };
}

test('a table larger than what is sorted in memory is put together in bounded memory, in every format', async () => {
  const ndjson = await run('table', 'shop', 'public.orders', '--format', 'ndjson');
  expect(ndjson.lines).toBe(ROWS);
  expect((await run('table', 'shop', 'public.orders', '--as-of', String(horizon), '--format', 'csv')).lines).toBeGreaterThan(horizon * 0.9);
  const path = join(folder.path, 'orders.parquet');
  await run('table', 'shop', 'public.orders', '--format', 'parquet', '--output', path);
  expect((await parquetMetadataAsync(await asyncBufferFromFile(path))).num_rows).toBe(BigInt(ROWS));
  expect((await stat(path)).size).toBeLessThan(ROWS * 100);
});

test('one row is looked up, and a difference costs what has happened', async () => {
  const one = await run('table', 'shop', 'public.orders', '--where', '7', '--format', 'ndjson');
  expect(one.lines).toBe(1);
  const small = await run('diff', 'shop', 'public.orders', '--from', String(end), '--to', String(end + 1000));
  expect(small.last).toBe('(0 added, 0 removed, 1,000 changed)');
  const large = await run('diff', 'shop', 'public.orders', '--from', String(end), '--json');
  expect(large.lines).toBe(CHANGED);
});
