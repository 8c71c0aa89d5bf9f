import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../contracts/change-batch.ts';
import { expectCode, NEVER, SOURCE } from '../../../contracts/kit/log-engine-kit-common.ts';
import { positionAt } from '../../../contracts/kit/log-workload.ts';
import { Op } from '../../../contracts/op.ts';
import type { PositionCodec } from '../../../contracts/position.ts';
import { encodeSchema } from '../../../contracts/schema.ts';
import { workloadSchema } from '../../../contracts/kit/log-workload.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { offsetOf, parseMoment } from '../../../hub/moments/moment.ts';
import { FaultyFiles } from '../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom, SimulatedClock } from '../../fixtures/runtime.ts';
import { noLock } from '../log/embedded/no-lock.ts';

const NONE = Buffer.alloc(0);
const OPTIONS = { segmentBytes: 1024, unsyncedBytes: 2048, recentBytes: 1024, lock: noLock };

/** Positions of tests: numbers in 8 bytes, named `at:5`. */
const positions: PositionCodec = {
  compare: (a, b) => Buffer.compare(a, b),
  format: (position) => `at:${Buffer.from(position).readBigUInt64BE(0)}`,
  parse: (text) => positionAt(Number(text.slice(3))),
};

describe('a moment', () => {
  const now = Date.parse('2026-11-20T10:00:00Z');

  it.each([
    ['17', { kind: 'offset', offset: 17 }],
    ['begin', { kind: 'begin' }],
    ['lsn:0/16B3748', { kind: 'position', text: 'lsn:0/16B3748' }],
    ['2026-11-01T12:00Z', { kind: 'time', time: Date.parse('2026-11-01T12:00Z') * 1000 }],
    ['2026-11-01T12:00:07.000123+02:00', { kind: 'time', time: Date.parse('2026-11-01T10:00:07Z') * 1000 + 123 }],
    ['2024-02-29T23:00-02:00', { kind: 'time', time: Date.parse('2024-03-01T01:00Z') * 1000 }],
    ['-2h', { kind: 'time', time: (now - 7_200_000) * 1000 }],
  ])('%s', (text, moment) => {
    expect(parseMoment(text, now)).toEqual(moment);
  });

  it.each(['', 'yesterday', '2026-11-01', '2026-11-01T12:00', '-2', '2026-13-01T12:00Z', '2026-02-30T12:00Z', '2026-04-31T12:00Z', '2025-02-29T12:00Z', '99999999999999999999', '1.5'])('is not %s', (text) => {
    expect(() => parseMoment(text, now)).toThrow('is no moment');
  });

  it('is below the horizon where it is before what the hub itself has written there, which no transaction of the source dates', async () => {
    const files = new FaultyFiles(seededRandom(3));
    const clock = new SimulatedClock(now);
    await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files, clock }), OPTIONS);
    const log = await engine.open(SOURCE, { create: true });
    await using writer = await log.openWriter(() => undefined);
    const builder = new BatchBuilder(1024);
    for (let version = 1; version <= 40; version++) {
      builder.begin('hub', 0, 0);
      builder.record(Op.schema, 0, 1, version, NONE, NONE, encodeSchema(workloadSchema(1, version)));
      builder.commit(NONE);
      await writer.append(builder.take());
    }
    await writer.flush();
    const horizon = await log.compact(40, { memoryBytes: 1 << 20, share: 1, seals: true }, NEVER);
    expect(horizon).toBeGreaterThan(0);
    const at = (text: string): Promise<number> => offsetOf(parseMoment(text, clock.now()), log, positions, NEVER);
    await expectCode(at('-300d'), 'LOG_BELOW_HORIZON');
    await clock.advance(3_600_000);
    await expectCode(at('-2h'), 'LOG_BELOW_HORIZON');
    expect(await at('-30m')).toBe(horizon);
  });

  it('is the last source transaction before time or position pass it, whatever the clock does and wherever the horizon stands', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 2, maxLength: 60 }), fc.double({ min: 0, max: 1, noNaN: true }), async (times, folded) => {
        const files = new FaultyFiles(seededRandom(3));
        await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), OPTIONS);
        const log = await engine.open(SOURCE, { create: true });
        await using writer = await log.openWriter(() => undefined);
        const builder = new BatchBuilder(1024);
        const points: { offset: number; time: number; position: number }[] = [];
        let offset = 0;
        for (const [index, time] of times.entries()) {
          const isHub = index % 5 === 4;
          builder.begin(isHub ? 'hub' : 'source', 0, time + 1);
          const schema = workloadSchema(1, index + 1);
          builder.record(Op.schema, 0, 1, index + 1, NONE, NONE, encodeSchema(schema));
          builder.commit(isHub ? NONE : positionAt(index + 1));
          offset++;
          if (!isHub) points.push({ offset, time: time + 1, position: index + 1 });
          await writer.append(builder.take());
        }
        await writer.flush();
        await log.compact(Math.floor(folded * offset), { memoryBytes: 1 << 20, share: 1 }, NEVER);
        const { horizon } = log.state();
        let greatest = 0;
        const expectedAt = (counts: (point: { time: number; position: number }) => boolean): number => {
          let found = 0;
          greatest = 0;
          for (const point of points) {
            greatest = Math.max(greatest, point.time);
            if (!counts({ time: greatest, position: point.position })) break;
            found = point.offset;
          }
          return found;
        };
        for (let time = 0; time <= 32; time++) {
          const expected = expectedAt((point) => point.time <= time);
          const asked = offsetOf({ kind: 'time', time }, log, positions, NEVER);
          if (expected >= horizon) expect([time, await asked]).toEqual([time, expected]);
          else if (expected + 1 < horizon) await expectCode(asked.then((at) => (at === horizon ? Promise.reject(new Error(`${time} is ${at}`)) : at)), 'LOG_BELOW_HORIZON');
          else await asked.catch(() => undefined);
        }
        for (let at = 1; at <= times.length; at++) {
          const expected = expectedAt(({ position }) => position <= at);
          const asked = offsetOf({ kind: 'position', text: `at:${at}` }, log, positions, NEVER);
          if (expected >= horizon) expect([at, await asked]).toEqual([at, expected]);
          else await asked.catch(() => undefined);
        }
      }),
      { numRuns: 10 },
    );
  });
});
