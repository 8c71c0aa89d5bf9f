import { describeError } from '../contracts/errors/error.ts';
import { captureBench } from './capture.ts';
import { compactBench } from './compact.ts';
import { latencyBench } from './latency.ts';
import { mirrorBench } from './mirror.ts';
import { mysqlCaptureBench } from './mysql-capture.ts';
import { mysqlMirrorBench } from './mysql-mirror.ts';
import { mysqlSnapshotBench } from './mysql-snapshot.ts';
import { type BenchName, type BenchOptions, USAGE, readOptions } from './options.ts';
import { rebuildBench } from './rebuild.ts';
import { redisBench } from './redis.ts';
import { replayBench } from './replay.ts';
import { RSS_LIMIT_MB, isMet, jsonLine } from './report.ts';
import { type Bench, runBench } from './runner.ts';
import { snapshotBench } from './snapshot.ts';
import { verifyBench } from './verify.ts';

const BENCHES: Readonly<Record<BenchName, Bench>> = {
  capture: captureBench,
  mirror: mirrorBench,
  snapshot: snapshotBench,
  redis: redisBench,
  latency: latencyBench,
  replay: replayBench,
  rebuild: rebuildBench,
  compact: compactBench,
  verify: verifyBench,
  'mysql-capture': mysqlCaptureBench,
  'mysql-snapshot': mysqlSnapshotBench,
  'mysql-mirror': mysqlMirrorBench,
};

async function main(): Promise<number> {
  let options: BenchOptions;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${describeError(error)}\n\n${USAGE}`);
    return 2;
  }
  const out = options.json ? process.stderr : process.stdout;
  const say = (line: string): void => void out.write(`${line}\n`);
  const bench = BENCHES[options.bench];
  try {
    const outcome = await runBench(bench, options, say);
    const met = isMet(outcome, bench.goal);
    const sense = bench.goal.sense === 'at-least' ? '>=' : '<=';
    say(`${bench.name}: ratio ${outcome.ratio.toFixed(3)} (target ${sense} ${bench.goal.target}), ${outcome.rss_mb.toFixed(0)} MB (limit ${bench.goal.rssMb ?? RSS_LIMIT_MB}): ${met ? 'met' : 'NOT MET'}`);
    if (options.json) process.stdout.write(`${jsonLine(outcome)}\n`);
    return met ? 0 : 1;
  } catch (error) {
    process.stderr.write(`${bench.name}: ${describeError(error)}\n${error instanceof Error ? error.stack : ''}\n`);
    return 1;
  }
}

process.exitCode = await main();
