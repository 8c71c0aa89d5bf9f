import { dirname, join } from 'node:path';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { LogEngine } from '../../../contracts/log-engine.ts';
import { BEFORE_ALL } from '../../../contracts/offset.ts';
import type { FileSystem, Runtime } from '../../../contracts/runtime.ts';
import { diskError, folderError, readError } from './disk-error.ts';
import { folderName, LOG_FOLDER } from './log-folder.ts';
import { manifestUpTo, logFolders, stoppedLog, type HeldLog, type RunningHold } from './held-log.ts';
import { levelLock, type DirectoryLock } from './lock.ts';
import { DEFAULT_OPTIONS, LogCore, type EmbeddedLogOptions } from './log-core.ts';
import { encodeManifest, MANIFEST_FILE, type Manifest } from './manifest.ts';
import { recoverLog, type Recovered } from './recovery/recovery.ts';
import { repairLog } from './recovery/repair.ts';
import { segmentsUpTo, endWithin } from './segments/sealing.ts';
import { fileNumber, ID_BYTES } from './segments/segment.ts';
import { EmbeddedSourceLog } from './source-log.ts';
import { mustBeRestored } from './unfinished.ts';

export interface EmbeddedEngineOptions extends Partial<EmbeddedLogOptions> {
  /** Default: a lock that the kernel holds. */
  readonly lock?: DirectoryLock;
}

/**
 * The log engine of one node: files in a data folder, nothing else. Owns the folder while it is open.
 * Disposing closes writers (what they accepted becomes durable), ends readers, and gives the folder free.
 */
export class EmbeddedLogEngine implements LogEngine {
  readonly #directory: string;
  readonly #runtime: Runtime;
  readonly #options: EmbeddedLogOptions;
  readonly #lock: AsyncDisposable | null;
  readonly #logs = new Map<string, Promise<EmbeddedSourceLog>>();
  #closing: Promise<void> | null = null;

  private constructor(directory: string, runtime: Runtime, options: EmbeddedEngineOptions, lock: AsyncDisposable | null) {
    this.#directory = directory;
    this.#runtime = runtime;
    this.#options = { ...DEFAULT_OPTIONS, ...options };
    this.#lock = lock;
  }

  /**
   * Opens the logs of a data folder for writing; makes the folder if it is not there.
   * @param directory absolute path of the data folder
   * @throws TidemarkError `LOG_LOCKED` while another hub uses the folder, `LOG_WRITE_FAILED`, `LOG_DISK_FULL`
   */
  static async create(directory: string, runtime: Runtime, options: EmbeddedEngineOptions = {}): Promise<EmbeddedLogEngine> {
    await mustBeRestored(runtime.files, directory);
    await makeDurable(directory, runtime.files);
    const lock = await (options.lock ?? levelLock).acquire(directory, runtime);
    return new EmbeddedLogEngine(directory, runtime, options, lock);
  }

  /**
   * The logs of a stopped hub's folder, without taking the folder or changing a file. Of a running hub's folder it
   * shows what stood there at the moment of opening.
   */
  static async openReadOnly(directory: string, runtime: Runtime): Promise<EmbeddedLogEngine> {
    await mustBeRestored(runtime.files, directory);
    if (!(await runtime.files.exists(join(directory, LOG_FOLDER)))) {
      throw new TidemarkError('LOG_UNKNOWN', 'there is no log in the folder', { where: { file: directory } });
    }
    return new EmbeddedLogEngine(directory, runtime, {}, null);
  }

  async sources(): Promise<string[]> {
    const { files } = this.#runtime;
    const folder = join(this.#directory, LOG_FOLDER);
    if (!(await files.exists(folder))) return [];
    const sources: string[] = [];
    for (const name of await files.list(folder)) {
      if (await files.exists(join(folder, name, MANIFEST_FILE))) sources.push(decodeURIComponent(name));
    }
    return sources.toSorted();
  }

  open(source: string, options: { create: boolean }): Promise<EmbeddedSourceLog> {
    if (this.#closing !== null) return Promise.reject(new TidemarkError('LOG_CLOSED', 'the log engine has been closed'));
    const known = this.#logs.get(source);
    if (known !== undefined) return known;
    const opening = this.#open(source, options.create).catch((error: unknown) => {
      this.#logs.delete(source);
      throw readError(error, { source });
    });
    this.#logs.set(source, opening);
    return opening;
  }

