import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { Swap } from '../../../contracts/rebuild.ts';
import type { StoredCheckpoint } from '../../../sinks/redis/checkpoint.ts';
import { shownKey } from '../../../sinks/redis/shadow/own-keys.ts';
import { evicts, neededBytes, readRoom, roomFinding } from '../../../sinks/redis/shadow/room.ts';
import { judgeSwap } from '../../../sinks/redis/shadow/swap.ts';

function point(offset: number, fence = 3): Checkpoint {
  return { logId: 'log', epoch: 'e', offset, position: new Uint8Array(0), cursor: null, fence };
}

function stored(offset: number | null, also: Partial<StoredCheckpoint> = {}): StoredCheckpoint {
  const applied = offset === null ? null : { epoch: 'e', offset, position: new Uint8Array(0), cursor: null };
  return { logId: 'log', fence: 3, owner: 'o', reach: offset ?? 0, applied, rebuild: null, role: null, swapped: '', marks: [], shape: '', ...also };
}

const SWAP: Swap = { from: point(9), to: point(12), tables: [], whole: true };
const shadow = stored(12, { role: 'shadow', fence: 7 });

describe('whether a swap is made', () => {
  it('only when both checkpoints are where they were, under a fence above both', () => {
    expect(judgeSwap(SWAP, { live: stored(9), shadow }, null)).toEqual({ kind: 'go', fence: 8 });
    expect(judgeSwap(SWAP, { live: stored(10), shadow }, null).kind).toBe('moved');
    expect(judgeSwap(SWAP, { live: null, shadow }, null).kind).toBe('moved');
    expect(judgeSwap(SWAP, { live: stored(9), shadow: stored(11, { role: 'shadow' }) }, null).kind).toBe('moved');
    expect(judgeSwap(SWAP, { live: stored(9), shadow: stored(12) }, null).kind).toBe('moved');
    expect(judgeSwap(SWAP, { live: stored(9, { role: 'old' }), shadow }, null).kind).toBe('moved');
    expect(judgeSwap(SWAP, { live: stored(9), shadow: stored(12, { role: 'shadow', logId: 'another' }) }, null).kind).toBe('moved');
    expect(judgeSwap(SWAP, { live: stored(9), shadow: stored(12, { role: 'leaving' }) }, null).kind).toBe('moved');
  });

  it('over a sink without a checkpoint, unless it has one by now that nobody here has seen', () => {
    const request = { ...SWAP, from: null };
    expect(judgeSwap(request, { live: null, shadow }, null).kind).toBe('go');
    expect(judgeSwap(request, { live: stored(null), shadow }, null).kind).toBe('go');
    expect(judgeSwap(request, { live: stored(9, { logId: 'another' }), shadow }, null).kind).toBe('go');
    expect(judgeSwap(request, { live: stored(9), shadow }, 'somebody').kind).toBe('moved');
    expect(judgeSwap(request, { live: stored(9), shadow }, 'o').kind).toBe('go');
  });

  it('not again: what it left tells of it, also after the sink has gone on, and no other rebuild is taken for it', () => {
    const made = { swapped: 'e 12 3' };
    expect(judgeSwap(SWAP, { live: stored(12, made), shadow: stored(9, { role: 'old' }) }, null).kind).toBe('done');
    expect(judgeSwap(SWAP, { live: stored(40, made), shadow: null }, null).kind).toBe('done');
    expect(judgeSwap(SWAP, { live: stored(12), shadow: null }, null).kind).toBe('moved');
    expect(judgeSwap({ ...SWAP, to: point(12, 5) }, { live: stored(12, made), shadow: null }, null).kind).toBe('moved');
  });
});

describe('the room for a second set', () => {
  const info = (limit: number, policy: string): ReadonlyMap<string, string> => new Map([
    ['used_memory', '1500000'], ['used_memory_dataset', '1000000'], ['maxmemory', String(limit)], ['maxmemory_policy', policy],
    ['db0', 'keys=600,expires=0,avg_ttl=0'], ['db1', 'keys=100,expires=0,avg_ttl=0'], ['db2', 'keys=300,expires=0'],
  ]);

  it('is what the rows that are served take, without what is filled already', () => {
    const room = readRoom(info(0, 'noeviction'), 0, 1);
    expect(room).toMatchObject({ allKeys: 1000, liveKeys: 600, shadowKeys: 100 });
    expect(neededBytes(room)).toBe(500_000);
    expect(neededBytes(readRoom(new Map(), 0, 1))).toBe(0);
  });

  it('must be there, and must not be made by driving out rows', () => {
    expect(roomFinding(readRoom(info(0, 'noeviction'), 0, 1)).severity).toBe('ok');
    expect(roomFinding(readRoom(info(2_100_000, 'noeviction'), 0, 1)).severity).toBe('ok');
    expect(roomFinding(readRoom(info(1_900_000, 'noeviction'), 0, 1))).toMatchObject({ severity: 'error', what: expect.stringContaining('488.3 KiB') as string });
    expect(roomFinding(readRoom(info(2_100_000, 'volatile-ttl'), 0, 1)).severity).toBe('warning');
    expect(evicts(readRoom(info(2_100_000, 'allkeys-lru'), 0, 1))).toContain('allkeys-lru');
    expect(evicts(readRoom(info(0, 'allkeys-lru'), 0, 1))).toBeNull();
  });
});

describe('a key of somebody else, for people', () => {
  it('shows how it begins, never all of a long one', () => {
    expect(shownKey(Buffer.from('session:0123456789'))).toBe('session:...');
    expect(shownKey(Buffer.from('counter'))).toBe('counter');
    expect(shownKey(Buffer.from('0123456789abcdefghij'))).toBe('0123456789abcdef...');
    expect(shownKey(Buffer.from([0x61, 0x00, 0xff]))).toBe('a??');
  });
});
