import type { Checkpoint } from '../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../contracts/config.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { Sink, SinkBatch } from '../../contracts/sink.ts';
import type { DeadLetters } from '../dead-letters/dead-letters.ts';
import { Deliver } from '../pipeline/sink/deliver.ts';
import type { PrintPosition } from '../print-position.ts';
import type { RebuildProgress } from './progress.ts';

export interface FillingParts {
  /** The sink's, with the tables of the rebuild. */
  readonly config: SinkConfig;
  /** The shadow: owned from here. */
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly letters: DeadLetters;
  /** Keeps the horizon meanwhile; the caller's. */
  readonly lease: string;
  readonly runtime: Runtime;
  readonly printPosition: PrintPosition;
  readonly bytes: number;
  readonly progress: RebuildProgress;
  readonly recopy: (tableIds: readonly number[]) => void;
}

/** A shadow while it is applied to, by the same delivery as the sink itself. Disposing closes the shadow; it stays where it is. */
export class Filling implements AsyncDisposable {
  readonly #sink: Sink;
  readonly #letters: DeadLetters;
  readonly #deliver: Deliver;

  constructor(parts: FillingParts) {
    const { config, sink, log, letters, lease, printPosition, bytes, progress, recopy } = parts;
    const runtime = { ...parts.runtime, logger: parts.runtime.logger.child({ shadow: true }) };
    const { metrics } = runtime;
    const count = (batch: SinkBatch): void => metrics.add('tidemark_rebuild_records_total', batch.records, { sink: config.name });
    this.#sink = sink;
    this.#letters = letters;
    this.#deliver = new Deliver({
      config, sink, log, letters, runtime, printPosition, bytes,
      tables: null,
      heldLease: lease,
      rests: () => false,
      onLoaded: (batch, _ms, rows) => {
        progress.loaded(batch, rows);
        count(batch);
      },
      onApplied: (batch) => {
        progress.applied(batch);
        count(batch);
      },
      onJoined: (tables) => {
        if (tables.length > 0) recopy(notCopiedSince(log, tables));
      },
    });
  }

  /**
   * Leads the shadow to `end`; one that is beyond it stays. Answers its checkpoint.
   * @throws TidemarkError what the shadow or the log throws; may be called again
   */
  lead(end: Offset, signal: AbortSignal, healthy: () => void): Promise<Checkpoint> {
    return this.#deliver.deliverTo(end, signal, healthy);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#deliver.close();
    await this.#sink[Symbol.asyncDispose]();
    // They are read from their file, or removed with it, by whoever goes on.
    await this.#letters.settled();
  }
}

/** Tables that came under the selection by a new name, of those whose rows do not come later in the log all the same. */
function notCopiedSince(log: SourceLog, tables: readonly TableSchema[]): number[] {
  const catalog = log.catalog();
  return tables.flatMap(({ tableId, version }) => {
    const table = catalog.table(tableId);
    const named = table?.versions.find((known) => known.schema.version === version)?.offset ?? 0;
    const copied = table !== undefined && (table.state.state === 'copying' || table.consistent.some(({ from }) => from > named));
    return copied ? [] : [tableId];
  });
}
