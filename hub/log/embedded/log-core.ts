import type { Catalog, CatalogTable } from '../../../contracts/catalog.ts';
import type { Epoch } from '../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { DurableProgress } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Position } from '../../../contracts/position.ts';
import type { FileSystem, Runtime } from '../../../contracts/runtime.ts';
import { join } from 'node:path';
import { catalogFile, runFile } from './base/base-files.ts';
import type { Extents } from './base/kept-tables.ts';
import { Pins } from './base/pins.ts';
import { diskError, readError } from './disk-error.ts';
import { encodeManifest, MANIFEST_FILE, type Base, type Manifest, type SegmentEntry } from './manifest.ts';
import { LogMetrics } from './log-metrics.ts';
import { RecentBatches } from './reading/recent-batches.ts';
import { decodeIndex, type SegmentIndex, type SegmentIndexBuilder } from './segments/segment-index.ts';
import { indexFile, segmentFile } from './segments/segment.ts';
import { Waiters } from '../../waiters.ts';

/** The end of a committed transaction: where it is in the files, and what it means. */
export interface Boundary {
  /** Segment number; 0 in a log without segments. */
  readonly segment: number;
  /** Byte after the batch. */
  readonly position: number;
  readonly offset: Offset;
  /** The newest source position at or before it. */
  readonly sourcePosition: Position | null;
  /** Commit time of the last transaction at or before it. */
  readonly commitTime: number;
}

/** What readers may see. Immutable, replaced as a whole: a reader takes one and needs no lock. */
export interface LogView {
  readonly segments: readonly SegmentEntry[];
  /** Everything before it is durable and ends a committed transaction. Its offset is the high watermark. */
  readonly end: Boundary;
  readonly epochs: readonly Epoch[];
  readonly horizon: Offset;
  /** Each table as of the horizon; null while that is 0. */
  readonly base: Base | null;
  /** What is kept of single tables, as of the horizon. */
  readonly extents: Extents;
}

/** A table's state after the record at `offset`; applied to the catalog when the high watermark passes it. */
export interface CatalogChange {
  readonly offset: Offset;
  readonly tables: readonly CatalogTable[];
}

/** What is known of a segment that is not sealed. */
export interface OpenSegment {
  readonly index: SegmentIndexBuilder;
  /** The last committed transaction's end in or before it; known once it is closed. */
  closing: Boundary | null;
  /** Its index as it stands on the disk: the bytes that it tells of, and its control records. Null: it has none yet. */
  stored: { readonly bytes: number; readonly controls: number } | null;
}

export interface EmbeddedLogOptions {
  /** A segment is closed at this size, in bytes; a larger single batch makes a larger one. Default 128 MiB. */
  readonly segmentBytes: number;
  /** Accepted bytes that are not durable yet, above which `append` waits. Default 16 MiB. */
  readonly unsyncedBytes: number;
  /** Bytes of the newest batches kept in memory for readers at the log's end. Default 8 MiB. */
  readonly recentBytes: number;
  /** Milliseconds without an append after which the durable offset is written down. Default 200. */
  readonly idleMs: number;
}

export const DEFAULT_OPTIONS: EmbeddedLogOptions = {
  segmentBytes: 128 << 20,
  unsyncedBytes: 16 << 20,
  recentBytes: 8 << 20,
  idleMs: 200,
};

export interface CoreParts {
  readonly source: string;
  readonly directory: string;
  readonly runtime: Runtime;
  readonly options: EmbeddedLogOptions;
  readonly readOnly: boolean;
}

/** Sealed segments whose index is kept in memory. */
const CACHED_INDEXES = 16;

/**
 * The state of one source's log that its writer changes and its readers share: manifest, view, catalog, indexes.
 *
 * Invariant: `view.end` only moves forward, and the bytes before it never change. Every segment before the one in
 * which it stands is closed.
 */
