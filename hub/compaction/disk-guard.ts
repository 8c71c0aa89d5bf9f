import { join } from 'node:path';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import { formatSize } from '../../contracts/units.ts';
import { limitOf, marginOf, roomOf, type DiskLevel, type DiskRoom, type DiskUse } from './disk-limit.ts';

/** How often it is looked, in milliseconds. */
const INTERVAL_MS = 2000;
/** How often what is beside the logs is added up. */
const OTHERS_MS = 60_000;
/** Folders beside the logs. */
const OTHERS = ['sources', 'sinks'] as const;

export interface DiskGuardParts {
  /** The data folder. */
  readonly data: string;
  /** Bytes that it may take; null: the disk alone is the limit. */
  readonly limit: number | null;
  /** Bytes of all logs, at this moment. */
  readonly logBytes: () => number;
  readonly runtime: Runtime;
  /** The level has changed. */
  readonly onLevel: (level: DiskLevel) => void;
}

/**
 * Keeps the data folder within its limit, and the disk from being filled: says when room gets low, and lets nobody append
 * to a log once it is nearly gone. What may be appended until the next look is counted, so that no burst comes between.
 */
export class DiskGuard {
  readonly #parts: DiskGuardParts;
  #room: DiskRoom = { used: 0, limit: Number.POSITIVE_INFINITY, level: 'ok' };
  /** Bytes that may be appended before it is looked again. */
  #left = 0;
  #others = 0;
  #othersAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | null = null;
  #stop: AbortController | null = null;
  #done: Promise<void> = Promise.resolve();

  constructor(parts: DiskGuardParts) {
    this.#parts = parts;
  }

  /** As of the last look. */
  get room(): DiskRoom {
    return this.#room;
  }

  /** What is wrong, for people; null: nothing. */
  get warning(): string | null {
    const { used, limit, level } = this.#room;
    if (level === 'ok') return null;
    const what = `the data folder takes ${formatSize(used)} of ${formatSize(limit)}`;
    return level === 'full' ? `${what}: nothing is captured until there is room` : `${what}: history is folded beyond what is configured`;
  }

  start(): void {
    if (this.#stop !== null) return;
    this.#stop = new AbortController();
    this.#done = this.#run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop?.abort(new Error('the disk is not watched any more'));
    this.#stop = null;
    await this.#done;
  }

  /**
   * So many bytes are about to be appended. A promise only where it must be looked first.
   * @throws TidemarkError `LOG_DISK_LIMIT`: there is no room for them
   */
  admit(bytes: number): void | Promise<void> {
    this.#left -= bytes;
    if (this.#left >= 0) return;
    return this.#admitAfterLook(bytes);
  }

  async #admitAfterLook(bytes: number): Promise<void> {
    await this.look();
    this.#left -= bytes;
    // More at once than there is room is let through while it is not full: it may be one row.
    if (this.#room.level === 'full') throw this.#full();
  }

  /** @throws TidemarkError `LOG_DISK_LIMIT` while nothing may be appended */
  async assertRoom(): Promise<void> {
    await this.look();
    if (this.#room.level === 'full') throw this.#full();
  }

  #full(): TidemarkError {
    const { used, limit } = this.#room;
    return new TidemarkError('LOG_DISK_LIMIT', `the data folder takes ${used} bytes, and may take ${limit}`, { where: { file: this.#parts.data } });
  }

  /** Looks now; those who ask meanwhile share one look. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { limit, runtime } = this.#parts;
    const before = this.#room.level;
    const use = await this.#use();
    this.#room = roomOf(use, limit, before);
    const { level } = this.#room;
    const most = limitOf(use, limit);
    this.#left = Number.isFinite(most) ? Math.max(0, most - use.used - marginOf(most)) : Number.POSITIVE_INFINITY;
    if (level === before) return;
    const fields = { level, used: use.used, limit: this.#room.limit, free: use.free };
    if (level === 'ok') runtime.logger.log('info', 'disk.room-again', fields);
    else runtime.logger.log(level === 'full' ? 'error' : 'warn', level === 'full' ? 'disk.capture-stopped' : 'disk.almost-full', fields);
    this.#parts.onLevel(level);
  }

  async #use(): Promise<DiskUse> {
    const { data, runtime, logBytes } = this.#parts;
    try {
      await this.#addOthers();
      const space = (await runtime.files.space?.(data)) ?? null;
      return { used: logBytes() + this.#others, free: space?.free ?? null, total: space?.total ?? null };
    } catch (failure) {
      runtime.logger.log('debug', 'disk.unknown', { what: String(failure) });
      return { used: logBytes() + this.#others, free: null, total: null };
    }
  }

  async #addOthers(): Promise<void> {
    const { data, runtime } = this.#parts;
    const now = runtime.clock.monotonic();
    if (runtime.files.taken === undefined || now - this.#othersAt < OTHERS_MS) return;
    this.#othersAt = now;
    let others = 0;
    for (const folder of OTHERS) others += await runtime.files.taken(join(data, folder));
    this.#others = others;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts.runtime;
    while (!signal.aborted) {
      await this.look();
      await clock.sleep(INTERVAL_MS, signal).catch((reason: unknown) => {
        if (!signal.aborted) throw reason;
      });
    }
  }
}
