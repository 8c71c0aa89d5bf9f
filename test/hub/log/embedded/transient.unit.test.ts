import { describe, expect, it } from 'vitest';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { NEVER, SOURCE } from '../../../../contracts/kit/log-engine-kit-common.ts';
import { transactionBatch } from '../../../../contracts/kit/log-workload.ts';
import { recordsOf } from '../../../../contracts/kit/reference-log.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../../fixtures/temp.ts';
import { noLock } from './no-lock.ts';

/** What a caller sees of each batch while it has it. */
async function seen(log: SourceLog, after: number, transient: boolean): Promise<string[]> {
  const lines: string[] = [];
  for await (const batch of log.read({ after, follow: false, signal: NEVER, transient })) lines.push(...linesOf(batch));
  return lines;
}

function linesOf(batch: ChangeBatch): string[] {
  return [...recordsOf(batch).map((record) => JSON.stringify(record)), ...batch.transactions.map(({ position, ...entry }) => JSON.stringify({ ...entry, position: Buffer.from(position).toString('hex') }))];
}

describe('batches whose memory is used again', () => {
  it('are what they were while the caller has them, small and large ones in any order', { timeout: 60_000 }, async () => {
    await using folder = await temporaryDirectory('transient');
    {
      await using engine = await EmbeddedLogEngine.create(folder.path, createTestRuntime(), { lock: noLock, segmentBytes: 3 << 20 });
      await using writer = await (await engine.open(SOURCE, { create: true })).openWriter(() => undefined);
      let position = 0;
      for (const rows of [1, 3000, 1, 1, 9000, 20, 7000, 1, 3, 12_000, 12_000, 2, 4000, 5, 5]) {
        position++;
        await writer.append(transactionBatch({ rows, position, valueBytes: 60, schema: position === 1 }));
        await writer.flush();
      }
    }
    await using engine = await EmbeddedLogEngine.openReadOnly(folder.path, createTestRuntime());
    const log = await engine.open(SOURCE, { create: false });
    for (const after of [0, 1, 2999, 20_000, log.state().highWatermark - 1]) {
      const kept = await seen(log, after, false);
      expect(kept.length).toBeGreaterThan(0);
      const passing = await seen(log, after, true);
      expect(passing.length).toBe(kept.length);
      expect(passing.findIndex((line, at) => line !== kept[at])).toBe(-1);
    }
  });
});
