import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../../contracts/change-batch.ts';
import { buildKey } from '../../../../../contracts/key.ts';
import { NEVER, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { positionAt, workloadSchema } from '../../../../../contracts/kit/log-workload.ts';
import { Op } from '../../../../../contracts/op.ts';
import { buildImage } from '../../../../../contracts/row-image.ts';
import { encodeSchema } from '../../../../../contracts/schema.ts';
import { Pace } from '../../../../../hub/log/embedded/base/pace.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { FaultyFiles } from '../../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom, SimulatedClock } from '../../../../fixtures/runtime.ts';
import { noLock } from '../no-lock.ts';

const MIB = 2 ** 20;
const NONE = Buffer.alloc(0);

/** Work takes no time; whoever sleeps has slept. */
class SleptClock extends SimulatedClock {
  slept = 0;

  override async sleep(ms: number): Promise<void> {
    this.slept += ms;
    await this.advance(ms);
  }
}

describe('the pace of a fold', () => {
  it('rests for as long as its share asks for', async () => {
    const clock = new SleptClock();
    const pace = new Pace(clock, { share: 0.25 }, NEVER);
    await clock.advance(19);
    expect(pace.breathe(1000 * MIB)).toBeUndefined();
    await clock.advance(21);
    await pace.breathe(0);
    expect(clock.slept).toBe(120);
  });

  it('rests for as long as its rate asks for, whichever is more', async () => {
    const clock = new SleptClock();
    const pace = new Pace(clock, { share: 0.5, bytesPerSecond: MIB }, NEVER);
    await pace.breathe(MIB);
    expect(clock.slept).toBe(1000);
    await clock.advance(600);
    await pace.breathe(MIB);
    expect(clock.slept).toBe(1600);
    await clock.advance(600);
    await pace.breathe(MIB / 4);
    expect(clock.slept).toBe(2200);
  });

  it('does not make up for time in which less was done than might have been', async () => {
    const clock = new SleptClock();
    const pace = new Pace(clock, { share: 1, bytesPerSecond: MIB }, NEVER);
    await clock.advance(60_000);
    expect(pace.breathe(MIB)).toBeUndefined();
    await pace.breathe(MIB);
    expect(clock.slept).toBe(1000);
  });

  it('ends when it is told to, also while nothing rests', () => {
    const pace = new Pace(new SleptClock(), { share: 1 }, AbortSignal.abort(new Error('enough')));
    expect(() => pace.breathe(1)).toThrow('enough');
  });
});

it('a fold reads and writes no more bytes in a second than it may', async () => {
  const slept = async (bytesPerSecond: number | null): Promise<{ readonly ms: number; readonly folded: number; readonly written: number }> => {
    const clock = new SleptClock();
    const files = new FaultyFiles(seededRandom(7));
    await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files, clock }), { segmentBytes: 256 << 10, lock: noLock });
    const log = await engine.open(SOURCE, { create: true });
    await using writer = await log.openWriter(() => undefined);
    for (let transaction = 0; transaction < 16; transaction++) {
      const builder = new BatchBuilder();
      builder.begin('source', transaction + 1, transaction + 1);
      if (transaction === 0) builder.record(Op.schema, 0, 1, 1, NONE, NONE, encodeSchema(workloadSchema(1)));
      for (let row = 0; row < 500; row++) {
        const id = `row ${transaction * 500 + row}`;
        builder.record(Op.create, 0, 1, 1, buildKey([id]), NONE, buildImage([id, seededRandom(row).bytes(60).toString('hex')]));
      }
      builder.commit(positionAt(transaction + 1));
      await writer.append(builder.take());
    }
    await writer.flush();
    const before = clock.slept;
    await log.compact(log.state().highWatermark, { memoryBytes: 8 * MIB, share: 1, bytesPerSecond }, NEVER);
    return { ms: clock.slept - before, folded: log.compaction().last?.bytes ?? 0, written: log.state().baseBytes };
  };
  expect((await slept(null)).ms).toBe(0);
  const { ms, folded, written } = await slept(MIB);
  expect(folded).toBeGreaterThan(MIB);
  // What is written counts before it is compressed, and is no more than what was folded and the heads of its entries.
  expect(ms / 1000).toBeGreaterThan(((folded + written) / MIB) * 0.8);
  expect(ms / 1000).toBeLessThan((folded * 2.5) / MIB);
});
