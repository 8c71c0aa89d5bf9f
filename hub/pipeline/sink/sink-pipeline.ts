import type { SinkConfig } from '../../../contracts/config.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import type { Sink, SinkBatch } from '../../../contracts/sink.ts';
import type { DeadLetters } from '../../dead-letters/dead-letters.ts';
import { errorView } from '../../error-view.ts';
import type { PrintPosition } from '../../print-position.ts';
import type { SinkStatusView } from '../../service.ts';
import { Deliver } from './deliver.ts';
import { Part } from '../part.ts';
import { Rate } from '../rate.ts';
import type { SinkTables } from './sink-tables.ts';
import type { Supervised } from '../supervisor.ts';

export interface SinkPipelineParts {
  readonly config: SinkConfig;
  /** Owned by the pipeline from here. */
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly letters: DeadLetters;
  readonly tables: SinkTables;
  readonly runtime: Runtime;
  /** Bytes that the pipeline may hold in flight. */
  readonly bytes: number;
  readonly printPosition: PrintPosition;
  /** These tables must be copied again: the sink has none of their older rows. */
  readonly recopy: (tableIds: readonly number[]) => void;
}

/** One sink: what delivers to it, and what is known of it. */
export class SinkPipeline implements Supervised {
  readonly name: string;
  readonly config: SinkConfig;
  readonly log: SourceLog;
  readonly sink: Sink;
  readonly #letters: DeadLetters;
  readonly #runtime: Runtime;
  readonly #deliver: Deliver;
  readonly #part: Part;
  readonly #rate: Rate;
  readonly #printPosition: PrintPosition;

  constructor(parts: SinkPipelineParts) {
    const { config, sink, log, letters, tables, runtime, bytes, recopy } = parts;
    this.#letters = letters;
    this.name = `sink ${config.name}`;
    this.config = config;
    this.log = log;
    this.sink = sink;
    this.#runtime = runtime;
    this.#printPosition = parts.printPosition;
    this.#rate = new Rate(runtime.clock);
    this.#deliver = new Deliver({
      config, sink, log, letters, tables, runtime, bytes,
      printPosition: parts.printPosition,
      heldLease: null,
      onApplied: (batch, ms) => this.#count(batch, ms),
      onJoined: (tables) => recopy(tables.map((table) => table.tableId)),
    });
    this.#part = new Part(this.name, this.#deliver, runtime);
  }

  start(): void {
    this.#part.start();
  }

  async pause(): Promise<void> {
    await this.#part.pause();
  }

  /** Goes on after a pause, or after a failure. */
  resume(): void {
    this.#part.start();
  }

  /** Tries again now, after a failure; open dead letters with what their keys are now. */
  retry(): void {
    this.#deliver.retryLetters();
    this.#part.retry();
  }

  stop(): Promise<void> {
    return this.#part.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#deliver.close();
    await this.sink[Symbol.asyncDispose]();
  }

  /**
   * Resolves with the sink's offset once it is at or beyond `offset`.
   * @throws TidemarkError the failure on which the sink has stopped, or stops meanwhile; `ABORTED`
   */
  async reached(offset: Offset, signal: AbortSignal): Promise<Offset> {
    return this.#part.unlessFailed((either) => this.#deliver.reached(offset, either), signal);
  }

  status(): SinkStatusView {
    const { config } = this;
    const { state, error, failedAt } = this.#part;
    const { offset, position, commitTime, caughtUp, rebuilding, oldestPending } = this.#deliver.progress;
    const log = this.log.state();
    const records = Math.max(0, log.highWatermark - offset);
    const perRecord = log.highWatermark === 0 ? 0 : log.bytes / log.highWatermark;
    const age = oldestPending === 0 ? 0 : Math.max(0, this.#runtime.clock.now() / 1000 - oldestPending / 1e6);
    return {
      name: config.name,
      type: config.type,
      from: config.from,
      state: state !== 'running' ? state : rebuilding ? 'rebuilding' : caughtUp ? 'caught-up' : 'applying',
      degraded: this.#letters.count > 0,
      offset,
      position: this.#printPosition(position),
      commitTime,
      lag: { records, bytes: Math.round(records * perRecord), seconds: records === 0 ? 0 : Math.round(age * 1000) / 1000 },
      recordsPerSecond: this.#rate.perSecond(),
      deadLetters: this.#letters.count,
      error: error === null ? null : errorView(error, failedAt),
    };
  }

  #count({ records, bytes }: SinkBatch, ms: number): void {
    const { metrics } = this.#runtime;
    const labels = { sink: this.config.name };
    this.#rate.add(records);
    metrics.add('tidemark_sink_records_total', records, labels);
    metrics.add('tidemark_sink_bytes_total', bytes, labels);
    metrics.add('tidemark_sink_batches_total', 1, labels);
    metrics.observe('tidemark_sink_apply_seconds', ms / 1000, labels);
  }
}
