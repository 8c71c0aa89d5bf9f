/**
 * Moves the horizon: folds the oldest history into the base. Every step writes beside what is there; the manifest is the
 * moment at which the new base, the horizon and the end of the old segments are true together. What a crash leaves
 * behind is removed when the log is opened, and the work begins again.
 *
 * A run holds the net of one stretch of history. Runs are merged so that each is a few times larger than all that are
 * newer together: then there are few, and a row is written again a few times in its life only.
 */
import { join } from 'node:path';
import type { Catalog } from '../../../../contracts/catalog.ts';
import type { CompactionBudget } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { diskError } from '../disk-error.ts';
import type { LogCore } from '../log-core.ts';
import type { Base, BaseRun, SealedSegment } from '../manifest.ts';
import { readLog } from '../reading/reader.ts';
import { RunWriter } from '../runs/run-writer.ts';
import type { EntryCursor } from '../runs/run-format.ts';
import { encodeCatalog } from './base-files.ts';
import { catalogAt } from './catalog-at.ts';
import { HistorySort } from './history-sort.ts';
import { NetCursor } from './net-cursor.ts';
import { OpenRuns } from './open-runs.ts';
import { Pace } from './pace.ts';

/** A run is merged with the newer ones once it is not so many times larger than they are together. */
const GROWTH = 4;

/** The end of a transaction, and what is true there. */
interface Cut {
  readonly offset: Offset;
  readonly position: string | null;
  readonly commitTime: number;
  readonly maxCommitTime: number;
}

/** Disposing asks what is under way to stop, and waits for it: nothing changes a file of the log afterwards. */
export class Compactor implements AsyncDisposable {
  readonly #core: LogCore;
  readonly #closing = new AbortController();
  #busy: Promise<unknown> = Promise.resolve();

  constructor(core: LogCore) {
    this.#core = core;
  }

  /**
   * Moves the horizon as far as it may towards `to`: to the end of a transaction near the end of a sealed segment, not
   * past a reader nor a lease. Answers the horizon as it is then. One call works at a time.
   * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`, `LOG_CORRUPT`, `ABORTED`: the log is as before
   */
  compact(to: Offset, budget: CompactionBudget, signal: AbortSignal): Promise<Offset> {
    const either = AbortSignal.any([signal, this.#closing.signal]);
    const done = this.#busy.then(() => this.#compact(to, budget, either));
    this.#busy = done.catch(() => undefined);
    return done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(this.#core.closedError());
    await this.#busy;
  }

  async #compact(to: Offset, budget: CompactionBudget, signal: AbortSignal): Promise<Offset> {
    const core = this.#core;
    signal.throwIfAborted();
    const cut = await this.#cut(Math.min(to, this.#held()), signal);
    if (cut === null) return core.view.horizon;
    const scratch = join(core.directory, `scratch-${core.takeScratch()}`);
    const pace = new Pace(core.runtime.clock, budget.share, signal);
    try {
      await core.files.makeDirectory(scratch);
      try {
        const catalog = await catalogAt(core, cut.offset, signal);
        const run = await this.#foldHistory(cut, catalog, scratch, budget, pace, signal);
        if (await this.#moveHorizon(cut, catalog, run)) await this.#mergeRuns(catalog, scratch, pace);
      } finally {
        await core.files.remove(scratch);
      }
      return core.view.horizon;
    } catch (error) {
      throw diskError(error, 'the log could not be compacted', { source: core.source });
    }
  }

  /** The last commit in the sealed segments that end at or before `limit`; null: none above the horizon. */
  async #cut(limit: Offset, signal: AbortSignal): Promise<Cut | null> {
    const core = this.#core;
    const { segments, horizon } = core.view;
    const folded = segments.filter((segment): segment is SealedSegment => segment.state === 'sealed' && segment.last <= limit && segment.last > horizon);
    for (const segment of folded.toReversed()) {
      const cuts: Cut[] = [];
      for await (const batch of readLog(core, { after: Math.max(segment.base - 1, horizon), to: segment.last, follow: false, signal })) {
        for (const entry of batch.transactions) {
          if (!entry.commits) continue;
          const offset = batch.baseOffset + entry.first + entry.count - 1;
          const position = entry.position.length === 0 ? (cuts[0]?.position ?? null) : Buffer.from(entry.position).toString('hex');
          const commitTime = entry.kind === 'source' ? entry.commitTime : (cuts[0]?.commitTime ?? core.view.base?.commitTime ?? 0);
          if (offset > horizon) cuts[0] = { offset, position, commitTime, maxCommitTime: segment.maxCommitTime };
        }
      }
      const [found] = cuts;
      if (found !== undefined) return { ...found, position: found.position ?? core.view.base?.position ?? null };
    }
    return null;
  }

  async #foldHistory(cut: Cut, catalog: Catalog, scratch: string, budget: CompactionBudget, pace: Pace, signal: AbortSignal): Promise<BaseRun> {
    const core = this.#core;
    const { horizon, base } = core.view;
    await using sort = await HistorySort.create({ files: core.files, directory: scratch, memoryBytes: budget.memoryBytes, catalog });
    for await (const batch of readLog(core, { after: horizon, to: cut.offset, follow: false, signal })) {
      await sort.add(batch, cut.offset);
      await pace.breathe();
    }
    const net = new NetCursor(await sort.sorted(), { isBottom: base === null || base.runs.length === 0, keeps: keptBy(catalog) });
    return await this.#write(net, { after: horizon, to: cut.offset }, catalog, pace);
  }

  async #write(cursor: EntryCursor, range: { after: Offset; to: Offset }, catalog: Catalog, pace: Pace): Promise<BaseRun> {
    const core = this.#core;
    const number = core.takeBaseNumber();
    await using writer = await RunWriter.create(core.files, core.runPath(number));
    const bags = new Set<number>();
    let table = -1;
    for (;;) {
      const moving = cursor.next();
      if (!(moving instanceof Promise ? await moving : moving)) break;
      if (cursor.tableId !== table) {
        table = cursor.tableId;
        if (catalog.schema(table)?.keyKind === 'none') bags.add(table);
      }
      const written = writer.addFrom(cursor);
      if (!(written instanceof Promise)) continue;
      await written;
      await pace.breathe();
    }
    const { entries, bytes } = await writer.finish(true);
    return { ...range, number, entries, bytes, bags: [...bags].map((id) => [id, catalog.schema(id)?.version ?? 0] as const) };
  }

