/** Any sequence of kills, failures, cancels and resumes of rebuilds, as a seed gives it. */
import { readdir } from 'node:fs/promises';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { readKey } from '../../../contracts/key.ts';
import type { Random } from '../../../contracts/runtime.ts';
import { seededRandom } from '../../fixtures/runtime.ts';
import type { StepFault, StepName } from './life.ts';
import { RebuildWorld, sameRows } from './rebuild-world.ts';

/** What somebody may be refused for good reason. */
const REFUSALS: ReadonlySet<string> = new Set(['REBUILD_UNDER_WAY', 'REBUILD_NONE', 'REBUILD_TABLES', 'ABORTED', 'SINK_UNREACHABLE', 'LOG_DISK_FULL', 'LOG_BELOW_HORIZON', 'OFFSET_RANGE']);
/** Steps after which nothing is as before: few, and those at which most can be lost. */
const TURNING: ReadonlySet<StepName> = new Set(['swap', 'begin', 'sweep']);
/** So many steps from there on it is noted what has been done. */
const NEAR = 7;
/** What a rebuild that nobody disturbs from outside does not stop on. */
const NEVER: ReadonlySet<string> = new Set(['INTERNAL', 'REBUILD_MOVED', 'SINK_BEHIND', 'SINK_DIVERGED']);

export interface KillsOutcome {
  readonly kills: number;
  readonly swaps: number;
}

/** `either`: beside what it serves or in place, as the sink says when it is asked. */
export type Way = 'shadow' | 'in-place' | 'either';

/** Longer than anything takes that is not stuck, in milliseconds. */
const LIMIT_MS = 30_000;

/**
 * Throws unless the sink equals the source at its checkpoint at every moment, rests where and as long as it was told to,
 * has a letter for each row that it leaves out, and nothing is left behind at the end.
 */
