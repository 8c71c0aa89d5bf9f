import { describe, expect, it } from 'vitest';
import { agesOf, lastAge, sealedAge } from '../../../../hub/log/embedded/segments/age.ts';
import type { SealedSegment } from '../../../../hub/log/embedded/manifest.ts';

const NOW = 1_000_000;

function segment(number: number, maxCommitTime: number, agesFrom?: number): SealedSegment {
  const sealed = { state: 'sealed' as const, number, epoch: 'e', base: number, last: number, bytes: 1, controls: 0, maxCommitTime };
  return agesFrom === undefined ? sealed : { ...sealed, agesFrom };
}

describe('from when on a segment ages', () => {
  it.each([
    ['its last commit', { maxCommitTime: 900_000, ofHubAt: 0 }, 0, 900_000],
    ['its sealing, where the clock of the source is ahead', { maxCommitTime: 5_000_000, ofHubAt: 0 }, 0, NOW],
    ['what the hub has written of its own', { maxCommitTime: 900_000, ofHubAt: 950_000 }, 0, 950_000],
    ['its sealing, where it is not known when the hub wrote it', { maxCommitTime: 900_000, ofHubAt: Number.POSITIVE_INFINITY }, 0, NOW],
    ['that of the segment before it, where its commits are older', { maxCommitTime: 100, ofHubAt: 0 }, 950_000, 950_000],
    ['now, where the one before it was sealed by a clock that was ahead', { maxCommitTime: 100, ofHubAt: 0 }, 9_000_000, NOW],
    ['the beginning, where it has no commit', { maxCommitTime: 0, ofHubAt: 0 }, 0, 0],
  ])('%s', (_name, content, before, expected) => {
    expect(sealedAge(content, before, NOW)).toBe(expected);
  });

  it('is not kept by what was sealed while the clock of the hub was ahead', () => {
    expect(agesOf([segment(1, 10, 100), segment(2, 10, 9_000), segment(3, 10, 300)])).toEqual([100, 300, 300]);
  });

  it('is its commit time in logs of earlier versions, and no later than what follows', () => {
    expect(agesOf([segment(1, 100), segment(2, 9_000), segment(3, 9_000, 300)])).toEqual([100, 300, 300]);
    expect(lastAge({ segments: [segment(1, 100)], base: null })).toBe(100);
    expect(lastAge({ segments: [], base: null })).toBe(0);
  });
});
