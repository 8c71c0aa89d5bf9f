/** Any sequence of kills, failures, cancels and resumes of rebuilds, as a seed gives it. */
import { readdir } from 'node:fs/promises';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Random } from '../../../contracts/runtime.ts';
import { seededRandom } from '../../fixtures/runtime.ts';
import type { StepFault } from './life.ts';
import { RebuildWorld, sameRows } from './rebuild-world.ts';

/** What somebody may be refused for good reason. */
const REFUSALS: ReadonlySet<string> = new Set(['REBUILD_UNDER_WAY', 'REBUILD_NONE', 'REBUILD_TABLES', 'ABORTED', 'SINK_UNREACHABLE', 'LOG_DISK_FULL', 'LOG_BELOW_HORIZON']);

export interface KillsOutcome {
  readonly kills: number;
  readonly swaps: number;
}

/** Throws unless the sink equals the source at its checkpoint at every moment, and nothing is left behind at the end. */
export async function killedRebuilds(seed: number, actions: number): Promise<KillsOutcome> {
  const random = seededRandom(seed);
  await using world = await RebuildWorld.create({ wholeTransactions: random.unit() < 0.7, maxKeys: 1 + below(random, 8), segmentBytes: 400 + below(random, 1200) });
  const faults = new Faults(random);
  const rests = new Rests();
  let writes = Promise.resolve();
  for (let n = 0; n < 5; n++) await commit(world, random);
  await world.start();
  world.fault = (step) => {
    // Writes go on beside everything.
    if (step === 'apply' && random.unit() < 0.1) writes = Promise.all([writes, commit(world, random)]).then(() => undefined);
    return faults.next();
  };
  for (let n = 0; n < actions; n++) {
    if (world.isDead) {
      faults.kills++;
      await quiet(() => world.start());
      continue;
    }
    rests.look(world);
    faults.budget = below(random, 4);
    await quiet(() => act(world, random, rests));
    for (let turns = below(random, 60); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
  }
  world.fault = () => 'none';
  await writes;
  if (!world.isDead) rests.look(world);
  try {
    await settle(world, random);
  } catch (failure) {
    // A step that was under way may have been one to be killed after.
    if (!world.isDead) throw failure;
    await settle(world, random);
  }
  return { kills: faults.kills, swaps: world.place.swaps };
}

/** At most so many faults at a time, so that what is tried again succeeds. */
class Faults {
  budget = 0;
  kills = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  next(): StepFault {
    if (this.budget <= 0 || this.#random.unit() < 0.8) return 'none';
    this.budget--;
    const kinds = ['fail-before', 'fail-after', 'kill-before', 'kill-after'] as const;
    return kinds[below(this.#random, kinds.length)] ?? 'none';
  }
}

/** A sink that was put to an offset stays there, whatever happens, until somebody resumes it. */
class Rests {
  readonly #resumed = new Set<string>();

  /** Whoever resumes while a rebuild is being ended may come before or after its end. */
  resumes(world: RebuildWorld): void {
    const id = world.rebuild.status()?.id;
    if (id !== undefined) this.#resumed.add(id);
  }

  look(world: RebuildWorld): void {
    const rebuild = world.rebuild.status();
    if (rebuild?.state === 'failed' && ['INTERNAL', 'REBUILD_MOVED'].includes(rebuild.error?.code ?? '')) world.wrong.push(`it has failed: ${rebuild.error?.message}`);
    if (rebuild?.state !== 'done' || rebuild.to === null || this.#resumed.has(rebuild.id)) return;
    const at = world.place.live.checkpoint?.offset;
    if (at !== rebuild.to) world.wrong.push(`it is at ${at} and was put to ${rebuild.to}`);
  }
}

async function act(world: RebuildWorld, random: Random, rests: Rests): Promise<void> {
  const ends = world.ends();
  switch (below(random, 10)) {
    case 0:
    case 1:
    case 2:
      for (let n = 1 + below(random, 4); n > 0; n--) await commit(world, random);
      return;
    case 3:
      await world.begin({ fromScratch: random.unit() < 0.3 });
      return;
    case 4:
      await world.begin({ tables: [`public.t${1 + below(random, 2)}`], fromScratch: random.unit() < 0.3 });
      return;
    case 5:
      await world.begin({ to: ends[below(random, ends.length)] ?? 0, fromScratch: random.unit() < 0.3 });
      return;
    case 6:
      await world.rebuild.cancel('', AbortSignal.timeout(2000));
      return;
    case 7:
      if (random.unit() < 0.5) return world.pipeline.pause();
      rests.resumes(world);
      return world.pipeline.resume();
    case 8:
      await world.compact(AbortSignal.timeout(5000));
      return;
    default:
      world.kill();
  }
}

async function commit(world: RebuildWorld, random: Random): Promise<void> {
  const changes = Array.from({ length: 1 + below(random, 6) }, () => ({
    table: 1 + below(random, 2), key: below(random, 12), value: random.unit() < 0.25 ? null : below(random, 1000),
  }));
  await world.commit(changes);
}

/** What is under way ends, by itself or cancelled; then the sink is where the source is. */
async function settle(world: RebuildWorld, random: Random): Promise<void> {
  if (world.isDead) await world.start();
  if (world.rebuild.isUnderWay && random.unit() < 0.5) await quiet(() => world.rebuild.cancel('', AbortSignal.timeout(5000)));
  const isOver = (): boolean => !world.rebuild.isUnderWay || world.rebuild.status()?.state === 'failed';
  await world.until('the rebuild has ended', isOver);
  if (world.rebuild.isUnderWay) await world.rebuild.cancel('', AbortSignal.timeout(5000));
  await world.pipeline.resume();
  await commit(world, random);
  const end = world.log.state().highWatermark;
  await world.until('the sink stands or has failed', () => ['caught-up', 'failed'].includes(world.pipeline.status().state));
  if (world.pipeline.status().state === 'failed') {
    // Paused for longer than the history is kept.
    const code = world.pipeline.status().error?.code;
    if (code !== 'SINK_BEHIND') throw new Error(`the sink has failed: ${JSON.stringify(world.pipeline.status().error)}`);
    await world.begin();
    await world.until('the last rebuild has ended', () => !world.rebuild.isUnderWay);
  }
  await world.pipeline.reached(end, AbortSignal.timeout(5000));
  const isKnown = world.runtime.lines.some(({ event }) => event === 'sink.lease-not-released');
  for (const lease of isKnown ? [] : world.log.leases()) if (lease.startsWith('rebuild:')) world.wrong.push(`the lease ${lease} is left`);
  // One that could not be released is when the hub starts again.
  world.kill();
  await world.start();
  await world.pipeline.reached(end, AbortSignal.timeout(5000));
  if (!sameRows(world.place.live.rows, world.source.rows)) world.wrong.push('the last state differs');
  if (world.place.shadow !== null) world.wrong.push('a shadow is left');
  for (const lease of world.log.leases()) if (lease.startsWith('rebuild:')) world.wrong.push(`the lease ${lease} is left`);
  for (const name of await readdir(world.directory)) if (name.startsWith('rebuild-')) world.wrong.push(`${name} is left`);
  if (world.wrong.length > 0) throw new Error(world.wrong.join('\n'));
}

async function quiet(ask: () => Promise<unknown>): Promise<void> {
  try {
    await ask();
  } catch (failure) {
    if (!(failure instanceof TidemarkError) || !REFUSALS.has(failure.code)) throw failure;
  }
}

function below(random: Random, end: number): number {
  return Math.floor(random.unit() * end);
}
