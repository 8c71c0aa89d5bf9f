import type { SinkConfig, SourceConfig } from '../contracts/config.ts';

/** True when two configurations of a source, or of a sink, are there and ask for the same: functions in them follow from the rest. */
export function sameConfig<C extends SourceConfig | SinkConfig>(a: C | undefined, b: C | undefined): boolean {
  return a !== undefined && b !== undefined && canonical(a) === canonical(b);
}

function canonical(config: SourceConfig | SinkConfig): string {
  return JSON.stringify(config, (_name, value: unknown) => {
    if (typeof value === 'function') return undefined;
    if (value instanceof Map) return [...value].toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
    }
    return value;
  });
}
