import type { SinkConfig, SourceConfig } from '../contracts/config.ts';
import type { TidemarkError } from '../contracts/errors/error.ts';
import { errorView } from './error-view.ts';
import type { SinkStatusView, SourceStatusView } from './service.ts';

/** A source or sink that could not be opened at all (its log is corrupt, a file cannot be read): the others go on. */
export interface Unopened<C extends SourceConfig | SinkConfig> {
  readonly config: C;
  readonly error: TidemarkError;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export function unopenedSource({ config, error, at }: Unopened<SourceConfig>): SourceStatusView {
  return {
    name: config.name, type: config.type, state: 'failed', highWatermark: 0, horizon: 0, horizonTime: 0, position: null, commitTime: 0,
    lag: { bytes: null, seconds: null }, retainedWalBytes: null, logBytes: 0, historyBytes: 0, baseBytes: 0, archiveBytes: 0,
    compaction: { state: 'idle', part: null, target: null, last: null, hold: null, error: null }, recordsPerSecond: 0, waitingFor: '', tables: [],
    error: errorView(error, at),
  };
}

export function unopenedSink({ config, error, at }: Unopened<SinkConfig>): SinkStatusView {
  return {
    name: config.name, type: config.type, from: config.from, state: 'failed', degraded: false, offset: 0, position: null, commitTime: 0,
    lag: { records: 0, bytes: 0, seconds: 0 }, recordsPerSecond: 0, load: null, deadLetters: 0,
    pause: null, rebuild: null, error: errorView(error, at),
  };
}
