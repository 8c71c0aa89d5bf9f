import { describe, expect, it } from 'vitest';
import { readAll } from '../../../contracts/kit/log-engine-kit-common.ts';
import { transactionBatch } from '../../../contracts/kit/log-workload.ts';
import { ReferenceLog } from '../../../contracts/kit/reference-log.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { DiskGuard } from '../../../hub/compaction/disk-guard.ts';
import type { DiskLevel } from '../../../hub/compaction/disk-limit.ts';
import { GuardedWriter } from '../../../hub/compaction/guarded-writer.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { FaultyFiles } from '../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom, SimulatedClock } from '../../fixtures/runtime.ts';
import { noLock } from '../log/embedded/no-lock.ts';

const MIB = 2 ** 20;

function guardOf(limit: number | null, bytes: { logs: number; others: number }) {
  const clock = new SimulatedClock();
  const files = Object.assign(new FaultyFiles(seededRandom(1)), { taken: async (): Promise<number> => bytes.others / 2 });
  const runtime = createTestRuntime({ clock, files });
  const levels: DiskLevel[] = [];
  const guard = new DiskGuard({ data: '/data', limit, logBytes: () => bytes.logs, runtime, onLevel: (level) => levels.push(level) });
  return { guard, clock, runtime, levels };
}

describe('the guard of the disk', () => {
  it('says when room gets low, stops what is appended before it is gone, and lets it go on', async () => {
    const bytes = { logs: 10 * MIB, others: 2 * MIB };
    const { guard, clock, levels, runtime } = guardOf(100 * MIB, bytes);
    guard.start();
    await clock.advance(0);
    expect(guard.room).toEqual({ used: 12 * MIB, limit: 100 * MIB, level: 'ok' });
    expect(guard.warning).toBeNull();
    bytes.logs = 80 * MIB;
    await clock.advance(2000);
    expect(guard.room.level).toBe('low');
    expect(guard.warning).toContain('folded');
    bytes.logs = 93 * MIB;
    await expect(guard.assertRoom()).rejects.toMatchObject({ code: 'LOG_DISK_LIMIT', retry: 'auto' });
    expect(guard.warning).toContain('nothing is captured');
    bytes.logs = 20 * MIB;
    await clock.advance(2000);
    await guard.assertRoom();
    expect(levels).toEqual(['low', 'full', 'ok']);
    expect(runtime.lines.map(({ event }) => event)).toEqual(['disk.almost-full', 'disk.capture-stopped', 'disk.room-again']);
    await guard.stop();
    expect(clock.pending).toBe(0);
  });

  it('looks again as soon as what there was room for has been appended, not when it is time', async () => {
    const bytes = { logs: 10 * MIB, others: 0 };
    const { guard, clock } = guardOf(100 * MIB, bytes);
    await guard.look();
    let appended = 0;
    const refusal = (async () => {
      for (; appended < 1000; appended++) {
        await guard.admit(MIB);
        bytes.logs += MIB;
      }
    })();
    await expect(refusal).rejects.toMatchObject({ code: 'LOG_DISK_LIMIT' });
    expect(appended).toBe(85);
    expect(clock.monotonic()).toBe(0);
  });

  it('never stops anything where nothing is limited and nobody can tell', async () => {
    const { guard } = guardOf(null, { logs: 1e15, others: 0 });
    await guard.look();
    expect(guard.admit(1e12)).toBeUndefined();
    expect(guard.room.level).toBe('ok');
  });
});

describe('a writer under guard', () => {
  async function stand() {
    const files = new FaultyFiles(seededRandom(1));
    const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock });
    const log = await engine.open('shop', { create: true });
    const gate = { waits: null as PromiseWithResolvers<void> | null, refuses: false };
    const writer = new GuardedWriter(await log.openWriter(() => undefined), () => {
      if (gate.refuses) return Promise.reject(new TidemarkError('LOG_DISK_LIMIT', 'full'));
      return gate.waits?.promise;
    });
    return { engine, log, writer, gate };
  }

  it('hands batches on in their order, also those that come while one waits', async () => {
    const { engine, log, writer, gate } = await stand();
    const reference = new ReferenceLog();
    gate.waits = Promise.withResolvers();
    const places = [1, 2, 3].map((position) => {
      const batch = transactionBatch({ rows: 3, position, schema: position === 1 });
      reference.append(batch);
      return writer.append(batch);
    });
    const { waits } = gate;
    gate.waits = null;
    places.push(writer.append(transactionBatch({ rows: 1, position: 4 })));
    reference.append(transactionBatch({ rows: 1, position: 4 }));
    waits.resolve();
    expect((await Promise.all(places)).map(({ baseOffset }) => baseOffset)).toEqual([1, 5, 8, 11]);
    await writer.flush();
    expect((await readAll(log, 0)).records).toEqual(reference.read(0));
    await engine[Symbol.asyncDispose]();
  });

  it('takes nothing behind what it has refused, until it is rolled back', async () => {
    const { engine, log, writer, gate } = await stand();
    await writer.append(transactionBatch({ rows: 2, position: 1, schema: true }));
    gate.refuses = true;
    const refused = [writer.append(transactionBatch({ rows: 2, position: 2 })), writer.append(transactionBatch({ rows: 2, position: 3 }))];
    gate.refuses = false;
    const late = writer.append(transactionBatch({ rows: 2, position: 4 }));
    for (const one of [...refused, late]) await expect(one).rejects.toMatchObject({ code: 'LOG_DISK_LIMIT' });
    await expect(writer.append(transactionBatch({ rows: 2, position: 5 }))).rejects.toMatchObject({ code: 'LOG_DISK_LIMIT' });
    expect(await writer.rollback()).toBe(3);
    await writer.append(transactionBatch({ rows: 2, position: 2 }));
    expect((await writer.flush()).highWatermark).toBe(5);
    expect(log.state().highWatermark).toBe(5);
    await engine[Symbol.asyncDispose]();
  });
});
