import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BEHIND_MICROS, BreathPace, LONG_BREATH_MS, SHORT_BREATH_MS } from '../../../../connectors/postgres/stream/breath.ts';

const SECONDS = 30;

/** Bytes per millisecond over half a minute of a stream that gives so much with each pause. */
function run(pace: BreathPace, rateWith: (pauseMs: number, now: number) => number, start = 0): { readonly rate: number; readonly pauses: number[] } {
  const pauses: number[] = [];
  let bytes = 0;
  let came = 0;
  let now = start;
  while (now < start + SECONDS * 1000) {
    const pause = pace.next(now, came, BEHIND_MICROS);
    came = rateWith(pause, now) * pause;
    now += pause;
    bytes += came;
    pauses.push(pause);
  }
  return { rate: bytes / (now - start), pauses };
}

describe('how long bytes gather in the socket', () => {
  it('is short for a stream that is not behind', () => {
    const pace = new BreathPace();
    for (let now = 0; now < 10_000; now++) expect(pace.next(now, 50_000, BEHIND_MICROS - 1)).toBe(SHORT_BREATH_MS);
    expect(pace.next(10_000, 50_000, BEHIND_MICROS)).toBe(LONG_BREATH_MS);
    expect(pace.next(10_020, 50_000, 0)).toBe(SHORT_BREATH_MS);
  });

  it('comes close to the better of the two pauses, whichever it is', () => {
    const rate = fc.integer({ min: 100, max: 100_000 });
    fc.assert(
      fc.property(rate, rate, (short, long) => {
        const got = run(new BreathPace(), (pause) => (pause === LONG_BREATH_MS ? long : short)).rate;
        // A tenth is not worth the short one's cost, and trials take some of the time.
        expect(got).toBeGreaterThan(Math.max(short, long) * 0.85);
      }),
    );
  });

  it('is the long one where both give as much', () => {
    const { pauses } = run(new BreathPace(), () => 1000);
    const long = pauses.filter((pause) => pause === LONG_BREATH_MS).length * LONG_BREATH_MS;
    expect(long).toBeGreaterThan(SECONDS * 1000 * 0.9);
  });

  it('follows a stream that comes to be better off with the other one', () => {
    const pace = new BreathPace();
    run(pace, (pause) => (pause === LONG_BREATH_MS ? 2000 : 500));
    const { rate } = run(pace, (pause) => (pause === LONG_BREATH_MS ? 500 : 2000), SECONDS * 1000);
    expect(rate).toBeGreaterThan(1500);
  });

  it('stays as it was found when the stream has caught up and falls behind again', () => {
    const pace = new BreathPace();
    const narrow = (pause: number): number => (pause === LONG_BREATH_MS ? 100 : 2000);
    run(pace, narrow);
    pace.next(SECONDS * 1000, 0, 0);
    expect(run(pace, narrow, SECONDS * 1000 + 1000).rate).toBeGreaterThan(1700);
  });
});
