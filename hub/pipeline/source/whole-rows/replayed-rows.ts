/**
 * What images of rows are as of, while a copied chunk is joined to the log: its rows, then the stream's records of its window again.
 * A record that names a whole value may be repeated over any of them, a change of part of a value (contracts/types/json-part.ts)
 * may not: it counts once.
 *
 *     log:  ... image of the log  A_P ]  ( rows of the chunk  window again ) one hub transaction
 *
 * - A row of the log from before that transaction has all of the stream up to A_P, and so every change of the window: kept.
 * - A row of the chunk has what the chunk's snapshot sees. A change that it certainly does not see (`Flag.unseen`) applies;
 *   of another it is not known.
 * - A value that a repeated record has given is as of that record: the changes behind it apply.
 */
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { Image } from './fill.ts';
import type { LogEnd } from './table-stops.ts';

/** Of an image to which repeated records may not have given all that is in it. */
export interface Origin {
  /** What the rest is as of; `unsure`: not known. */
  readonly of: 'log' | 'snapshot' | 'unsure';
  /** Columns with values of JSON that repeated records have given. */
  readonly given: readonly number[];
}

export const OF_SNAPSHOT: Origin = { of: 'snapshot', given: [] };
const OF_LOG: Origin = { of: 'log', given: [] };
const UNSURE: Origin = { of: 'unsure', given: [] };

/** Rows that are noted; more are only known to be unsure. */
const MOST_ROWS = 50_000;

interface Noted {
  readonly offset: Offset;
  readonly origin: Origin;
}

/** Of one hub transaction after the other. */
export class ReplayedRows {
  /** First offset of the transaction, and of what it repeats. */
  #began: Offset = 0;
  #windowAt: Offset = 0;
  #isFull = false;
  /** Offset of the next batch's first record. */
  #at: Offset = 0;
  readonly #rows = new Map<string, Noted>();
  readonly #most: number;

  /** @param most smaller ones are for tests */
  constructor(most = MOST_ROWS) {
    this.#most = most;
  }

  /** A batch with repeated records is to be appended at the log's end. */
  enter(batch: Pick<ChangeBatch, 'records' | 'count'>, end: LogEnd): void {
    this.#at = end.last + 1;
    // A transaction that is open began behind the last one that ended.
    const began = end.committed + 1;
    if (began === this.#began) return;
    this.#began = began;
    this.#windowAt = this.#at + firstReplayed(batch);
    this.#isFull = false;
    this.#rows.clear();
  }

  /** The image, which was read from the log, with what it is as of. */
  seen(name: string, image: Image | null): Image | null {
    if (image === null) return null;
    const origin = this.#originOf(name, image.offset ?? 0);
    return origin === null ? image : { ...image, origin };
  }

  /** The row's newest record is now the one at that index of the batch, as it is appended. */
  note(name: string, index: number, origin: Origin | undefined): void {
    if (origin === undefined) this.#rows.delete(name);
    else if (this.#rows.size < this.#most || this.#rows.has(name)) this.#rows.set(name, { offset: this.#at + index, origin });
    else this.#isFull = true;
  }

  #originOf(name: string, offset: Offset): Origin | null {
    if (offset < this.#began) return OF_LOG;
    if (offset < this.#windowAt) return OF_SNAPSHOT;
    const noted = this.#rows.get(name);
    if (noted?.offset === offset) return noted.origin;
    return this.#isFull ? UNSURE : null;
  }
}

function firstReplayed(batch: Pick<ChangeBatch, 'records' | 'count'>): number {
  const view = new RecordView();
  for (view.reset(batch.records); view.next(); ) if ((view.flags & Flag.replayed) !== 0) return view.index;
  return batch.count;
}

/** What a change of part of the column's value does to an image of that origin. `isUnseen`: the chunk's snapshot lacks it. */
export function partOver(origin: Origin | undefined, column: number, isUnseen: boolean): 'apply' | 'keep' | null {
  if (origin === undefined || origin.given.includes(column)) return 'apply';
  if (origin.of === 'log') return 'keep';
  return isBefore(origin, isUnseen) ? 'apply' : null;
}

/** An image of that origin is certainly as of before the change. `isUnseen`: as above. */
export function isBefore({ of }: Origin, isUnseen: boolean): boolean {
  return of === 'snapshot' && isUnseen;
}
