import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { CrashAudit } from './crash-audit.ts';
import { CrashWorld } from './crash-world.ts';

const MINUTE = 60_000;
/** What a mutant does wrong, and what the audit says of it. */
const MUTANTS = [
  { mutant: 'acknowledges-early', when: 'at its death', finding: /^the slot is confirmed up to \d+, the log ends at \d+: \d+ bytes are lost$/ },
  { mutant: 'replica-skips-rows', when: 'at its death', finding: /^replica at offset \d+ is not the fold of the log: public\.counters: not in the log: \[/ },
  { mutant: 'log-loses-records', when: 'in the end', finding: /^replica, public\.\w+: only in the source: / },
  { mutant: 'cache-keeps-rows', when: 'in the end', finding: /^cache: \d+ keys without a row, such as public\./ },
] as const;

describe('the audit of the crash test finds what a hub does wrong', () => {
  it.each(MUTANTS)('$mutant, $when', { timeout: 10 * MINUTE }, async ({ mutant, when, finding }) => {
    const module = pathToFileURL(join(import.meta.dirname, 'mutants', `${mutant}.ts`)).href;
    await using world = await CrashWorld.create('postgres', ['--import', module]);
    const audit = new CrashAudit(world);
    await world.startHub();
    await world.hub.until('every table is copied', ({ sources }) => sources[0]?.tables.length === 9 && sources[0].tables.every(({ state }) => state === 'consistent'), 5 * MINUTE);
    const workload = world.source.startHard(1);
    while (workload.transactions() < 150) await delay(20);
    if (when === 'at its death') await world.hub.kill();
    await workload.stop();
    expect(when === 'at its death' ? await audit.atDeath() : await audit.inTheEnd()).toContainEqual(expect.stringMatching(finding));
  });
});
