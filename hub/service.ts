/**
 * What a running hub can be asked: the seam between the hub (hub.ts) and those who ask (api/, cli/, tests). All offsets
 * are offsets of the source's log; all times are microseconds since 1970, by the source's clock.
 */
import type { ConsistentRange } from '../contracts/catalog.ts';
import type { HubConfig } from '../contracts/config.ts';
import type { Finding } from '../contracts/finding.ts';
import type { Offset } from '../contracts/offset.ts';
import type { VerifyEvent, VerifyRequest } from './verify/report.ts';

export interface ErrorView {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
  readonly at: string;
  readonly where: Readonly<Record<string, string | number>>;
}

/** How a table is kept below the horizon. */
export interface KeptView {
  /** `compact`: its rows; `all`: its rows, and every record; `window`: rows and records of the last while. */
  readonly how: 'compact' | 'all' | 'window';
  /** Its records can be read behind this offset. */
  readonly recordsAfter: Offset;
  /** Rows last changed at or below this offset have been dropped; 0: none was. */
  readonly rowsAfter: Offset;
}

export interface CompactionView {
  readonly state: 'idle' | 'folding' | 'merging' | 'failed';
  /** Of what is under way, 0 to 1; null: nothing is. */
  readonly part: number | null;
  /** Where the horizon should be by what is configured, when that is beyond where it is; else null. */
  readonly target: Offset | null;
  readonly last: { readonly horizon: Offset; readonly bytes: number; readonly seconds: number; readonly at: string } | null;
  /** What keeps the horizon from moving to `target`; null: nothing does, or it is there. */
  readonly hold: { readonly by: 'reader' | 'lease' | 'copy'; readonly name: string; readonly offset: Offset } | null;
  readonly error: ErrorView | null;
}

export interface TableStatus {
  readonly table: string;
  readonly tableId: number;
  readonly state: 'new' | 'copying' | 'consistent' | 'stopped' | 'removed';
  /** Offset at which the state began. */
  readonly since: Offset;
  readonly consistent: readonly ConsistentRange[];
  readonly kept: KeptView;
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
  /** Commit time of the last transaction up to the horizon; 0 when that is 0. */
  readonly horizonTime: number;
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
  /** Of these: every change after the horizon; each table as of the horizon; older records of tables that keep them. */
  readonly historyBytes: number;
  readonly baseBytes: number;
  readonly archiveBytes: number;
  readonly compaction: CompactionView;
  readonly recordsPerSecond: number;
  readonly waitingFor: string;
  readonly tables: readonly TableStatus[];
  readonly error: ErrorView | null;
}

export interface SinkStatusView {
  readonly name: string;
  readonly type: string;
  readonly from: string;
  readonly state: 'starting' | 'loading' | 'applying' | 'caught-up' | 'rebuilding' | 'retrying' | 'paused' | 'stopped' | 'failed';
  readonly degraded: boolean;
  readonly offset: Offset;
  /** The source position at `offset`, as the source prints it; null: not known. */
  readonly position: string | null;
  /** Commit time of the source's last transaction at or before `offset`; 0: not known. */
  readonly commitTime: number;
  /** `seconds`: the age of the first transaction that it has not applied; null: not known yet. */
  readonly lag: { readonly records: number; readonly bytes: number; readonly seconds: number | null };
  readonly recordsPerSecond: number;
  /** While it is filled from the log's base: rows that it has, of about so many. Null: it is not. */
  readonly load: { readonly rows: number; readonly estimatedRows: number; readonly etaSeconds: number | null } | null;
  readonly deadLetters: number;
  /** Why it rests, over a restart of the hub too; null: it does not. */
  readonly pause: { readonly by: 'operator' | 'rebuild'; readonly offset: Offset; readonly at: string } | null;
  /** Its last rebuild that was asked for; null: there was none. */
  readonly rebuild: RebuildView | null;
  readonly error: ErrorView | null;
}

export interface RebuildView {
  /** Names this rebuild. */
  readonly id: string;
  readonly state: 'running' | 'retrying' | 'failed' | 'done' | 'cancelled';
  readonly phase: 'waiting' | 'loading' | 'catching up' | 'building indexes' | 'swapping' | 'clearing' | 'replaying' | 'discarding';
  /** The table that is loaded, the step of what is prepared; '' when there is nothing to name. */
  readonly what: string;
  /** Rows written since it was begun, or gone on with after a restart of the hub. */
  readonly rows: number;
  readonly rowsPerSecond: number;
  /** How much of the phase is done, 0 to 1; null: not known. */
  readonly part: number | null;
  /** Until the end of the phase; null: not known. */
  readonly etaSeconds: number | null;
  /** Patterns of the tables; null: the whole sink. */
  readonly tables: readonly string[] | null;
  /** The offset that the sink is put to, where it rests; null: it goes on from where it stands. */
  readonly to: Offset | null;
  /** Of one that is over: where the sink stood by it. */
  readonly offset: Offset;
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** Of one that was cancelled by something else than a command: why. */
  readonly why: string;
  readonly error: ErrorView | null;
}

