import { readFileSync } from 'node:fs';

/** The version in the package's own package.json, which is two folders up from the sources and three from the build. */
export function packageVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    const version = versionIn(new URL(path, import.meta.url));
    if (version !== null) return version;
  }
  return 'unknown';
}

function versionIn(file: URL): string | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return null;
  }
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || !('name' in value) || value.name !== 'tidemark') return null;
  return 'version' in value && typeof value.version === 'string' ? value.version : null;
}
