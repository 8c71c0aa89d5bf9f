import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expectCode, NEVER, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { positionAt, transactionBatch } from '../../../../../contracts/kit/log-workload.ts';
import type { Checkpoint } from '../../../../../contracts/checkpoint.ts';
import type { SourceLog } from '../../../../../contracts/log-engine.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { stoppedLog } from '../../../../../hub/log/embedded/held-log.ts';
import { passDamage, type Passed } from '../../../../../hub/log/embedded/recovery/pass-damage.ts';
import { FaultyFiles } from '../../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../../fixtures/runtime.ts';
import { checked, DATA, FOLDER, fullLog } from '../check/flipped-bits.ts';
import { SMALL } from '../full-log.ts';

async function pass(files: FaultyFiles): Promise<Passed> {
  return passDamage({ files, data: DATA, log: await stoppedLog(files, DATA, SOURCE), progress: () => undefined, signal: NEVER });
}

async function stateOf(files: FaultyFiles): Promise<ReturnType<SourceLog['state']>> {
  await using engine = await EmbeddedLogEngine.openReadOnly(DATA, createTestRuntime({ files }));
  return (await engine.open(SOURCE, { create: false })).state();
}

/** A copy of the log with a byte in the middle of a file changed. */
function damaged(whole: FaultyFiles, name: string): FaultyFiles {
  const files = whole.fork();
  files.damage(join(FOLDER, name), files.bytes(join(FOLDER, name)).length >> 1);
  return files;
}