/** What a rebuild is asked for. */
export interface RebuildQuestion {
  /** Patterns, each of which must name a table of the sink; null: the whole sink. */
  readonly tables: readonly string[] | null;
  /** A moment (hub/moments): the sink is put there, and rests; null: to where it stands, and it goes on. */
  readonly to: string | null;
  /** What an earlier rebuild has filled is removed first. */
  readonly fromScratch: boolean;
}

/** Either it is under way, or there is an error among the findings and nothing has happened. */
export interface RebuildAnswer {
  /** Null: it was refused. */
  readonly id: string | null;
  readonly to: Offset | null;
  readonly findings: readonly Finding[];
}

/** The room that the data folder has; bytes. */
export interface DiskView {
  readonly used: number;
  /** What it may take, by its limit or by its disk; null: not known. */
  readonly limit: number | null;
  /** `low`: history is folded beyond what is configured; `short`: also what readers and leases hold; `full`: nothing is captured. */
  readonly level: 'ok' | 'low' | 'short' | 'full';
}

/** What a compaction on demand has done. */
export interface CompactAnswer {
  /** The horizon before, and after. */
  readonly from: Offset;
  readonly horizon: Offset;
  /** Where it was to go. */
  readonly to: Offset;
  /** What keeps it from going there; null: nothing. */
  readonly hold: CompactionView['hold'];
}

export interface HubStatus {
  readonly version: string;
  readonly startedAt: string;
  readonly disk: DiskView;
  readonly sources: readonly SourceStatusView[];
  readonly sinks: readonly SinkStatusView[];
}

/** Where a waiter wants a sink to be: an offset, or a source position as text (`lsn:0/16B3748`). */
export type WaitTarget = { readonly offset: Offset } | { readonly position: string };

export interface HubService {
  status(): Promise<HubStatus>;
  /**
   * Resolves with the sink's offset once it is at or beyond the target.
   * @throws TidemarkError `WAIT_TIMEOUT`; `SINK_PAUSED` where it rests short of the target; the failure on which the sink, or the source that is still to bring the target,
   *   has stopped
   */
  wait(sink: string, target: WaitTarget, signal: AbortSignal): Promise<Offset>;
  /** Resolves when it has stopped at its next boundary. It stays paused over a restart of the hub. */
  pauseSink(sink: string): Promise<void>;
  resumeSink(sink: string): Promise<void>;
  /** Tries a failed sink again now, and its open dead letters with the current image of their keys. */
  retrySink(sink: string): Promise<void>;
  /**
   * Begins to rebuild a sink from the log, or goes on with the same rebuild; resolves when it has been noted, durably, or
   * refused. @throws TidemarkError `REBUILD_KIND`, `REBUILD_TABLES`, `REBUILD_UNDER_WAY`, `TABLE_UNKNOWN`, what the moment is refused with
   */
  rebuildSink(sink: string, question: RebuildQuestion, signal: AbortSignal): Promise<RebuildAnswer>;
  /**
   * Ends a rebuild and removes what it has made. Answers what was done, for people.
   * @throws TidemarkError `REBUILD_NONE`, `REBUILD_UNDER_WAY` when it is being put in place
   */
  cancelRebuild(sink: string, signal: AbortSignal): Promise<string>;
  /** Begins to capture and copy a table of a source. */
  addTable(source: string, table: string): Promise<void>;
  /** Copies a table again through the log, with deletes for rows that are gone. */
  recopy(source: string, table: string): Promise<void>;
  /**
   * Begins a source again wherever it is now: what it holds back for the hub is given up, a gap is recorded, every table
   * is copied again. The remedy for a lost slot, and for a source that was restored or replaced.
   */
  resync(source: string): Promise<void>;
  /**
   * Folds the history of a source into the base now, up to a moment (hub/moments; null: all of it), as far as nobody holds
   * it. @throws TidemarkError `SOURCE_UNKNOWN`, what the moment is refused with, what folding fails on, `ABORTED`
   */
  compactSource(source: string, to: string | null, signal: AbortSignal): Promise<CompactAnswer>;
  /**
   * Compares source, log and sink row by row: progress as it comes, the report at the end. Ending early ends it.
   * @throws TidemarkError `VERIFY_RUNNING`, `VERIFY_SINK`, `VERIFY_SOURCE`, `TABLE_UNKNOWN`, `ABORTED`
   */
  verify(sink: string, request: VerifyRequest, signal: AbortSignal): AsyncGenerator<VerifyEvent, void, void>;
  /** Applies what was added to and removed from the configuration. Answers what was done, for people. */
  reload(config: HubConfig): Promise<string[]>;
}
