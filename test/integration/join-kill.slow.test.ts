import { randomInt } from 'node:crypto';
import { expect, it } from 'vitest';
import { joinsUnderKills } from './join-kill.ts';

const SEED = Number(process.env['TIDEMARK_SEED'] ?? randomInt(2 ** 30));

it(`tables that join a replica and a cache are given their past, though the hub is killed meanwhile (seed ${SEED})`, async () => {
  const { kills, letters } = await joinsUnderKills({ seed: SEED, selections: [['a', 'b', 'c']], rows: 1500, mostKills: 2, breaks: 0, bytesPerSecond: 1 << 20 });
  expect(kills).toBeGreaterThan(0);
  expect(letters).toBeLessThan(3);
}, 600_000);
