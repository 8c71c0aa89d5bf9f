import { expect, it } from 'vitest';
import { checkFlips, checked, fullLog } from './flipped-bits.ts';
import { checkKilled } from './killed-logs.ts';

it('bits flipped anywhere are found, and never read as data', { timeout: 30 * 60_000 }, () => checkFlips([101, 102, 103, 104, 105, 106, 107, 108], 3000));

it('nothing is found in logs that are as they were written', { timeout: 10 * 60_000 }, async () => {
  for (let seed = 1000; seed < 1150; seed++) expect([seed, await checked(await fullLog(seed))]).toEqual([seed, []]);
});

it('nothing is found in logs whose writer was killed, or whose machine stopped', { timeout: 20 * 60_000 }, () => checkKilled(600));
