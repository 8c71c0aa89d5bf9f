import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../contracts/runtime.ts';
import type { Fault } from '../crash-faults.ts';
import type { CrashWorld } from '../crash-world.ts';
import { MysqlSource } from './servers.ts';

const pause = (random: Random, most: number): Promise<void> => delay(random.unit() * most);

function sourceOf(world: CrashWorld): MysqlSource {
  if (world.source instanceof MysqlSource) return world.source;
  throw new Error('the source is no MySQL or MariaDB');
}

/** The standby takes over, and the network leads there. */
async function failOver(world: CrashWorld, how: 'crash' | 'order'): Promise<void> {
  const source = sourceOf(world);
  const network = world.networkTo(source);
  await source.failOver(how);
  network.retarget(source.port);
  network.cut();
}

export const MYSQL_FAULTS: readonly Fault[] = [
  { name: 'the standby takes over in order', strike: (world) => failOver(world, 'order') },
  { name: 'the source dies and the standby takes over', strike: (world) => failOver(world, 'crash') },
  {
    name: 'the standby takes over while the hub is dead, and gives back',
    async strike(world, random) {
      await world.hub.kill();
      await failOver(world, 'order');
      await pause(random, 500);
      await failOver(world, 'crash');
    },
  },
  {
    name: 'the standby takes over while the shape of a table changes',
    async strike(world, random) {
      await Promise.all([world.source.changeShape(random), pause(random, 300).then(() => failOver(world, 'crash'))]);
    },
  },
  {
    name: 'the hub is killed, and reads from the standby for a while',
    async strike(world, random) {
      const source = sourceOf(world);
      await world.hub.kill();
      await source.standbyCaughtUp();
      world.networkTo(source).retarget(source.standbyPort);
      await world.startHub();
      await pause(random, 1500);
      // The primary has all that the standby has.
      world.networkTo(source).retarget(source.port);
      world.networkTo(source).cut();
    },
  },
  {
    name: 'the binlog goes on in another file, and in another',
    async strike(world, random) {
      for (let file = 0; file < 3; file++) {
        await sourceOf(world).rotate();
        await pause(random, 200);
      }
    },
  },
  {
    name: 'the binlog goes on in another file, and the hub is killed',
    async strike(world) {
      await Promise.all([sourceOf(world).rotate(), world.hub.kill()]);
    },
  },
];
