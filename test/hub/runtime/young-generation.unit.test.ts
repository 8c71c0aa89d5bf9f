import { execFile } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { YOUNG_BYTES } from '../../../hub/runtime/young-generation.ts';

const run = promisify(execFile);
const bound = pathToFileURL(resolve(import.meta.dirname, '../../../hub/runtime/young-generation.ts')).href;

/**
 * Objects that survive several collections make the young generation grow as far as it may. `pause` is run after each round
 * of some 5 MB.
 */
const work = (pause: string): string => `
  const { getHeapSpaceStatistics } = await import('node:v8');
  const young = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size;
  let kept = [];
  let most = 0;
  for (let round = 0; round < 60; round++) {
    for (let i = 0; i < 50_000; i++) kept.push({ i, list: [i] });
    if (kept.length > 200_000) kept = kept.slice(100_000);
    most = Math.max(most, young());
    ${pause}
  }
  console.log(most);`;

async function mostOf(script: string): Promise<number> {
  const { stdout } = await run(process.execPath, ['--import', bound, '--input-type=module', '--eval', script]);
  return Number(stdout);
}

test('the young generation grows to its bound and no further', async () => {
  const most = await mostOf(work('await new Promise((done) => setImmediate(done));'));
  expect(most).toBeGreaterThan(YOUNG_BYTES / 4);
  expect(most).toBeLessThanOrEqual(YOUNG_BYTES * 1.1);
});

test('nor does it while the event loop stands still, as it does while modules are loaded', async () => {
  const most = await mostOf(work(''));
  expect(most).toBeGreaterThan(YOUNG_BYTES / 4);
  expect(most).toBeLessThanOrEqual(YOUNG_BYTES * 1.1);
});
