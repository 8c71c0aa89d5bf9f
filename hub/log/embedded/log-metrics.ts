import type { Offset } from '../../../contracts/offset.ts';
import type { Metrics } from '../../../contracts/runtime.ts';

/** What one sync has made durable. */
export interface SyncDone {
  readonly seconds: number;
  readonly batches: number;
  readonly records: number;
  /** As they stand in the segment, headers included. */
  readonly bytes: number;
  /** The last offset that is durable, committed or not. */
  readonly endOffset: Offset;
}

/** The metrics of one source's log, counted by its writer. */
export class LogMetrics {
  readonly #metrics: Metrics;
  readonly #labels: { readonly source: string };

  constructor(metrics: Metrics, source: string) {
    this.#metrics = metrics;
    this.#labels = { source };
  }

  noteSync(done: SyncDone): void {
    const labels = this.#labels;
    const metrics = this.#metrics;
    metrics.observe('tidemark_log_sync_seconds', done.seconds, labels);
    metrics.observe('tidemark_log_sync_batches', done.batches, labels);
    metrics.add('tidemark_log_appended_records_total', done.records, labels);
    metrics.add('tidemark_log_appended_bytes_total', done.bytes, labels);
    metrics.set('tidemark_log_end_offset', done.endOffset, labels);
  }

  /** The log was opened or cut: what stands behind `offset` is gone. */
  noteEnd(offset: Offset): void {
    this.#metrics.set('tidemark_log_end_offset', offset, this.#labels);
  }

  /** So many bytes of history were folded into the base. */
  noteFold(bytes: number, seconds: number): void {
    this.#metrics.add('tidemark_compaction_folds_total', 1, this.#labels);
    this.#metrics.add('tidemark_compaction_bytes_total', bytes, this.#labels);
    this.#metrics.add('tidemark_compaction_seconds_total', seconds, this.#labels);
  }

  noteSegments(count: number): void {
    this.#metrics.set('tidemark_log_segments', count, this.#labels);
  }
}
