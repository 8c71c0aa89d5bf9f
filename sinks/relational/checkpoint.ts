/** What a relational sink decides about its checkpoint, as functions of what stands there. */
import type { Checkpoint, LogId } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';

/** The row of one sink in the table of checkpoints. */
export interface StoredCheckpoint extends Checkpoint {
  /** Names the hub process that opened the sink last: random, new for each process. */
  readonly owner: string;
}

export type Opening =
  /** Take it over and go on after its offset; `fresh`: nothing has been applied yet. */
  | { readonly kind: 'take-over'; readonly fresh: boolean }
  /** Somebody else has opened it since this process did. */
  | { readonly kind: 'fenced' }
  /** It belongs to another log. */
  | { readonly kind: 'foreign' };

/**
 * How an opening goes on from what stands at the sink (null: nothing does).
 * A fence only ever grows: one below our own is from before our opening, which a crash or a failover of the sink has
 * taken back, and nobody has come after us.
 * @param ownFence the fence that this process was given at its last opening; 0: it has not opened the sink yet
 */
export function decideOpening(stored: StoredCheckpoint | null, logId: LogId, owner: string, ownFence: number): Opening {
  if (stored === null) return { kind: 'take-over', fresh: true };
  if (stored.logId !== logId) return { kind: 'foreign' };
  if (ownFence > 0 && stored.fence > ownFence && stored.owner !== owner) return { kind: 'fenced' };
  return { kind: 'take-over', fresh: isFresh(stored) };
}

/** True for a checkpoint that was made at the first opening and has not moved yet. */
export function isFresh(stored: Pick<StoredCheckpoint, 'offset' | 'epoch'>): boolean {
  return stored.offset === 0 && stored.epoch === '';
}

export type Refusal = 'fenced' | 'foreign' | 'moved';

/** Why a compare-and-set of the checkpoint found nothing to set, though log, fence and owner should have been `expected`. */
export function explainRefusal(stored: StoredCheckpoint | null, expected: Pick<StoredCheckpoint, 'logId' | 'fence' | 'owner'>): Refusal {
  if (stored === null) return 'moved';
  if (stored.logId !== expected.logId) return 'foreign';
  // Two hubs that make the checkpoint at once, or on both sides of a failover, may have been given the same fence.
  if (stored.fence !== expected.fence || stored.owner !== expected.owner) return 'fenced';
  return 'moved';
}

/** The same as an error. @param stored what stands at the sink now */
export function refusalError(stored: StoredCheckpoint | null, expected: Pick<StoredCheckpoint, 'logId' | 'fence' | 'owner'>, sink: string): TidemarkError {
  const where = { sink };
  switch (explainRefusal(stored, expected)) {
    case 'fenced':
      return new TidemarkError('SINK_FENCED', `another hub has opened the sink (fence ${stored?.fence}, ours was ${expected.fence})`, { where });
    case 'foreign':
      return new TidemarkError('SINK_FOREIGN', `the checkpoint is now of log ${stored?.logId}`, { where });
    case 'moved':
      return new TidemarkError('SINK_CHECKPOINT_MOVED', `the checkpoint is at ${stored?.offset ?? 'no offset'}`, { where });
  }
}

/** What an opening writes: the next fence, the rest as it stands. */
export function openedCheckpoint(stored: StoredCheckpoint | null, logId: LogId, owner: string, ownFence: number): StoredCheckpoint {
  return {
    logId,
    epoch: stored?.epoch ?? '',
    offset: stored?.offset ?? 0,
    position: stored?.position ?? NO_POSITION,
    cursor: stored?.cursor ?? null,
    fence: Math.max(stored?.fence ?? 0, ownFence) + 1,
    owner,
  };
}

const NO_POSITION = new Uint8Array(0);
