import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const bound = pathToFileURL(resolve(import.meta.dirname, '../../../hub/runtime/old-generation.ts')).href;

/** Some 80 MB live, and are replaced once they are old: the most that the old generation comes to then, in bytes. */
const WORK = `
  const { getHeapSpaceStatistics } = await import('node:v8');
  const old = () => getHeapSpaceStatistics().find((space) => space.space_name === 'old_space').space_used_size;
  const kept = [];
  let most = 0;
  for (let round = 0; round < 80; round++) {
    for (let i = 0; i < 15_000; i++) kept[(round * 15_000 + i) % 300_000] = new Array(32).fill(round);
    if (round > 40) most = Math.max(most, old());
    await new Promise((done) => setImmediate(done));
  }
  console.log(most);`;

async function mostOf(...args: string[]): Promise<number> {
  const { stdout } = await run(process.execPath, [...args, '--input-type=module', '--eval', WORK]);
  return Number(stdout);
}

async function middleOf(...args: string[]): Promise<number> {
  const found = [await mostOf(...args), await mostOf(...args), await mostOf(...args)];
  return found.toSorted((a, b) => a - b)[1] ?? 0;
}

test('an old generation that is large grows less between two collections', async () => {
  // When V8 collects depends on how its threads are scheduled: the middle one of three counts.
  const [bounded, free] = [await middleOf('--import', bound), await middleOf()];
  expect(bounded).toBeLessThan(free * 0.85);
});
