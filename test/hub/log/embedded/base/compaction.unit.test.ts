import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../../contracts/change-batch.ts';
import { buildKey } from '../../../../../contracts/key.ts';
import { Op } from '../../../../../contracts/op.ts';
import { buildImage } from '../../../../../contracts/row-image.ts';
import { encodeSchema } from '../../../../../contracts/schema.ts';
import { expectCode, NEVER, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { LogWorkload, positionAt, seededUnit, workloadSchema } from '../../../../../contracts/kit/log-workload.ts';
import { ReferenceLog } from '../../../../../contracts/kit/reference-log.ts';
import type { SourceLog } from '../../../../../contracts/log-engine.ts';
import { RecordView } from '../../../../../contracts/record.ts';
import type { FileSystem } from '../../../../../contracts/runtime.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { tableAt } from '../../../../../hub/moments/table-at.ts';
import { FaultyFiles } from '../../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../../fixtures/runtime.ts';
import { noLock } from '../no-lock.ts';

const NONE = Buffer.alloc(0);
const BUDGET = { memoryBytes: 4 << 20, share: 1 };
const OPTIONS = { segmentBytes: 2048, unsyncedBytes: 2048, recentBytes: 1024, lock: noLock };

/** The rows of a table as of `at`, as the reference has them. */
async function stateOf(log: SourceLog, files: FileSystem, tableId: number, at: number): Promise<Map<string, string>> {
  const rows = new Map<string, string>();
  const view = new RecordView();
  let last = '';
  for await (const { batch } of tableAt(log, { tableId, at, files, directory: '/sort', signal: NEVER })) {
    for (view.reset(batch.records); view.next(); ) {
      const key = view.key().toString('hex');
      const image = view.after().toString('hex');
      if (key === '') rows.set(image, String(Number(rows.get(image) ?? '0') + 1));
      else rows.set(key, image);
      expect((key || image) >= last).toBe(true);
      last = key || image;
    }
  }
  return rows;
}

async function mustBeEqual(log: SourceLog, files: FileSystem, reference: ReferenceLog): Promise<void> {
  const { horizon, highWatermark } = log.state();
  expect(highWatermark).toBe(reference.highWatermark);
  expect(log.catalog().tables()).toEqual(reference.catalog().tables());
  const ends = reference.transactions.map(({ last }) => last).filter((last) => last >= horizon);
  for (const at of new Set([horizon, ends[ends.length >> 1] ?? horizon, highWatermark])) {
    const catalog = await log.catalogAt(at, NEVER);
    expect(catalog.tables()).toEqual(reference.catalog(at).tables());
    for (const { tableId, state } of catalog.tables()) {
      if (state.state !== 'removed') expect([tableId, at, await stateOf(log, files, tableId, at)]).toEqual([tableId, at, reference.fold(tableId, at)]);
    }
  }
}

describe('compaction', () => {
  it('never changes what any offset at or above the horizon folds to', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.array(fc.constantFrom('append', 'append', 'compact', 'reopen', 'rollback'), { minLength: 4, maxLength: 24 }), async (seed, steps) => {
        const unit = seededUnit(seed);
        const workload = new LogWorkload({ unit, tables: 2, keyless: 1, valueBytes: unit() < 0.5 ? 120 : 3 });
        const files = new FaultyFiles(seededRandom(3));
        const open = (): Promise<EmbeddedLogEngine> => EmbeddedLogEngine.create('/data', createTestRuntime({ files }), OPTIONS);
        let engine = await open();
        let log = await engine.open(SOURCE, { create: true });
        let writer = await log.openWriter(() => undefined);
        const reference = new ReferenceLog();
        let horizon = 0;
        for (const step of steps) {
          if (step === 'append') {
            for (let batches = 0; batches < 12; batches++) {
              const batch = workload.next();
              reference.append(batch);
              await writer.append(batch);
            }
            await writer.flush();
          } else if (step === 'rollback') {
            reference.rollback();
            await writer.rollback();
            workload.resumeAt(log.catalog());
          } else if (step === 'reopen') {
            await engine[Symbol.asyncDispose]();
            reference.rollback();
            engine = await open();
            log = await engine.open(SOURCE, { create: false });
            writer = await log.openWriter(() => undefined);
            workload.resumeAt(log.catalog());
          } else {
            const moved = await log.compact(Math.floor(unit() * (log.state().highWatermark + 1)), BUDGET, NEVER);
            expect(moved).toBeGreaterThanOrEqual(horizon);
            expect(moved).toBe(log.state().horizon);
            horizon = moved;
          }
          await mustBeEqual(log, files, reference);
          if (horizon > 0) await expectCode(log.catalogAt(horizon - 1, NEVER), 'LOG_BELOW_HORIZON');
        }
        await engine[Symbol.asyncDispose]();
      }),
      { numRuns: 12 },
    );
  });

  it('sorts more than fits into its memory, merges runs, and leaves nothing behind', { timeout: 60_000 }, async () => {
    const files = new FaultyFiles(seededRandom(3));
    await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { segmentBytes: 256 << 10, lock: noLock });
    const log = await engine.open(SOURCE, { create: true });
    await using writer = await log.openWriter(() => undefined);
    const reference = new ReferenceLog();
    const append = async (build: (builder: BatchBuilder) => void): Promise<void> => {
      const builder = new BatchBuilder(64 << 10);
      builder.begin('source', 1, 1);
      build(builder);
      builder.commit(positionAt(1));
      const batch = builder.take();
      reference.append(batch);
      await writer.append(batch);
    };
    await append((builder) => builder.record(Op.schema, 0, 1, 1, NONE, NONE, encodeSchema(workloadSchema(1))));
    const unit = seededUnit(5);
    for (let round = 0; round < 5; round++) {
      for (let transaction = 0; transaction < 40; transaction++) {
        await append((builder) => {
          for (let row = 0; row < 250; row++) {
            const id = `row ${Math.floor(unit() * 8000)}`;
            const gone = unit() < 0.2;
            builder.record(gone ? Op.delete : Op.update, 0, 1, 1, buildKey([id]), NONE, gone ? NONE : buildImage([id, `${round} ${row} ${'v'.repeat(40)}`]));
          }
        });
      }
      await writer.flush();
      const { highWatermark } = log.state();
      expect(await log.compact(highWatermark, { memoryBytes: 128 << 10, share: 1 }, NEVER)).toBeGreaterThan(highWatermark / 2);
    }
    const { horizon, highWatermark } = log.state();
    for (const at of [horizon, highWatermark]) expect(await stateOf(log, files, 1, at)).toEqual(reference.fold(1, at));
    const names = await files.list('/data/log/shop');
    expect(names.filter((name) => name.endsWith('.run')).length).toBeLessThanOrEqual(3);
    expect(names.filter((name) => name.startsWith('scratch'))).toEqual([]);
  });
});
