import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { ReadOptions } from '../../../../contracts/log-engine.ts';
import { MAX_OFFSET, type Offset } from '../../../../contracts/offset.ts';
import type { LogFile } from '../../../../contracts/runtime.ts';
import { hasContent, joinBatches, trimBatch } from '../segments/batch-rules.ts';
import { readError } from '../disk-error.ts';
import type { LogCore, LogView } from '../log-core.ts';
import type { SegmentEntry } from '../manifest.ts';
import { SegmentCursor, type Damage, type StoredBatch } from '../segments/segment-cursor.ts';
import { decodeSegmentHeader, SEGMENT_HEADER } from '../segments/segment.ts';
import { aborted } from '../../../waiters.ts';

/** Small batches are given to a reader as one of about this size; one of this size or more is given as it is. */
const JOIN_BYTES = 128 * 1024;
const JOIN_BATCHES = 2048;

/** A place in the files: where the next batch begins. */
export interface Place {
  readonly segment: number;
  readonly position: number;
}

/** @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `LOG_CLOSED`, `ABORTED` */
export async function* readLog(core: LogCore, options: ReadOptions): AsyncGenerator<ChangeBatch, void, void> {
  const { after, follow, signal } = options;
  const to = options.to ?? MAX_OFFSET;
  assertAboveHorizon(core, after);
  using pin = core.pins.pin(after, options.keeps);
  const walk = new LogWalk(core, recentPlace(core, after) ?? (await placeOf(core, after)), after, options.transient === true);
  try {
    for (;;) {
      if (signal.aborted) throw aborted(signal);
      const batch = await walk.next();
      if (batch === null) {
        if (!follow || core.view.end.offset >= to) return;
        await core.until((view) => walk.hasMore(view), signal);
        continue;
      }
      if (batch.baseOffset > to + 1) return;
      if (batch.lastOffset <= after && batch.baseOffset <= after) continue;
      const trimmed = hasContent(batch) ? trimBatch(batch, after, to) : null;
      if (trimmed === null) continue;
      pin.moveTo(trimmed.lastOffset);
      yield trimmed;
    }
  } catch (error) {
    // What was to be read next has been folded into the base: its files are gone.
    assertAboveHorizon(core, pin.offset);
    throw error;
  } finally {
    await walk.close();
  }
}

function assertAboveHorizon(core: LogCore, after: Offset): void {
  const { horizon } = core.view;
  if (after >= horizon) return;
  throw new TidemarkError('LOG_BELOW_HORIZON', `reading after offset ${after}; the horizon is ${horizon}`, {
    where: { source: core.source, offset: after },
  });
}

/**
 * Where the batch begins that `after` leads into, when it is in memory: a short range at the log's end is then read
 * without what stands before it. The index knows places that are far apart.
 */
function recentPlace(core: LogCore, after: Offset): Place | null {
  // What is not durable yet may be cut, and another batch be written in its place.
  if (after >= core.view.end.offset) return null;
  return core.recent.firstAfter(after) ?? null;
}

/** A batch boundary before which no record behind `after` stands, nor what belongs to the record at `after`. */
export async function placeOf(core: LogCore, after: Offset): Promise<Place> {
  const { segments } = core.view;
  const segment = segments.findLast((entry) => entry.base <= after) ?? segments[0];
  if (segment === undefined) return { segment: 0, position: 0 };
  const place = (await core.indexOf(segment))?.placeBefore(after + 1);
  return { segment: segment.number, position: place?.position ?? SEGMENT_HEADER };
}

/**
 * Walks the batches of a log up to the end of its view, across segments: from memory where they are recent, else from
 * the disk. Owns the file it has open.
 */
class LogWalk {
  readonly #core: LogCore;
  readonly #after: Offset;
  readonly #isTransient: boolean;
  #segment: number;
  #position: number;
  /** Base offset that the next batch must have; null before the first. */
  #next: Offset | null = null;
  #file: LogFile | null = null;
  #cursor: SegmentCursor | null = null;

  /**
   * @param after the first batch holds the record behind it, or one before that
   * @param isTransient a batch is valid until the next one is asked for
   */
  constructor(core: LogCore, place: Place, after: Offset, isTransient: boolean) {
    this.#core = core;
    this.#after = after;
    this.#isTransient = isTransient;
    this.#segment = place.segment;
    this.#position = place.position;
  }

  /** True when there is a batch that `next` would give. */
  hasMore(view: LogView): boolean {
    const { end } = view;
    return end.segment > this.#segment || (end.segment === this.#segment && end.position > this.#position);
  }

