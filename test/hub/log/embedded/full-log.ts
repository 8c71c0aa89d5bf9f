import { LogWorkload, seededUnit, type WorkloadOptions } from '../../../../contracts/kit/log-workload.ts';
import { NEVER, SOURCE } from '../../../../contracts/kit/log-engine-kit-common.ts';
import type { Keep } from '../../../../contracts/log-engine.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { EmbeddedLogEngine, type EmbeddedEngineOptions } from '../../../../hub/log/embedded/engine.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { noLock } from './no-lock.ts';

export const SMALL: EmbeddedEngineOptions = { segmentBytes: 2048, unsyncedBytes: 2048, recentBytes: 1024, lock: noLock };

export interface FullLogOptions {
  readonly seed: number;
  readonly workload?: Partial<WorkloadOptions>;
  readonly engine?: EmbeddedEngineOptions;
  /** Opened so many times; a part of the history is folded in each but the last. */
  readonly lives?: number;
  /** Batches in each life. */
  readonly batches?: number;
  readonly keep?: (table: { readonly tableId: number }) => Keep;
}

/**
 * Writes a log with everything in it that a log can have: several epochs and segments, cut transactions, a base of more
 * than one run, an archive of table 2, tables without a key. Closed at the end.
 */
export async function writeFullLog(files: FileSystem, data: string, options: FullLogOptions): Promise<void> {
  const { seed, lives = 3, batches = 60, engine: engineOptions = SMALL } = options;
  const workload = new LogWorkload({ unit: seededUnit(seed), tables: 2, keyless: 1, valueBytes: 60, ...options.workload });
  const keep = options.keep ?? (({ tableId }): Keep => (tableId === 2 ? { kind: 'all' } : { kind: 'compact' }));
  for (let life = 0; life < lives; life++) {
    const runtime = createTestRuntime({ files, seed: seed * 100 + life });
    await using engine = await EmbeddedLogEngine.create(data, runtime, engineOptions);
    const log = await engine.open(SOURCE, { create: true });
    await using writer = await log.openWriter(() => undefined);
    workload.resumeAt(log.catalog());
    for (let batch = 0; batch < batches; batch++) await writer.append(workload.next());
    const { highWatermark } = await writer.flush();
    if (life < lives - 1) await log.compact(Math.floor((highWatermark * (life + 1)) / lives), { memoryBytes: 1 << 20, share: 1, keep }, NEVER);
  }
}
