/** What the documentation shows as configuration is one: every YAML example is read as the hub reads its file. */
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { isMap, parseDocument } from 'yaml';
import { readConfig } from '../../../hub/config/load.ts';
import { registry } from '../../../hub/registry.ts';
import { temporaryDirectory } from '../../fixtures/temp.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const ENV = { SHOP_URL: 'postgres://shop', REPLICA_URL: 'postgres://replica', REDIS_PASSWORD: 'secret' };

interface Example {
  readonly place: string;
  readonly text: string;
}

async function examples(): Promise<Example[]> {
  const pages = ['README.md', ...(await readdir(join(ROOT, 'docs'))).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];
  const found = await Promise.all(pages.map(async (page) => examplesOf(page, await readFile(join(ROOT, page), 'utf8'))));
  return found.flat();
}

function examplesOf(page: string, text: string): Example[] {
  return [...text.matchAll(/^( *)```yaml\n(.*?)^ *```$/gms)].map((match) => ({
    place: `${page}:${text.slice(0, match.index).split('\n').length}`,
    text: (match[2] ?? '').replaceAll(new RegExp(`^${match[1] ?? ''}`, 'gm'), ''),
  }));
}

const SOURCE = 'sources:\n  shop:\n    type: postgres\n    url: "postgres://shop"';
const SINK = 'sinks:\n  cache:\n    type: redis\n    from: shop\n    url: "redis://cache"';
const TABLES = '    tables: ["*.*"]';

/** An example that shows a part of the file, with what it leaves out around it. */
function completed(text: string): string {
  const { contents } = parseDocument(text);
  const keys = isMap(contents) ? contents.items.map(({ key }) => String(key)) : [];
  const indented = text.replaceAll(/^/gm, '    ');
  if (keys.includes('sources')) return text;
  if (keys.includes('columns')) return [SOURCE, TABLES, indented].join('\n');
  if (keys.includes('tables')) return [SOURCE, TABLES, SINK, indented].join('\n');
  return [SOURCE, TABLES, text].join('\n');
}

describe('the examples of the documentation', async () => {
  const all = await examples();

  it('are found', () => {
    expect(all.map(({ place }) => place.split(':')[0])).toEqual(expect.arrayContaining(['README.md', 'docs/configuration.md']));
  });

  it.each(all)('$place is a sound configuration', async ({ text }) => {
    await using folder = await temporaryDirectory('examples');
    const path = join(folder.path, 'tidemark.yaml');
    await writeFile(path, completed(text));
    const result = await readConfig(path, ENV, registry);
    expect('problems' in result ? result.problems.map(({ message, where }) => `${where.line}: ${message}`) : []).toEqual([]);
  });
});
