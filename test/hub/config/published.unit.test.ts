import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { errorsPage, generatedFiles, optionTables, withGeneratedParts } from '../../../docs/generated.ts';
import { CATALOGUE } from '../../../contracts/errors/catalogue.ts';
import { publishedSchema } from '../../../hub/config/schema.ts';
import type { Registry } from '../../../hub/hub.ts';
import { registry } from '../../../hub/registry.ts';
import { MODULES } from './modules.ts';

const onDisk = (path: string): Promise<string> => readFile(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8');

describe('what is published', () => {
  it('is up to date (`npm run docs`)', async () => {
    for (const [path, text] of await generatedFiles(registry, onDisk)) {
      expect(await onDisk(path).catch(() => ''), path).toBe(text);
    }
  });

  it('describes every error', () => {
    const page = errorsPage();
    for (const code of Object.keys(CATALOGUE)) expect(page).toContain(`### ${code}\n`);
  });

  it('replaces the marked parts of a page only', () => {
    const page = 'a\n<!-- x -->\nold\n<!-- end of x -->\nb\n';
    expect(withGeneratedParts(page, { x: 'new' })).toBe('a\n<!-- x -->\nnew\n<!-- end of x -->\nb\n');
    expect(() => withGeneratedParts(page, { y: 'new' })).toThrow(/no part y/);
  });

  it('lists the options of every module', () => {
    const modules: Registry = {
      connectors: [],
      sinks: MODULES.sinks.map((module) => ({ ...module, create: () => { throw new Error('not made here'); } })),
    };
    expect(optionTables(modules).split('\n')).toEqual([
      '#### Sink of type `postgres`', '', '| key | value | default | meaning |', '| --- | --- | --- | --- |', '| `spool` | a size, 1GiB at most |  | Memory |', '',
      '#### Sink of type `redis`', '', 'No options of its own.', '', 'Settings of a table:', '',
      '| key | value | default | meaning |', '| --- | --- | --- | --- |', '| `key` | text |  |  |', '| `ttl` | a duration |  | Time to live |',
    ]);
  });
});

describe('the published schema', () => {
  it('names its keys in snake_case', () => {
    const names = propertyNames(publishedSchema(registry));
    expect(names).toContain('on_error');
    // The one exception, which docs/configuration.md names.
    expect(names.filter((name) => !/^[a-z]+(_[a-z]+)*$/.test(name))).toEqual(['retainedWal']);
  });

  const validate = new Ajv({ strict: false, allowUnionTypes: true }).compile(publishedSchema(MODULES));
  const source = 'sources: { shop: { type: postgres, url: u, tables: [a.b], poll: 5s } }\n';

  it.each([
    ['a small one', source, true],
    ['sinks of each kind', `${source}sinks: { a: { type: postgres, from: shop, url: u, tables: [a.b] }, b: { type: redis, from: shop, url: u, tables: { a.b: { key: k } }, on_error: stop } }`, true],
    ['limits', `${source}hub: { limits: { retainedWal: 200GB } }`, true],
    ['nothing below sinks', `${source}sinks:\n`, true],
    ['an unknown key', `${source}sinks: { a: { type: postgres, from: shop, url: u, tables: [a.b], frm: x } }`, false],
    ['an unknown type', 'sources: { shop: { type: oracle, url: u, tables: [a.b] } }', false],
    ['an option of another type', 'sources: { shop: { type: postgres, url: u, tables: [a.b], spool: 1MiB } }', false],
    ['no duration', 'sources: { shop: { type: postgres, url: u, tables: [a.b], poll: soon } }', false],
    ['an unusable name', 'sources: { "My Shop": { type: postgres, url: u, tables: [a.b] } }', false],
  ])('lets an editor check %s', (_, text, sound) => {
    expect(validate(parse(text))).toBe(sound);
  });
});

/** The names of all properties, at any depth. */
function propertyNames(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const own = 'properties' in schema && typeof schema.properties === 'object' ? Object.keys(schema.properties ?? {}) : [];
  return [...new Set([...own, ...Object.values(schema).flatMap(propertyNames)])];
}
