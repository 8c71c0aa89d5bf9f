import type { Checkpoint } from './checkpoint.ts';
import type { Finding } from './finding.ts';
import type { TableSchema } from './schema.ts';
import type { Sink, TableSelector } from './sink.ts';

/** What a swap puts in place. */
export interface Swap {
  /** The sink's own checkpoint, which must still stand as it is here: its log, offset and epoch. Null: it has none, or another log's. */
  readonly from: Checkpoint | null;
  /** The shadow's, which becomes the sink's. */
  readonly to: Checkpoint;
  /** Tables that the shadow holds, with the schema of each as of `to`. */
  readonly tables: readonly TableSchema[];
  /** False: only these tables are swapped, and the shadow stands at the sink's own offset. True: it is the whole sink. */
  readonly whole: boolean;
  /**
   * Tables that the sink may have and that the source had not made yet as of `to`, with the schema that each begins with:
   * they are emptied, and stand under the name that they begin with. A table that has left the source by then, and is in neither list, keeps what it has at the sink.
   */
  readonly notYet?: readonly TableSchema[];
}

/** How far the preparation of a swap is, in the sink's own words. */
export interface SwapProgress {
  readonly step: string;
  readonly done: number;
  readonly of: number;
}

/**
 * A rebuild beside what the sink serves: a second set of its tables, with a checkpoint of its own at the sink, is filled
 * from the log like any sink, and put in place by one atomic step. Whatever is left of one that was cut short is found
 * again by the sink's name. Every call may be made again after a crash of either side at any moment, in any process.
 */
export interface ShadowRebuild {
  /** False: the whole sink is swapped, never single tables of it. Left out: true. */
  readonly takesTables?: boolean;
  /**
   * Why these tables, the whole sink, cannot be rebuilt beside what it serves, for people; null: they can. With a reason
   * the sink is rebuilt in place, where it has such a way. Left out: they always can. Changes nothing.
   */
  unfit?(tables: readonly TableSchema[], signal: AbortSignal): Promise<string | null>;
  /** What stands in the way of a rebuild of these tables, with what to do about it. Changes nothing. */
  check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]>;
  /**
   * The shadow, as a sink to be opened and applied to. Opening one that was filled in part goes on where it stands; one
   * of another log, or that was being removed, is removed first, and so is what a swap has replaced. It can be opened again after `finish`, to catch up.
   * @param selects the tables of the rebuild
   */
  open(selects: TableSelector): Sink;
  /**
   * What can be done before the swap while the sink goes on being served and applied to: indexes of the live tables,
   * statistics. The shadow is closed. Done again from where it was when it was cut short; left out, `swap` does it.
   * @throws TidemarkError `REBUILD_IN_THE_WAY`
   */
  finish(tables: readonly TableSchema[], onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<void>;
  /**
   * Puts the shadow's rows and checkpoint in the place of the sink's, in one atomic step, takes the sink over by it (an
   * applier of another hub is fenced), and removes what was replaced, unless `clear` does. Neither the sink nor the shadow is open here. Readers see
   * all of the old or all of the new, and no error. The same request again, once it has been done, changes nothing; where
   * it was for single tables, whose swap the sink's checkpoint does not tell of, it may be refused with `REBUILD_MOVED`.
   * @throws TidemarkError `REBUILD_MOVED` when a checkpoint is not where the request says; `REBUILD_IN_THE_WAY` for what
   *   `check` finds; `retry: 'auto'` for what passes (readers in the way, a lost connection); then nothing has changed, or
   *   the connection was lost while the swap was made: the next call finds out
   */
  swap(request: Swap, signal: AbortSignal): Promise<void>;
  /**
   * Removes what a swap has replaced, where that takes its time: the sink is served and applied to meanwhile. It is done
   * again after a crash until it has resolved; where nothing is left it changes nothing. Left out: `swap` leaves nothing.
   */
  clear?(onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<void>;
  /** Removes the shadow and its checkpoint, and what a swap has replaced; none there is no error. */
  discard(signal: AbortSignal): Promise<void>;
}
