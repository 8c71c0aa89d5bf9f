import { join } from 'node:path';
import type { FileSystem } from '../../contracts/runtime.ts';

/**
 * What of a data folder is not backed up. Logs are taken by their manifests. The lock, the socket and their like are of the
 * running process; the index of large rows is made again from the log; folders for sorting hold nothing else. A rebuild
 * under way goes on with what it has made at the sink, which is not there, or another, when the folder is restored.
 */
const LEFT_OUT: readonly RegExp[] = [
  /^log$/, /^lock$/, /^hub\.pid$/, /^hub\.sock(\.path)?$/, /^sorting$/, /^restoring$/, /^sources\/[^/]+\/(whole-rows|copies)(\.|$)/,
  /^sinks\/[^/]+\/(verify$|rebuild)/, /(^|\/)scratch[^/]*$/, /\.(new|spill)$/,
];
/** Folders are looked into so far down. */
const DEEPEST = 4;

/**
 * The files of a data folder beside its logs: dead letters, which tables sinks have been given, pauses, the key of hashed columns.
 * Paths in the folder with `/` between their parts. All of them are replaced as a whole whenever they change.
 */
export async function otherFiles(files: FileSystem, data: string): Promise<string[]> {
  return (await filesIn(files, data, '', 1)).toSorted();
}

async function filesIn(files: FileSystem, data: string, within: string, depth: number): Promise<string[]> {
  const found: string[] = [];
  for (const name of await files.list(join(data, within))) {
    const path = within === '' ? name : `${within}/${name}`;
    if (LEFT_OUT.some((pattern) => pattern.test(path))) continue;
    if (depth < DEEPEST && (await isFolder(files, join(data, path)))) found.push(...(await filesIn(files, data, path, depth + 1)));
    else found.push(path);
  }
  return found;
}

async function isFolder(files: FileSystem, path: string): Promise<boolean> {
  try {
    await files.list(path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOTDIR') return false;
    throw error;
  }
}
