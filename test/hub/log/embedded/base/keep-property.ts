/** A log whose tables are kept in different ways, against the reference. */
import fc from 'fast-check';
import { NEVER, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
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
export const MEMORY = { memoryBytes: 4 << 20, share: 1 };
/** Between transactions, microseconds. */
const PACE = 1000;

/** A log under a workload; `now` is when its last transaction committed. */
export class Stand {
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
export const mixed: KeepById = (tableId) => MIXED[(tableId - 1) % MIXED.length] ?? { kind: 'compact' };

/**
 * Any sequence of appends, folds, rollbacks and openings keeps every table as it is to be kept.
 * @param budgetMs no new sequence is begun after this; null: all of them
 */
export async function checkKept(runs: number, budgetMs: number | null): Promise<void> {
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
    { numRuns: runs, ...(budgetMs === null ? {} : { interruptAfterTimeLimit: budgetMs }) },
  );
}
