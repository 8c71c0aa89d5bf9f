import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { LogCore } from '../log-core.ts';

/** It is looked so often, in bytes of work. */
const LOOK_BYTES = 16 << 20;
/** Room that is left to those who append, at most; on a small disk a fortieth of it. */
const LEFT_BYTES = 256 << 20;
const PART = 40;

/** Stops work that writes beside the log before it takes the last room on the disk from it. */
export class RoomCheck {
  readonly #core: LogCore;
  #bytes = 0;

  constructor(core: LogCore) {
    this.#core = core;
  }

  /** So many bytes more have been worked on. A promise only when it is time to look. @throws TidemarkError `LOG_DISK_FULL` */
  worked(bytes: number): void | Promise<void> {
    this.#bytes += bytes;
    if (this.#bytes < LOOK_BYTES) return;
    this.#bytes = 0;
    return this.#look();
  }

  async #look(): Promise<void> {
    const { files, directory, source } = this.#core;
    const space = (await files.space?.(directory)) ?? null;
    if (space === null || space.free >= Math.min(LEFT_BYTES, space.total / PART)) return;
    throw new TidemarkError('LOG_DISK_FULL', `folding takes more room than there is: ${space.free} bytes are left`, { where: { source } });
  }
}
