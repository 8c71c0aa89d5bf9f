/** `npm run docs`: writes the files, and the parts of pages, that are made from the code. */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { registry } from '../hub/registry.ts';
import { generatedFiles } from './generated.ts';

const root = new URL('../', import.meta.url);
const pathOf = (path: string): string => fileURLToPath(new URL(path, root));

for (const [path, text] of await generatedFiles(registry, (page) => readFile(pathOf(page), 'utf8'))) {
  await writeFile(pathOf(path), text);
  process.stdout.write(`${path}\n`);
}
