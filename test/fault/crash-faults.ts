import { setTimeout as delay } from 'node:timers/promises';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Random } from '../../contracts/runtime.ts';
import type { TcpProxy } from '../fixtures/tcp-proxy.ts';
import type { CrashSource } from './crash-servers.ts';
import type { CrashWorld } from './crash-world.ts';
import { below } from './hard-workload.ts';
import { MYSQL_FAULTS } from './mysql/faults.ts';
import type { ReplicaServer } from './source-world.ts';

export interface Fault {
  readonly name: string;
  /** Strikes; what it leaves broken is mended by `undoFaults` and `startHub`. */
  strike(world: CrashWorld, random: Random): Promise<void>;
}

const pause = (random: Random, most: number): Promise<void> => delay(random.unit() * most);
const someReplica = (world: CrashWorld, random: Random): ReplicaServer => world.replicas[below(random, world.replicas.length)] as ReplicaServer;

const HUB_DIES: readonly Fault[] = [
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
  {
    name: 'the hub is killed again and again while it starts',
    async strike(world, random) {
      await world.hub.kill();
      for (let start = 0; start < 3; start++) {
        const started = await world.spawnHub();
        await pause(random, 1200);
        await started.end('SIGKILL');
      }
    },
  },
  { name: 'the hub is asked to end', strike: (world) => world.hub.stop() },
];

const SERVERS_DIE: readonly Fault[] = [
  { name: 'the source crashes', strike: (world) => world.source.restart('crash') },
  { name: 'the source restarts', strike: (world) => world.source.restart('order') },
  { name: 'the replica crashes', strike: (world, random) => someReplica(world, random).restart('crash') },
  { name: 'the replica restarts', strike: (world, random) => someReplica(world, random).restart('order') },
  {
    name: 'source and hub crash together',
    async strike(world) {
      await Promise.all([world.hub.kill(), world.source.restart('crash')]);
    },
  },
  {
    name: 'sessions are ended by an administrator',
    async strike(world) {
      await Promise.all([world.source, ...world.replicas].map((server) => server.endSessions()));
    },
  },
  {
    name: 'the cache crashes and comes back empty',
    async strike(world, random) {
      await world.cache.stop('kill');
      await pause(random, 300);
      await world.cache.start();
    },
  },
  {
    name: 'the cache is frozen, and the hub killed',
    async strike(world, random) {
      world.cache.freeze();
      await pause(random, 400);
      await world.hub.kill();
    },
  },
];

/** The network between the hub and one server. */
function networkFaults(name: string, networkOf: (world: CrashWorld, random: Random) => TcpProxy, way: 'to-server' | 'to-client'): Fault[] {
  return [
    {
      name: `the network to ${name} is cut`,
      async strike(world, random) {
        const network = networkOf(world, random);
        network.refuse();
        network.cut();
        await pause(random, 300);
      },
    },
    {
      name: `the network to ${name} breaks in the middle of a transaction`,
      async strike(world, random) {
        networkOf(world, random).cutAfter(below(random, 20_000), way);
        await pause(random, 300);
      },
    },
    {
      name: `${name} does the work but its answers are lost`,
      async strike(world, random) {
        const network = networkOf(world, random);
        network.hold('to-client');
        await pause(random, 300);
        network.cut();
      },
    },
    {
      name: `answers of ${name} are lost and the hub is killed`,
      async strike(world, random) {
        const network = networkOf(world, random);
        network.hold('to-client');
        await pause(random, 300);
        await world.hub.kill();
        network.cut();
      },
    },
  ];
}

const DISK_FULL: readonly Fault[] = [
  {
    name: 'the disk of the hub is full',
    async strike(world, random) {
      await world.disk?.fill();
      await delay(300 + random.unit() * 500);
    },
  },
  {
    name: 'the disk of the hub is full and the hub is killed',
    async strike(world, random) {
      await world.disk?.fill();
      await pause(random, 400);
      await world.hub.kill();
    },
  },
];

const TABLES = ['customers', 'products', 'stock', 'orders', 'order_lines', 'counters', 'bag', 'visits', 'shapes'];

/** A table is copied again, if the hub knows it just then. */
async function recopy(world: CrashWorld, random: Random): Promise<void> {
  const table = `${world.source.namespace}.${TABLES[below(random, TABLES.length)] ?? 'counters'}`;
  try {
    await world.hub.api.tableAction('shop', 'recopy', table, AbortSignal.timeout(10_000));
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'TABLE_UNKNOWN') throw error;
  }
}

const IN_THE_MIDDLE: readonly Fault[] = [
  { name: 'a table is copied again', strike: recopy },
  {
    name: 'the hub is killed while a table is copied again',
    async strike(world, random) {
      await recopy(world, random);
      await pause(random, 400);
      await world.hub.kill();
    },
  },
  {
    name: 'the source crashes while a table is copied again',
    async strike(world, random) {
      await recopy(world, random);
      await pause(random, 200);
      await world.source.restart('crash');
    },
  },
  { name: 'the shape of a table changes', strike: (world, random) => world.source.changeShape(random) },
  {
    name: 'the hub is killed while the shape of a table changes',
    async strike(world, random) {
      await Promise.all([world.source.changeShape(random), pause(random, 400).then(() => world.hub.kill())]);
    },
  },
  {
    name: 'the replica crashes while the shape of a table changes',
    async strike(world, random) {
      await world.source.changeShape(random);
      await pause(random, 200);
      await someReplica(world, random).restart('crash');
    },
  },
];

const FAULTS: readonly Fault[] = [
  ...HUB_DIES,
  ...SERVERS_DIE,
  ...networkFaults('the source', (world) => world.networkTo(world.source), 'to-client'),
  ...networkFaults('the replica', (world, random) => world.networkTo(someReplica(world, random)), 'to-server'),
  ...networkFaults('the cache', (world) => world.networkTo(world.cache), 'to-server'),
  ...DISK_FULL,
  ...IN_THE_MIDDLE,
];

/** What can strike a source of that kind. */
export function faultsOf(kind: CrashSource): readonly Fault[] {
  return kind === 'postgres' ? FAULTS : [...FAULTS, ...MYSQL_FAULTS];
}
