/** What tests of rebuilds do and look at again and again. */
import { readdir } from 'node:fs/promises';
import type { RebuildWorld } from './rebuild-world.ts';

/** Commits to two tables, with changes and deletes of rows that are there. Answers the end of the log. */
export async function filled(world: RebuildWorld, transactions = 20): Promise<number> {
  let end = 0;
  for (let n = 0; n < transactions; n++) {
    end = await world.commit([{ table: 1, key: n % 7, value: n }, { table: 2, key: n % 5, value: n % 4 === 0 ? null : n }]);
  }
  return end;
}

/** Longer than anything takes that is not stuck, on a machine that does much else. */
export function patience(): AbortSignal {
  return AbortSignal.timeout(15_000);
}

export const ended = (world: RebuildWorld) => (): boolean => !world.rebuild.isUnderWay;

/** What a rebuild that is over must not leave. */
export async function leftOvers(world: RebuildWorld): Promise<string[]> {
  const files = await readdir(world.directory);
  return [
    ...(world.place.shadow === null ? [] : ['a shadow']),
    ...(world.place.replaced === 0 ? [] : ['what was replaced']),
    ...world.log.leases().filter((name) => name.startsWith('rebuild:')).map((name) => `the lease ${name}`),
    ...files.filter((name) => name.startsWith('rebuild-') || name.endsWith('.new')),
  ];
}
