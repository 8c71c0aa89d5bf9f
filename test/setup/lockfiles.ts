import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

/**
 * The lockfiles name versions and hashes, never the address of the registry that they were made with: whoever installs
 * uses the registry of their own settings.
 */
const root = resolve(import.meta.dirname, '../..');
const LOCKFILES = ['package-lock.json', 'test/servers/package-lock.json'];

interface Found {
  readonly file: string;
  readonly entry: string;
  readonly address: string;
}

/** Packages that carry an address, and packages that carry no hash to check what is downloaded against. */
export function faultsOf(file: string, lockfile: unknown): Found[] {
  const packages = isObject(lockfile) && isObject(lockfile['packages']) ? lockfile['packages'] : {};
  if (Object.keys(packages).length === 0) return [{ file, entry: '', address: 'no packages' }];
  const found: Found[] = [];
  for (const [entry, value] of Object.entries(packages)) {
    if (!isObject(value) || entry === '') continue;
    if ('resolved' in value) found.push({ file, entry, address: String(value['resolved']) });
    if (!('integrity' in value)) found.push({ file, entry, address: 'no integrity hash' });
  }
  return found;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

if (import.meta.main) {
  const all = await Promise.all(
    LOCKFILES.map(async (file) => faultsOf(file, JSON.parse(await readFile(join(root, file), 'utf8')) as unknown)),
  );
  for (const { file, entry, address } of all.flat()) console.error(`${file}: ${entry}: ${address}`);
  if (all.flat().length > 0) process.exitCode = 1;
}
