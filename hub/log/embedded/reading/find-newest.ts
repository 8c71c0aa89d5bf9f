import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { FoundRecord, NewestOptions } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { isRowOp, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { LogFile } from '../../../../contracts/runtime.ts';
import { readError } from '../disk-error.ts';
import type { LogCore } from '../log-core.ts';
import type { SegmentEntry } from '../manifest.ts';
import { SegmentCursor } from '../segments/segment-cursor.ts';
import { SEGMENT_HEADER } from '../segments/segment.ts';
import type { EmbeddedSourceLog } from '../source-log.ts';
import { aborted } from '../../../waiters.ts';

/**
 * The newest record of a key in a range of offsets: a row record with that table and key, or a truncate of the table,
 * after which no older row counts. Null when there is none.
 *
 * Reads the history backwards, a stretch of about 256 KiB at a time (one batch where it is larger), and skips segments
 * without records of the table. Cost: proportional to the distance; memory: one stretch.
 * @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`, `LOG_BELOW_HORIZON`, `ABORTED`
 */
export async function findNewest(log: EmbeddedSourceLog, tableId: number, key: Uint8Array, options: NewestOptions): Promise<FoundRecord | null> {
  const { core } = log;
  const { segments, end, horizon } = core.view;
  const atMost = Math.min(options.atMost, end.offset);
  const search = new Search(core, tableId, key, { ...options, atMost });
  for (const segment of segments.toReversed()) {
    if (segment.base > atMost || segment.number > end.segment) continue;
    const limit = segment.number === end.segment || segment.state === 'active' ? end.position : segment.bytes;
    const found = await search.inSegment(segment, limit);
    if (found !== null) return found;
    if (segment.base <= options.notBelow) return null;
  }
  if (options.notBelow <= horizon) {
    if (horizon === 0) return null;
    throw new TidemarkError('LOG_BELOW_HORIZON', `no record of the key stands above the horizon ${horizon}`, { where: { source: core.source } });
  }
  return null;
}

class Search {
  readonly #core: LogCore;
  readonly #tableId: number;
  readonly #key: Uint8Array;
  readonly #options: NewestOptions;
  readonly #view = new RecordView();

  constructor(core: LogCore, tableId: number, key: Uint8Array, options: NewestOptions) {
    this.#core = core;
    this.#tableId = tableId;
    this.#key = key;
    this.#options = options;
  }

  /** @param limit byte behind which the segment is not read */
  async inSegment(segment: SegmentEntry, limit: number): Promise<FoundRecord | null> {
    const index = await this.#core.indexOf(segment);
    if (index?.mayHold(this.#tableId) === false) return null;
    const starts = index === null || index.places.length === 0 ? [{ base: segment.base, position: SEGMENT_HEADER }] : index.places;
    const path = this.#core.segmentPath(segment.number);
    let file: LogFile | null = null;
    try {
      file = await this.#core.files.open(path, 'read');
      let end = limit;
      for (const { base, position } of starts.toReversed()) {
        if (position >= limit || base > this.#options.atMost) {
          end = Math.min(end, position);
          continue;
        }
        const found = await this.#inStretch(file, position, end, segment);
        if (found !== null) return found;
        if (base <= this.#options.notBelow) return null;
        end = position;
      }
      return null;
    } catch (error) {
      throw readError(error, { source: this.#core.source, file: path });
    } finally {
      await file?.close();
    }
  }

  async #inStretch(file: LogFile, position: number, end: number, segment: SegmentEntry): Promise<FoundRecord | null> {
    const cursor = new SegmentCursor(file, position);
    let found: FoundRecord | null = null;
    for (let stored = await cursor.next(end); stored !== null; stored = await cursor.next(end)) {
      if (this.#options.signal.aborted) throw aborted(this.#options.signal);
      if (stored.kind === 'damage') {
        throw new TidemarkError('LOG_CORRUPT', `${stored.why} at byte ${stored.position}`, {
          where: { source: this.#core.source, file: this.#core.segmentPath(segment.number) },
        });
      }
      found = this.#inBatch(stored.batch.records, stored.batch.baseOffset) ?? found;
    }
    return found;
  }

  #inBatch(records: Buffer, baseOffset: Offset): FoundRecord | null {
    const { notBelow, atMost, accepts } = this.#options;
    const view = this.#view.reset(records);
    let last = -1;
    let at = 0;
    while (view.next()) {
      if (view.tableId !== this.#tableId) continue;
      const offset = baseOffset + view.index;
      if (offset < notBelow) continue;
      if (offset > atMost) break;
      if (!this.#concerns(view) || accepts?.(view) === false) continue;
      last = view.index;
      at = view.at;
    }
    return last < 0 ? null : { offset: baseOffset + last, record: Buffer.from(this.#view.seek(records, at).record()) };
  }

  #concerns(view: RecordView): boolean {
    if (view.op === Op.truncate) return true;
    if (!isRowOp(view.op) || view.keyEnd - view.keyStart !== this.#key.length) return false;
    return view.bytes.compare(this.#key, 0, this.#key.length, view.keyStart, view.keyEnd) === 0;
  }
}
