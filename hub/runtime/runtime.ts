import type { LogLevel, Runtime } from '../../contracts/runtime.ts';
import { systemClock } from './clock.ts';
import { createLogger } from './logger.ts';
import { type MetricsRegistry, createMetrics } from './metrics.ts';
import { nodeFiles } from './node-files.ts';
import { systemRandom } from './random.ts';

export interface RuntimeOptions {
  /** Least severe level that is logged, to standard error. Default `info`. */
  readonly logLevel?: LogLevel | 'silent';
}

/** The real world: the machine's clock, randomness and files, JSON lines on standard error, Prometheus metrics. */
export interface NodeRuntime extends Runtime {
  readonly metrics: MetricsRegistry;
}

export function createRuntime(options: RuntimeOptions = {}): NodeRuntime {
  return {
    clock: systemClock,
    random: systemRandom,
    files: nodeFiles,
    logger: createLogger({ level: options.logLevel ?? 'info' }),
    metrics: createMetrics(),
  };
}
