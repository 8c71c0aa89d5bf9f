import { randomInt } from 'node:crypto';
import { expect, it } from 'vitest';
import { joinsUnderKills } from './join-kill.ts';

const SEED = Number(process.env['TIDEMARK_SEED'] ?? randomInt(2 ** 30));
const SELECTIONS = 12;

it(`tables join a replica and a cache, are given up and join again, while the hub is killed over and over (seed ${SEED})`, async () => {
  const outcome = await joinsUnderKills({ seed: SEED, selections: SELECTIONS, rows: 30_000, mostKills: 5, breaks: 0.005, bytesPerSecond: 6 << 20 });
  console.log(JSON.stringify(outcome));
  expect(outcome.kills).toBeGreaterThan(SELECTIONS);
  expect(outcome.cut).toBeGreaterThan(2);
  expect(outcome.goneOn).toBeGreaterThan(0);
  expect(outcome.letters).toBeGreaterThan(0);
});
