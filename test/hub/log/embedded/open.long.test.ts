import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readAll } from '../../../../contracts/kit/log-engine-kit-common.ts';
import { transactionBatch } from '../../../../contracts/kit/log-workload.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../../fixtures/temp.ts';

const TABLES = 10_000;
const BYTES = 2 * 2 ** 30;
const WRITER = new URL('write-open-transaction.ts', import.meta.url).pathname;

async function bytesIn(folder: string): Promise<number> {
  let sum = 0;
  for (const name of await readdir(folder)) sum += (await stat(join(folder, name))).size;
  return sum;
}

describe('opening', () => {
  it('takes less than 5 s after a kill in the middle of a transaction of 2 GiB, and leaves none of it', async () => {
    await using folder = await temporaryDirectory('open');
    const child = spawn(process.execPath, [WRITER, folder.path, String(BYTES)], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await bytesIn(join(folder.path, 'log/shop'))).toBeGreaterThan(BYTES);
    const before = performance.now();
    await using engine = await EmbeddedLogEngine.create(folder.path, createTestRuntime());
    const log = await engine.open('shop', { create: false });
    const took = performance.now() - before;
    console.log(`opened in ${Math.round(took)} ms`);
    expect(log.state().highWatermark).toBe(6);
    expect((await readAll(log, 0)).records).toHaveLength(6);
    expect(await bytesIn(join(folder.path, 'log/shop'))).toBeLessThan(100_000);
    expect(took).toBeLessThan(5_000);
  });

  it('takes little time and memory with 10,000 tables, and knows them all', async () => {
    await using folder = await temporaryDirectory('open');
    {
      await using engine = await EmbeddedLogEngine.create(folder.path, createTestRuntime(), { segmentBytes: 1 << 20 });
      const writer = await (await engine.open('shop', { create: true })).openWriter(() => undefined);
      for (let table = 1; table <= TABLES; table++) {
        await writer.append(transactionBatch({ rows: 1, position: table, schema: true, tableId: table }));
      }
    }
    const memory = process.memoryUsage().rss;
    const before = performance.now();
    await using engine = await EmbeddedLogEngine.create(folder.path, createTestRuntime());
    const log = await engine.open('shop', { create: false });
    const took = performance.now() - before;
    const grown = process.memoryUsage().rss - memory;
    console.log(`opened in ${Math.round(took)} ms, ${Math.round(grown / 2 ** 20)} MiB more`);
    expect(log.catalog().tables()).toHaveLength(TABLES);
    expect(took).toBeLessThan(3_000);
    expect(grown).toBeLessThan(200 * 2 ** 20);
  });
});
