/**
 * `${NAME}`, `${NAME:-default}` and `${file:path}` in the strings of the configuration; `$${` stands for a plain `${`.
 * What they resolve to is secret: it never appears in an error.
 */
import { readFile } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import { TidemarkError } from '../../contracts/errors/error.ts';

/** Largest secret file in bytes: a certificate chain fits many times. */
const MAX_SECRET_BYTES = 1 << 20;

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ReferenceScope {
  readonly env: Environment;
  /** Folder that relative paths start from: the configuration file's. */
  readonly folder: string;
}

const REFERENCE = /\$\$\{|\$\{([^}]*)(\}?)/g;
const VARIABLE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s;

/** True when the text has something to resolve (an escaped `$${` counts). */
export function hasReference(text: string): boolean {
  return text.includes('${');
}

/** @throws TidemarkError `CONFIG_SECRET`, `CONFIG_VALUE` (a `${` that cannot be read) */
export async function resolveReferences(text: string, scope: ReferenceScope): Promise<string> {
  const parts: string[] = [];
  let done = 0;
  for (const match of text.matchAll(REFERENCE)) {
    parts.push(text.slice(done, match.index));
    done = match.index + match[0].length;
    if (match[0] === '$${') parts.push('${');
    else if (match[2] === '') throw new TidemarkError('CONFIG_VALUE', 'a ${ is not closed; a plain ${ is written as $${');
    else parts.push(await resolveOne(match[1] ?? '', scope));
  }
  parts.push(text.slice(done));
  return parts.join('');
}

async function resolveOne(reference: string, scope: ReferenceScope): Promise<string> {
  if (reference.startsWith('file:')) return readSecret(reference.slice('file:'.length), scope);
  const [, name, fallback] = VARIABLE.exec(reference) ?? [];
  if (name === undefined) {
    throw new TidemarkError('CONFIG_VALUE', '${...} holds neither the name of an environment variable nor file:PATH', {
      remedy: 'Write ${NAME}, ${NAME:-default} or ${file:path}; a plain ${ is written as $${.',
    });
  }
  const value = scope.env[name];
  if (value !== undefined && (value !== '' || fallback === undefined)) return value;
  if (fallback !== undefined) return fallback;
  throw new TidemarkError('CONFIG_SECRET', `the environment variable ${name} is not set`, {
    remedy: `Set ${name}, or give a default: \${${name}:-default}.`,
  });
}

/** The content of a file without the line break at its end. */
async function readSecret(path: string, scope: ReferenceScope): Promise<string> {
  const absolute = isAbsolute(path) ? path : resolve(scope.folder, path);
  let bytes: Buffer;
  try {
    bytes = await readFile(absolute);
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unreadable';
    throw new TidemarkError('CONFIG_SECRET', `the secret file ${absolute} cannot be read (${why})`, { cause });
  }
  if (bytes.length > MAX_SECRET_BYTES) {
    throw new TidemarkError('CONFIG_SECRET', `the secret file ${absolute} is larger than ${MAX_SECRET_BYTES} bytes`);
  }
  return bytes.toString('utf8').replace(/\r?\n$/, '');
}