  /**
   * The next batch, empty ones too; small ones that are in memory already come as one. Null at the end of what is
   * readable now.
   * @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`, `LOG_CLOSED`
   */
  async next(): Promise<ChangeBatch | null> {
    for (;;) {
      this.#core.assertOpen();
      const { view } = this.#core;
      const limit = this.#limit(view);
      if (this.#position < limit) return this.#joined(this.#follows(await this.#read(limit)), limit);
      const following = view.segments.find((segment) => segment.number > this.#segment);
      if (following === undefined || following.number > view.end.segment) return null;
      await this.close();
      this.#segment = following.number;
      this.#position = SEGMENT_HEADER;
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    this.#cursor = null;
    await file?.close();
  }

  /** The byte of the current segment up to which it may be read. */
  #limit({ segments, end }: LogView): number {
    if (this.#segment === end.segment) return end.position;
    if (this.#segment > end.segment) return 0;
    const segment = findSegment(segments, this.#segment);
    return segment === undefined || segment.state === 'active' ? 0 : segment.bytes;
  }

  async #read(limit: number): Promise<ChangeBatch> {
    const recent = this.#core.recent.find(this.#segment, this.#position);
    if (recent !== undefined) {
      this.#position = recent.end;
      this.#cursor = null;
      return recent.batch;
    }
    const stored = await this.#readStored(limit);
    if (stored?.kind !== 'batch') throw this.#corrupt(stored?.why ?? 'a batch is not there');
    if (stored.header.logId !== this.#core.manifest.logId) throw this.#corrupt('a batch belongs to another log');
    this.#position = stored.end;
    return stored.batch;
  }

  #joined(first: ChangeBatch, limit: number): ChangeBatch {
    const batches = [first];
    let bytes = first.records.length;
    while (bytes < JOIN_BYTES && batches.length < JOIN_BATCHES) {
      const batch = this.#ready(limit);
      if (batch === null) break;
      batches.push(this.#follows(batch));
      bytes += batch.records.length;
    }
    return batches.length === 1 ? first : joinBatches(batches);
  }

  /** The batch after the current one when it is small and needs no waiting for. */
  #ready(limit: number): ChangeBatch | null {
    if (this.#position >= limit) return null;
    const recent = this.#core.recent.find(this.#segment, this.#position);
    if (recent !== undefined) {
      if (recent.batch.records.length >= JOIN_BYTES) return null;
      this.#position = recent.end;
      this.#cursor = null;
      return recent.batch;
    }
    const stored = this.#cursor?.nextHeld(limit) ?? null;
    if (stored === null || stored.header.logId !== this.#core.manifest.logId) return null;
    this.#position = stored.end;
    return stored.batch;
  }

  async #readStored(limit: number): Promise<StoredBatch | Damage | null> {
    const path = this.#core.segmentPath(this.#segment);
    try {
      this.#file ??= await this.#opened(path);
      this.#cursor ??= new SegmentCursor(this.#file, this.#position, { readsAhead: true, reuses: this.#isTransient });
      return await this.#cursor.next(limit);
    } catch (error) {
      throw readError(error, { source: this.#core.source, file: path });
    }
  }

  /** The segment's file, which is what it should be by its header. */
  async #opened(path: string): Promise<LogFile> {
    const file = await this.#core.files.open(path, 'read');
    try {
      const bytes = Buffer.alloc(SEGMENT_HEADER);
      const header = (await file.read(bytes, 0)) < SEGMENT_HEADER ? null : decodeSegmentHeader(bytes);
      if (header?.number !== this.#segment || header.logId !== this.#core.manifest.logId) throw this.#corrupt('the header of the segment is not the one that was written');
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  #follows(batch: ChangeBatch): ChangeBatch {
    if (this.#next !== null && batch.baseOffset !== this.#next) throw this.#corrupt(`offset ${batch.baseOffset} follows ${this.#next - 1}`);
    if (this.#next === null && batch.baseOffset > this.#after + 1) throw this.#corrupt(`offset ${batch.baseOffset} follows ${this.#after}`);
    this.#next = batch.baseOffset + batch.count;
    return batch;
  }

  #corrupt(why: string): TidemarkError {
    return new TidemarkError('LOG_CORRUPT', `${why} at byte ${this.#position}`, {
      where: { source: this.#core.source, file: this.#core.segmentPath(this.#segment) },
    });
  }
}

function findSegment(segments: readonly SegmentEntry[], number: number): SegmentEntry | undefined {
  return segments.find((segment) => segment.number === number);
}