  /**
   * Holds the files of all logs as they are at this moment. A log that cannot be opened is held as it stands, since nobody
   * writes it; one whose manifest cannot be read is left out.
   */
  async hold(): Promise<RunningHold> {
    const { files } = this.#runtime;
    await using held = new AsyncDisposableStack();
    const logs: HeldLog[] = [];
    const cores: LogCore[] = [];
    for (const { source, folder } of await logFolders(files, this.#directory)) {
      const log = await this.#openOrNull(source);
      if (log === null) {
        const stopped = await stoppedLog(files, this.#directory, folder).catch(unreadable);
        if (stopped !== null) logs.push(stopped);
        continue;
      }
      held.use(log.core.holdFiles());
      cores.push(log.core);
      logs.push({ source, folder, manifest: manifestUpTo(log.core.manifest, log.core.view.end) });
    }
    const holds = held.move();
    return {
      folder: { data: this.#directory, logs },
      keepsRemoved: () => cores.some(({ keepsRemoved }) => keepsRemoved),
      [Symbol.asyncDispose]: () => holds.disposeAsync(),
    };
  }

  async #openOrNull(source: string): Promise<EmbeddedSourceLog | null> {
    if (this.#lock === null) return null;
    return this.open(source, { create: false }).catch(unreadable);
  }

  async #open(source: string, create: boolean): Promise<EmbeddedSourceLog> {
    const { files } = this.#runtime;
    const readOnly = this.#lock === null;
    const directory = join(this.#directory, LOG_FOLDER, folderName(source));
    if (!(await files.exists(join(directory, MANIFEST_FILE)))) {
      if (!create) throw new TidemarkError('LOG_UNKNOWN', `there is no log of ${source}`, { where: { source } });
      if (readOnly) throw new TidemarkError('LOG_READ_ONLY', `a log of ${source} was to be made`, { where: { source } });
      await this.#assertNew(source, directory);
      await this.#make(source, directory);
    }
    const recovered = readOnly ? await recoverBeside(files, directory, source) : await recoverLog(files, directory, source);
    const { catalog, extents, openSegments } = recovered;
    const segments = readOnly ? segmentsUpTo(recovered, recovered.manifest.segments, recovered.end) : recovered.manifest.segments;
    const core = new LogCore(
      { source, directory, runtime: this.#runtime, options: this.#options, readOnly },
      {
        manifest: { ...recovered.manifest, segments },
        end: readOnly ? endWithin(segments, recovered.end) : recovered.end,
        catalog,
        extents,
        openSegments,
      },
    );
    if (!readOnly) await repairLog(core, recovered);
    const { highWatermark } = core.progress();
    this.#runtime.logger.log('info', 'log.open', { source, highWatermark, segments: core.view.segments.length, readOnly });
    return new EmbeddedSourceLog(core);
  }

  /** Segments without a manifest are a log that has lost it: a new log would remove them. */
  async #assertNew(source: string, directory: string): Promise<void> {
    const { files } = this.#runtime;
    if (!(await files.exists(directory))) return;
    const segment = (await files.list(directory)).find((name) => fileNumber(name) !== null);
    if (segment === undefined) return;
    throw new TidemarkError('LOG_CORRUPT', `the manifest of the log is missing, ${segment} is there`, {
      where: { source, file: join(directory, MANIFEST_FILE) },
    });
  }

  async #make(source: string, directory: string): Promise<void> {
    const { files, random } = this.#runtime;
    const manifest: Manifest = {
      source,
      logId: random.bytes(ID_BYTES).toString('hex'),
      horizon: BEFORE_ALL,
      base: null,
      leases: [],
      nextBase: 1,
      durable: BEFORE_ALL,
      epochs: [{ id: random.bytes(ID_BYTES).toString('hex'), start: BEFORE_ALL }],
      segments: [],
      nextSegment: 1,
      sealedPosition: null,
      sealedCommitTime: 0,
    };
    try {
      await files.makeDirectory(directory);
      await files.syncDirectory(this.#directory);
      await files.syncDirectory(join(this.#directory, LOG_FOLDER));
      await files.replace(join(directory, MANIFEST_FILE), encodeManifest(manifest));
    } catch (error) {
      throw diskError(error, 'the log could not be made', { source, file: directory });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const failures: unknown[] = [];
    for (const opening of this.#logs.values()) {
      try {
        await (await opening)[Symbol.asyncDispose]();
      } catch (error) {
        failures.push(error);
      }
    }
    await this.#lock?.[Symbol.asyncDispose]();
    if (failures.length > 0) throw failures[0];
  }
}

/** What cannot be read is left to who looks for damage. */
function unreadable(error: unknown): null {
  if (error instanceof TidemarkError && (error.code === 'LOG_CORRUPT' || error.code === 'LOG_FORMAT' || error.code === 'LOG_UNKNOWN')) return null;
  throw error;
}

/**
 * For who reads the folder of a hub that may run: what is read before it is written, and a header behind it read after
 * that, look like damage. Damage is what stands at the same place when all is read again.
 */
async function recoverBeside(files: FileSystem, directory: string, source: string): Promise<Recovered> {
  for (let before = ''; ; ) {
    try {
      return await recoverLog(files, directory, source);
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'LOG_CORRUPT' || error.message === before) throw error;
      before = error.message;
    }
  }
}

/** Makes a folder with those above it that are missing; their names are durable. */
async function makeDurable(directory: string, files: FileSystem): Promise<void> {
  const parents: string[] = [];
  try {
    for (let at = directory; at !== dirname(at) && !(await files.exists(at)); at = dirname(at)) parents.push(dirname(at));
    if (parents.length === 0) return;
    await files.makeDirectory(directory);
    for (const parent of parents.toReversed()) await files.syncDirectory(parent);
  } catch (error) {
    throw folderError(error, 'the data folder could not be made', directory);
  }
}
