/** What a verification works on: given by the hub that runs, or by the folder of one that does not. */
import type { SinkConfig } from '../../contracts/config.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { Position } from '../../contracts/position.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { Sink, SinkBatch } from '../../contracts/sink.ts';
import type { SourceSnapshot } from '../../contracts/verify.ts';
import type { DeadLetter } from '../dead-letters/dead-letters.ts';
import type { FoldStart } from '../pipeline/sink/fold.ts';
import type { PrintPosition } from '../print-position.ts';

/** The source, read beside its stream. */
export interface VerifySource {
  snapshot(tables: readonly TableSchema[], signal: AbortSignal): Promise<SourceSnapshot>;
  /** Resolves with the high watermark once the log has come to a position of which that is true. @throws the failure of the source */
  passed(passed: (position: Position) => boolean, signal: AbortSignal): Promise<Offset>;
  /** Copies a table again through the log. Resolves with the offset from which it is consistent again. */
  recopied(tableId: number, signal: AbortSignal): Promise<Offset>;
}

/** The sink while nothing is applied to it: its worker has it open, and stands still. */
export interface Visit {
  /** Where it stands. */
  readonly at: FoldStart;
  /** Applies a batch that leaves the checkpoint where it is; resolves when it is durable. */
  apply(batch: SinkBatch): Promise<void>;
}

/** The sink's own worker. */
export interface VerifyWorker {
  /** False: it is paused, or has failed, so that nothing is applied until somebody resumes it. */
  readonly isAtWork: boolean;
  /** Rows at the sink may be of before a rebuild. */
  readonly isRebuilding: boolean;
  /** Runs `work` between two batches; nothing else is applied until it has resolved. @throws what `work` throws, `ABORTED` */
  visit(work: (visit: Visit) => Promise<void>, signal: AbortSignal): Promise<void>;
  /** Resolves once the sink is at or beyond an offset. @throws the failure on which it has stopped */
  reached(offset: Offset, signal: AbortSignal): Promise<Offset>;
}

export interface VerifyParts {
  readonly config: SinkConfig;
  readonly sink: Pick<Sink, 'snapshot' | 'handsNamesOn' | 'limits'>;
  readonly log: SourceLog;
  readonly letters: () => readonly DeadLetter[];
  /** Null: nobody can read it. */
  readonly source: VerifySource | null;
  /** Null: no hub runs. */
  readonly worker: VerifyWorker | null;
  readonly printPosition: PrintPosition;
  readonly runtime: Runtime;
  /** A folder of its own, for what does not fit in memory; made, and removed at the end. */
  readonly directory: string;
  /** The log may be changed: what is compared is kept from being folded meanwhile. */
  readonly leases: boolean;
}
