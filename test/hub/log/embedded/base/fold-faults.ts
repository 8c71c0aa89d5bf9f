/** Folds that fail, and what they must leave. */
import { expect } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../../../../../contracts/change-batch.ts';
import { encodeControl } from '../../../../../contracts/control.ts';
import { TidemarkError } from '../../../../../contracts/errors/error.ts';
import { NEVER, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { LogWorkload, seededUnit } from '../../../../../contracts/kit/log-workload.ts';
import { ReferenceLog } from '../../../../../contracts/kit/reference-log.ts';
import type { SourceLog } from '../../../../../contracts/log-engine.ts';
import { Op } from '../../../../../contracts/op.ts';
import { baseFileNumber } from '../../../../../hub/log/embedded/base/base-files.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { baseFileNumbers, decodeManifest } from '../../../../../hub/log/embedded/manifest.ts';
import { fileNumber } from '../../../../../hub/log/embedded/segments/segment.ts';
import { FaultyFiles, type Fault } from '../../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../../fixtures/runtime.ts';
import { noLock } from '../no-lock.ts';
import { keepOfName, mustBeKept, type KeepById } from './kept-log.ts';

const NONE = Buffer.alloc(0);
const FOLDER = '/data/log/shop';
export const OPTIONS = { segmentBytes: 2048, unsyncedBytes: 2048, recentBytes: 1024, lock: noLock };
export const keep: KeepById = (tableId) => (tableId === 2 ? { kind: 'all' } : { kind: 'compact' });
export const FOLD = { memoryBytes: 4 << 20, share: 1, keep: keepOfName(keep) };

export interface Stand {
  readonly files: FaultyFiles;
  readonly reference: ReferenceLog;
}

/** A stopped log with a base, an archive and history behind them. */
export async function made(): Promise<Stand> {
  const files = new FaultyFiles(seededRandom(3));
  const reference = new ReferenceLog();
  const workload = new LogWorkload({ unit: seededUnit(21), tables: 2, keyless: 1, valueBytes: 80 });
  await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), OPTIONS);
  const log = await engine.open(SOURCE, { create: true });
  await using writer = await log.openWriter(() => undefined);
  const take = async (batch: ChangeBatch): Promise<void> => {
    reference.append(batch);
    await writer.append(batch);
  };
  const append = async (batches: number): Promise<void> => {
    for (let batch = 0; batch < batches; batch++) await take(workload.next());
    // A copy under way would hold the horizon.
    const copying = reference.catalog(reference.lastOffset).tables().filter(({ state }) => state.state === 'copying');
    const builder = new BatchBuilder(1024);
    const end = workload.finish();
    if (end !== null) await take(end);
    builder.begin('hub', 0, workload.time);
    for (const { tableId } of copying) builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl({ type: 'copied', rows: 1 }));
    builder.commit(NONE);
    await take(builder.take());
    await writer.flush();
  };
  for (let fold = 0; fold < 2; fold++) {
    await append(40);
    await log.compact(log.state().highWatermark, FOLD, NEVER);
  }
  await append(60);
  return { files, reference };
}

export async function opened(files: FaultyFiles): Promise<{ engine: EmbeddedLogEngine; log: SourceLog }> {
  const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), OPTIONS);
  return { engine, log: await engine.open(SOURCE, { create: false }) };
}

/** Files of the folder that the manifest does not name. */
export async function leftOver(files: FaultyFiles): Promise<string[]> {
  const { segments, base } = decodeManifest(files.bytes(`${FOLDER}/manifest`), 'manifest');
  const named = new Set(segments.map(({ number }) => number));
  const ofBase = new Set(base === null ? [] : baseFileNumbers(base));
  return (await files.list(FOLDER)).filter((name) => {
    const number = fileNumber(name);
    const baseNumber = baseFileNumber(name);
    // What was to become a manifest is replaced by the next one.
    return !name.startsWith('manifest') && !(number !== null && named.has(number)) && !(baseNumber !== null && ofBase.has(baseNumber));
  });
}

/** Bytes of what was to replace another file; the next one does. */
export function temporaries(files: FaultyFiles): number {
  return files.paths().filter((path) => path.endsWith('.new')).reduce((sum, path) => sum + files.bytes(path).length, 0);
}

export const OPERATIONS: readonly Fault['operation'][] = ['create', 'write', 'sync', 'rename', 'sync-directory', 'remove', 'open', 'make-directory'];
const CODES: readonly unknown[] = ['LOG_WRITE_FAILED', 'LOG_DISK_FULL', 'LOG_READ_FAILED'];

/**
 * Makes the operations of a fold fail, one in each fold: the log must be as it was, or as after the fold, and whole; the
 * next fold must succeed and leave nothing behind.
 * @param stride every so many of them; 1: each
 */
export async function checkFaults(operation: Fault['operation'], stride: number): Promise<void> {
  const stand = await made();
  for (let nth = 1; nth < 200; nth += stride) {
    const files = stand.files.fork();
    const { engine, log } = await opened(files);
    const { horizon, highWatermark } = log.state();
    files.fail({ operation, nth, code: nth % 2 === 0 ? 'ENOSPC' : 'EIO', after: nth % 3 === 0 });
    const failure: unknown = await log.compact(highWatermark, FOLD, NEVER).then(() => null, (error: unknown) => error);
    const hasFired = files.disarm() === 0;
    if (failure !== null) {
      expect(failure).toBeInstanceOf(TidemarkError);
      expect(CODES).toContain(failure instanceof TidemarkError ? failure.code : failure);
      expect(log.state().horizon).toBeGreaterThanOrEqual(horizon);
    }
    await mustBeKept(log, files, stand.reference, keep, 0);
    expect(await log.compact(highWatermark, FOLD, NEVER)).toBeGreaterThan(horizon);
    await mustBeKept(log, files, stand.reference, keep, 0);
    expect([nth, await leftOver(files)]).toEqual([nth, []]);
    await engine[Symbol.asyncDispose]();
    if (hasFired) continue;
    // The fold has fewer of these operations.
    expect(nth).toBeGreaterThan(1);
    return;
  }
  throw new Error('a fold has no end');
}
