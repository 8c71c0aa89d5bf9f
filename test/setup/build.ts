import { chmod, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { run } from './command.ts';

/** `npm run build`: the published package's JavaScript and types, in dist/. */
const root = resolve(import.meta.dirname, '../..');
const entry = join(root, 'dist/hub/cli/main.js');

await rm(join(root, 'dist'), { recursive: true, force: true });
const { status, output } = await run(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json'], { cwd: root });
if (status !== 0) {
  console.error(output);
  process.exitCode = 1;
} else {
  if (!(await readFile(entry, 'utf8')).startsWith('#!/usr/bin/env node\n')) {
    console.error(`${entry} does not begin with a line that names its interpreter`);
    process.exitCode = 1;
  }
  await chmod(entry, 0o755);
}
