import { expect, test } from 'vitest';
import { decideOpening, explainRefusal, isFresh, type StoredCheckpoint } from '../../../sinks/relational/checkpoint.ts';

const STORED: StoredCheckpoint = { logId: 'log', epoch: 'epoch', offset: 7, position: new Uint8Array(0), cursor: null, fence: 3, owner: 'me' };

test.each<[string, StoredCheckpoint | null, number, ReturnType<typeof decideOpening>]>([
  ['nothing stands there', null, 0, { kind: 'take-over', fresh: true }],
  ['a process that starts takes over from whoever it was', { ...STORED, owner: 'other' }, 0, { kind: 'take-over', fresh: false }],
  ['opened again by the same process', STORED, 3, { kind: 'take-over', fresh: false }],
  ['the answer of our last opening was lost', { ...STORED, fence: 4 }, 3, { kind: 'take-over', fresh: false }],
  ['another hub has opened it since', { ...STORED, fence: 4, owner: 'other' }, 3, { kind: 'fenced' }],
  ['the sink went back to before our opening', { ...STORED, fence: 2, owner: 'other' }, 3, { kind: 'take-over', fresh: false }],
  ['another hub had opened it before us', { ...STORED, owner: 'other' }, 3, { kind: 'take-over', fresh: false }],
  ['opened before, nothing applied', { ...STORED, offset: 0, epoch: '' }, 0, { kind: 'take-over', fresh: true }],
  ['another log, whoever owns it', { ...STORED, logId: 'other', fence: 9, owner: 'other' }, 3, { kind: 'foreign' }],
])('opening: %s', (_, stored, ownFence, expected) => {
  expect(decideOpening(stored, 'log', 'me', ownFence)).toEqual(expected);
});

test.each<[StoredCheckpoint | null, ReturnType<typeof explainRefusal>]>([
  [null, 'moved'],
  [{ ...STORED, logId: 'other', fence: 9 }, 'foreign'],
  [{ ...STORED, fence: 4 }, 'fenced'],
  [{ ...STORED, owner: 'other' }, 'fenced'],
  [{ ...STORED, offset: 3 }, 'moved'],
  [{ ...STORED, epoch: 'other' }, 'moved'],
])('nothing to set at %o: %s', (stored, expected) => {
  expect(explainRefusal(stored, { logId: 'log', fence: 3, owner: 'me' })).toBe(expected);
});

test('a checkpoint is fresh only before its first move', () => {
  expect(isFresh({ offset: 0, epoch: '' })).toBe(true);
  expect(isFresh({ offset: 0, epoch: 'epoch' })).toBe(false);
  expect(isFresh({ offset: 1, epoch: '' })).toBe(false);
});
