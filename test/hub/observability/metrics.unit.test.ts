import { describe, expect, it } from 'vitest';
import { METRICS, type Metric } from '../../../hub/observability/metric-names.ts';
import { sampleStatus } from '../../../hub/observability/status-metrics.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { projectFiles } from '../../tidy/source-files.ts';
import { REBUILD, SINK, SOURCE, STATUS, TABLE } from '../api/scripted-service.ts';

const known: ReadonlyMap<string, Metric> = new Map(Object.entries(METRICS));

function productFiles() {
  return projectFiles().filter(({ path }) => /^(contracts|connectors|hub|sinks)\/.*\.ts$/.test(path));
}

/** Names that the code gives to `Runtime.metrics`, by method. */
function namesInCode(): { method: string; name: string; path: string }[] {
  return productFiles().flatMap(({ path, text }) =>
    [...text.matchAll(/metrics\.(add|set|observe)\(\s*'([^']+)'/g)].map((match) => ({ method: match[1] ?? '', name: match[2] ?? '', path })),
  );
}

describe('metrics', () => {
  it('are counted under names that exist, each as what it is', () => {
    const kinds: Readonly<Record<string, string>> = { add: 'counter', set: 'gauge', observe: 'histogram' };
    const found = namesInCode();
    expect(found.length).toBeGreaterThan(0);
    expect(found.filter(({ method, name }) => known.get(name)?.kind !== kinds[method])).toEqual([]);
  });

  it('are all counted or sampled somewhere', () => {
    const counted = new Set(
      productFiles()
        .filter(({ path }) => !path.startsWith('hub/observability/'))
        .flatMap(({ text }) => [...text.matchAll(/'(tidemark_[a-z_]+)'/g)].map((match) => match[1] ?? '')),
    );
    expect([...known].filter(([name, { sampled }]) => !sampled && !counted.has(name)).map(([name]) => name)).toEqual([]);
  });

  it('have names that say their unit and kind', () => {
    for (const [name, { kind, unit, help }] of known) {
      expect(name).toMatch(/^tidemark_[a-z_]+$/);
      expect(name.endsWith('_total'), name).toBe(kind === 'counter');
      if (unit === 'seconds' || (unit === 'bytes' && kind !== 'counter')) expect(name).toContain(unit);
      expect(help).toMatch(/\.$/);
    }
  });

  it('are sampled from a status, every one, with their labels', () => {
    const seen = new Map<string, string[]>();
    const { metrics } = createTestRuntime();
    sampleStatus(
      { ...STATUS, sources: [{ ...SOURCE, tables: [TABLE, { ...TABLE, tableId: 2 }, { ...TABLE, tableId: 3, state: 'copying' }] }], sinks: [{ ...SINK, rebuild: REBUILD }] },
      { ...metrics, set: (name, _value, labels = {}) => void seen.set(name, Object.keys(labels)) },
    );
    const sampled = [...known].filter(([, metric]) => metric.sampled);
    expect([...seen.keys()].toSorted()).toEqual(sampled.map(([name]) => name).toSorted());
    for (const [name, { labels }] of sampled) expect(seen.get(name), name).toEqual(labels);
  });

  it('count tables by state, and leave out what the source does not tell', () => {
    const runtime = createTestRuntime();
    sampleStatus(
      { ...STATUS, sources: [{ ...SOURCE, lag: { bytes: null, seconds: 0 }, tables: [TABLE, { ...TABLE, tableId: 2 }] }] },
      { ...runtime.metrics, set: (name, value, labels = {}) => { expect(name).not.toBe('tidemark_source_lag_bytes'); runtime.metrics.set(name, value, labels); } },
    );
    expect(runtime.metric('tidemark_source_tables', { source: 'shop', state: 'consistent' })).toBe(2);
  });
});
