import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { EpochId } from '../../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { DurableProgress } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import type { Position } from '../../../../contracts/position.ts';
import { encodeBatchHead, encodedHeadBytes } from '../segments/batch-codec.ts';
import { diskError } from '../disk-error.ts';
import type { Boundary, CatalogChange, LogCore } from '../log-core.ts';
import { sealSegments } from '../segments/sealing.ts';
import { SegmentFile } from '../segments/segment-file.ts';
import { SEGMENT_HEADER } from '../segments/segment.ts';
import { Waiters } from '../../../waiters.ts';

/** An accepted batch on its way to the disk. */
export interface Part {
  readonly batch: ChangeBatch;
  /** A transaction is open after it. */
  readonly openAfter: boolean;
  /** Source position that it brings; null: none. */
  readonly progress: Position | null;
  /** Commit time of its last transaction; null: none commits in it. */
  readonly commitTime: number | null;
  readonly tables: readonly number[];
  readonly changes: readonly CatalogChange[];
}

interface WrittenPart {
  readonly part: Part;
  readonly bytes: number;
  readonly segment: number;
  /** Byte after it. */
  readonly end: number;
}

/** Bytes of one write at most, and batches in it. */
const WRITE_BYTES = 4 << 20;
const WRITE_PARTS = 128;

/** While a sync is in flight less than this is left for the next one: another write would only delay both. */
const OVERLAP_BYTES = 512 << 10;

/**
 * Writes accepted batches and makes them durable: one write and one sync in flight at most. Everything accepted while
 * a sync runs goes with the next one; with nothing in flight a small batch is written and synced at once.
 *
 * The first failure is final: nothing is tried again, every wait ends with it.
 */
export class GroupCommit {
  readonly #core: LogCore;
  readonly #epoch: EpochId;
  readonly #onDurable: (progress: DurableProgress) => void;
  readonly #waiters = new Waiters<GroupCommit>();
  #queue: Part[] = [];
  #queuedBytes = 0;
  #written: WrittenPart[] = [];
  #active: SegmentFile | null = null;
  #running: Promise<void> | null = null;
  #syncing: Promise<void> | null = null;
  #sealing: Promise<void> | null = null;
  #failure: TidemarkError | null = null;
  /** The next batch goes to a new segment. */
  #closesSegment = false;
  /** Catalog changes of the open transaction, durable but not committed. */
  #pending: CatalogChange[] = [];
  #accepted = 0;
  #durable = 0;
  #durableOffset: Offset;
  #namedOffset: Offset;
  /** Bytes of accepted batches that are not durable. */
  unsynced = 0;

  constructor(core: LogCore, epoch: EpochId, onDurable: (progress: DurableProgress) => void) {
    this.#core = core;
    this.#epoch = epoch;
    this.#onDurable = onDurable;
    this.#durableOffset = core.view.end.offset;
    this.#namedOffset = this.#durableOffset;
  }

  get failure(): TidemarkError | null {
    return this.#failure;
  }

  /** True when the disk holds a durable offset that no header names yet. */
  get hasUnnamed(): boolean {
    return this.#durableOffset > this.#namedOffset && this.#failure === null;
  }

  /** The next batch goes to a new segment. False: the active one holds nothing that would be closed. */
  closeSegment(): boolean {
    this.#closesSegment = this.#active?.index.hasContent === true && this.#failure === null;
    return this.#closesSegment;
  }

  enqueue(part: Part): void {
    this.#queue.push(part);
    this.#accepted++;
    this.#queuedBytes += part.batch.records.length;
    this.unsynced += cost(part);
    this.#running ??= this.#run();
  }