export async function killedRebuilds(seed: number, actions: number, way: Way = 'shadow'): Promise<KillsOutcome> {
  const random = seededRandom(seed);
  const wholeTransactions = random.unit() < 0.7;
  await using world = await RebuildWorld.create({ way, wholeTransactions, maxKeys: 1 + below(random, 8), segmentBytes: 400 + below(random, 1200) });
  if (random.unit() < 0.3) refuse(world, random);
  const faults = new Faults(random);
  const rests = new Rests();
  const pauses = new Pauses();
  let writes = Promise.resolve();
  let told = 0;
  for (let n = 0; n < 5; n++) await commit(world, random);
  await world.start();
  world.fault = (step) => {
    // Writes go on beside everything.
    if (step === 'apply' && random.unit() < 0.1) writes = Promise.all([writes, commit(world, random)]).then(() => undefined);
    return faults.next(step);
  };
  for (let n = 0; n < actions; n++) {
    if (world.isDead) {
      faults.kills++;
      await quiet(() => world.start());
      continue;
    }
    rests.look(world);
    pauses.look(world);
    // What was refused, and may have been noted all the same, shows with the next start.
    if (world.runtime.lines.slice(told).some(({ event }) => event === 'rebuild.may-begin')) {
      told = world.runtime.lines.length;
      pauses.begins('in-place');
      world.kill();
      continue;
    }
    faults.budget = below(random, 4);
    await quiet(() => act({ world, random, way, rests, pauses }));
    for (let turns = below(random, 60); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
  }
  world.fault = () => 'none';
  await writes;
  if (!world.isDead) rests.look(world);
  try {
    await settle(world, random, way);
  } catch (failure) {
    // A step that was under way may have been one to be killed after.
    if (!world.isDead) throw failure;
    await settle(world, random, way);
  }
  return { kills: faults.kills, swaps: world.place.swaps };
}

/** Some rows that neither the sink nor its shadow takes. */
function refuse({ place }: RebuildWorld, random: Random): void {
  for (let n = 1 + below(random, 3); n > 0; n--) {
    const key = `public.t${1 + below(random, 2)}/${below(random, 12)}`;
    place.live.refused.add(key);
    place.refused.add(key);
  }
}

/** At most so many faults at a time, so that what is tried again succeeds. */
class Faults {
  budget = 0;
  kills = 0;
  #near = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  next(step: StepName): StepFault {
    this.#near = TURNING.has(step) ? NEAR : this.#near - 1;
    if (this.budget <= 0 || this.#random.unit() < (this.#near > 0 ? 0.5 : 0.8)) return 'none';
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
    if (rebuild?.state === 'failed' && NEVER.has(rebuild.error?.code ?? '')) world.wrong.push(`it has failed: ${rebuild.error?.message}`);
    if (rebuild?.state !== 'done' || rebuild.to === null || this.#resumed.has(rebuild.id)) return;
    const at = world.place.live.checkpoint?.offset;
    // A horizon that was forced past it while it was written in place: it rests where the log begins, and says why.
    const isPassed = rebuild.offset > rebuild.to && rebuild.why !== '' && world.log.state().horizon >= rebuild.offset;
    if (at !== rebuild.offset || (rebuild.offset !== rebuild.to && !isPassed)) world.wrong.push(`it is at ${at}, said to be at ${rebuild.offset}, and was put to ${rebuild.to}`);
  }
}

/** Whoever has paused the sink and was told that it is finds it paused, over kills, until it is to go on. */
class Pauses {
  /** Null: a command has failed, or something else may have changed it. */
  #isPaused: boolean | null = null;

  async pause(world: RebuildWorld): Promise<void> {
    this.#isPaused = null;
    await world.pipeline.pause();
    this.#isPaused = true;
  }

  async resume(world: RebuildWorld): Promise<void> {
    this.#isPaused = null;
    await world.pipeline.resume();
    this.#isPaused = false;
  }

  /** A rebuild in place lets the sink go on. */
  begins(way: Way): void {
    if (way !== 'shadow') this.#isPaused = null;
  }

  look({ pipeline, wrong }: RebuildWorld): void {
    const { pausedBy } = pipeline;
    if (this.#isPaused === true && pausedBy === null) wrong.push('a pause is lost');
    if (this.#isPaused === false && pausedBy?.by === 'operator') wrong.push('a pause is back');
  }
}

interface Acting {
  readonly world: RebuildWorld;
  readonly random: Random;
  readonly way: Way;
  readonly rests: Rests;
  readonly pauses: Pauses;
}

async function act({ world, random, way, rests, pauses }: Acting): Promise<void> {
  const kind = below(random, 10);
  if (way === 'either') world.place.unfit = random.unit() < 0.5 ? null : 'somebody else is there';
  if (kind >= 3 && kind <= 5) pauses.begins(way);
  switch (kind) {
    case 0:
    case 1:
    case 2:
      for (let n = 1 + below(random, 4); n > 0; n--) await commit(world, random);
      return;
    case 3:
      await world.begin({ fromScratch: random.unit() < 0.5 });
      return;
    case 4:
      await world.begin({ tables: [`public.t${1 + below(random, 2)}`], fromScratch: random.unit() < 0.5 });
      return;
    case 5:
      await beginTo(world, somewhere(world, random), random.unit() < 0.5);
      return;
    case 6:
      await world.rebuild.cancel('', AbortSignal.timeout(2000));
      return;
    case 7:
      if (random.unit() < 0.5) return pauses.pause(world);
      rests.resumes(world);
      return pauses.resume(world);
    case 8:
      await world.compact(AbortSignal.timeout(LIMIT_MS), random.unit() < 0.15);
      return;
    default:
      if (random.unit() < 0.7 || (way !== 'shadow' && world.rebuild.isUnderWay)) return world.kill();
      // The place of the sink is put back to where it was, as a database from its backup.
      rests.resumes(world);
      await world.stop();
      if (!world.putBack()) world.remember();
      return;
  }
}

async function beginTo(world: RebuildWorld, wanted: number, fromScratch: boolean): Promise<void> {
  // What is being committed is not there yet.
  const at = Math.min(wanted, world.log.state().highWatermark);
  const { to } = await world.begin({ to: at, fromScratch });
  const ends = world.ends().filter((end) => end <= at);
  if (to !== ends.at(-1) && to !== world.log.state().horizon) world.wrong.push(`${at} is taken for ${to} instead of ${ends.at(-1)}`);
}

/** From the horizon to the end, mostly where a transaction ends. */
function somewhere(world: RebuildWorld, random: Random): number {
  const { horizon, highWatermark } = world.log.state();
  if (random.unit() < 0.3) return horizon + below(random, highWatermark - horizon + 1);
  const ends = world.ends();
  return ends[below(random, ends.length)] ?? 0;
}

async function commit(world: RebuildWorld, random: Random): Promise<void> {
  const changes = Array.from({ length: 1 + below(random, 6) }, () => ({
    table: 1 + below(random, 2), key: below(random, 12), value: random.unit() < 0.25 ? null : below(random, 1000),
  }));
  await world.commit(changes);
}

/** What is under way ends, by itself or cancelled; then the sink is where the source is. */
async function settle(world: RebuildWorld, random: Random, way: Way): Promise<void> {
  if (world.isDead) await world.start();
  // What is written in place waits for a sink that is paused.
  const { offset } = world.pipeline.status();
  // So do single tables that can only join a sink which was paused before it had been filled.
  if (way !== 'shadow' || (offset === 0 && world.rebuild.status()?.tables !== null)) await world.pipeline.resume();
  if (world.rebuild.isAwaited && random.unit() < 0.5) await quiet(() => world.rebuild.cancel('', AbortSignal.timeout(LIMIT_MS)));
  const isOver = (): boolean => !world.rebuild.isUnderWay || world.rebuild.status()?.state === 'failed';
  await world.until('the rebuild has ended', isOver);
  if (world.rebuild.isUnderWay) await world.rebuild.cancel('', AbortSignal.timeout(LIMIT_MS));
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
  await world.pipeline.reached(end, AbortSignal.timeout(LIMIT_MS));
  world.place.unfit = null;
  if (way !== 'in-place') await undisturbed(world);
  const isKnown = world.runtime.lines.some(({ event }) => event === 'sink.lease-not-released');
  for (const lease of isKnown ? [] : world.log.leases()) if (lease.startsWith('rebuild:')) world.wrong.push(`the lease ${lease} is left`);
  // One that could not be released is when the hub starts again.
  world.kill();
  await world.start();
  await world.until('what was refused, and noted all the same, has ended', () => !world.rebuild.isUnderWay);
  await world.pipeline.resume();
  await world.pipeline.reached(end, AbortSignal.timeout(LIMIT_MS));
  if (!sameRows(world.place.live.rows, world.taken(world.source.rows))) world.wrong.push('the last state differs');
  const letters = lettersOf(world);
  for (const key of world.place.live.refused) if (world.source.rows.has(key) && !letters.has(key)) world.wrong.push(`${key} was left out, and no letter says so`);
  for (const key of letters) if (!world.source.rows.has(key)) world.wrong.push(`a letter is open for ${key}, which the source has not`);
  if (world.place.stale !== null) world.wrong.push('what was begun in place is not swept');
  if (world.place.shadow !== null) world.wrong.push('a shadow is left');
  if (world.place.replaced > 0) world.wrong.push('something replaced is left');
  for (const lease of world.log.leases()) if (lease.startsWith('rebuild:')) world.wrong.push(`the lease ${lease} is left`);
  for (const name of await readdir(world.directory)) if (name.startsWith('rebuild-')) world.wrong.push(`${name} is left`);
  if (world.wrong.length > 0) throw new Error(world.wrong.join('\n'));
}

/** A last one that nothing happens to: it leaves no lease. */
async function undisturbed(world: RebuildWorld): Promise<void> {
  const { id } = await world.begin();
  await world.until('an undisturbed rebuild has ended', () => !world.rebuild.isUnderWay);
  if (world.rebuild.status()?.id !== id || world.rebuild.status()?.state !== 'done') world.wrong.push(`an undisturbed rebuild is ${JSON.stringify(world.rebuild.status())}`);
  for (const lease of world.log.leases()) if (lease.startsWith('rebuild:')) world.wrong.push(`the lease ${lease} is left by an undisturbed rebuild`);
}

function lettersOf({ letters }: RebuildWorld): Set<string> {
  return new Set(letters.list().map(({ table, key }) => `${table}/${readKey(key).map(String).join()}`));
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
