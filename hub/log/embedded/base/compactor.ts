/**
 * Moves the horizon: folds the oldest history into the base. Every step writes beside what is there; the manifest is the
 * moment at which the new base, the horizon and the end of the old segments are true together. What fails removes what it
 * has written, except where the manifest may name it on the disk; what a crash leaves behind is removed when the log is
 * opened. Either way the work goes on from the last step.
 *
 * A run holds the net of one stretch of history. Runs are merged so that each is a few times larger than all that are
 * newer together: then there are few, and a row is written again a few times in its life only.
 */
import { crc32 } from 'node:zlib';
import type { Catalog } from '../../../../contracts/catalog.ts';
import type { CompactionOptions, CompactionProgress } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { diskError } from '../disk-error.ts';
import type { LogCore } from '../log-core.ts';
import type { ArchiveRun, Base, BaseRun } from '../manifest.ts';
import { readLog } from '../reading/reader.ts';
import { BLOCK_BYTES, type EntryCursor } from '../runs/run-format.ts';
import { MergeCursor } from '../runs/merge.ts';
import { RunReader } from '../runs/run-reader.ts';
import { RunWriter } from '../runs/run-writer.ts';
import { ageOf } from '../segments/age.ts';
import { ArchiveSort } from './archive-sort.ts';
import { encodeCatalog } from './base-files.ts';
import { catalogAt } from './catalog-at.ts';
import { cutBefore, type Cut } from './cut.ts';
import { heldBy } from './holds.ts';
import { HistorySort } from './history-sort.ts';
import { archiveToMerge, KeptTables } from './kept-tables.ts';
import { NetCursor } from './net-cursor.ts';
import { OpenRuns } from './open-runs.ts';
import { Pace } from './pace.ts';
import { RoomCheck } from './room-check.ts';
import { StepFiles, type WrittenFile } from './step-files.ts';
import { aborted } from '../../../waiters.ts';

/** A run is merged with the newer ones once it is not so many times larger than they are together. */
const GROWTH = 4;
/** A step folds so many times what is sorted in memory: as much as is merged in one go. */
const STEP_MEMORIES = 32;
/** Of the room on the disk a step takes at most this part for what it folds; it writes that twice at most. */
const PART_OF_ROOM = 3;
/** Of the memory, where records are archived too. */
const BASE_PART = 0.75;

/** What one call works with. */
interface Work {
  readonly options: CompactionOptions;
  readonly pace: Pace;
  readonly room: RoomCheck;
  readonly signal: AbortSignal;
  /** A folder for sorting, which is there. */
  readonly scratch: string;
}

/** Disposing asks what is under way to stop, and waits for it: nothing changes a file of the log afterwards. */
export class Compactor implements AsyncDisposable {
  readonly #core: LogCore;
  readonly #closing = new AbortController();
  #busy: Promise<unknown> = Promise.resolve();
  #running: CompactionProgress['running'] = null;
  #last: CompactionProgress['last'] = null;
  readonly #files: StepFiles;

  constructor(core: LogCore) {
    this.#core = core;
    this.#files = new StepFiles(core);
  }