export class LogCore {
  readonly source: string;
  readonly directory: string;
  readonly runtime: Runtime;
  readonly options: EmbeddedLogOptions;
  readonly readOnly: boolean;
  readonly recent: RecentBatches;
  /** Where readers stand. */
  readonly pins: Pins;
  readonly metrics: LogMetrics;
  readonly openSegments: Map<number, OpenSegment>;
  /** As of the high watermark. */
  readonly catalog: Catalog;
  /** Bytes written to the active segment; for `state` only. */
  activeBytes = 0;
  readonly #waiters = new Waiters<LogView>();
  readonly #indexes = new Map<number, SegmentIndex>();
  #manifest: Manifest;
  #view: LogView;
  #updates: Promise<unknown> = Promise.resolve();
  #closed = false;
  #scratch = 0;
  #holds = 0;
  /** Files that left the log while somebody held them. */
  #discarded: string[] = [];

  constructor(parts: CoreParts, state: { manifest: Manifest; end: Boundary; catalog: Catalog; extents: Extents; openSegments: Map<number, OpenSegment> }) {
    this.source = parts.source;
    this.directory = parts.directory;
    this.runtime = parts.runtime;
    this.options = parts.options;
    this.readOnly = parts.readOnly;
    this.recent = new RecentBatches(parts.options.recentBytes);
    this.pins = new Pins(parts.runtime.clock);
    this.metrics = new LogMetrics(parts.runtime.metrics, parts.source);
    this.catalog = state.catalog;
    this.openSegments = state.openSegments;
    this.#manifest = state.manifest;
    this.#view = viewOf(state.manifest, state.end, state.extents);
  }

  get files(): FileSystem {
    return this.runtime.files;
  }

  get manifest(): Manifest {
    return this.#manifest;
  }

  get view(): LogView {
    return this.#view;
  }

  get closed(): boolean {
    return this.#closed;
  }

  segmentPath(number: number): string {
    return join(this.directory, segmentFile(number));
  }

  indexPath(number: number): string {
    return join(this.directory, indexFile(number));
  }

  runPath(number: number): string {
    return join(this.directory, runFile(number));
  }

  catalogPath(number: number): string {
    return join(this.directory, catalogFile(number));
  }

