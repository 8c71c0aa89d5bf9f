import { posix } from 'node:path';
import { expect, test } from 'vitest';
import { type SourceFile, projectFiles } from './source-files.ts';

const paths = projectFiles().map(({ path }) => path);
const folders = new Set(paths.flatMap((path) => foldersOf(path)));
/** What tells of today's files; the changelog tells of those of its time. */
const pages = projectFiles().filter(({ path }) => path.endsWith('.md') && path !== 'CHANGELOG.md');

test('there are pages to look at', () => {
  expect(pages.length).toBeGreaterThan(10);
  expect(pages.flatMap(namedPaths).length).toBeGreaterThan(50);
  expect(pages.flatMap(linksOf).length).toBeGreaterThan(50);
});

test('every file and folder of the project that a page names is there', () => {
  expect(pages.flatMap((page) => namedPaths(page).filter((name) => !isThere(name)).map((name) => `${page.path}: ${name}`))).toEqual([]);
});

test('every link between pages leads somewhere, and its anchor to a heading', () => {
  expect(pages.flatMap((page) => linksOf(page).filter((link) => !leads(page, link)).map((link) => `${page.path}: ${link}`))).toEqual([]);
});

test.each([
  ['hub/pipeline/source/capture.ts', true],
  ['wire/dump.ts', true],
  ['hub/log/embedded', true],
  ['hub/capture.ts', false],
  ['no-such-file.ts', false],
])('%s is there: %s', (name, there) => {
  expect(isThere(name)).toBe(there);
});

function foldersOf(path: string): string[] {
  const folder = posix.dirname(path);
  return folder === '.' ? [] : [folder, ...foldersOf(folder)];
}

/** In backticks: names of TypeScript files, and all that begins with one of the project's folders. */
function namedPaths({ text }: SourceFile): string[] {
  return [...text.matchAll(/`([\w.-]+(?:\/[\w.-]+)*)\/?`/g)]
    .map((match) => match[1] ?? '')
    .filter((name) => (/^[\w-].*\.ts$/.test(name) || folders.has(name.split('/')[0] ?? '')) && !name.startsWith('node_modules'));
}

/** By its whole path, or by the end of one: pages name files of the folder that they tell of. */
function isThere(name: string): boolean {
  return folders.has(name) || paths.some((path) => path === name || path.endsWith(`/${name}`));
}

function linksOf({ text }: SourceFile): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '').filter((link) => !/^[a-z]+:/.test(link));
}

function leads(from: SourceFile, link: string): boolean {
  const [file = '', anchor] = link.split('#');
  const target = file === '' ? from.path : posix.normalize(posix.join(posix.dirname(from.path), file));
  if (anchor === undefined) return paths.includes(target) || folders.has(target);
  const page = pages.find(({ path }) => path === target);
  return page !== undefined && headingsOf(page).includes(anchor);
}

/** Anchors as GitHub makes them. */
function headingsOf({ text }: SourceFile): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map((match) => (match[1] ?? '').toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').trim().replaceAll(' ', '-'));
}
