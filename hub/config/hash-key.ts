import { join } from 'node:path';
import type { HubConfig, SourceConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { FileSystem, Random } from '../../contracts/runtime.ts';
import { folderError } from '../log/embedded/disk-error.ts';

const FILE = 'hash-key';
const KEY = /^[0-9a-f]{64}$/;

/**
 * The configuration with a key for every source that hashes columns and has none of its own: one key per data folder,
 * made at first need. It lives as long as the log whose values it made, so that the same value keeps the same hash.
 * @throws TidemarkError `CONFIG_SECRET` when the file is there and holds no key, `FOLDER_DENIED`, `LOG_DISK_FULL`, `LOG_WRITE_FAILED`
 */
export async function withHashKeys(config: HubConfig, files: FileSystem, random: Random): Promise<HubConfig> {
  if (![...config.sources.values()].some(needsKey)) return config;
  return withHashKey(config, await keyOf(config.data, files, random));
}

/** The configuration with `hashKey` for every source that needs a key and has none. */
export function withHashKey(config: HubConfig, hashKey: string): HubConfig {
  const sources = new Map([...config.sources].map(([name, source]) => [name, needsKey(source) ? { ...source, hashKey } : source]));
  return { ...config, sources };
}

function needsKey(source: SourceConfig): boolean {
  return source.hashKey === null && [...source.columns.values()].some((rules) => rules.hash.length > 0);
}

async function keyOf(folder: string, files: FileSystem, random: Random): Promise<string> {
  const path = join(folder, FILE);
  try {
    if (!(await files.exists(path))) {
      await files.makeDirectory(folder);
      await files.replace(path, Buffer.from(`${random.bytes(32).toString('hex')}\n`, 'utf8'));
    }
  } catch (error) {
    throw folderError(error, 'the key of hashed columns could not be kept', folder);
  }
  // What stands there counts, also when another process was quicker.
  const key = (await files.readFile(path)).toString('utf8').trim();
  if (!KEY.test(key)) {
    throw new TidemarkError('CONFIG_SECRET', `${path} does not hold a key of 64 hex digits`, {
      remedy: 'Restore the file from a copy. With another key, columns that are hashed must be copied again.',
      where: { file: path },
    });
  }
  return key;
}
