import type { Progress } from './checkpoint.ts';
import type { KeyScratch } from './key-scratch.ts';
import type { Partition } from './partition.ts';
import type { Reply } from './resp/reply-reader.ts';
import type { RowTarget, Span } from './row-target.ts';

/**
 * Where a sink's keys are: one server, or a cluster in one of two ways. Opened for one owner; after a failure it is
 * thrown away and opened again. Calls are made one at a time by the applying loop.
 */
export interface Store extends AsyncDisposable {
  /** Keeps the checkpoint that fences the sink. */
  readonly control: Partition;
  /** The partitions that keep the schema versions of the rows. */
  readonly versioned: readonly Partition[];
  /** The one of them that speaks for the rows of a target. */
  versionsFor(target: RowTarget): Partition;
  /** Bytes in front of every row's key that do not come from its template. */
  readonly tagLength: number;
  /** Begins a key: leaves room for what stands in front of it. */
  startKey(key: KeyScratch): void;
  /** Completes a key, and tells where its commands go. */
  place(key: KeyScratch): RowTarget;
  /** Where the commands for a key go that was found in Redis. */
  targetOf(key: Buffer): RowTarget;

  /** Data of the batch may be applied in part from now on. @throws TidemarkError `SINK_FENCED` at the latest when it is confirmed */
  beginBatch(span: Span): Promise<void>;
  /** Everything written so far has been executed and can be read. @throws TidemarkError */
  settle(): Promise<void>;
  /** All of a batch has been written. Resolves when it was sent; `durable` when data and checkpoint are there. */
  endBatch(progress: Progress): Promise<{ readonly durable: Promise<void> }>;
  /** Nothing more is to come for now: writes checkpoints that wait for the next transaction. @throws TidemarkError */
  flush(): Promise<void>;

  /** Keys by name: every key of the whole store that begins with `prefix`, in pieces. Some may come twice. */
  scan(prefix: Buffer, signal: AbortSignal): AsyncIterable<readonly Buffer[]>;
  /** The members of a set that `RowTarget.add` wrote. Some may come twice. */
  members(set: string, signal: AbortSignal): AsyncIterable<readonly Buffer[]>;
  /** One reading command per key: `command` with the key in place of null. Answers in the order of the keys. */
  read(keys: readonly Buffer[], command: readonly (string | null)[]): Promise<readonly Reply[]>;
  /**
   * A walk that changes the shape of rows begins, or has ended. Where parts of the store can go back alone (a replica
   * takes over), each notes it, so that the next opening sees when they do not agree. Called when all is settled.
   */
  shapeChanges(): Promise<void>;
  /** Removes a set that `RowTarget.add` wrote. */
  dropSet(set: string): Promise<void>;

  /** Forgets the checkpoint and every stale key: `marking` begins. */
  beginRebuild(): Promise<void>;
  /** Notes keys that are there before the replay. */
  markStale(keys: readonly Buffer[]): Promise<void>;
  /** The replay begins, at offset 0. */
  beginReplay(): Promise<void>;
  /** Those of the keys that are not stale: the replay has written them. */
  current(keys: readonly Buffer[]): Promise<readonly Buffer[]>;
  /** Some keys that the replay did not write; empty: there are none left. */
  staleKeys(): Promise<readonly Buffer[]>;
  endRebuild(): Promise<void>;

  /** Closes the connections; everything that waits rejects. */
  fail(error: unknown): void;
  /** Resolves with the reason once a connection is lost. */
  readonly lost: Promise<unknown>;
}
