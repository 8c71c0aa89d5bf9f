import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FLUSH_LIMIT_MS, lingerMs, nextRate } from '../../../connectors/relational/flush-policy.ts';
import { livenessAction, type LivenessState } from '../../../connectors/postgres/stream/liveness.ts';
import { statusMessage } from '../../../connectors/postgres/stream/replication.ts';
import { branchingPoint, checkPosition } from '../../../connectors/postgres/catalog/server-identity.ts';
import { PositionWriter } from '../../../connectors/postgres/position.ts';
import { slotFault, type SlotState } from '../../../connectors/postgres/slot.ts';
import { XidWidener } from '../../../connectors/postgres/stream/xid.ts';
import { timeAt } from '../../../connectors/postgres/stream/pgoutput.ts';

describe('liveness', () => {
  const state = (change: Partial<LivenessState>): LivenessState => ({
    now: 100_000, lastStatusAt: 100_000, lastByteAt: 100_000, paused: false, timeoutMs: 60_000, moved: false, ...change,
  });

  it('tells the server at least every third of its timeout, paused or not', () => {
    fc.assert(fc.property(fc.integer({ min: 100, max: 600_000 }), fc.integer({ min: 0, max: 600_000 }), fc.boolean(), fc.boolean(), (timeoutMs, since, paused, moved) => {
      const action = livenessAction(state({ timeoutMs, lastStatusAt: 100_000 - since, paused, moved }));
      if (since * 3 >= timeoutMs) expect(action).toBe('status');
      else expect(action).toBe(moved && since >= 100 ? 'status' : 'nothing');
    }));
  });

  it('asks a silent server, then gives it up; never while nothing is read', () => {
    expect(livenessAction(state({ lastByteAt: 75_000, lastStatusAt: 75_000 }))).toBe('status-and-reply');
    expect(livenessAction(state({ lastByteAt: -21_000 }))).toBe('give-up');
    expect(livenessAction(state({ lastByteAt: -21_000, paused: true }))).toBe('nothing');
    expect(livenessAction(state({ lastByteAt: -21_000, lastStatusAt: 75_000, paused: true }))).toBe('status');
    expect(livenessAction(state({ timeoutMs: 0, lastStatusAt: 79_000 }))).toBe('status');
  });
});

describe('flushing', () => {
  it('is at once for a slow source, and within the limit for a busy one', () => {
    let rate = 0;
    for (let batch = 0; batch < 100; batch++) rate = nextRate(rate, 300, 1);
    expect(lingerMs(rate)).toBe(0);
    for (let batch = 0; batch < 10; batch++) rate = nextRate(rate, 50_000, 1);
    expect(lingerMs(rate)).toBe(FLUSH_LIMIT_MS);
    rate = nextRate(rate, 500, 200);
    expect(lingerMs(rate)).toBe(0);
  });
});

describe('transaction ids', () => {
  it('are widened to the nearest one, also around the wrap', () => {
    const base = 5 * 2 ** 32;
    fc.assert(fc.property(fc.integer({ min: -(2 ** 30), max: 2 ** 30 }), fc.integer({ min: -(2 ** 30), max: 2 ** 30 }), (reference, distance) => {
      const known = base + reference;
      const xid = known + distance;
      expect(new XidWidener(known).widen(((xid % 2 ** 32) + 2 ** 32) % 2 ** 32)).toBe(xid);
    }));
  });

  it('of the first epoch stay as they are', () => {
    expect(new XidWidener(740).widen(739)).toBe(739);
    expect(new XidWidener(740).widen(2 ** 31 - 5)).toBe(2 ** 31 - 5);
  });

  it('follow the stream past 2^31 of them', () => {
    const widener = new XidWidener(1000);
    for (let xid = 1000; xid < 2 ** 33; xid += 2 ** 30) expect(widener.widen(xid % 2 ** 32)).toBe(xid);
  });
});