  /** The path of a folder of one's own, for sorting. Who reads beside a hub that may have started has names of its own. */
  takeScratch(): string {
    const name = this.readOnly ? this.runtime.random.bytes(8).toString('hex') : String(++this.#scratch);
    return join(this.directory, `scratch-${name}`);
  }

  /** Until the answer is disposed no file of the log leaves the disk, also when it does not belong to the log any more. */
  holdFiles(): AsyncDisposable {
    this.#holds++;
    let isHeld = true;
    return {
      [Symbol.asyncDispose]: async () => {
        if (!isHeld) return;
        isHeld = false;
        this.#holds--;
        if (this.#holds > 0) return;
        for (const path of this.#discarded.splice(0)) await this.#removeHeld(path);
      },
    };
  }

  /** True when files that have left the log are still there, since somebody holds them. */
  get keepsRemoved(): boolean {
    return this.#discarded.length > 0;
  }

  /**
   * Removes a file that the manifest does not name any more: at once, or when nobody holds the log's files. One that a
   * crash leaves is removed when the log is opened.
   */
  async discard(path: string): Promise<void> {
    if (this.#holds > 0) this.#discarded.push(path);
    else await this.files.remove(path);
  }

  /** One that cannot be removed goes when the log is opened. */
  async #removeHeld(path: string): Promise<void> {
    try {
      await this.files.remove(path);
    } catch (error) {
      this.runtime.logger.log('debug', 'log.file-left', { source: this.source, what: String(error) });
    }
  }

  /** A number for a file of the base; never the same one twice, also when the manifest could not be written. */
  takeBaseNumber(): number {
    const number = this.#manifest.nextBase;
    this.#manifest = { ...this.#manifest, nextBase: number + 1 };
    return number;
  }

  progress(): DurableProgress {
    const { end } = this.#view;
    return { highWatermark: end.offset, position: end.sourcePosition };
  }

  /** A number for a new segment; never the same one twice, also when the manifest could not be written. */
  takeSegmentNumber(): number {
    const number = this.#manifest.nextSegment;
    this.#manifest = { ...this.#manifest, nextSegment: number + 1 };
    return number;
  }

  /**
   * Replaces the manifest, one change after the other. The state in memory moves when the new one is durable.
   * @param extentsOf those of the next manifest's base; default: as they are
   * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`: on disk is the old or the new one
   */
  updateManifest(change: (manifest: Manifest) => Manifest, endOf?: (next: Manifest) => Boundary, extentsOf?: () => Extents): Promise<void> {
    const update = this.#updates.then(async () => {
      const next = change(this.#manifest);
      try {
        await this.files.replace(join(this.directory, MANIFEST_FILE), encodeManifest(next));
      } catch (error) {
        throw diskError(error, 'the manifest could not be written', { source: this.source });
      }
      const { nextSegment, nextBase } = this.#manifest;
      this.#manifest = { ...next, nextSegment: Math.max(next.nextSegment, nextSegment), nextBase: Math.max(next.nextBase, nextBase) };
      this.#view = viewOf(next, endOf?.(next) ?? this.#view.end, extentsOf?.() ?? this.#view.extents);
      this.metrics.noteSegments(next.segments.length);
    });
    this.#updates = update.catch(() => undefined);
    return update;
  }

  /** Resolves when no change of the manifest that has begun is still under way: what comes later sees what is there now. */
  settled(): Promise<void> {
    return this.#updates.then(() => undefined);
  }

  /** Moves the high watermark and wakes who waits for it. */
  publish(end: Boundary, changes: readonly CatalogChange[]): void {
    if (end.offset < this.#view.end.offset) throw new TidemarkError('INTERNAL', 'the high watermark moves back');
    for (const change of changes) for (const table of change.tables) this.catalog.put(table);
    this.#view = { ...this.#view, end };
    this.#waiters.test(this.#view);
  }

  /** Resolves when the view satisfies the condition. @throws TidemarkError `ABORTED`, `LOG_CLOSED` */
  async until(isSatisfied: (view: LogView) => boolean, signal?: AbortSignal): Promise<void> {
    this.assertOpen();
    if (!isSatisfied(this.#view)) await this.#waiters.wait(isSatisfied, signal);
  }

  /** @throws TidemarkError `LOG_CLOSED` */
  assertOpen(): void {
    if (this.#closed) throw this.closedError();
  }

  closedError(): TidemarkError {
    return new TidemarkError('LOG_CLOSED', 'the log has been closed', { where: { source: this.source } });
  }

  /** Where the batches of a segment are; null when its index is lost: then it is read from its start. */
  async indexOf(segment: SegmentEntry): Promise<SegmentIndex | null> {
    const open = this.openSegments.get(segment.number);
    if (open !== undefined) return open.index.snapshot();
    const cached = this.#indexes.get(segment.number);
    if (cached !== undefined) return cached;
    const loaded = await this.#loadIndex(segment.number);
    if (loaded === null) return null;
    this.#indexes.set(segment.number, loaded);
    const oldest = this.#indexes.keys().next();
    if (this.#indexes.size > CACHED_INDEXES && oldest.done !== true) this.#indexes.delete(oldest.value);
    return loaded;
  }

  async #loadIndex(number: number): Promise<SegmentIndex | null> {
    const path = this.indexPath(number);
    try {
      const stored = (await this.files.exists(path)) ? decodeIndex(await this.files.readFile(path), number) : null;
      if (stored !== null) return stored.index;
    } catch (error) {
      throw readError(error, { source: this.source, file: path });
    }
    this.runtime.logger.log('warn', 'log.index-lost', { source: this.source, segment: number });
    return null;
  }

  /** Ends every wait; reading fails from here on. */
  close(): void {
    this.#closed = true;
    this.recent.clear();
    this.#waiters.failAll(this.closedError());
  }
}

function viewOf(manifest: Manifest, end: Boundary, extents: Extents): LogView {
  return { segments: manifest.segments, end, epochs: manifest.epochs, horizon: manifest.horizon, base: manifest.base, extents };
}
