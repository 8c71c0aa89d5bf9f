import { join } from 'node:path';
import type { LogCore } from '../log-core.ts';
import { baseFileNumbers, loadManifest, MANIFEST_FILE, type Manifest } from '../manifest.ts';
import type { Extents } from './kept-tables.ts';

/** A file that a step has made. */
export interface WrittenFile {
  readonly path: string;
  /** The step's manifest names it; false: it turned out not to be needed. */
  readonly isNamed: boolean;
}

/**
 * Files of steps that write aside and then replace the manifest: what a failed step has made is removed, unless the
 * manifest on the disk may name it; then when a later one is known not to. So that steps which fail again and again, on a
 * full disk above all, do not fill it.
 */
export class StepFiles {
  readonly #core: LogCore;
  /** Not named by the manifest in memory; by the one on the disk perhaps, until another has been written. */
  #doubtful: string[] = [];
  /** Named by no manifest; could not be removed yet. */
  #leftOver: string[] = [];
  /** The step under way has tried to replace the manifest. */
  #isNaming = false;

  constructor(core: LogCore) {
    this.#core = core;
  }

  /** Runs a step, which answers what it wants; it names its files by {@link name}, last of all. */
  async write<T>(step: (files: WrittenFile[]) => Promise<T>): Promise<T> {
    const files: WrittenFile[] = [];
    this.#isNaming = false;
    try {
      const done = await step(files);
      await this.discard(files.filter(({ isNamed }) => !isNamed).map(({ path }) => path));
      return done;
    } catch (error) {
      const paths = files.map(({ path }) => path);
      if (this.#isNaming && (await this.#mayBeNamed(paths))) this.#doubtful.push(...paths);
      else await this.discard(paths);
      throw error;
    }
  }

  /**
   * Replaces the manifest by one that names the step's files; null: it stays as it is, and the files go.
   * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`: on the disk is the old or the new one
   */
  async name(files: WrittenFile[], change: (manifest: Manifest) => Manifest | null, extents?: Extents): Promise<void> {
    let isNamed = false;
    const before = this.#core.view.extents;
    await this.#core.updateManifest((manifest) => {
      const next = change(manifest);
      isNamed = next !== null;
      this.#isNaming = isNamed;
      return next ?? manifest;
    }, undefined, extents === undefined ? undefined : () => (isNamed ? extents : before));
    this.#isNaming = false;
    // Whatever fails from here on, these are the log's.
    const own = isNamed ? files.filter((file) => !file.isNamed) : files.map(({ path }) => ({ path, isNamed: false }));
    files.splice(0, files.length, ...own);
  }

  /** False when the manifest that stands on the disk names none of the files: it was not replaced, and will not be. */
  async #mayBeNamed(paths: readonly string[]): Promise<boolean> {
    const core = this.#core;
    try {
      const { base } = await loadManifest(core.files, join(core.directory, MANIFEST_FILE));
      const named = new Set(base === null ? [] : baseFileNumbers(base).flatMap((number) => [core.runPath(number), core.catalogPath(number)]));
      return paths.some((path) => named.has(path));
    } catch (error) {
      core.runtime.logger.log('debug', 'log.file-left', { source: core.source, what: String(error) });
      return true;
    }
  }

  /** Removes what earlier steps have left. @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL` */
  async sweep(): Promise<void> {
    if (this.#doubtful.length > 0) {
      if (await this.#mayBeNamed(this.#doubtful)) await this.#core.updateManifest((manifest) => manifest);
      this.#leftOver.push(...this.#doubtful.splice(0));
    }
    if (this.#leftOver.length > 0) await this.discard(this.#leftOver.splice(0));
  }

  /** Removes a folder in which a call has sorted, at once: nobody holds it, and the call's next step makes it again. */
  async removeScratch(path: string): Promise<void> {
    try {
      await this.#core.files.remove(path);
    } catch (error) {
      this.#leftOver.push(path);
      this.#core.runtime.logger.log('debug', 'log.file-left', { source: this.#core.source, what: String(error) });
    }
  }

  /** Removes files that no manifest names; one that cannot be removed stays until the next step, or the next opening. */
  async discard(paths: readonly string[]): Promise<void> {
    for (const path of paths) {
      try {
        await this.#core.discard(path);
      } catch (error) {
        this.#leftOver.push(path);
        this.#core.runtime.logger.log('debug', 'log.file-left', { source: this.#core.source, what: String(error) });
      }
    }
  }
}