  get progress(): CompactionProgress {
    return { running: this.#running, last: this.#last, hold: heldBy(this.#core) };
  }

  /**
   * Moves the horizon as far as it may towards `to`: to the end of a transaction near the end of a sealed segment, not
   * past a reader nor a lease. Answers the horizon as it is then. One call works at a time.
   * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`, `LOG_CORRUPT`, `ABORTED`: the log is as after the last step
   */
  compact(to: Offset, options: CompactionOptions, signal: AbortSignal): Promise<Offset> {
    const either = AbortSignal.any([signal, this.#closing.signal]);
    const done = this.#busy.then(() => this.#compact(to, options, either));
    this.#busy = done.catch(() => undefined);
    return done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(this.#core.closedError());
    await this.#busy;
  }

  async #compact(to: Offset, options: CompactionOptions, signal: AbortSignal): Promise<Offset> {
    const core = this.#core;
    signal.throwIfAborted();
    const scratch = core.takeScratch();
    const work: Work = { options, signal, scratch, pace: new Pace(core.runtime.clock, options, signal), room: new RoomCheck(core) };
    try {
      await this.#files.sweep();
      for (;;) {
        const limit = Math.min(to, heldBy(core, options.force)?.offset ?? to);
        const cut = await cutBefore(core, limit, await this.#stepBytes(options), signal);
        if (cut === null) return core.view.horizon;
        try {
          await core.files.makeDirectory(scratch);
          if (!(await this.#step(cut, work))) return core.view.horizon;
        } finally {
          this.#running = null;
          await this.#files.removeScratch(scratch);
        }
      }
    } catch (error) {
      if (signal.aborted) throw aborted(signal);
      throw diskError(error, 'the log could not be compacted', { source: core.source });
    }
  }

  /** What is folded at once; one segment is in any case. */
  async #stepBytes({ memoryBytes }: CompactionOptions): Promise<number> {
    const core = this.#core;
    const most = memoryBytes * STEP_MEMORIES;
    const space = (await core.files.space?.(core.directory)) ?? null;
    return space === null ? most : Math.min(most, Math.floor(space.free / PART_OF_ROOM));
  }

  /** Folds the history up to a cut, and tidies up. False: the horizon has not moved. */
  async #step(cut: Cut, work: Work): Promise<boolean> {
    const core = this.#core;
    const { runtime } = core;
    const began = runtime.clock.monotonic();
    const hasMoved = await this.#files.write((files) => this.#fold(cut, work, files));
    if (!hasMoved) return false;
    const seconds = (runtime.clock.monotonic() - began) / 1000;
    this.#last = { horizon: cut.offset, bytes: cut.bytes, seconds, at: runtime.clock.now() };
    core.metrics.noteFold(cut.bytes, seconds);
    await this.#merge(work);
    return true;
  }

  async #fold(cut: Cut, work: Work, files: WrittenFile[]): Promise<boolean> {
    const core = this.#core;
    const { horizon, base, extents } = core.view;
    const range = { after: horizon, to: cut.offset, afterTime: base === null ? 0 : ageOf(base), toTime: cut.agesFrom };
    const catalog = await catalogAt(core, cut.offset, work.signal);
    const kept = new KeptTables({
      catalog, range, before: extents, archive: base?.archive ?? [],
      keep: work.options.keep ?? (() => ({ kind: 'compact' })),
      now: core.runtime.clock.now() * 1000,
    });
    this.#begin('fold', cut.offset, cut.bytes);
    const memory = work.options.memoryBytes;
    const isArchived = kept.ages.length > 0;
    await using sort = await HistorySort.create({ files: core.files, directory: work.scratch, memoryBytes: isArchived ? memory * BASE_PART : memory, catalog });
    await using archive = await ArchiveSort.create({ files: core.files, directory: work.scratch, memoryBytes: memory * (1 - BASE_PART), kept });
    for await (const batch of readLog(core, { after: horizon, to: cut.offset, follow: false, signal: work.signal, transient: true })) {
      await sort.add(batch, cut.offset);
      if (isArchived) await archive.add(batch, cut.offset);
      this.#advance(batch.records.length);
      await work.room.worked(batch.records.length);
      await work.pace.breathe(batch.records.length);
    }
    const isBottom = base === null || base.runs.length === 0;
    const net = new NetCursor(await sort.sorted(), { isBottom, keeps: keptBy(catalog), rowsAfter: (tableId) => kept.rowsAfter(tableId), keepsWide: true });
    const run = await this.#writeBase(net, range, catalog, work, files);
    const archived: ArchiveRun[] = [];
    for (const { ageMs, cursor } of await archive.sorted()) {
      const written = await this.#writeRun(cursor, work, files);
      if (written.entries === 0) files.push({ path: core.runPath(written.number), isNamed: false });
      else archived.push({ ...range, ...written, ageMs });
    }
    return await this.#moveHorizon(cut, catalog, run, archived, kept, work, files);
  }

  async #writeBase(cursor: EntryCursor, { after, to }: { after: Offset; to: Offset }, catalog: Catalog, work: Work, files: WrittenFile[]): Promise<BaseRun> {
    const bags = new Set<number>();
    const { number, entries, bytes } = await this.#writeRun(cursor, work, files, (tableId) => {
      if (catalog.schema(tableId)?.keyKind === 'none') bags.add(tableId);
    });
    return { after, to, number, entries, bytes, bags: [...bags].map((id) => [id, catalog.schema(id)?.version ?? 0] as const) };
  }

