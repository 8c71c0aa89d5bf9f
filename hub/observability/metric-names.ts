/**
 * Every metric of the hub: name, kind, unit, help and labels, in one place. The table in docs/cli.md is generated from
 * here. `sampled` metrics are read from the hub's status whenever somebody scrapes; the others are counted where the
 * work is done, through `Runtime.metrics`.
 */
export const METRICS = {
  // Counted where the work is done.
  tidemark_source_records_total: counter('records', 'Records taken from the source and appended to its log.', ['source']),
  tidemark_source_bytes_total: counter('bytes', 'Bytes of records appended to the log.', ['source']),
  tidemark_source_transactions_total: counter('transactions', 'Transactions appended to the log.', ['source']),
  tidemark_source_reconnects_total: counter('times', 'Times the stream was opened again after a failure.', ['source']),
  tidemark_sink_records_total: counter('records', 'Records of the log that the sink has applied.', ['sink']),
  tidemark_sink_bytes_total: counter('bytes', 'Bytes of records that the sink has applied.', ['sink']),
  tidemark_sink_retries_total: counter('times', 'Times the sink was opened again after a failure.', ['sink']),
  tidemark_sink_batches_total: counter('batches', 'Batches that the sink has applied.', ['sink']),
  tidemark_sink_apply_seconds: histogram('seconds', 'Time from handing a batch to the sink until it is durable there.', ['sink'], [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
  ]),
  tidemark_rebuild_records_total: counter('records', 'Rows and changes that a rebuild has written beside the sink.', ['sink']),
  tidemark_rebuild_retries_total: counter('times', 'Times a rebuild was gone on with after a failure.', ['sink']),

  tidemark_log_appended_records_total: counter('records', 'Records that the log has made durable, committed or not.', ['source']),
  tidemark_log_appended_bytes_total: counter('bytes', 'Bytes that the log has made durable, headers of batches included.', ['source']),
  tidemark_log_sync_seconds: histogram('seconds', 'Time that the disk takes to make batches of the log durable.', ['source'], [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5,
  ]),
  tidemark_log_sync_batches: histogram('batches', 'Batches of the log that became durable together.', ['source'], [1, 2, 4, 8, 16, 32, 64, 128, 256]),
  tidemark_log_end_offset: gauge('offset', 'Last offset that is durable, committed or not.', ['source']),
  tidemark_compaction_folds_total: counter('times', 'Times the horizon has moved.', ['source']),
  tidemark_compaction_bytes_total: counter('bytes', 'Bytes of history folded into the base.', ['source']),
  tidemark_compaction_seconds_total: counter('seconds', 'Time that folding has taken, its rests included.', ['source']),
  tidemark_log_segments: gauge('segments', 'Segment files of the log.', ['source']),

  // Sampled from the status.
  tidemark_info: sampled('', 'Always 1; the version of the hub is its label.', ['version']),
  tidemark_source_state: sampled('', '1 for the state that the source is in.', ['source', 'state']),
  tidemark_source_high_watermark: sampled('offset', 'Last offset that is durable and ends a transaction.', ['source']),
  tidemark_source_horizon: sampled('offset', 'Smallest offset whose state can be rebuilt.', ['source']),
  tidemark_source_horizon_seconds: sampled('seconds', 'Commit time at the horizon, in seconds since 1970; 0 while the history holds everything.', ['source']),
  tidemark_source_lag_bytes: sampled('bytes', 'Bytes of its own log that the source is ahead of the hub.', ['source']),
  tidemark_source_lag_seconds: sampled('seconds', 'Age of what the source has and the hub has not, at most; 0 when there is nothing.', ['source']),
  tidemark_source_retained_wal_bytes: sampled('bytes', 'Bytes of WAL that the source holds back for the hub.', ['source']),
  tidemark_source_tables: sampled('tables', 'Tables of the source by state.', ['source', 'state']),
  tidemark_log_bytes: sampled('bytes', 'Size of the log on disk.', ['source']),
  tidemark_log_part_bytes: sampled('bytes', 'Of these, by part: history, base, archive.', ['source', 'part']),
  tidemark_compaction_state: sampled('', '1 for what compaction is doing: idle, folding, merging, failed.', ['source', 'state']),
  tidemark_disk_used_bytes: sampled('bytes', 'Bytes that the data folder takes.', []),
  tidemark_disk_limit_bytes: sampled('bytes', 'Bytes that the data folder may take, by its limit or by its disk.', []),
  tidemark_disk_level: sampled('', '1 for how much room there is: ok, low, short (leases end), full (nothing is captured).', ['level']),
  tidemark_sink_state: sampled('', '1 for the state that the sink is in.', ['sink', 'state']),
  tidemark_sink_degraded: sampled('', '1 while the sink has open dead letters.', ['sink']),
  tidemark_sink_offset: sampled('offset', 'Offset that the sink has applied.', ['sink']),
  tidemark_sink_lag_records: sampled('records', 'Records between the sink and the high watermark of its source.', ['sink']),
  tidemark_sink_lag_bytes: sampled('bytes', 'Bytes of log between the sink and the high watermark of its source.', ['sink']),
  tidemark_sink_lag_seconds: sampled('seconds', 'Age of the first transaction that the sink has not applied; 0 when it has applied all.', ['sink']),
  tidemark_sink_dead_letters: sampled('records', 'Open dead letters.', ['sink']),
  tidemark_sink_paused: sampled('', '1 while the sink is paused, by somebody or by a rebuild to an offset.', ['sink']),
  tidemark_rebuild_state: sampled('', '1 for the state that the last rebuild of the sink is in.', ['sink', 'state']),
  tidemark_rebuild_part: sampled('', 'How much of its phase a rebuild has done, 0 to 1, where that is known.', ['sink', 'phase']),
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof METRICS;

export interface Metric {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly unit: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds, for a histogram. */
  readonly buckets?: readonly number[];
  /** Read from the status at each scrape. */
  readonly sampled: boolean;
}

function counter(unit: string, help: string, labels: readonly string[]): Metric {
  return { kind: 'counter', unit, help, labels, sampled: false };
}

function gauge(unit: string, help: string, labels: readonly string[]): Metric {
  return { kind: 'gauge', unit, help, labels, sampled: false };
}

function histogram(unit: string, help: string, labels: readonly string[], buckets: readonly number[]): Metric {
  return { kind: 'histogram', unit, help, labels, buckets, sampled: false };
}

function sampled(unit: string, help: string, labels: readonly string[]): Metric {
  return { kind: 'gauge', unit, help, labels, sampled: true };
}