describe('a slot', () => {
  const good: SlotState = {
    name: 's', type: 'logical', plugin: 'pgoutput', database: 'shop', temporary: false, active: false, activePid: null, confirmed: 500, restart: 400,
    walStatus: 'reserved', invalidation: null, failover: false, twoPhase: false, retained: 0,
  };

  it.each<[string, Partial<SlotState>, number | null, string | null]>([
    ['good', {}, 500, null],
    ['good for a log that is further', {}, 900, null],
    ['good for a new log', {}, null, null],
    ['extended but there', { walStatus: 'extended' }, 500, null],
    ['of another plugin', { plugin: 'wal2json' }, 500, 'POSTGRES_SLOT_FOREIGN'],
    ['of another database', { database: 'other' }, 500, 'POSTGRES_SLOT_FOREIGN'],
    ['physical', { type: 'physical', plugin: null, database: null }, 500, 'POSTGRES_SLOT_FOREIGN'],
    ['temporary', { temporary: true }, 500, 'POSTGRES_SLOT_FOREIGN'],
    ['for prepared transactions', { twoPhase: true }, 500, 'POSTGRES_SLOT_FOREIGN'],
    ['lost', { walStatus: 'lost' }, 500, 'POSTGRES_SLOT_LOST'],
    ['invalidated', { invalidation: 'wal_removed' }, 500, 'POSTGRES_SLOT_LOST'],
    ['ahead of the log', {}, 499, 'POSTGRES_SLOT_AHEAD'],
  ])('that is %s', (_name, change, position, code) => {
    expect(slotFault({ ...good, ...change }, 'shop', position)?.code ?? null).toBe(code);
  });

  it.each([
    ['wal_removed', 'max_slot_wal_keep_size'], ['idle_timeout', 'idle_replication_slot_timeout'], ['wal_level_insufficient', 'wal_level'],
    ['rows_removed', 'hot_standby_feedback'], ['conflict with recovery', 'hot_standby_feedback'],
  ])('that was invalidated for %s says what keeps it from happening again', (invalidation, setting) => {
    expect(slotFault({ ...good, invalidation }, 'shop', 500)?.remedy).toContain(setting);
  });
});

describe('the server', () => {
  const at = (lsn: number, timeline = 2) => new PositionWriter({ systemId: '77', timeline }).at(lsn);
  const server = { systemId: '77', timeline: 2, end: 1000 };
  const history = '1\t0/1F4\tno recovery target specified\n2\t0/384\treason\n';
  const check = (change: object, lsn: number, timeline = 2) => checkPosition({ ...server, ...change }, at(lsn, timeline), () => Promise.resolve(history));

  it('is followed where the log is in its WAL', async () => {
    await expect(check({}, 1000)).resolves.toBeUndefined();
    await expect(check({ timeline: 3, end: 2000 }, 0x384)).resolves.toBeUndefined();
    await expect(check({ timeline: 3, end: 2000 }, 0x1f4, 1)).resolves.toBeUndefined();
  });

  it.each<[string, object, number, number, string]>([
    ['is another system', { systemId: '78' }, 1, 2, 'POSTGRES_SYSTEM_CHANGED'],
    ['is behind', { end: 999 }, 1000, 2, 'POSTGRES_REGRESSED'],
    ['branched off before', { timeline: 3, end: 2000 }, 0x385, 2, 'POSTGRES_TIMELINE_FORKED'],
    ['branched off before, two timelines ago', { timeline: 3, end: 2000 }, 0x1f5, 1, 'POSTGRES_TIMELINE_FORKED'],
    ['is on an older timeline', { timeline: 1 }, 100, 2, 'POSTGRES_TIMELINE_FORKED'],
    ['has another history', { timeline: 9, end: 2000 }, 100, 8, 'POSTGRES_TIMELINE_FORKED'],
  ])('that %s is refused', async (_name, change, lsn, timeline, code) => {
    await expect(check(change, lsn, timeline)).rejects.toThrow(expect.objectContaining({ code }));
  });

  it('names where timelines branched', () => {
    expect(branchingPoint(history, 1)).toBe(0x1f4);
    expect(branchingPoint(history, 3)).toBeNull();
  });
});

describe('status messages', () => {
  it('name the durable position three times, as it is', () => {
    const message = statusMessage(0x16_b374_8000, true, Date.UTC(2026, 0, 1));
    expect(message.length).toBe(39);
    expect(message.readUInt32BE(1)).toBe(38);
    for (const at of [6, 14, 22]) expect(message.readBigUInt64BE(at)).toBe(0x16_b374_8000n);
    expect(message.readBigUInt64BE(30)).toBe(BigInt(Date.UTC(2026, 0, 1) - Date.UTC(2000, 0, 1)) * 1000n);
    expect(message[38]).toBe(1);
  });
});

describe('a time on the wire', () => {
  it('is microseconds since 1970', () => {
    expect(timeAt(Buffer.from('0000000000000001', 'hex'), 0)).toBe(Date.UTC(2000, 0, 1) * 1000 + 1);
    expect(timeAt(Buffer.from('ffffffffffffffff', 'hex'), 0)).toBe(Date.UTC(2000, 0, 1) * 1000 - 1);
  });

  it.each(['7fffffffffffffff', '8000000000000000'])('%s is refused', (hex) => {
    expect(() => timeAt(Buffer.from(hex, 'hex'), 0)).toThrow('beyond every calendar');
  });
});
