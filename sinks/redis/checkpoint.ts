/**
 * The checkpoint: a hash beside the data.
 *
 *     log, epoch    hex            offset, reach, fence    decimal
 *     position      hex            owner                   16 random bytes, hex: one taking over of the sink
 *     cursor        hex: how far it is filled from the log's base; empty or absent: it is not being filled
 *     rebuild       `marking` (old keys are being listed) or `replaying`; absent: no rebuild is under way
 *     role          of the sets of a rebuild: see `SetRole`; absent: the set is the one that is served
 *     swapped       `epoch offset fence` of the shadow's checkpoint as of the swap that put the set in place
 *     marks         plain cluster: slots whose primaries keep a mark of their own, decimal, with commas
 *     shape         plain cluster: 8 random bytes, hex: new whenever rows change in a way that no batch does
 *
 * `offset` is what the sink has applied. `reach` is how far data may have been applied in part: it is written with the
 * data, `offset` only after every command of the data was seen to have succeeded, because EXEC does not roll back when
 * one fails. From `offset` to `reach` the data is between two states, and applying the batches again makes it whole.
 */
import type { Checkpoint } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { lesserCursor, type LoadCursor } from '../../contracts/load-cursor.ts';
import { checkedOffset, type Offset } from '../../contracts/offset.ts';
import type { Position } from '../../contracts/position.ts';
import { arrayOf, bytesOf } from './server-error.ts';
import type { Reply } from './resp/reply-reader.ts';

export type RebuildState = 'marking' | 'replaying';

/**
 * What a set of rows is that is not served. `shadow`: it is being filled, to take the place of the one that is. `old`: the
 * one that was served before a swap. `leaving`: a shadow that is being removed.
 */
export type SetRole = 'shadow' | 'old' | 'leaving';

export interface StoredCheckpoint {
  readonly logId: string;
  readonly fence: number;
  readonly owner: string;
  readonly reach: Offset;
  /** Null: nothing was applied yet. */
  readonly applied: Progress | null;
  readonly rebuild: RebuildState | null;
  /** Null: the set is the one that is served. */
  readonly role: SetRole | null;
  readonly swapped: string;
  readonly marks: readonly number[];
  readonly shape: string;
}

export type CheckpointFields = Readonly<Record<string, string>>;

/** Null when there is none. @throws TidemarkError `REDIS_PROTOCOL` when something else stands under the key */
export function parseCheckpoint(reply: Reply, address: string): StoredCheckpoint | null {
  const flat = arrayOf(reply, address);
  if (flat.length === 0) return null;
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2) {
    fields.set(bytesOf(flat[i] ?? null, address).toString(), bytesOf(flat[i + 1] ?? null, address).toString());
  }
  const text = (name: string): string => {
    const value = fields.get(name);
    if (value === undefined) throw new TidemarkError('REDIS_PROTOCOL', `the checkpoint at ${address} lacks ${name}`, { retry: 'operator' });
    return value;
  };
  const rebuild = fields.get('rebuild');
  const role = fields.get('role');
  return {
    logId: text('log'),
    fence: Number(text('fence')),
    owner: text('owner'),
    reach: checkedOffset(Number(text('reach'))),
    applied: fields.has('offset')
      ? { epoch: text('epoch'), offset: checkedOffset(Number(text('offset'))), position: Buffer.from(text('position'), 'hex'), cursor: cursorOf(fields.get('cursor') ?? '') }
      : null,
    rebuild: rebuild === 'marking' || rebuild === 'replaying' ? rebuild : null,
    role: role === 'shadow' || role === 'old' || role === 'leaving' ? role : null,
    swapped: fields.get('swapped') ?? '',
    shape: fields.get('shape') ?? '',
    marks: (fields.get('marks') ?? '').split(',').filter((slot) => slot !== '').map(Number),
  };
}

/** How far a batch brings a sink. */
export interface Progress {
  readonly epoch: string;
  readonly offset: Offset;
  readonly position: Position;
  readonly cursor: LoadCursor | null;
}

export function progressFields({ epoch, offset, position, cursor }: Progress): CheckpointFields {
  return { epoch, offset: String(offset), position: Buffer.from(position).toString('hex'), cursor: cursorText(cursor) };
}

/** A cursor as it is stored. */
export function cursorText(cursor: LoadCursor | null): string {
  return cursor === null ? '' : Buffer.from(cursor).toString('hex');
}

export function cursorOf(text: string): LoadCursor | null {
  return text === '' ? null : Buffer.from(text, 'hex');
}

/** What two parts of a store have both applied. */
export function lesserProgress(a: Progress, b: Progress): Progress {
  if (a.offset !== b.offset) return a.offset < b.offset ? a : b;
  return { ...a, cursor: lesserCursor(a.cursor, b.cursor) };
}

/** The contract's view. */
export function checkpointOf(stored: StoredCheckpoint): Checkpoint | null {
  if (stored.applied === null) return null;
  return { logId: stored.logId, fence: stored.fence, ...stored.applied };
}

/** What WATCH is compared by: read right after it, in this order. */
export const COMPARED = ['owner', 'fence', 'offset', 'reach'] as const;

export interface Compared {
  readonly owner: string;
  readonly fence: number;
  /** Null: absent. */
  readonly offset: Offset | null;
  readonly reach: Offset;
}

/**
 * What it means that the checkpoint is not as this hub left it; null when it is.
 * Gone, or back at an older state (a replica that was behind has taken over): open again. A newer owner: fenced.
 */
export function verdictOn(reply: Reply, expected: Compared, address: string): TidemarkError | null {
  const [owner, fence, offset, reach] = arrayOf(reply, address).map((value) => (value === null ? null : bytesOf(value, address).toString()));
  if (owner === null || owner === undefined) return new TidemarkError('SINK_CHECKPOINT_MOVED', `the checkpoint at ${address} is gone`);
  if (owner !== expected.owner) {
    if (Number(fence) < expected.fence) {
      return new TidemarkError('SINK_CHECKPOINT_MOVED', `the checkpoint at ${address} went back to fence ${fence}; this hub holds ${expected.fence}`);
    }
    return new TidemarkError('SINK_FENCED', `another hub holds the sink with fence ${fence}; this one has ${expected.fence}`);
  }
  const asExpected = (offset ?? null) === (expected.offset === null ? null : String(expected.offset)) && reach === String(expected.reach);
  if (asExpected) return null;
  return new TidemarkError('SINK_CHECKPOINT_MOVED', `the checkpoint at ${address} is at ${offset ?? 'nothing'}, not at ${expected.offset ?? 'nothing'}`, {
    where: { offset: expected.offset ?? 0 },
  });
}
