import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';

/** Why a sink rests, until somebody resumes it. */
export interface Pause {
  /** `operator`: somebody paused it. `rebuild`: it was rebuilt to that offset, and stays there. */
  readonly by: 'operator' | 'rebuild';
  /** Where the sink stands. */
  readonly offset: Offset;
  /** When, ISO 8601. */
  readonly at: string;
}

const VERSION = 1;

/** Whether a sink is paused, over a restart of the hub: one file that is replaced as a whole, absent when it is not. */
export class PauseFile {
  readonly #files: FileSystem;
  readonly #path: string;
  #pause: Pause | null;
  #saved: Promise<void> = Promise.resolve();
  /** The file may say something else: a save failed, or has not ended. */
  #isDirty = false;

  private constructor(files: FileSystem, path: string, pause: Pause | null) {
    this.#files = files;
    this.#path = path;
    this.#pause = pause;
  }

  /** @param path absolute. @throws TidemarkError `SINK_PAUSE_FILE` */
  static async load(files: FileSystem, path: string): Promise<PauseFile> {
    return new PauseFile(files, path, (await files.exists(path)) ? decode(await files.readFile(path), path) : null);
  }

  get pause(): Pause | null {
    return this.#pause;
  }

  /** Whether what counts is durable, so that setting it again changes nothing. */
  get isSaved(): boolean {
    return !this.#isDirty;
  }

  /** Counts at once; durable when it resolves. What was set last is what stays. */
  set(pause: Pause | null): Promise<void> {
    this.#pause = pause;
    this.#isDirty = true;
    const save = this.#saved.then(() => this.#save());
    this.#saved = save.catch(() => undefined);
    return save;
  }

  /** Resolves when nothing is being written any more, saved or failed. */
  settled(): Promise<void> {
    return this.#saved;
  }

  async #save(): Promise<void> {
    const pause = this.#pause;
    // Written first, so that it is gone for good: a file that is only removed may be back after a loss of power.
    await this.#files.replace(this.#path, Buffer.from(JSON.stringify({ version: VERSION, pause }), 'utf8'));
    if (pause === null) await this.#files.remove(this.#path);
    if (this.#pause === pause) this.#isDirty = false;
  }
}

function decode(bytes: Buffer, path: string): Pause | null {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new TidemarkError('SINK_PAUSE_FILE', 'the file is not JSON', { where: { file: path }, cause });
  }
  if (typeof value !== 'object' || value === null || !('version' in value) || value.version !== VERSION || !('pause' in value)) {
    throw new TidemarkError('SINK_PAUSE_FILE', 'the file is not of this version', { where: { file: path } });
  }
  const { pause } = value;
  if (pause !== null && !isPause(pause)) throw new TidemarkError('SINK_PAUSE_FILE', 'the pause lacks a field', { where: { file: path } });
  return pause;
}

function isPause(value: unknown): value is Pause {
  if (typeof value !== 'object' || value === null) return false;
  const { by, offset, at } = value as Partial<Record<keyof Pause, unknown>>;
  return (by === 'operator' || by === 'rebuild') && typeof offset === 'number' && typeof at === 'string';
}