  async #writeRun(cursor: EntryCursor, work: Work, files: WrittenFile[], onTable: (tableId: number) => void = () => undefined): Promise<{ number: number; entries: number; bytes: number }> {
    const core = this.#core;
    const number = core.takeBaseNumber();
    files.push({ path: core.runPath(number), isNamed: true });
    await using writer = await RunWriter.create(core.files, core.runPath(number));
    let table = -1;
    for (;;) {
      const moving = cursor.next();
      if (!(moving instanceof Promise ? await moving : moving)) break;
      if (cursor.tableId !== table) onTable((table = cursor.tableId));
      const written = writer.addFrom(cursor);
      if (!(written instanceof Promise)) continue;
      await written;
      await work.room.worked(BLOCK_BYTES);
      await work.pace.breathe(BLOCK_BYTES);
    }
    const { entries, bytes } = await writer.finish(true);
    return { number, entries, bytes };
  }

  /**
   * From here on the history before `cut` is in base and archive alone. False: somebody came meanwhile who keeps the
   * horizon from moving so far; nothing has changed.
   */
  async #moveHorizon(cut: Cut, catalog: Catalog, run: BaseRun, archived: readonly ArchiveRun[], kept: KeptTables, work: Work, files: WrittenFile[]): Promise<boolean> {
    const core = this.#core;
    const number = core.takeBaseNumber();
    files.push({ path: core.catalogPath(number), isNamed: true }, { path: `${core.catalogPath(number)}.new`, isNamed: false });
    const encoded = encodeCatalog({ catalog, extents: kept.extents });
    await core.files.replace(core.catalogPath(number), encoded);
    await core.files.syncDirectory(core.directory);
    const before = core.view;
    const { offset, position, commitTime, maxCommitTime, agesFrom } = cut;
    const { force = false } = work.options;
    let isHeld = false;
    let broken: readonly string[] = [];
    await this.#files.name(files, (manifest) => {
      isHeld = (heldBy(core, force)?.offset ?? offset) < offset;
      if (isHeld) return null;
      const archive = [...(manifest.base?.archive ?? []).filter((one) => !kept.expired.includes(one)), ...archived];
      const base: Base = { position, commitTime, maxCommitTime, agesFrom, catalog: number, catalogCrc: crc32(encoded), runs: [...(manifest.base?.runs ?? []), run], archive };
      // The one in which the high watermark stands is a place that readers go on from.
      const end = core.view.end.segment;
      const segments = manifest.segments.filter((segment) => segment.state !== 'sealed' || segment.last > offset || segment.number === end);
      broken = manifest.leases.filter((lease) => lease.offset < offset).map(({ name }) => name);
      return { ...manifest, horizon: offset, base, segments, leases: manifest.leases.filter((lease) => lease.offset >= offset) };
    }, kept.extents);
    if (isHeld) return false;
    for (const name of broken) core.runtime.logger.log('warn', 'log.lease-broken', { source: core.source, name, horizon: offset });
    core.runtime.logger.log('info', 'log.compacted', { source: core.source, horizon: offset, entries: run.entries, bytes: run.bytes });
    const left = new Set(core.view.segments.map((segment) => segment.number));
    const gone = before.segments.filter((segment) => !left.has(segment.number));
    await this.#files.discard([
      ...gone.flatMap((segment) => [core.segmentPath(segment.number), core.indexPath(segment.number)]),
      ...kept.expired.map((one) => core.runPath(one.number)),
      ...(before.base === null ? [] : [core.catalogPath(before.base.catalog)]),
    ]);
    return true;
  }

  /** Merges runs of the base, then of the archive, as long as there are some to merge. */
  async #merge(work: Work): Promise<void> {
    const core = this.#core;
    const catalog = await catalogAt(core, core.view.horizon, work.signal);
    for (let runs = core.view.base?.runs ?? [], first = mergeFrom(runs); first !== null; runs = core.view.base?.runs ?? [], first = mergeFrom(runs)) {
      const merged = runs.slice(first);
      if (!(await this.#hasRoomFor(merged))) return;
      await this.#files.write((files) => this.#mergeBase(merged, catalog, work, files));
      await this.#files.discard(merged.map(({ number }) => core.runPath(number)));
    }
    for (let merged = archiveToMerge(core.view.base?.archive ?? []); merged !== null; merged = archiveToMerge(core.view.base?.archive ?? [])) {
      const runs = merged;
      if (!(await this.#hasRoomFor(runs))) return;
      await this.#files.write((files) => this.#mergeArchive(runs, work, files));
      await this.#files.discard(runs.map(({ number }) => core.runPath(number)));
    }
  }

  /** Runs that are not merged today are merged after another fold. */
  async #hasRoomFor(runs: readonly { readonly bytes: number }[]): Promise<boolean> {
    const core = this.#core;
    const space = (await core.files.space?.(core.directory)) ?? null;
    return space === null || runs.reduce((sum, { bytes }) => sum + bytes, 0) * 2 < space.free;
  }

  async #mergeBase(merged: readonly BaseRun[], catalog: Catalog, work: Work, files: WrittenFile[]): Promise<void> {
    const core = this.#core;
    const { extents, horizon } = core.view;
    this.#begin('merge', horizon, merged.reduce((sum, { bytes }) => sum + bytes, 0));
    await using open = await OpenRuns.open(core.files, merged, (number) => core.runPath(number));
    const net = new NetCursor(await open.cursor(core.files, work.scratch, catalog), {
      isBottom: merged[0] === core.view.base?.runs[0],
      keeps: keptBy(catalog), rowsAfter: (tableId) => extents.get(tableId)?.rowsAfter ?? 0, keepsWide: true,
    });
    const run = await this.#writeBase(net, { after: merged[0]?.after ?? 0, to: merged.at(-1)?.to ?? 0 }, catalog, work, files);
    await core.files.syncDirectory(core.directory);
    const gone = new Set(merged.map(({ number }) => number));
    await this.#files.name(files, (manifest) => {
      const { base } = manifest;
      return base === null ? null : { ...manifest, base: { ...base, runs: [...base.runs.filter(({ number }) => !gone.has(number)), run] } };
    });
    core.runtime.logger.log('info', 'log.merged', { source: core.source, runs: merged.length, entries: run.entries, bytes: run.bytes });
  }

  async #mergeArchive(merged: readonly ArchiveRun[], work: Work, files: WrittenFile[]): Promise<void> {
    const core = this.#core;
    const [first] = merged;
    const last = merged.at(-1);
    if (first === undefined || last === undefined) return;
    this.#begin('merge', core.view.horizon, merged.reduce((sum, { bytes }) => sum + bytes, 0));
    await using stack = new AsyncDisposableStack();
    const readers: RunReader[] = [];
    for (const { number } of merged) readers.push(stack.use(await RunReader.open(core.files, core.runPath(number))));
    const written = await this.#writeRun(new MergeCursor(readers.map((reader) => reader.cursor()), 'all'), work, files);
    await core.files.syncDirectory(core.directory);
    const run: ArchiveRun = { ...first, ...written, to: last.to, toTime: last.toTime };
    const gone = new Set(merged.map(({ number }) => number));
    await this.#files.name(files, (manifest) => {
      const { base } = manifest;
      return base === null ? null : { ...manifest, base: { ...base, archive: [...base.archive.filter(({ number }) => !gone.has(number)), run] } };
    });
    core.runtime.logger.log('info', 'log.merged', { source: core.source, runs: merged.length, entries: run.entries, bytes: run.bytes });
  }

  #begin(phase: 'fold' | 'merge', to: Offset, totalBytes: number): void {
    this.#running = { phase, to, bytes: 0, totalBytes, since: this.#core.runtime.clock.now() };
  }

  #advance(bytes: number): void {
    const running = this.#running;
    if (running !== null) this.#running = { ...running, bytes: Math.min(running.bytes + bytes, running.totalBytes) };
  }
}

/** The first of the runs that are to be merged, up to the newest; null: none. */
function mergeFrom(runs: readonly Pick<BaseRun, 'bytes'>[]): number | null {
  let newer = 0;
  let first: number | null = null;
  for (const [index, { bytes }] of [...runs.entries()].toReversed()) {
    if (newer > 0 && bytes < GROWTH * newer) first = index;
    newer += bytes;
  }
  return first;
}

/** Tables that are gone have no rows. */
function keptBy(catalog: Catalog): (tableId: number) => boolean {
  return (tableId) => {
    const table = catalog.table(tableId);
    return table !== undefined && table.state.state !== 'removed';
  };
}
