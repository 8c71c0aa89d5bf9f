import { join } from 'node:path';
import type { FileSystem } from '../../contracts/runtime.ts';
import { DeadLetters } from '../dead-letters/dead-letters.ts';

/** What a shadow has left out. @param directory of the sink's files */
export function shadowLettersPath(directory: string): string {
  return join(directory, 'rebuild-dead-letters.json');
}

/**
 * Whether a shadow was swapped in will not be learned: what it has left out may be missing at the sink, and is the sink's
 * from here on. One letter too many is closed as soon as its key is written or tried again.
 */
export async function keepLetters(files: FileSystem, directory: string, letters: DeadLetters): Promise<void> {
  const shadowed = await DeadLetters.load(files, shadowLettersPath(directory));
  await letters.write(shadowed.list().filter(({ tableId, key }) => !letters.has(tableId, key)));
}