  /** Resolves when everything accepted so far is durable. @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL` */
  async flush(): Promise<void> {
    const target = this.#accepted;
    await this.until(() => this.#durable >= target);
    await this.#sealing;
    if (this.#failure !== null) throw this.#failure;
  }

  /** Resolves when the condition holds, looked at after every sync. @throws TidemarkError as `flush` */
  async until(isSatisfied: (commit: GroupCommit) => boolean): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    if (!isSatisfied(this)) await this.#waiters.wait(isSatisfied);
  }

  /**
   * Ends: nothing is in flight any more, the file is closed. After a failure what is not durable is truncated as well
   * as that goes; the manifest does not count on it.
   */
  async close(): Promise<void> {
    for (let inFlight = this.#inFlight(); inFlight !== null; inFlight = this.#inFlight()) await inFlight;
    const active = this.#active;
    this.#active = null;
    if (active !== null) await active.close(this.#failure !== null);
  }

  #inFlight(): Promise<void> | null {
    return this.#running ?? this.#syncing ?? this.#sealing;
  }

  async #run(): Promise<void> {
    // One turn later, so that batches accepted in one go are written in one go.
    await Promise.resolve();
    try {
      while (this.#queue.length > 0 && this.#failure === null) {
        if (this.#syncing !== null && this.#queuedBytes < OVERLAP_BYTES) {
          await this.#syncing;
        } else {
          this.#startSync(await this.#writeSome(this.#queue));
        }
      }
    } catch (error) {
      this.#fail(error, 'the log could not be written');
    } finally {
      this.#running = null;
    }
  }

  /** Writes the first batches of a queue that is not empty; answers the segment that took them. */
  async #writeSome(queue: readonly Part[]): Promise<SegmentFile> {
    const active = await this.#segmentFor(queue);
    if (this.#failure !== null) throw this.#failure;
    const buffers: Buffer[] = [];
    const written: WrittenPart[] = [];
    let position = active.position;
    for (const part of queue) {
      const headBytes = encodedHeadBytes(part.batch);
      const bytes = headBytes + part.batch.records.length;
      const full = position - active.position + bytes > WRITE_BYTES || written.length === WRITE_PARTS;
      if (written.length > 0 && (full || position + bytes > this.#core.options.segmentBytes)) break;
      const head = Buffer.allocUnsafe(headBytes);
      encodeBatchHead(part.batch, this.#stamp(part, active), head);
      buffers.push(head, part.batch.records);
      written.push({ part, bytes, segment: active.number, end: position + bytes });
      position += bytes;
    }
    this.#queue.splice(0, written.length);
    for (const { part } of written) this.#queuedBytes -= part.batch.records.length;
    this.#namedOffset = this.#durableOffset;
    await active.write(buffers, position);
    for (const done of written) this.#noteWritten(active, done);
    return active;
  }

  #stamp(part: Part, active: SegmentFile) {
    return {
      logId: this.#core.manifest.logId,
      epoch: this.#epoch,
      openAfter: part.openAfter,
      durableOffset: this.#durableOffset,
      durableBytes: active.durable,
    };
  }

  #noteWritten(active: SegmentFile, done: WrittenPart): void {
    const { part, end, bytes } = done;
    const position = end - bytes;
    active.index.addPlace(part.batch.baseOffset, position);
    active.index.noteBatch(part.batch, this.#core.runtime.clock.now() * 1000);
    for (const table of part.tables) active.index.addTable(table);
    if (part.changes.length > 0) active.index.addControlBatch(position);
    this.#core.recent.push({ segment: active.number, position, end, batch: part.batch });
    this.#core.activeBytes = end;
    this.#written.push(done);
  }

  /** The segment that takes the first of them: the active one, or a new one when there is none or it is full. */
  async #segmentFor([part]: readonly Part[]): Promise<SegmentFile> {
    const active = this.#active;
    if (part === undefined) throw new TidemarkError('INTERNAL', 'nothing is to be written');
    const bytes = encodedHeadBytes(part.batch) + part.batch.records.length;
    const isFull = active !== null && active.position > SEGMENT_HEADER && active.position + bytes > this.#core.options.segmentBytes;
    if (active !== null && !isFull && !this.#closesSegment) return active;
    // A segment is closed only when all of it is durable, so that damage in it can be no torn tail.
    while (this.#syncing !== null) await this.#syncing;
    if (this.#failure !== null) throw this.#failure;
    await this.#sealing;
    if (active !== null) {
      const open = this.#core.openSegments.get(active.number);
      if (open !== undefined) open.closing = this.#core.view.end;
    }
    const next = await SegmentFile.create(this.#core, this.#epoch, part.batch.baseOffset, active, this.#durableOffset);
    this.#active = next;
    this.#closesSegment = false;
    this.#seal();
    return next;
  }

  /** In the background: appending goes on. */
  #seal(): void {
    this.#sealing = sealSegments(this.#core)
      .catch((error: unknown) => this.#fail(error, 'a segment could not be sealed'))
      .finally(() => {
        this.#sealing = null;
      });
  }

  #startSync(active: SegmentFile): void {
    // With nothing to do `#sync` would end before it is known to be in flight.
    if (this.#syncing === null && this.#written.length > 0 && this.#failure === null) this.#syncing = this.#sync(active);
  }

  /** Syncs until nothing more is written. The active segment changes only when no sync is in flight. */
  async #sync(active: SegmentFile): Promise<void> {
    try {
      while (this.#written.length > 0 && this.#failure === null) {
        const done = this.#written;
        this.#written = [];
        const started = this.#core.runtime.clock.monotonic();
        await active.sync(done.at(-1)?.end ?? active.durable);
        this.#publish(done);
        this.#count(done, this.#core.runtime.clock.monotonic() - started);
      }
    } catch (error) {
      this.#fail(error, 'the log could not be made durable');
    } finally {
      this.#syncing = null;
    }
  }

  #publish(done: readonly WrittenPart[]): void {
    let end: Boundary = this.#core.view.end;
    const changes: CatalogChange[] = [];
    for (const { part, segment, end: position } of done) {
      this.#pending.push(...part.changes);
      if (part.openAfter) continue;
      changes.push(...this.#pending);
      this.#pending = [];
      end = {
        segment,
        position,
        offset: part.batch.lastOffset,
        sourcePosition: part.progress ?? end.sourcePosition,
        commitTime: part.commitTime ?? end.commitTime,
      };
    }
    for (const { part } of done) this.unsynced -= cost(part);
    this.#durable += done.length;
    this.#durableOffset = done.at(-1)?.part.batch.lastOffset ?? this.#durableOffset;
    const before = this.#core.view.end;
    if (end !== before) this.#core.publish(end, changes);
    this.#waiters.test(this);
    if (end.offset !== before.offset || end.sourcePosition !== before.sourcePosition) this.#onDurable(this.#core.progress());
  }

  #count(done: readonly WrittenPart[], ms: number): void {
    this.#core.metrics.noteSync({
      seconds: ms / 1000,
      batches: done.length,
      records: done.reduce((sum, { part }) => sum + part.batch.count, 0),
      bytes: done.reduce((sum, { bytes }) => sum + bytes, 0),
      endOffset: this.#durableOffset,
    });
  }

  #fail(error: unknown, what: string): void {
    if (this.#failure !== null) return;
    this.#failure = diskError(error, what, { source: this.#core.source, offset: this.#durableOffset });
    this.#queue = [];
    this.#core.runtime.logger.log('error', 'log.write-failed', { source: this.#core.source, durable: this.#durableOffset });
    this.#waiters.failAll(this.#failure);
  }
}

/** What a part counts for the bound on accepted bytes: its records and transactions, and the objects around it. */
function cost(part: Part): number {
  return part.batch.records.length + part.batch.packed.bytes.length + 2048;
}
