import { describe, expect, it } from 'vitest';
import { NEVER, SOURCE } from '../../../contracts/kit/log-engine-kit-common.ts';
import { transactionBatch } from '../../../contracts/kit/log-workload.ts';
import { diffLines, historyLines, tableLines, type MomentParts } from '../../../hub/api/moments/lines.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { FaultyFiles } from '../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../fixtures/runtime.ts';
import { SMALL } from '../log/embedded/full-log.ts';

const BUDGET = { memoryBytes: 64 << 10, share: 1, seals: true };

describe('what a client takes slowly', () => {
  it.each([['without a base', false], ['with a base', true]] as const)('is as of the moment that it began with, %s, while history is folded', async (_name, folds) => {
    const files = new FaultyFiles(seededRandom(3));
    const runtime = createTestRuntime({ files });
    await using engine = await EmbeddedLogEngine.create('/data', runtime, SMALL);
    const log = await engine.open(SOURCE, { create: true });
    await using writer = await log.openWriter(() => undefined);
    for (let at = 1; at <= 60; at++) await writer.append(transactionBatch({ rows: 2, position: at, valueBytes: 40, schema: at === 1 }));
    await writer.flush();
    if (folds) await log.compact(60, BUDGET, NEVER);
    const { horizon, highWatermark } = log.state();
    expect(horizon > 0).toBe(folds);
    const parts: MomentParts = { log, files, scratch: new ScratchFolders(files, '/data', 'test'), clock: runtime.clock, codecs: [], printPosition: () => null, signal: NEVER };
    const table = log.catalog().byName('public.table_1')?.versions.at(-1)?.schema.name ?? '';
    expect(table).toBe('table_1');
    const streams = [
      tableLines(parts, { table: 'public.table_1', asOf: String(horizon + 1) }),
      diffLines(parts, { table: 'public.table_1', from: String(horizon + 1) }),
      historyLines(parts, { table: 'public.table_1', key: ['1/0'] }),
    ];
    for (const stream of streams) expect((await stream.next()).value).toContain('"head"');
    await log.compact(highWatermark, BUDGET, NEVER);
    for (const stream of streams) {
      let text = '';
      for await (const lines of stream) text += lines;
      expect(text).toContain('"end"');
    }
    expect(await log.compact(highWatermark, BUDGET, NEVER)).toBeGreaterThan(horizon + 1);
  });
});
