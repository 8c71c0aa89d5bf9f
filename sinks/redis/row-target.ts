import type { Offset } from '../../contracts/offset.ts';
import type { KeyScratch } from './key-scratch.ts';
import type { CommandBuffer } from './resp/command-buffer.ts';

/** Where the commands of a row go. Owned by the applying loop; calls are made one at a time. */
export interface RowTarget {
  /** Commands of rows are written here; when it has grown to a chunk, `push`. */
  readonly out: CommandBuffer;
  /**
   * False when rows of this table and schema version, in a batch up to `to`, are there already: after a restart or a
   * failover a target may be ahead of the others.
   */
  wants(tableId: number, version: number, to: Offset): boolean;
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
