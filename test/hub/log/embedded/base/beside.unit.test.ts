import { describe, expect, it } from 'vitest';
import { NEVER, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { transactionBatch } from '../../../../../contracts/kit/log-workload.ts';
import type { SourceLog } from '../../../../../contracts/log-engine.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { FaultyFiles } from '../../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../../fixtures/runtime.ts';
import { SMALL } from '../full-log.ts';

const BUDGET = { memoryBytes: 64 << 10, share: 1, keep: ({ tableId }: { readonly tableId: number }) => (tableId === 2 ? ({ kind: 'all' } as const) : ({ kind: 'compact' } as const)) };

/** Stops where it is told to until it is let on. */
class StoppingFiles extends FaultyFiles {
  stopsAt: ((operation: 'replace' | 'remove', path: string) => boolean) | null = null;
  #reached = Promise.withResolvers<void>();
  #goesOn = Promise.withResolvers<void>();

  get reached(): Promise<void> {
    return this.#reached.promise;
  }

  goOn(): void {
    this.stopsAt = null;
    this.#goesOn.resolve();
  }

  override async replace(path: string, bytes: Uint8Array): Promise<void> {
    await this.#stop('replace', path);
    return super.replace(path, bytes);
  }

  override async remove(path: string): Promise<void> {
    await this.#stop('remove', path);
    return super.remove(path);
  }

  async #stop(operation: 'replace' | 'remove', path: string): Promise<void> {
    if (this.stopsAt?.(operation, path) !== true) return;
    this.#reached.resolve();
    await this.#goesOn.promise;
  }
}

async function write(log: SourceLog, from: number, count: number): Promise<void> {
  await using writer = await log.openWriter(() => undefined);
  for (let at = from; at < from + count; at++) await writer.append(transactionBatch({ rows: 4, position: at, valueBytes: 60, tableId: 1 + (at % 2), schema: at === from && from < 3 ? true : from < 3 && at === from + 1 }));
  await writer.flush();
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function offsetsOf(log: SourceLog, after: number): Promise<number> {
  let last = after;
  for await (const batch of log.read({ after, follow: false, signal: NEVER })) last = batch.lastOffset;
  return last;
}

describe('beside a fold whose manifest is just being replaced', () => {
  it('who begins to read finds the log before it or behind it, not between', async () => {
    for (const delay of [0, 6, 20]) {
      const files = new StoppingFiles(seededRandom(3));
      await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), SMALL);
      const log = await engine.open(SOURCE, { create: true });
      await write(log, 1, 60);
      await log.compact(Math.floor(log.state().highWatermark / 2), BUDGET, NEVER);
      const { horizon } = log.state();
      expect(horizon).toBeGreaterThan(0);
      await write(log, 100, 20);
      const { highWatermark } = log.state();
      files.stopsAt = (operation, path) => operation === 'replace' && path.endsWith('/manifest');
      const folding = log.compact(highWatermark, BUDGET, NEVER);
      await files.reached;
      const opening = log.openBase();
      const catalog = log.catalogAt(highWatermark, NEVER);
      const records = (async () => {
        let last = 0;
        for await (const { batch, offsets } of log.readTables([2], { after: 0, follow: false, signal: NEVER })) last = offsets?.at(-1) ?? batch.lastOffset;
        return last;
      })();
      const done = Promise.allSettled([opening, catalog, records]);
      await turns(delay);
      files.goOn();
      await done;
      await using base = await opening;
      expect(await folding).toBeGreaterThan(horizon);
      expect((await catalog).tables().length).toBe(2);
      expect(await records).toBe(highWatermark);
      expect(await offsetsOf(log, base?.horizon ?? 0)).toBe(highWatermark);
    }
  });
});

describe('who reads a folder in which a hub starts', () => {
  it('takes nothing from the fold of the hub', async () => {
    const files = new StoppingFiles(seededRandom(5));
    await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), SMALL);
    const log = await engine.open(SOURCE, { create: true });
    await write(log, 1, 60);
    await log.compact(Math.floor(log.state().highWatermark / 2), BUDGET, NEVER);
    await using beside = await EmbeddedLogEngine.openReadOnly('/data', createTestRuntime({ files, seed: 6 }));
    const base = await (await beside.open(SOURCE, { create: false })).openBase();
    // The hub starts.
    await engine[Symbol.asyncDispose]();
    await using started = await EmbeddedLogEngine.create('/data', createTestRuntime({ files, seed: 7 }), SMALL);
    const own = await started.open(SOURCE, { create: false });
    files.stopsAt = (operation, path) => operation === 'replace' && path.endsWith('.catalog');
    const folding = own.compact(own.state().highWatermark, BUDGET, NEVER);
    await files.reached;
    const before = await files.list('/data/log/shop/scratch-1');
    await base?.[Symbol.asyncDispose]();
    const after = await files.list('/data/log/shop/scratch-1').catch(() => null);
    files.goOn();
    expect(after).toEqual(before);
    expect(await folding).toBe(own.state().horizon);
  });
});

describe('a hold of the files', () => {
  it('that ends in the middle of a fold leaves the files with which the fold sorts', async () => {
    const files = new StoppingFiles(seededRandom(4));
    await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), SMALL);
    const log = await engine.open(SOURCE, { create: true });
    await write(log, 1, 300);
    const { highWatermark } = log.state();
    const hold = await engine.hold();
    // The second step of one call: the first has ended.
    let manifests = 0;
    files.stopsAt = (operation, path) => operation === 'replace' && path.endsWith('.catalog') && ++manifests === 2;
    const folding = log.compact(highWatermark, { memoryBytes: 1024, share: 1 }, NEVER);
    await files.reached;
    const scratch = (await files.list('/data/log/shop')).filter((name) => name.startsWith('scratch-'));
    expect(scratch.length).toBe(1);
    await hold[Symbol.asyncDispose]();
    const left = (await files.list('/data/log/shop')).filter((name) => name.startsWith('scratch-'));
    files.goOn();
    expect(left).toEqual(scratch);
    expect(await folding).toBeGreaterThan(highWatermark / 2);
    expect((await files.list('/data/log/shop')).filter((name) => name.startsWith('scratch-'))).toEqual([]);
  });
});