  /**
   * The lowest offset that somebody keeps the horizon from passing. A copy under way does: what it has to repair and to
   * delete is told apart by the records before it began.
   */
  #held(): Offset {
    const { pins, manifest, catalog } = this.#core;
    let held = Math.min(pins.lowest(), ...manifest.leases.map(({ offset }) => offset));
    for (const { state } of catalog.tables()) if (state.state === 'copying') held = Math.min(held, state.since - 1);
    return held;
  }

  /**
   * From here on the history before `cut` is in the base alone. False: somebody came meanwhile who keeps the horizon from
   * moving so far; nothing has changed.
   */
  async #moveHorizon(cut: Cut, catalog: Catalog, run: BaseRun): Promise<boolean> {
    const core = this.#core;
    const number = core.takeBaseNumber();
    await core.files.replace(core.catalogPath(number), encodeCatalog(catalog));
    await core.files.syncDirectory(core.directory);
    const before = core.view;
    let isHeld = false;
    await core.updateManifest((manifest) => {
      isHeld = this.#held() < cut.offset;
      if (isHeld) return manifest;
      const { offset, position, commitTime, maxCommitTime } = cut;
      const base: Base = { position, commitTime, maxCommitTime, catalog: number, runs: [...(manifest.base?.runs ?? []), run] };
      // The one in which the high watermark stands is a place that readers go on from.
      const end = core.view.end.segment;
      const segments = manifest.segments.filter((segment) => segment.state !== 'sealed' || segment.last > offset || segment.number === end);
      return { ...manifest, horizon: offset, base, segments };
    });
    if (isHeld) {
      await core.files.remove(core.runPath(run.number));
      await core.files.remove(core.catalogPath(number));
      return false;
    }
    core.runtime.logger.log('info', 'log.compacted', { source: core.source, horizon: cut.offset, entries: run.entries, bytes: run.bytes });
    const kept = new Set(core.view.segments.map((segment) => segment.number));
    for (const segment of before.segments) {
      if (kept.has(segment.number)) continue;
      await core.discard(core.segmentPath(segment.number));
      await core.discard(core.indexPath(segment.number));
    }
    if (before.base !== null) await core.discard(core.catalogPath(before.base.catalog));
    return true;
  }

  async #mergeRuns(catalog: Catalog, scratch: string, pace: Pace): Promise<void> {
    const core = this.#core;
    for (;;) {
      const runs = core.view.base?.runs ?? [];
      const first = mergeFrom(runs);
      if (first === null) return;
      const merged = runs.slice(first);
      await using open = await OpenRuns.open(core.files, merged, (number) => core.runPath(number));
      const net = new NetCursor(await open.cursor(core.files, scratch, catalog), { isBottom: first === 0, keeps: keptBy(catalog) });
      const run = await this.#write(net, { after: merged[0]?.after ?? 0, to: merged.at(-1)?.to ?? 0 }, catalog, pace);
      await core.files.syncDirectory(core.directory);
      await core.updateManifest((manifest) => {
        const { base } = manifest;
        return base === null ? manifest : { ...manifest, base: { ...base, runs: [...base.runs.slice(0, first), run] } };
      });
      core.runtime.logger.log('info', 'log.merged', { source: core.source, runs: merged.length, entries: run.entries, bytes: run.bytes });
      for (const { number } of merged) await core.discard(core.runPath(number));
    }
  }
}

/** The first of the runs that are to be merged, up to the newest; null: none. */
export function mergeFrom(runs: readonly Pick<BaseRun, 'bytes'>[]): number | null {
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
