import { join } from 'node:path';
import type { FileSystem } from '../../contracts/runtime.ts';
import { diskError } from '../log/embedded/disk-error.ts';

/** Folder in the data folder. */
const FOLDER = 'sorting';

/**
 * Folders for sorting, one for each who sorts, below the data folder of a hub. Nothing in them is worth keeping: a hub
 * that starts removes what an ended process has left.
 */
export class ScratchFolders {
  readonly #files: FileSystem;
  readonly #parent: string;
  readonly #owner: string;
  #named = 0;
  readonly #onNext: (path: string) => void;

  /**
   * @param owner no other process that uses the data folder has this name
   * @param onNext told of each path that is given
   */
  constructor(files: FileSystem, data: string, owner: string, onNext: (path: string) => void = () => undefined) {
    this.#files = files;
    this.#parent = join(data, FOLDER);
    this.#owner = owner;
    this.#onNext = onNext;
  }

  /** Removes what is left of everybody. For the hub alone, which holds the folder. @throws TidemarkError `LOG_WRITE_FAILED` */
  async clear(): Promise<void> {
    try {
      await this.#files.remove(this.#parent);
    } catch (error) {
      throw diskError(error, 'what was left of sorting could not be removed', { file: this.#parent });
    }
  }

  /** A path that nobody else uses. Who makes it removes it. */
  next(): string {
    const path = join(this.#parent, `${this.#owner}-${++this.#named}`);
    this.#onNext(path);
    return path;
  }
}

/** A folder that is there until it is disposed. */
export class ScratchFolder implements AsyncDisposable {
  readonly path: string;
  readonly files: FileSystem;

  private constructor(files: FileSystem, path: string) {
    this.files = files;
    this.path = path;
  }

  /** @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL` */
  static async make(files: FileSystem, path: string): Promise<ScratchFolder> {
    try {
      await files.remove(path);
      await files.makeDirectory(path);
    } catch (error) {
      throw diskError(error, 'a folder for sorting could not be made', { file: path });
    }
    return new ScratchFolder(files, path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.files.remove(this.path);
  }
}
