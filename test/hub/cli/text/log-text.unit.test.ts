import { describe, expect, it } from 'vitest';
import { doneLines } from '../../../../hub/cli/commands/compact.ts';
import { diskText, hasLogText, logCells } from '../../../../hub/cli/text/log-text.ts';
import type { CompactionView } from '../../../../hub/service.ts';
import { SOURCE } from '../../api/scripted-service.ts';

const IDLE: CompactionView = { state: 'idle', part: null, target: null, last: null, hold: null, error: null };
const folded = { ...SOURCE, horizon: 120, horizonTime: Date.parse('2026-11-20T10:00:00Z') * 1000, historyBytes: 1 << 20, baseBytes: 2 << 20, archiveBytes: 0 };

describe('a log for people', () => {
  it('is not told of where there is nothing but history', () => {
    expect(hasLogText(SOURCE)).toBe(false);
    expect(hasLogText(folded)).toBe(true);
    expect(hasLogText({ ...SOURCE, compaction: { ...IDLE, state: 'folding', part: 0 } })).toBe(true);
  });

  it('names the horizon with its time, and who holds it back', () => {
    expect(logCells(folded)).toEqual(['shop', '120', '2026-11-20T10:00:00.000Z', '1.0 MiB', '2.0 MiB', '0 B', 'idle']);
    const compaction = (view: Partial<CompactionView>): string | undefined => logCells({ ...folded, compaction: { ...IDLE, ...view } }).at(-1);
    expect(compaction({ state: 'folding', part: 0.427 })).toBe('folding 42%');
    expect(compaction({ target: 300, hold: { by: 'lease', name: 'sink:replica', offset: 130 } })).toBe('idle, held at 130 by lease sink:replica');
    expect(compaction({ target: 300, hold: { by: 'reader', name: '', offset: 130 } })).toBe('idle, held at 130 by a reader');
    expect(compaction({ target: 300, hold: { by: 'reader', name: '', offset: 400 } })).toBe('idle');
    expect(compaction({ last: { horizon: 120, bytes: 3 * 2 ** 30, seconds: 61, at: '' } })).toBe('idle, last 3.0 GiB in 1 m 1 s');
  });

  it('says that room is low, and nothing while it is not', () => {
    expect(diskText({ used: 1, limit: 100, level: 'ok' })).toBe('');
    expect(diskText({ used: 95 << 20, limit: 100 << 20, level: 'full' })).toBe('; the data folder takes 95.0 MiB of 100 MiB: NOTHING IS CAPTURED');
  });

  it('tells what a compaction has done, and why it did not do more', () => {
    expect(doneLines('shop', { from: 3, horizon: 9, to: 9, hold: null })).toEqual(['the horizon of shop has moved from 3 to 9']);
    expect(doneLines('shop', { from: 3, horizon: 3, to: 9, hold: { by: 'copy', name: 'public.orders', offset: 4 } })).toEqual([
      'the horizon of shop stays at 3', 'it does not pass offset 4 on the way to 9: the copy of public.orders needs what follows',
    ]);
  });
});
