/**
 * What a running hub can be asked: the seam between the hub (hub.ts) and those who ask (api/, cli/, tests). All offsets
 * are offsets of the source's log; all times are microseconds since 1970, by the source's clock.
 */
import type { ConsistentRange } from '../contracts/catalog.ts';
import type { HubConfig } from '../contracts/config.ts';
import type { Offset } from '../contracts/offset.ts';

export interface ErrorView {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
  readonly at: string;
  readonly where: Readonly<Record<string, string | number>>;
}

export interface TableStatus {
  readonly table: string;
  readonly tableId: number;
  readonly state: 'new' | 'copying' | 'consistent' | 'stopped' | 'removed';
  /** Offset at which the state began. */
  readonly since: Offset;
  readonly consistent: readonly ConsistentRange[];
  /** Of a copy under way; estimates. */
  readonly copy: { readonly rows: number; readonly estimatedRows: number; readonly etaSeconds: number | null; readonly waitingFor: string } | null;
  /** Why it has stopped, or why its last copy failed; null when neither. */
  readonly stoppedBecause: string | null;
  /** What to do about that. */
  readonly remedy: string | null;
}

export interface SourceStatusView {
  readonly name: string;
  readonly type: string;
  readonly state: 'starting' | 'streaming' | 'retrying' | 'stopped' | 'failed';
  readonly highWatermark: Offset;
  readonly horizon: Offset;
  /** The position of the high watermark, as the source prints it. */
  readonly position: string | null;
  readonly commitTime: number;
  /**
   * How far the log is behind the source, as of a look at the source at most some seconds ago: bytes of the source's own
   * log, and the age of what is missing, at most. Null: not known.
   */
  readonly lag: { readonly bytes: number | null; readonly seconds: number | null };
  readonly retainedWalBytes: number | null;
  readonly logBytes: number;
  readonly recordsPerSecond: number;
  readonly waitingFor: string;
  readonly tables: readonly TableStatus[];
  readonly error: ErrorView | null;
}

export interface SinkStatusView {
  readonly name: string;
  readonly type: string;
  readonly from: string;
  readonly state: 'starting' | 'applying' | 'caught-up' | 'rebuilding' | 'retrying' | 'paused' | 'stopped' | 'failed';
  readonly degraded: boolean;
  readonly offset: Offset;
  /** The source position at `offset`, as the source prints it; null: not known. */
  readonly position: string | null;
  /** Commit time of the source's last transaction at or before `offset`; 0: not known. */
  readonly commitTime: number;
  readonly lag: { readonly records: number; readonly bytes: number; readonly seconds: number };
  readonly recordsPerSecond: number;
  readonly deadLetters: number;
  readonly error: ErrorView | null;
}

export interface HubStatus {
  readonly version: string;
  readonly startedAt: string;
  readonly sources: readonly SourceStatusView[];
  readonly sinks: readonly SinkStatusView[];
}

/** Where a waiter wants a sink to be: an offset, or a source position as text (`lsn:0/16B3748`). */
export type WaitTarget = { readonly offset: Offset } | { readonly position: string };

export interface HubService {
  status(): Promise<HubStatus>;
  /**
   * Resolves with the sink's offset once it is at or beyond the target.
   * @throws TidemarkError `WAIT_TIMEOUT`; the failure on which the sink, or the source that is still to bring the target,
   *   has stopped
   */
  wait(sink: string, target: WaitTarget, signal: AbortSignal): Promise<Offset>;
  pauseSink(sink: string): Promise<void>;
  resumeSink(sink: string): Promise<void>;
  /** Tries a failed sink again now, and its open dead letters with the current image of their keys. */
  retrySink(sink: string): Promise<void>;
  /** Begins to capture and copy a table of a source. */
  addTable(source: string, table: string): Promise<void>;
  /** Copies a table again through the log, with deletes for rows that are gone. */
  recopy(source: string, table: string): Promise<void>;
  /**
   * Begins a source again wherever it is now: what it holds back for the hub is given up, a gap is recorded, every table
   * is copied again. The remedy for a lost slot, and for a source that was restored or replaced.
   */
  resync(source: string): Promise<void>;
  /** Applies what was added to and removed from the configuration. Answers what was done, for people. */
  reload(config: HubConfig): Promise<string[]>;
}
