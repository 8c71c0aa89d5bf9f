import { describe, expect, test } from 'vitest';
import { CATALOGUE } from '../../contracts/errors/catalogue.ts';
import { type SourceFile, blankLiterals, hits, projectFiles, specifiersOf, targetOf } from './source-files.ts';

const files = projectFiles();
const typescript = files.filter((file) => file.path.endsWith('.ts'));
/** What is published: no test, demo or bench. */
const product = typescript.filter((file) => /^(contracts|connectors|hub|sinks)\//.test(file.path));
const tests = typescript.filter((file) => file.path.endsWith('.test.ts'));

function violations(of: readonly SourceFile[], pattern: RegExp, within: 'text' | 'code' = 'code'): string[] {
  return of.flatMap((file) => hits(file, pattern, within));
}

describe('import directions', () => {
  test('there are files to look at', () => {
    expect(product.length).toBeGreaterThan(20);
    expect(product.flatMap(specifiersOf).length).toBeGreaterThan(50);
  });

  test('every part imports only what it may', () => {
    const wrong = product.flatMap((file) =>
      specifiersOf(file)
        .map((specifier) => targetOf(file, specifier))
        .filter((target) => target !== null && !mayImport(file.path, target))
        .map((target) => `${file.path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test.each([
    ['contracts/a.ts', 'hub/b.ts', false],
    ['contracts/kit/a.ts', 'contracts/b.ts', true],
    ['connectors/postgres/a.ts', 'contracts/b.ts', true],
    ['connectors/postgres/a.ts', 'connectors/relational/b.ts', true],
    ['connectors/postgres/a.ts', 'connectors/mysql/b.ts', false],
    ['connectors/postgres/a.ts', 'sinks/postgres/b.ts', false],
    ['sinks/redis/a.ts', 'sinks/relational/b.ts', true],
    ['sinks/relational/a.ts', 'sinks/postgres/b.ts', false],
    ['sinks/redis/a.ts', 'hub/b.ts', false],
    ['hub/pipeline/a.ts', 'sinks/redis/b.ts', false],
    ['hub/registry.ts', 'sinks/redis/b.ts', true],
    ['hub/hub.ts', 'test/fixtures/b.ts', false],
  ])('%s importing %s: %s', (from, to, allowed) => {
    expect(mayImport(from, to)).toBe(allowed);
  });
});

/** contracts < connectors, sinks (with their shared `relational`) < hub, which names implementations in one file only. */
function mayImport(from: string, to: string): boolean {
  const [area, family] = from.split('/');
  const [targetArea, targetFamily] = to.split('/');
  if (targetArea === 'contracts') return true;
  if (area === 'connectors' || area === 'sinks') {
    return targetArea === area && (targetFamily === family || targetFamily === 'relational');
  }
  if (area !== 'hub') return false;
  if (targetArea === 'hub') return true;
  return from === 'hub/registry.ts' && (targetArea === 'connectors' || targetArea === 'sinks');
}

describe('the world comes in through the runtime', () => {
  // The kits are suites of tests, run against real systems in real time.
  const outside = product.filter((file) => !/^(hub\/(runtime|cli)|contracts\/kit)\//.test(file.path));

  test.each([
    ['the clock', /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.now\b|\bprocess\.hrtime\b/],
    ['timers', /(?<![.\w#])(setTimeout|setInterval)\s*\(/],
    ['randomness', /\bMath\.random\b|\brandom(Bytes|UUID|Int|FillSync)\b/],
    ['the end of the process', /\bprocess\.(exit|abort|kill)\b/],
    ['the terminal', /(?<![.\w#])console\.|\bprocess\.(stdout|stderr)\b/],
  ])('%s', (_what, pattern) => {
    expect(violations(outside, pattern)).toEqual([]);
  });

  test('timers are not imported either', () => {
    const importers = outside.filter((file) => specifiersOf(file).some((specifier) => specifier.includes('timers')));
    expect(importers.map((file) => file.path)).toEqual([]);
  });
});

describe('files', () => {
  const LONGEST = 450;

  test(`no file has more than ${LONGEST} lines`, () => {
    const long = typescript.map((file) => ({ path: file.path, lines: file.text.split('\n').length - 1 }));
    expect(long.filter(({ lines }) => lines > LONGEST)).toEqual([]);
  });

  test('no left-overs', () => {
    const marks = ['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|');
    expect(violations(files.filter((file) => !file.path.endsWith('lock.json')), new RegExp(`\\b(${marks})\\b`), 'text')).toEqual([]);
    expect(violations(typescript, /\bdebugger\b/)).toEqual([]);
  });

  test('no check is switched off', () => {
    const marks = ['@ts-', 'oxlint-' + 'disable', 'eslint-' + 'disable', 'v8 ' + 'ignore'];
    const found = typescript.flatMap((file) => hits(file, new RegExp(`(//|/\\*)\\s*(${marks.join('|')})`), 'text'));
    expect(found).toEqual([]);
  });

  test('no path of somebody\'s machine', () => {
    const homes = ['/wo' + 'rk/', '/ro' + 'ot/', '/ho' + 'me/', '/Us' + 'ers/'].join('|');
    expect(violations(files, new RegExp(`(?<![\\w.*-])(${homes})\\w`), 'text')).toEqual([]);
  });

  test('names say what a file holds', () => {
    expect(typescript.filter((file) => /(^|\/)(utils?|helpers?|misc|common)(\.ts|\/)/.test(file.path)).map((file) => file.path)).toEqual([]);
  });
});

describe('tests', () => {
  test('each says by its suffix what it needs', () => {
    const suffix = /\.(unit|pg|redis|mysql|docker|package|fault|slow|long)\.test\.ts$/;
    expect(tests.filter((file) => !suffix.test(file.path)).map((file) => file.path)).toEqual([]);
  });

  test('all run', () => {
    expect(violations(tests, /\b(test|it|describe|suite)(\.\w+)*\.(skip|only|todo|skipIf|runIf|fails)\b|\b(xit|xtest|xdescribe)\(/)).toEqual([]);
  });
});

describe('error codes', () => {
  const known = new Set(Object.keys(CATALOGUE));

  test('every code of the catalogue is used', () => {
    const used = new Set(
      product
        .filter((file) => !file.path.startsWith('contracts/errors/'))
        .flatMap((file) => [...file.text.matchAll(/['"]([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)['"]/g)].map((match) => match[1])),
    );
    expect([...known].filter((code) => !used.has(code))).toEqual([]);
  });

  test('every code that a comment or a page names exists', () => {
    const area = new RegExp(`\`((?:${[...new Set([...known].map((code) => code.split('_')[0]))].join('|')})(?:_[A-Z0-9]+)+)\``, 'g');
    const pages = files.filter((file) => file.path.endsWith('.md') || product.includes(file));
    const unknown = pages.flatMap((file) =>
      [...file.text.matchAll(area)].filter((match) => !known.has(match[1] ?? '')).map((match) => `${file.path}: ${match[1]}`),
    );
    expect(unknown).toEqual([]);
  });

  test('every entry says what it means and what to do', () => {
    for (const [code, entry] of Object.entries(CATALOGUE)) {
      expect(code).toMatch(/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/);
      expect(entry.means, code).toMatch(/\S.{10,}[.]$/);
      expect(entry.remedy, code).toMatch(/\S.{10,}[.]$/);
    }
  });
});

test('comments and strings are told from code', () => {
  const blanked = blankLiterals('a("x\\"y") // b\n`c${d(`e`)}f` /* g\n */ h');
  expect(blanked.replaceAll(' ', '')).toBe('a()\n`${d(``)}`\nh');
  expect(blanked.split('\n').length).toBe(3);
});
