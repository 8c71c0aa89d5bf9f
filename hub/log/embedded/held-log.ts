import { join } from 'node:path';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';
import { readError } from './disk-error.ts';
import { LOG_FOLDER, logFolder } from './log-folder.ts';
import type { Boundary } from './log-core.ts';
import { loadManifest, MANIFEST_FILE, type Manifest } from './manifest.ts';
import { recoverLog } from './recovery/recovery.ts';
import { sealedProgress } from './segments/sealing.ts';
import { fileNumber } from './segments/segment.ts';

/** One log at one moment: what its files held up to its high watermark. */
export interface HeldLog {
  readonly source: string;
  /** Name of its folder in the folder of the logs. */
  readonly folder: string;
  /** Ends at the high watermark; its last segment, too, has an end. */
  readonly manifest: Manifest;
}

/** The logs of one data folder at one moment. */
export interface HeldFolder {
  /** Absolute path of the data folder. */
  readonly data: string;
  readonly logs: readonly HeldLog[];
}

/** As long as it is not disposed, every file that the manifests name stays, and its bytes up to their ends stay as they are. */
export interface FolderHold extends AsyncDisposable {
  readonly folder: HeldFolder;
}

/** Of a hub that runs. */
export interface RunningHold extends FolderHold {
  /** True when files stay on the disk for the sake of holds alone. */
  keepsRemoved(): boolean;
}

/** A manifest of the log as it is at `end`, of which nothing is written any more. */
export function manifestUpTo(manifest: Manifest, end: Boundary): Manifest {
  const segments = manifest.segments.flatMap((segment): Manifest['segments'][number][] => {
    if (segment.number > end.segment) return [];
    if (segment.state === 'sealed' || (segment.state === 'closed' && segment.number < end.segment)) return [segment];
    const { number, epoch, base } = segment;
    return [{ state: 'closed', number, epoch, base, bytes: end.position, last: end.offset }];
  });
  const progress = segments.every(({ state }) => state === 'sealed') ? sealedProgress(end) : {};
  return { ...manifest, ...progress, segments, durable: end.offset };
}

/** The last offset of a manifest whose segments all have an end; of others that of the last segment that has one. */
export function lastOffset({ segments, horizon }: Manifest): Offset {
  const last = segments.findLast((segment) => segment.state !== 'active');
  return last === undefined ? horizon : last.last;
}

/** The folders of logs in a data folder, by the sources' names. @throws TidemarkError `LOG_UNKNOWN` when there is no log */
export async function logFolders(files: FileSystem, data: string): Promise<{ readonly source: string; readonly folder: string }[]> {
  const logs = join(data, LOG_FOLDER);
  if (!(await files.exists(logs))) throw new TidemarkError('LOG_UNKNOWN', 'there is no log in the folder', { where: { file: data } });
  const found: { source: string; folder: string }[] = [];
  for (const folder of await files.list(logs)) {
    const names = await files.list(join(logs, folder));
    if (names.some((name) => name === MANIFEST_FILE || fileNumber(name) !== null)) found.push({ source: decodeURIComponent(folder), folder });
  }
  return found;
}

/**
 * The log of a folder in which no hub runs. One of which the end cannot be told because it is damaged keeps the manifest
 * that stands there.
 * @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT`, `LOG_READ_FAILED` when the manifest itself cannot be read
 */
export async function stoppedLog(files: FileSystem, data: string, folder: string): Promise<HeldLog> {
  const source = decodeURIComponent(folder);
  const directory = logFolder(data, folder);
  try {
    const manifest = await loadManifest(files, join(directory, MANIFEST_FILE));
    try {
      const recovered = await recoverLog(files, directory, source);
      return { source, folder, manifest: manifestUpTo(recovered.manifest, recovered.end) };
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'LOG_CORRUPT') return { source, folder, manifest };
      throw error;
    }
  } catch (error) {
    throw readError(error, { source, file: directory });
  }
}
