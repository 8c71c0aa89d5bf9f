import { MAX_OFFSET, type Offset } from '../../contracts/offset.ts';
import type { SinkBatch } from '../../contracts/sink.ts';
import type { KeyScratch } from './key-scratch.ts';
import type { CommandBuffer } from './resp/command-buffer.ts';

/**
 * What a batch covers. `to` may be `after`: rows that are tried, or the past of a table that joins, while the checkpoint
 * stands still.
 */
export type Span = Pick<SinkBatch, 'after' | 'to'>;

/** How far the data of a batch may reach. What is applied while the checkpoint stands still may be of any offset after it. */
export function reachOf({ after, to }: Span): Offset {
  return to > after ? to : MAX_OFFSET;
}

/** Where the commands of a row go. Owned by the applying loop; calls are made one at a time. */
export interface RowTarget {
  /** Commands of rows are written here; when it has grown to a chunk, `push`. */
  readonly out: CommandBuffer;
  /** After a restart or a failover a target may have applied a batch already that others have not. */
  isAhead(span: Span): boolean;
  /** False when rows of this table and schema version are there already: the target is ahead, or their shape is newer. */
  wants(tableId: number, version: number, span: Span): boolean;
  /** A row that the log knows as new is new here too when its batch begins at this offset or later. */
  readonly freshFrom: Offset;
  /** Rows of before a rebuild may still be there: they are replaced, not changed. */
  readonly replaces: boolean;
  /** Sends what is in `out`. Waits for room. @throws TidemarkError */
  push(): Promise<void>;
  /** The key was written or removed: a rebuild need not sweep it. */
  seen(key: KeyScratch): void;
  /** Puts the key into a set, takes it out of a set: with the row where there are transactions, else around it. */
  add(set: string, key: KeyScratch): void;
  remove(set: string, key: KeyScratch): void;
  /** @param channel an encoded argument */
  publish(channel: Buffer, key: KeyScratch): void;
}
