import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Random } from '../../contracts/runtime.ts';
import { seededRandom } from '../fixtures/runtime.ts';
import { CrashAudit } from './crash-audit.ts';
import { type Fault, faultsOf } from './crash-faults.ts';
import type { CrashSource } from './crash-servers.ts';
import { CrashWorld } from './crash-world.ts';

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Date.now() % 1_000_000);
/** Part of a fault's name: only those strike. */
const STRIKING = new RegExp(process.env['TIDEMARK_CRASH_FAULTS'] ?? '');
/** Folder in which what the hub has of a cycle that fails is kept: its log, its notes, what it said. */
const KEPT = process.env['TIDEMARK_CRASH_KEEP'];
const START_LIMIT_MS = 300_000;
/** Longer than all that a cycle waits for, which says what it waited for. */
const CYCLE_LIMIT_MS = 900_000;
const TRANSACTIONS_PER_SECOND = 300;
/** What every cycle compares row by row stays of this size; the rest goes in a large transaction, which the faults then meet. */
const MOST_ORDERS = 5_000;

/** A world of its own that goes through so many cycles; each ends with everything equal. */
export function crashTest(kind: CrashSource, cycles: number): void {
  describe(`crash test of ${kind}, ${cycles} cycles, TIDEMARK_SEED=${SEED}`, () => {
    const random = seededRandom(SEED);
    const striking = faultsOf(kind).filter(({ name }) => STRIKING.test(name));
    let world: CrashWorld;
    let audit: CrashAudit;

    beforeAll(async () => {
      world = await CrashWorld.create(kind);
      audit = new CrashAudit(world);
      await world.startHub();
      expect(await audit.inTheEnd()).toEqual([]);
      // What was copied has no time of its own, and is folded before anything else.
      await world.hub.kill();
      expect(await audit.ofTheLog()).toEqual([]);
      await world.startHub();
      for (const replica of world.replicas) await replica.addUnique();
    }, START_LIMIT_MS);
    afterAll(async () => {
      await world?.[Symbol.asyncDispose]();
    });

    for (let cycle = 1; cycle <= cycles; cycle++) {
      const faults = Array.from({ length: 1 + Math.floor(random.unit() * 3) }, () => striking[Math.floor(random.unit() * striking.length)] as Fault);
      const seed = Math.floor(random.unit() * 2 ** 31);
      it(`cycle ${cycle}: ${faults.map((fault) => fault.name).join(', then ')}`, { timeout: CYCLE_LIMIT_MS }, async ({ onTestFailed }) => {
        if (KEPT !== undefined) onTestFailed(() => world.keep(join(KEPT, `${kind}-seed-${SEED}-cycle-${cycle}`)));
        await runCycle(world, audit, faults, seed);
      });
    }
  });
}

async function runCycle(world: CrashWorld, audit: CrashAudit, faults: readonly Fault[], seed: number): Promise<void> {
  const random = seededRandom(seed);
  await world.source.prepare(MOST_ORDERS, random);
  const shop = world.source.startShop({ seed, transactionsPerSecond: TRANSACTIONS_PER_SECOND });
  const hard = world.source.startHard(seed);
  // Into the middle of which the faults come.
  const known = audit.readUpTo;
  const folding = world.fold(known);
  folding.catch(() => undefined); // `foldingEnds` looks at it.
  const struck = await Promise.allSettled([strikeAll(world, audit, faults, random)]);
  // What failed first is what is told: writers cannot stop where a fault has left nobody to write to.
  const stopped = await Promise.allSettled([shop.stop(), hard.stop()]);
  for (const end of [...struck, ...stopped]) if (end.status === 'rejected') throw end.reason;
  await foldingEnds(folding);
  expect(shop.counts.transactions).toBeGreaterThan(0);
  expect(hard.transactions()).toBeGreaterThan(0);
  expect(await audit.inTheEnd()).toEqual([]);
  expect(await world.fold(known)).toBeGreaterThanOrEqual(known);
  await world.hub.kill();
  expect(await audit.atDeath()).toEqual([]);
  expect(await audit.ofTheLog()).toEqual([]);
  expect(await audit.ofTheFiles()).toEqual([]);
  await world.startHub();
}

/** The faults, one after the other, while writers go on. */
async function strikeAll(world: CrashWorld, audit: CrashAudit, faults: readonly Fault[], random: Random): Promise<void> {
  for (const fault of faults) {
    await delay(random.unit() * 500);
    await fault.strike(world, random);
    await world.undoFaults();
    if (world.hub.hasEnded()) expect(await audit.atDeath()).toEqual([]);
    await world.startHub();
  }
  await delay(random.unit() * 300);
  // As busy as can be: what is under way is half done.
  await world.hub.kill();
  expect(await audit.atDeath()).toEqual([]);
  await world.startHub();
}

/** A full disk is a good reason not to fold. */
async function foldingEnds(folding: Promise<unknown>): Promise<void> {
  try {
    await folding;
  } catch (failure) {
    if (!(failure instanceof TidemarkError) || failure.code !== 'LOG_DISK_FULL') throw failure;
  }
}
