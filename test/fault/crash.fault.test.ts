import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Random } from '../../contracts/runtime.ts';
import { parseLsn, lsnOfPosition, postgresPositions } from '../../connectors/postgres/position.ts';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { seededRandom } from '../fixtures/runtime.ts';
import { tornTransactions } from '../fixtures/shop/schema.ts';
import { startShopWorkload } from '../fixtures/shop/workload.ts';
import { CrashWorld } from './crash-world.ts';
import { LogAudit } from './log-audit.ts';

const CYCLES = Number(process.env['TIDEMARK_CRASH_CYCLES'] ?? 10);
const SEED = Number(process.env['TIDEMARK_SEED'] ?? Date.now() % 1_000_000);
const CYCLE_LIMIT_MS = 180_000;
const CATCH_UP_LIMIT_MS = 90_000;
const TRANSACTIONS_PER_SECOND = 400;

interface Fault {
  readonly name: string;
  strike(world: CrashWorld, random: Random): Promise<void>;
}

const pause = (random: Random, most: number): Promise<void> => delay(random.unit() * most);

const FAULTS: readonly Fault[] = [
  {
    name: 'the hub is killed',
    async strike(world, random) {
      await world.hub.kill();
      await pause(random, 200);
    },
  },
  {
    name: 'the hub is killed soon after its start',
    async strike(world, random) {
      await world.hub.kill();
      await world.startHub();
      await pause(random, 300);
      await world.hub.kill();
    },
  },
  { name: 'the source crashes', strike: (world) => world.source.restart('immediate') },
  { name: 'the source restarts', strike: (world) => world.source.restart('fast') },
  { name: 'the replica crashes', strike: (world) => world.replica.restart('immediate') },
  {
    name: 'the network to the source is cut',
    async strike(world, random) {
      world.toSource.refuse();
      world.toSource.cut();
      await pause(random, 300);
    },
  },
  {
    name: 'the network to the source breaks in the middle of a transaction',
    async strike(world, random) {
      world.toSource.cutAfter(Math.floor(random.unit() * 20_000));
      await pause(random, 300);
    },
  },
  {
    name: 'the network to the replica is cut',
    async strike(world, random) {
      world.toReplica.refuse();
      world.toReplica.cut();
      await pause(random, 300);
    },
  },
  {
    name: 'the replica commits but its answers are lost',
    async strike(world, random) {
      world.toReplica.hold('to-client');
      await pause(random, 300);
      world.toReplica.cut();
    },
  },
  {
    name: 'answers of the replica are lost and the hub is killed',
    async strike(world, random) {
      world.toReplica.hold('to-client');
      await pause(random, 300);
      await world.hub.kill();
      world.toReplica.cut();
    },
  },
  {
    name: 'the disk of the hub is full',
    async strike(world, random) {
      if (!world.smallDisk) return;
      await world.fillDisk();
      await delay(300 + random.unit() * 500);
    },
  },
  {
    name: 'the disk of the hub is full and the hub is killed',
    async strike(world, random) {
      if (world.smallDisk) await world.fillDisk();
      await pause(random, 400);
      await world.hub.kill();
      await world.freeDisk();
    },
  },
];

describe(`crash test, ${CYCLES} cycles, TIDEMARK_SEED=${SEED}`, () => {
  const random = seededRandom(SEED);
  let world: CrashWorld;
  let audit: LogAudit;

  beforeAll(async () => {
    world = await CrashWorld.create();
    audit = new LogAudit(world.dataFolder, 'shop', postgresPositions);
    await world.startHub();
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
  });

  for (let cycle = 1; cycle <= CYCLES; cycle++) {
    const faults = Array.from({ length: 1 + Math.floor(random.unit() * 2) }, () => FAULTS[Math.floor(random.unit() * FAULTS.length)] as Fault);
    const seed = Math.floor(random.unit() * 2 ** 31);
    it(`cycle ${cycle}: ${faults.map((fault) => fault.name).join(', then ')}`, { timeout: CYCLE_LIMIT_MS }, async () => {
      await runCycle(world, audit, faults, seed);
    });
  }
});

async function runCycle(world: CrashWorld, audit: LogAudit, faults: readonly Fault[], seed: number): Promise<void> {
  const random = seededRandom(seed);
  const workload = startShopWorkload({
    url: world.source.url('shop'), writers: 2, transactionsPerSecond: TRANSACTIONS_PER_SECOND, seed, reconnect: true,
  });
  try {
    for (const fault of faults) {
      await pause(random, 500);
      await fault.strike(world, random);
      await world.undoFaults();
      await world.startHub();
    }
    await pause(random, 300);
  } finally {
    await workload.stop();
  }
  expect(workload.counts.transactions).toBeGreaterThan(0);
  await catchUp(world);
  await compareReplica(world);
  await world.hub.kill();
  await auditLog(world, audit);
  await world.startHub();
}

/** The replica reaches what the source has, although nobody helps. */
async function catchUp(world: CrashWorld): Promise<void> {
  const lsn = await world.insertLsn();
  await world.hub.until(
    'source and sink run again',
    ({ sources, sinks }) => [...sources, ...sinks].every(({ state }) => ['streaming', 'applying', 'caught-up'].includes(state)),
    CATCH_UP_LIMIT_MS,
  );
  await world.hub.api.wait('replica', `lsn:${lsn}`, CATCH_UP_LIMIT_MS, AbortSignal.timeout(CATCH_UP_LIMIT_MS));
  await world.hub.until(
    'every table is consistent',
    ({ sources }) => sources.every(({ tables }) => tables.length > 0 && tables.every(({ state }) => state === 'consistent')),
    CATCH_UP_LIMIT_MS,
  );
  await world.hub.api.wait('replica', `lsn:${lsn}`, CATCH_UP_LIMIT_MS, AbortSignal.timeout(CATCH_UP_LIMIT_MS));
}

async function compareReplica(world: CrashWorld): Promise<void> {
  const comparisons = await compareDatabases(world.source.url('shop'), world.replica.url('replica'));
  expect(comparisons.length).toBeGreaterThan(0);
  expect(comparisons.filter(({ equal }) => !equal)).toEqual([]);
  await using replica = await world.replica.connect('replica');
  expect(await tornTransactions(replica)).toEqual([]);
}

/** With the hub dead: the log is dense, holds each transaction once, folds to the source, and is not behind the slot. */
async function auditLog(world: CrashWorld, audit: LogAudit): Promise<void> {
  const confirmed = parseLsn(await world.confirmedFlush());
  const { catalog, position } = await audit.advance();
  expect(position).not.toBeNull();
  expect(confirmed).toBeLessThanOrEqual(position === null ? 0 : lsnOfPosition(position));
  expect(await audit.compareWith(world.source.url('shop'), catalog)).toEqual([]);
}
