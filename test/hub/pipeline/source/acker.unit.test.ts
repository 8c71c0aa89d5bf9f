import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DurableProgress } from '../../../../contracts/log-engine.ts';
import { Acker } from '../../../../hub/pipeline/source/acker.ts';
import { numberedPositions, positionOf, valueOf } from './numbered-positions.ts';

function progress(highWatermark: number, position: number | null): DurableProgress {
  return { highWatermark, position: position === null ? null : positionOf(position) };
}

function told(answer: DurableProgress | null): number | null {
  const position = answer?.position ?? null;
  return position === null ? null : valueOf(position);
}

describe('Acker', () => {
  it('acknowledges what becomes durable, once', () => {
    const acker = new Acker(numberedPositions, progress(0, null));
    expect(acker.pending()).toBeNull();
    acker.appended(positionOf(10));
    acker.appended(positionOf(20));
    expect(told(acker.durable(progress(5, 10)))).toBe(10);
    expect(acker.durable(progress(5, 10))).toBeNull();
    expect(told(acker.durable(progress(9, 20)))).toBe(20);
  });

  it('acknowledges a keepalive of an idle source: the position moves, the high watermark stays', () => {
    const acker = new Acker(numberedPositions, progress(9, 20));
    expect(told(acker.pending())).toBe(20);
    acker.appended(positionOf(33));
    expect(told(acker.durable(progress(9, 33)))).toBe(33);
  });

  it('has nothing to say before the log has a position', () => {
    const acker = new Acker(numberedPositions, progress(0, null));
    expect(acker.durable(progress(3, null))).toBeNull();
  });

  it('refuses progress that nobody appended, and a high watermark that goes back', () => {
    const acker = new Acker(numberedPositions, progress(4, 10));
    expect(() => acker.durable(progress(5, 11))).toThrow(/never given/);
    expect(() => acker.durable(progress(3, 10))).toThrow(/went back/);
  });

  it('never tells more than is durable, never goes back, tells everything in the end: all orders of append and sync', () => {
    const step = fc.oneof(fc.record({ append: fc.integer({ min: 0, max: 5 }) }), fc.record({ sync: fc.nat(4) }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const acker = new Acker(numberedPositions, progress(0, null));
        const queue: DurableProgress[] = [];
        let position = 0;
        let offset = 0;
        let durable = -1;
        let acknowledged = -1;
        const sync = (count: number): void => {
          const reached = queue.splice(0, count).at(-1);
          if (reached === undefined) return;
          durable = valueOf(reached.position ?? positionOf(0));
          const answer = told(acker.durable(reached));
          if (answer !== null) {
            expect(answer).toBeLessThanOrEqual(durable);
            expect(answer).toBeGreaterThan(acknowledged);
            acknowledged = answer;
          }
        };
        for (const each of steps) {
          if ('append' in each) {
            position += each.append;
            offset += each.append === 0 ? 0 : 1;
            acker.appended(positionOf(position));
            queue.push(progress(offset, position));
          } else sync(each.sync);
        }
        sync(queue.length);
        expect(acknowledged).toBe(durable);
      }),
    );
  });
});