describe('a log that is led past its damage', () => {
  it('begins behind all that was ever given, with every table gone, whichever file is damaged, and is written on', { timeout: 60_000 }, async () => {
    const whole = await fullLog(11);
    const before = await stateOf(whole);
    const epoch = before.epochs.at(-1)?.id ?? '';
    const known = await catalogOf(whole);
    for (const name of (await whole.list(FOLDER)).filter((file) => /\.(segment|run|catalog)$/.test(file))) {
      const files = damaged(whole, name);
      expect([name, (await checked(files)).length > 0]).toEqual([name, true]);
      const { horizon } = await pass(files);
      expect([name, horizon > before.highWatermark]).toEqual([name, true]);
      expect([name, await checked(files)]).toEqual([name, []]);
      await using engine = await EmbeddedLogEngine.create(DATA, createTestRuntime({ files, seed: 5 }), SMALL);
      const log = await engine.open(SOURCE, { create: false });
      const state = log.state();
      expect([name, state.logId, state.horizon, state.highWatermark]).toEqual([name, before.logId, horizon, horizon]);
      if (!name.endsWith('.segment')) expect([name, state.position]).toEqual([name, before.position]);
      // Who has applied anything is filled anew, and never resumed.
      for (const offset of [1, before.horizon, before.highWatermark]) {
        const checkpoint: Checkpoint = { logId: before.logId, epoch: offset === before.highWatermark ? epoch : before.epochs.findLast(({ start }) => start < offset)?.id ?? '', offset, position: Buffer.alloc(0), fence: 0, cursor: null };
        expect([name, offset, log.plan(checkpoint).kind]).toEqual([name, offset, 'load']);
      }
      await expectCode(log.catalogAt(before.highWatermark, NEVER), 'LOG_BELOW_HORIZON');
      const tables = log.catalog().tables();
      expect([name, tables.every((table) => table.state.state === 'removed' && table.consistent.length === 0)]).toEqual([name, true]);
      expect([name, log.catalog().nextTableId() > Math.max(...known)]).toEqual([name, true]);
      const tableId = log.catalog().nextTableId();
      await using writer = await log.openWriter(() => undefined);
      const { baseOffset } = await writer.append(transactionBatch({ rows: 3, position: 99_999, valueBytes: 10, schema: true, tableId }));
      expect([name, baseOffset]).toEqual([name, horizon + 1]);
      await writer.flush();
      await log.compact(log.state().highWatermark, { memoryBytes: 1 << 20, share: 1, seals: true }, NEVER);
      expect([name, log.state().horizon]).toEqual([name, horizon + 4]);
    }
  });

  it('whose writer was killed goes on from the newest position that stands behind the damage', async () => {
    const files = new FaultyFiles(seededRandom(14));
    const engine = await EmbeddedLogEngine.create(DATA, createTestRuntime({ files, seed: 14 }), { ...SMALL, segmentBytes: 64 << 10 });
    const log = await engine.open(SOURCE, { create: true });
    const writer = await log.openWriter(() => undefined);
    for (let at = 1; at <= 40; at++) {
      await writer.append(transactionBatch({ rows: 2, position: at, valueBytes: 30, schema: at === 1 }));
      await writer.flush();
    }
    const { highWatermark } = log.state();
    const left = files.crash('process');
    const [segment = ''] = (await left.list(FOLDER)).filter((name) => name.endsWith('.segment'));
    // The first batch, which has the only schema, and one in the middle.
    left.damage(join(FOLDER, segment), 200);
    left.damage(join(FOLDER, segment), 5000);
    await expectCode(EmbeddedLogEngine.openReadOnly(DATA, createTestRuntime({ files: left })).then(async (reading) => {
      await using _reading = reading;
      await reading.open(SOURCE, { create: false });
    }), 'LOG_CORRUPT');
    const { horizon } = await pass(left);
    expect(horizon).toBe(highWatermark + 1);
    expect(await checked(left)).toEqual([]);
    await using again = await EmbeddedLogEngine.create(DATA, createTestRuntime({ files: left, seed: 15 }), SMALL);
    const passed = await again.open(SOURCE, { create: false });
    expect(passed.state().position).toEqual(positionAt(40));
    expect(passed.state().commitTime).toBe(1_700_000_000_000_040);
    expect(passed.catalog().nextTableId()).toBeGreaterThan(1_000_000);
    expect(passed.catalog().byName('public.table_1')).toBeUndefined();
    await passed.compact(passed.state().highWatermark, { memoryBytes: 1 << 20, share: 1 }, NEVER);
  });

  it('that is whole stays as it is', async () => {
    const files = await fullLog(12);
    const before = files.bytes(join(FOLDER, 'manifest'));
    await expectCode(pass(files), 'LOG_NOT_DAMAGED');
    expect(files.bytes(join(FOLDER, 'manifest'))).toEqual(before);
  });

  it('is as it was or begins anew, wherever the process dies or the disk fails', { timeout: 60_000 }, async () => {
    const whole = await fullLog(13);
    const name = (await whole.list(FOLDER)).find((file) => file.endsWith('.segment')) ?? '';
    const files = damaged(whole, name);
    const counted = files.fork();
    await pass(counted);
    for (let operation = 1; operation <= counted.operations; operation++) {
      for (const kind of ['process', 'machine'] as const) {
        const dying = files.fork();
        dying.crashAt(operation, () => undefined);
        await pass(dying).catch((error: unknown) => expect([dying.isDead, error]).toEqual([true, error]));
        const after = dying.crash(kind);
        const isPassed = (await checked(after)).length === 0;
        if (!isPassed) await pass(after);
        expect([operation, kind, await checked(after)]).toEqual([operation, kind, []]);
        await using engine = await EmbeddedLogEngine.create(DATA, createTestRuntime({ files: after, seed: 6 }), SMALL);
        const log = await engine.open(SOURCE, { create: false });
        expect(log.state().highWatermark).toBe(log.state().horizon);
      }
    }
    for (const operation of ['create', 'write', 'sync', 'rename', 'sync-directory'] as const) {
      const failing = files.fork();
      failing.fail({ operation, code: 'ENOSPC' });
      await expectCode(pass(failing), 'LOG_DISK_FULL');
      await pass(failing).catch((error: unknown) => expectNotDamaged(error));
      expect([operation, await checked(failing)]).toEqual([operation, []]);
    }
  });
});

/** Ids of the tables of the log. */
async function catalogOf(files: FaultyFiles): Promise<number[]> {
  await using engine = await EmbeddedLogEngine.openReadOnly(DATA, createTestRuntime({ files }));
  return (await engine.open(SOURCE, { create: false })).catalog().tables().map(({ tableId }) => tableId);
}

/** The manifest was replaced all the same. */
function expectNotDamaged(error: unknown): void {
  expect(error).toMatchObject({ code: 'LOG_NOT_DAMAGED' });
}
