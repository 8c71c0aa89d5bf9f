import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { PositionCodec } from '../../../../contracts/position.ts';
import { SourceLag } from '../../../../hub/pipeline/source/source-lag.ts';
import { numberedPositions, positionOf, valueOf } from './numbered-positions.ts';

const NOW = 1_800_000_000_000;
const counted: PositionCodec = { ...numberedPositions, distance: (a, b) => valueOf(b) - valueOf(a) };

describe('the lag of a source', () => {
  it('is not known before the source was seen, or when it cannot be asked', () => {
    const lag = new SourceLag(counted);
    expect(lag.of(positionOf(7), 1, NOW)).toEqual({ bytes: null, seconds: null });
    lag.seen(positionOf(9), NOW);
    expect(lag.of(null, 0, NOW)).toEqual({ bytes: null, seconds: null });
    lag.seen(null, NOW);
    expect(lag.of(positionOf(7), 1, NOW)).toEqual({ bytes: null, seconds: null });
  });

  it('is the distance to the end of the source\'s log, and the age of the last transaction', () => {
    const lag = new SourceLag(counted);
    lag.seen(positionOf(1000), NOW);
    expect(lag.of(positionOf(400), (NOW - 3_600_000) * 1000, NOW)).toEqual({ bytes: 600, seconds: 3600 });
    expect(lag.of(positionOf(1000), (NOW - 60_000) * 1000, NOW)).toEqual({ bytes: 0, seconds: 0 });
    expect(lag.of(positionOf(1001), (NOW - 60_000) * 1000, NOW)).toEqual({ bytes: 0, seconds: 0 });
  });

  it('of an idle source is never the age of its last transaction', () => {
    const lag = new SourceLag(counted);
    const commitTime = (NOW - 3_600_000) * 1000;
    lag.seen(positionOf(100), NOW);
    expect(lag.of(positionOf(100), commitTime, NOW)).toEqual({ bytes: 0, seconds: 0 });
    // WAL of others: the log follows with the next keepalive.
    lag.seen(positionOf(150), NOW + 5000);
    expect(lag.of(positionOf(100), commitTime, NOW + 6000)).toEqual({ bytes: 50, seconds: 6 });
    expect(lag.of(positionOf(150), commitTime, NOW + 6000)).toEqual({ bytes: 0, seconds: 0 });
  });

  it('grows in seconds while the log does not move, however long', () => {
    const lag = new SourceLag(counted);
    lag.seen(positionOf(1), NOW);
    lag.of(positionOf(1), 0, NOW);
    for (let n = 1; n <= 5000; n++) lag.seen(positionOf(1 + n), NOW + n * 5000);
    const at = NOW + 5000 * 5000;
    expect(lag.of(positionOf(1), 0, at)).toEqual({ bytes: 5000, seconds: 25_000 });
    expect(lag.of(positionOf(5001), 0, at)).toEqual({ bytes: 0, seconds: 0 });
  });

  it('is not known to bytes where positions do not count them, nor of a server that is another one', () => {
    const uncounted = new SourceLag(numberedPositions);
    uncounted.seen(positionOf(9), NOW);
    expect(uncounted.of(positionOf(7), (NOW - 1000) * 1000, NOW)).toEqual({ bytes: null, seconds: 1 });
    const foreign = new SourceLag({
      ...counted,
      compare: () => {
        throw new TidemarkError('POSITION_FOREIGN', 'scripted');
      },
    });
    foreign.seen(positionOf(9), NOW);
    expect(foreign.of(positionOf(7), 1, NOW)).toEqual({ bytes: null, seconds: null });
  });
});
