import { describe, expect, it } from 'vitest';
import { expectCode, NEVER } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { seededUnit } from '../../../../../contracts/kit/log-workload.ts';
import type { Keep } from '../../../../../contracts/log-engine.ts';
import { checkKept, MEMORY, mixed, Stand } from './keep-property.ts';
import { keepOfName, mustBeKept } from './kept-log.ts';

describe('tables that are kept in different ways', () => {
  // For longer: keep.long.test.ts.
  it('have their records and rows for as long as they are to be kept, and no longer without saying so', { timeout: 120_000 }, () => checkKept(4, null));

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
