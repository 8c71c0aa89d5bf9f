import fc from 'fast-check';
import { expect } from 'vitest';
import { expectCode, NEVER, SOURCE } from '../../../contracts/kit/log-engine-kit-common.ts';
import { LogWorkload, seededUnit } from '../../../contracts/kit/log-workload.ts';
import { ReferenceLog } from '../../../contracts/kit/reference-log.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { rowAt } from '../../../hub/moments/row-at.ts';
import { FaultyFiles } from '../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../fixtures/runtime.ts';
import { noLock } from '../log/embedded/no-lock.ts';
import { diffBetween, expectedDiff, expectedVersions, stateAt, versionsBetween } from './model.ts';

const OPTIONS = { segmentBytes: 2048, unsyncedBytes: 2048, recentBytes: 1024, lock: noLock };
const TABLES = 2;
const KEYLESS = 3;

/**
 * A random history: the table, the row and its versions as of every offset, and the difference of any two, are those of the
 * reference.
 * @param parameters of fast-check: how many histories, or for how long; a failure prints the seed and path that replay it
 */
export async function checkMoments(parameters: { readonly numRuns: number; readonly interruptAfterTimeLimit?: number }): Promise<void> {
  const property = fc.asyncProperty(fc.integer(), fc.double({ min: 0, max: 1, noNaN: true }), async (seed, folded) => {
    const unit = seededUnit(seed);
    const workload = new LogWorkload({ unit, tables: TABLES, keyless: 1, valueBytes: unit() < 0.5 ? 120 : 3 });
    const files = new FaultyFiles(seededRandom(3));
    await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), OPTIONS);
    const log = await engine.open(SOURCE, { create: true });
    await using writer = await log.openWriter(() => undefined);
    const reference = new ReferenceLog();
    const append = async (batches: number): Promise<void> => {
      for (let batch = 0; batch < batches; batch++) {
        const next = batch === batches - 1 ? (workload.finish() ?? workload.next()) : workload.next();
        reference.append(next);
        await writer.append(next);
      }
      await writer.flush();
    };
    await append(20);
    await log.compact(Math.floor(folded * log.state().highWatermark), { memoryBytes: 1 << 20, share: 1 }, NEVER);
    await append(25);
    const { horizon, highWatermark } = log.state();
    const place = { log, files, memoryBytes: unit() < 0.5 ? 1024 : 1 << 20 };
    const offsetFrom = (least: number): number => least + Math.floor(unit() * (highWatermark - least + 1));
    for (let at = horizon; at <= highWatermark; at++) {
      const tableId = 1 + (at % KEYLESS);
      expect([tableId, at, await stateAt(place, tableId, at)]).toEqual([tableId, at, reference.fold(tableId, at)]);
    }
    for (let pair = 0; pair < 40; pair++) {
      const from = offsetFrom(horizon);
      const to = offsetFrom(from);
      const tableId = 1 + (pair % KEYLESS);
      if (reference.catalog(to).schema(tableId) === undefined) continue;
      const expected = expectedDiff(reference.fold(tableId, from), reference.fold(tableId, to), tableId === KEYLESS);
      expect([tableId, from, to, await diffBetween(place, tableId, from, to)]).toEqual([tableId, from, to, expected]);
    }
    const keys = [...new Set(reference.records.filter(({ tableId, key }) => tableId < KEYLESS && key !== '').map(({ tableId, key }) => `${tableId} ${key}`))];
    for (const [index, named] of keys.entries()) {
      const [table = '', key = ''] = named.split(' ');
      const from = index % 3 === 0 ? horizon : offsetFrom(horizon);
      const to = offsetFrom(from);
      expect([named, from, to, await versionsBetween(log, Number(table), key, from, to)]).toEqual([named, from, to, expectedVersions(reference, Number(table), key, from, to)]);
      const found = await rowAt(log, Number(table), Buffer.from(key, 'hex'), to, NEVER);
      expect([named, to, found?.image.toString('hex')]).toEqual([named, to, reference.fold(Number(table), to).get(key)]);
    }
    if (horizon > 0) {
      const below = horizon - 1;
      await expectCode(stateAt(place, 1, below), 'LOG_BELOW_HORIZON');
      await expectCode(rowAt(log, 1, Buffer.from('x'), below, NEVER), 'LOG_BELOW_HORIZON');
      await expectCode(diffBetween(place, 1, below, highWatermark), 'LOG_BELOW_HORIZON');
      await expectCode(versionsBetween(log, 1, '00', below, highWatermark), 'LOG_BELOW_HORIZON');
    }
    expect(await files.list('/data/sorting').catch(() => [])).toEqual([]);
  });
  await fc.assert(property, parameters);
}
