import { type Goal, type Measure, type Outcome, median, ratioOf } from './report.ts';
import { noteOfStolen, withStolen } from './stolen.ts';

/** One measurement of one side: a figure for each unit of the bench. */
export interface Sample {
  readonly figures: readonly number[];
  /** Of the Tidemark process; 0 on the baseline's side. */
  readonly rssMb: number;
}

/** A bench with its servers running and its data made. Disposing ends all of it. */
export interface PreparedBench extends AsyncDisposable {
  baseline(index: number): Promise<Sample>;
  tidemark(index: number): Promise<Sample>;
}

export interface Bench {
  readonly name: string;
  readonly baselineName: string;
  readonly units: readonly string[];
  readonly goal: Goal;
  prepare(options: BenchSize, say: (line: string) => void): Promise<PreparedBench>;
}

export interface BenchSize {
  readonly samples: number;
  readonly scale: number;
  readonly profile: string | null;
}

/** Alternates baseline and Tidemark, so that a machine that gets slower or faster does so for both. */
export async function runBench(bench: Bench, size: BenchSize, say: (line: string) => void): Promise<Outcome> {
  await using prepared = await bench.prepare(size, say);
  const baselines: Sample[] = [];
  const tidemarks: Sample[] = [];
  for (let index = 0; index < size.samples; index++) {
    const baseline = await withStolen(() => prepared.baseline(index));
    say(`sample ${index + 1}: ${bench.baselineName}: ${shown(baseline.result, bench.units)}${noteOfStolen(baseline.stolen)}`);
    const tidemark = await withStolen(() => prepared.tidemark(index));
    say(`sample ${index + 1}: tidemark: ${shown(tidemark.result, bench.units)}, ${tidemark.result.rssMb.toFixed(0)} MB${noteOfStolen(tidemark.stolen)}`);
    baselines.push(baseline.result);
    tidemarks.push(tidemark.result);
  }
  const measures = bench.units.map((unit, i): Measure => ({ unit, baseline: medianOf(baselines, i), tidemark: medianOf(tidemarks, i) }));
  for (const { unit, baseline, tidemark } of measures) {
    say(`median: ${bench.baselineName} ${figure(baseline)}, tidemark ${figure(tidemark)} ${unit}: ratio ${(tidemark / baseline).toFixed(3)}`);
  }
  return {
    bench: bench.name,
    ratio: ratioOf(measures, bench.goal),
    target: bench.goal.target,
    samples: size.samples,
    rss_mb: Math.max(...tidemarks.map(({ rssMb }) => rssMb)),
  };
}

function medianOf(samples: readonly Sample[], index: number): number {
  return median(samples.map(({ figures }) => figures[index] ?? Number.NaN));
}

function shown(sample: Sample, units: readonly string[]): string {
  return units.map((unit, i) => `${figure(sample.figures[i] ?? Number.NaN)} ${unit}`).join(', ');
}

function figure(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toFixed(2);
}
