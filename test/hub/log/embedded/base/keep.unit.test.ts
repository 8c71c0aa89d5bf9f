import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode, NEVER, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { LogWorkload, seededUnit } from '../../../../../contracts/kit/log-workload.ts';
import { ReferenceLog } from '../../../../../contracts/kit/reference-log.ts';
import type { Keep, SourceLog } from '../../../../../contracts/log-engine.ts';
import type { Clock } from '../../../../../contracts/runtime.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { systemClock } from '../../../../../hub/runtime/clock.ts';
import { FaultyFiles } from '../../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../../fixtures/runtime.ts';
import { noLock } from '../no-lock.ts';
import { keepOfName, mustBeKept, type KeepById } from './kept-log.ts';

const OPTIONS = { segmentBytes: 2048, unsyncedBytes: 2048, recentBytes: 1024, lock: noLock };
const MEMORY = { memoryBytes: 4 << 20, share: 1 };
/** Between transactions, microseconds. */
const PACE = 1000;

/** A log under a workload; `now` is when its last transaction committed. */
class Stand {
  readonly files = new FaultyFiles(seededRandom(3));
  readonly workload: LogWorkload;
  readonly reference = new ReferenceLog();
  readonly #clock: Clock;
  engine: EmbeddedLogEngine | null = null;

  constructor(unit: () => number, copies = true) {
    this.workload = new LogWorkload({ unit, tables: 3, keyless: 1, valueBytes: 60, pace: PACE, copies });
    this.#clock = { ...systemClock, now: () => this.now };
  }

  get now(): number {
    return this.workload.time / 1000;
  }

  async open(): Promise<{ log: SourceLog; append: (batches: number) => Promise<void>; rollback: () => Promise<void> }> {
    await this.engine?.[Symbol.asyncDispose]();
    this.reference.rollback();
    this.engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files: this.files, clock: this.#clock }), OPTIONS);
    const log = await this.engine.open(SOURCE, { create: true });
    const writer = await log.openWriter(() => undefined);
    this.workload.resumeAt(log.catalog());
    return {
      log,
      append: async (batches) => {
        for (let batch = 0; batch < batches; batch++) {
          const made = this.workload.next();
          this.reference.append(made);
          await writer.append(made);
        }
        await writer.flush();
      },
      rollback: async () => {
        this.reference.rollback();
        await writer.rollback();
        this.workload.resumeAt(log.catalog());
      },
    };
  }
}

const MIXED: readonly Keep[] = [{ kind: 'compact' }, { kind: 'all' }, { kind: 'window', ageMs: 60 }, { kind: 'window', ageMs: 25 }];
const mixed: KeepById = (tableId) => MIXED[(tableId - 1) % MIXED.length] ?? { kind: 'compact' };

describe('tables that are kept in different ways', () => {
  it('have their records and rows for as long as they are to be kept, and no longer without saying so', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.array(fc.constantFrom('append', 'append', 'append', 'compact', 'compact', 'reopen', 'rollback'), { minLength: 6, maxLength: 20 }), async (seed, steps) => {
        const unit = seededUnit(seed);
        const stand = new Stand(unit);
        let { log, append, rollback } = await stand.open();
        for (const step of steps) {
          if (step === 'append') await append(14);
          else if (step === 'rollback') await rollback();
          else if (step === 'reopen') ({ log, append, rollback } = await stand.open());
          else {
            const to = unit() < 0.5 ? log.state().highWatermark : Math.floor(unit() * (log.state().highWatermark + 1));
            await log.compact(to, { ...MEMORY, keep: keepOfName(mixed), seals: unit() < 0.3 }, NEVER);
          }
          await mustBeKept(log, stand.files, stand.reference, mixed, stand.now);
        }
        await stand.engine?.[Symbol.asyncDispose]();
      }),
      { numRuns: 10 },
    );
  });

  it('keep what they had when they are to be kept in another way, and say from where on', { timeout: 60_000 }, async () => {
    const stand = new Stand(seededUnit(11), false);
    const { log, append } = await stand.open();
    const fold = async (keep: Keep): Promise<void> => {
      await append(40);
      const before = log.state().horizon;
      expect(await log.compact(log.state().highWatermark, { ...MEMORY, keep: () => keep, seals: true }, NEVER)).toBeGreaterThan(before);
    };
    await fold({ kind: 'all' });
    const first = log.state().horizon;
    await fold({ kind: 'compact' });
    const second = log.state().horizon;
    for (const { tableId } of log.catalog().tables()) expect(log.extent(tableId)).toEqual({ recordsAfter: second, rowsAfter: 0 });
    await fold({ kind: 'all' });
    const known = log.catalog().tables().map(({ tableId }) => tableId);
    for (const tableId of known) expect(log.extent(tableId)).toEqual({ recordsAfter: second, rowsAfter: 0 });
    await fold({ kind: 'window', ageMs: 3_600_000 });
    for (const tableId of known) expect(log.extent(tableId)).toEqual({ recordsAfter: second, rowsAfter: 0 });
    await fold({ kind: 'window', ageMs: 1 });
    for (const tableId of known.filter((id) => id <= 3)) expect(log.extent(tableId).rowsAfter).toBeGreaterThan(first);
    await fold({ kind: 'compact' });
    // What was dropped stays dropped, and is told.
    for (const tableId of known.filter((id) => id <= 3)) {
      const { recordsAfter, rowsAfter } = log.extent(tableId);
      expect(recordsAfter).toBe(log.state().horizon);
      expect(rowsAfter).toBeGreaterThan(first);
    }
    await stand.engine?.[Symbol.asyncDispose]();
  });

  it('leave nothing behind: archives are merged, expired ones removed', { timeout: 60_000 }, async () => {
    const stand = new Stand(seededUnit(5), false);
    const { log, append } = await stand.open();
    for (let round = 0; round < 12; round++) {
      await append(20);
      await log.compact(log.state().highWatermark, { ...MEMORY, keep: keepOfName(mixed), seals: true }, NEVER);
    }
    await mustBeKept(log, stand.files, stand.reference, mixed, stand.now);
    const runs = (await stand.files.list('/data/log/shop')).filter((name) => name.endsWith('.run'));
    expect(runs.length).toBeLessThanOrEqual(14);
    expect(log.state().archiveBytes).toBeGreaterThan(0);
    await stand.engine?.[Symbol.asyncDispose]();
  });

  it('are read a few at a time below the horizon, and in one order', async () => {
    const stand = new Stand(seededUnit(8), false);
    const { log, append } = await stand.open();
    await append(60);
    await log.compact(log.state().highWatermark, { ...MEMORY, keep: () => ({ kind: 'all' }), seals: true }, NEVER);
    const offsets: number[] = [];
    for await (const { offsets: read } of log.readTables([1, 2, 3, 4], { after: 0, to: log.state().horizon, follow: false, signal: NEVER })) offsets.push(...(read ?? []));
    expect(offsets).toEqual(stand.reference.read(0, log.state().horizon).map(({ offset }) => offset));
    const many = Array.from({ length: 65 }, (_, index) => index + 1);
    await expectCode(log.readTables(many, { after: 0, follow: false, signal: NEVER })[Symbol.asyncIterator]().next(), 'LOG_TABLES');
    await stand.engine?.[Symbol.asyncDispose]();
  });
});
