import { describe, expect, test } from 'vitest';
import type { CheckpointMove } from '../../../sinks/relational/apply-line.ts';
import { DeferredBegin } from '../../../sinks/mysql/deferred-begin.ts';

function move(from: number, to: number): CheckpointMove {
  return { sink: 's', logId: 'l', fence: 1, owner: 'o', fromEpoch: `e${from}`, from, epoch: `e${to}`, to, position: new Uint8Array(0), cursor: null, commitTime: 0 };
}

describe('when the transaction of a checkpoint begins', () => {
  test('with the batch, where nothing is loose', () => {
    const line = new DeferredBegin();
    expect(line.next({ move: move(0, 5), hasLoose: false, hasBound: true, commits: true })).toEqual({ begin: true, move: move(0, 5), commit: true });
    expect(line.isOpen).toBe(false);
  });

  test('at its end, and from where it stands at the server, where all parts are loose', () => {
    const line = new DeferredBegin();
    const nothing = { begin: false, move: null, commit: false };
    expect(line.next({ move: move(0, 5), hasLoose: true, hasBound: false, commits: false })).toEqual(nothing);
    expect(line.next({ move: move(5, 9), hasLoose: true, hasBound: false, commits: false })).toEqual(nothing);
    expect(line.mayLoosen).toBe(true);
    expect(line.whole(move(9, 12)).from).toBe(0);
    expect(line.next({ move: move(9, 12), hasLoose: true, hasBound: false, commits: true })).toEqual({ begin: true, move: { ...move(9, 12), from: 0, fromEpoch: 'e0' }, commit: true });
    expect(line.whole(move(12, 13))).toEqual(move(12, 13));
  });

  test('with the first rows that are bound to it: nothing is loose from there to its end', () => {
    const line = new DeferredBegin();
    line.next({ move: move(0, 5), hasLoose: true, hasBound: false, commits: false });
    expect(line.next({ move: move(5, 6), hasLoose: true, hasBound: true, commits: false })).toEqual({ begin: true, move: { ...move(5, 6), from: 0, fromEpoch: 'e0' }, commit: false });
    expect(line.mayLoosen).toBe(false);
    expect(line.next({ move: move(6, 7), hasLoose: false, hasBound: false, commits: false })).toEqual({ begin: false, move: move(6, 7), commit: false });
    expect(line.next({ move: move(7, 8), hasLoose: false, hasBound: true, commits: true })).toEqual({ begin: false, move: move(7, 8), commit: true });
    expect(line.mayLoosen).toBe(true);
  });

  test('a transaction that ends before a change of shape owes the move that was put off', () => {
    const line = new DeferredBegin();
    expect(line.settle()).toBeNull();
    line.next({ move: move(0, 5), hasLoose: true, hasBound: false, commits: false });
    line.next({ move: move(5, 7), hasLoose: true, hasBound: false, commits: false });
    expect(line.settle()).toEqual({ ...move(5, 7), from: 0, fromEpoch: 'e0' });
    expect(line.settle()).toBeNull();
    line.next({ move: move(7, 8), hasLoose: false, hasBound: true, commits: false });
    expect(line.isOpen).toBe(true);
    expect(line.settle()).toBeNull();
    expect(line.isOpen).toBe(false);
  });
});
