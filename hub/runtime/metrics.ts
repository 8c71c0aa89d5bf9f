import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Metrics } from '../../contracts/runtime.ts';
import { METRICS, type Metric } from '../observability/metric-names.ts';

export interface MetricsRegistry extends Metrics {
  /** Everything in Prometheus' text format. */
  text(): Promise<string>;
  /** The content type of `text`. */
  readonly contentType: string;
}

type Labels = Readonly<Record<string, string>>;

/**
 * Metrics over prom-client, in a registry of their own. `add` makes a counter, `set` a gauge, `observe` a histogram, at
 * first use; help, label names and buckets come from METRICS. A metric keeps the labels it began with: other ones are an
 * error.
 */
export function createMetrics(): MetricsRegistry {
  const registry = new Registry();
  const known = new Map<string, Metric>(Object.entries(METRICS));
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();

  const shape = (name: string, labels: Labels) => {
    const definition = known.get(name);
    const labelNames = definition?.labels ?? Object.keys(labels);
    return { name, help: definition?.help ?? name, labelNames: [...labelNames], registers: [registry] };
  };
  return {
    add(name, value, labels = {}) {
      made(counters, name, () => new Counter(shape(name, labels))).inc(labels, value);
    },
    set(name, value, labels = {}) {
      made(gauges, name, () => new Gauge(shape(name, labels))).set(labels, value);
    },
    observe(name, value, labels = {}) {
      const buckets = known.get(name)?.buckets;
      made(
        histograms,
        name,
        () => new Histogram({ ...shape(name, labels), ...(buckets === undefined ? {} : { buckets: [...buckets] }) }),
      ).observe(labels, value);
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

function made<T>(all: Map<string, T>, name: string, make: () => T): T {
  const present = all.get(name);
  if (present !== undefined) return present;
  const fresh = make();
  all.set(name, fresh);
  return fresh;
}
