import type { EpochId } from '../../../../contracts/checkpoint.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import type { LogFile } from '../../../../contracts/runtime.ts';
import type { LogCore } from '../log-core.ts';
import type { SegmentEntry } from '../manifest.ts';
import { SegmentIndexBuilder } from './segment-index.ts';
import { encodeSegmentHeader, SEGMENT_HEADER } from './segment.ts';

/** Zeros that are written ahead of small writes, bytes. */
const AHEAD = Buffer.alloc(256 << 10);
/** Writes of less than this are small, bytes: what a sync costs then is not their content. */
const SMALL = 64 << 10;

/**
 * The active segment: owns its file. While writes are small, zeros stand ahead of them: a sync of bytes that were
 * allocated before leaves the file system's journal alone, which others on the disk may keep busy for long.
 */
export class SegmentFile {
  readonly number: number;
  readonly index: SegmentIndexBuilder;
  readonly #core: LogCore;
  readonly #file: LogFile;
  /** Bytes handed to the operating system. */
  position = SEGMENT_HEADER;
  /** Bytes that are durable. */
  durable = SEGMENT_HEADER;
  /** Byte after the zeros that stand behind `position`. */
  #zeroed = 0;

  private constructor(core: LogCore, number: number, index: SegmentIndexBuilder, file: LogFile) {
    this.#core = core;
    this.number = number;
    this.index = index;
    this.#file = file;
  }

  /**
   * Makes a new segment and closes the one before, which must be durable to its end. File and directory are durable
   * before the manifest names it, so that a segment of the manifest is always there.
   */
  static async create(core: LogCore, epoch: EpochId, base: Offset, before: SegmentFile | null, durable: Offset): Promise<SegmentFile> {
    const number = core.takeSegmentNumber();
    const path = core.segmentPath(number);
    // One that an earlier, failed attempt left; the manifest has never named it.
    await core.files.remove(path);
    const file = await core.files.open(path, 'create');
    try {
      await file.write([encodeSegmentHeader({ logId: core.manifest.logId, epoch, base, number })], 0);
      await file.sync();
      await core.files.syncDirectory(core.directory);
      const entry: SegmentEntry = { state: 'active', number, epoch, base };
      const index = new SegmentIndexBuilder();
      core.openSegments.set(number, { index, closing: null, stored: null });
      await core.updateManifest((manifest) => ({
        ...manifest,
        durable: Math.max(manifest.durable, durable),
        segments: [...manifest.segments.map((segment) => closedBefore(segment, before, base)), entry],
      }));
      if (before !== null) await before.close(false);
      return new SegmentFile(core, number, index, file);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async write(buffers: readonly Buffer[], end: number): Promise<void> {
    const small = end - this.position < SMALL;
    await this.#file.write(buffers, this.position);
    this.position = end;
    if (small && end > this.#zeroed) await this.#writeAhead();
  }

  async #writeAhead(): Promise<void> {
    try {
      await this.#file.write([AHEAD], this.position);
      this.#zeroed = this.position + AHEAD.length;
    } catch (error) {
      // What is to be written stands in front of them. A full disk, say, is told by the write that needs the room.
      const why = error instanceof Error ? error.message : String(error);
      this.#core.runtime.logger.log('debug', 'log.no-room-ahead', { source: this.#core.source, segment: this.number, why });
    }
  }

  /** Makes what was written so far durable, at least up to `end`. */
  async sync(end: number): Promise<void> {
    await this.#file.sync();
    this.durable = end;
  }

  /** @param truncate after a failure: drops what is not durable, so that its pages cannot pass for written ones. */
  async close(truncate: boolean): Promise<void> {
    try {
      if (truncate) await this.#file.truncate(this.durable);
      else if (this.#zeroed > this.position) await this.#file.truncate(this.position);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#core.runtime.logger.log('warn', 'log.truncate-failed', { source: this.#core.source, segment: this.number, why });
    }
    try {
      await this.#file.close();
    } catch (error) {
      // What counts is durable by a sync before, or given up.
      const why = error instanceof Error ? error.message : String(error);
      this.#core.runtime.logger.log('warn', 'log.close-failed', { source: this.#core.source, segment: this.number, why });
    }
  }
}

function closedBefore(segment: SegmentEntry, before: SegmentFile | null, base: Offset): SegmentEntry {
  if (segment.state !== 'active' || segment.number !== before?.number) return segment;
  return { state: 'closed', number: segment.number, epoch: segment.epoch, base: segment.base, bytes: before.position, last: base - 1 };
}
