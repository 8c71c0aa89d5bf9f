#!/usr/bin/env node
/**
 * The executable `tidemark`. Every Node.js can read this file: its syntax is old, and all else is loaded after the
 * version was looked at, so that an old one says what it lacks instead of stumbling over a line it does not know.
 */
const NEEDED = 24;
/** Of the catalogue, whose remedy stands below in its words. */
const CODE = 'NODE_VERSION';
const found = process.versions.node;

if (Number.parseInt(found, 10) >= NEEDED) {
  await import('../runtime/young-generation.ts');
  await import('../runtime/old-generation.ts');
  await import('./process.ts');
} else {
  process.stderr.write(
    `${CODE}: Tidemark needs Node.js ${NEEDED} or newer, and this is ${found}\n  where: ${process.execPath}\n` +
      `  to do: Install Node.js 24 or newer, or run \`npm install node@24\` beside Tidemark and start it by \`npx tidemark\`.\n`,
  );
  process.exitCode = 2;
}

export {};
