import { execFile } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { YOUNG_BYTES } from '../../../hub/runtime/young-generation.ts';

const run = promisify(execFile);
const bound = pathToFileURL(resolve(import.meta.dirname, '../../../hub/runtime/young-generation.ts')).href;

/** Objects that survive several collections make the young generation grow as far as it may. */
const WORK = `
  const { getHeapSpaceStatistics } = await import('node:v8');
  const young = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size;
  let kept = [];
  let most = 0;
  for (let round = 0; round < 60; round++) {
    for (let i = 0; i < 50_000; i++) kept.push({ i, list: [i] });
    if (kept.length > 200_000) kept = kept.slice(100_000);
    most = Math.max(most, young());
    await new Promise((done) => setImmediate(done));
  }
  console.log(most);`;

test('the young generation grows to its bound and no further', async () => {
  const { stdout } = await run(process.execPath, ['--import', bound, '--input-type=module', '--eval', WORK]);
  const most = Number(stdout);
  expect(most).toBeGreaterThan(YOUNG_BYTES / 4);
  expect(most).toBeLessThanOrEqual(YOUNG_BYTES * 1.1);
});
