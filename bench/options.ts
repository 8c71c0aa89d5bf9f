import { parseArgs } from 'node:util';

export const BENCHES = [
  'capture', 'mirror', 'snapshot', 'redis', 'latency', 'replay', 'rebuild', 'compact', 'verify', 'mysql-capture', 'mysql-snapshot', 'mysql-mirror',
] as const;
export type BenchName = (typeof BENCHES)[number];

export interface BenchOptions {
  readonly bench: BenchName;
  /** End with one line of JSON on standard output; everything else goes to standard error. */
  readonly json: boolean;
  /** Samples of each side. */
  readonly samples: number;
  /** 1 is the real size; less for a quick look, whose numbers mean little. */
  readonly scale: number;
  /** Writes a CPU profile of each Tidemark process into this directory; null: none. */
  readonly profile: string | null;
}

export const USAGE = `npm run bench -- ${BENCHES.join('|')} [--json] [--samples N] [--scale F] [--profile DIR]

Measures Tidemark against what Postgres, MySQL or Redis do by themselves, on real servers, in alternating samples, and
compares medians. Exit code 0: the target is met; 1: it is not, or something failed.

  --json         end with one line: {"bench","ratio","target","samples","rss_mb"}
  --samples N    samples of each side (default 3)
  --scale F      fraction of the real size (default 1)
  --profile DIR  write a CPU profile of each Tidemark process there
`;

const LEAST_SAMPLES = 1;
const MOST_SAMPLES = 20;

/** @throws Error what is wrong with the arguments */
export function readOptions(args: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      samples: { type: 'string', default: '3' },
      scale: { type: 'string', default: '1' },
      profile: { type: 'string' },
    },
  });
  const bench = BENCHES.find((name) => name === positionals[0]);
  if (bench === undefined || positionals.length !== 1) throw new Error(`name one bench: ${BENCHES.join(', ')}`);
  const samples = Number(values.samples);
  if (!Number.isInteger(samples) || samples < LEAST_SAMPLES || samples > MOST_SAMPLES) {
    throw new Error(`--samples wants a whole number from ${LEAST_SAMPLES} to ${MOST_SAMPLES}`);
  }
  const scale = Number(values.scale);
  if (!(scale > 0 && scale <= 1)) throw new Error('--scale wants a number above 0, up to 1');
  return { bench, json: values.json, samples, scale, profile: values.profile ?? null };
}
