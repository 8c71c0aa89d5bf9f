import type { Metrics } from '../../contracts/runtime.ts';
import type { HubStatus, SinkStatusView, SourceStatusView, TableStatus } from '../service.ts';
import type { MetricName } from './metric-names.ts';

/** Sets every sampled metric from a status. `metrics` is a fresh registry, so that nothing is left of what is gone. */
export function sampleStatus(status: HubStatus, metrics: Metrics): void {
  set(metrics, 'tidemark_info', 1, { version: status.version });
  const { used, limit, level } = status.disk;
  set(metrics, 'tidemark_disk_used_bytes', used, {});
  if (limit !== null) set(metrics, 'tidemark_disk_limit_bytes', limit, {});
  set(metrics, 'tidemark_disk_level', 1, { level });
  for (const source of status.sources) sampleSource(source, metrics);
  for (const sink of status.sinks) sampleSink(sink, metrics);
}

function sampleSource(view: SourceStatusView, metrics: Metrics): void {
  const source = view.name;
  set(metrics, 'tidemark_source_state', 1, { source, state: view.state });
  set(metrics, 'tidemark_source_high_watermark', view.highWatermark, { source });
  set(metrics, 'tidemark_source_horizon', view.horizon, { source });
  set(metrics, 'tidemark_source_horizon_seconds', view.horizonTime / 1e6, { source });
  if (view.lag.seconds !== null) set(metrics, 'tidemark_source_lag_seconds', view.lag.seconds, { source });
  set(metrics, 'tidemark_log_bytes', view.logBytes, { source });
  for (const [part, bytes] of [['history', view.historyBytes], ['base', view.baseBytes], ['archive', view.archiveBytes]] as const) {
    set(metrics, 'tidemark_log_part_bytes', bytes, { source, part });
  }
  set(metrics, 'tidemark_compaction_state', 1, { source, state: view.compaction.state });
  if (view.lag.bytes !== null) set(metrics, 'tidemark_source_lag_bytes', view.lag.bytes, { source });
  if (view.retainedWalBytes !== null) set(metrics, 'tidemark_source_retained_wal_bytes', view.retainedWalBytes, { source });
  for (const [state, count] of countStates(view.tables)) set(metrics, 'tidemark_source_tables', count, { source, state });
}

function sampleSink(view: SinkStatusView, metrics: Metrics): void {
  const sink = view.name;
  set(metrics, 'tidemark_sink_state', 1, { sink, state: view.state });
  set(metrics, 'tidemark_sink_degraded', view.degraded ? 1 : 0, { sink });
  set(metrics, 'tidemark_sink_offset', view.offset, { sink });
  set(metrics, 'tidemark_sink_lag_records', view.lag.records, { sink });
  set(metrics, 'tidemark_sink_lag_bytes', view.lag.bytes, { sink });
  if (view.lag.seconds !== null) set(metrics, 'tidemark_sink_lag_seconds', view.lag.seconds, { sink });
  set(metrics, 'tidemark_sink_dead_letters', view.deadLetters, { sink });
  set(metrics, 'tidemark_sink_paused', view.pause === null ? 0 : 1, { sink });
  const { rebuild } = view;
  if (rebuild === null) return;
  set(metrics, 'tidemark_rebuild_state', 1, { sink, state: rebuild.state });
  if (rebuild.endedAt === null && rebuild.part !== null) set(metrics, 'tidemark_rebuild_part', rebuild.part, { sink, phase: rebuild.phase });
}

function countStates(tables: readonly TableStatus[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { state } of tables) counts.set(state, (counts.get(state) ?? 0) + 1);
  return counts;
}

function set(metrics: Metrics, name: MetricName, value: number, labels: Readonly<Record<string, string>>): void {
  metrics.set(name, value, labels);
}
