import { describe, expect, it } from 'vitest';
import { excessOf, limitOf, roomOf, type DiskLevel } from '../../../hub/compaction/disk-limit.ts';

const GB = 1e9;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** A disk that others leave alone. */
const large = { free: 900 * GB, total: 1000 * GB };

describe('how much the data folder may take', () => {
  it.each([
    ['what is configured', { used: GB, ...large }, 200 * GB, 200 * GB],
    ['what it has and the disk can give, but a gigabyte', { used: 10 * GB, free: 5 * GIB, total: 1000 * GB }, 200 * GB, 10 * GB + 4 * GIB],
    ['of a small disk all but a twentieth', { used: 0, free: 100 * MIB, total: 100 * MIB }, null, 95 * MIB],
    ['what it has, where the disk has less than that', { used: 7 * GB, free: GIB / 2, total: 1000 * GB }, null, 7 * GB],
    ['anything, where nobody can tell and nothing is configured', { used: 7 * GB, free: null, total: null }, null, Number.POSITIVE_INFINITY],
  ])('is %s', (_name, use, configured, expected) => {
    expect(limitOf(use, configured)).toBe(expected);
  });
});

describe('what is done about the room', () => {
  const level = (used: number, before: DiskLevel, limit = 100 * GB): DiskLevel => roomOf({ used, ...large }, limit, before).level;
  const margin = GIB / 4;

  it.each([
    [79 * GB, 'ok', 'ok'],
    [80 * GB, 'ok', 'low'],
    [79 * GB, 'low', 'low'],
    [74 * GB, 'low', 'ok'],
    [100 * GB - 3 * margin, 'low', 'short'],
    [100 * GB - 3 * margin - 1, 'short', 'low'],
    [100 * GB - margin, 'short', 'full'],
    [200 * GB, 'ok', 'full'],
    [100 * GB - 2 * margin, 'full', 'full'],
    [100 * GB - 2 * margin - 1, 'full', 'short'],
  ] as const)('%d bytes of 100 GB after %s: %s', (used, before, expected) => {
    expect(level(used, before)).toBe(expected);
  });

  it('begins earlier where little is allowed', () => {
    expect(level(95 * MIB, 'ok', 100 * MIB)).toBe('full');
    expect(level(84 * MIB, 'ok', 100 * MIB)).toBe('low');
    expect(level(85 * MIB, 'ok', 100 * MIB)).toBe('short');
  });

  it('asks for so much to be folded that it is not low any more', () => {
    const room = (used: number): number => excessOf(roomOf({ used, ...large }, 100 * GB, 'ok'));
    expect([70, 79, 80, 95].map((gb) => room(gb * GB) / GB)).toEqual([0, 0, 5, 20]);
  });
});
