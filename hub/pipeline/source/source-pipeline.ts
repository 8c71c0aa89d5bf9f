import type { Catalog, CatalogTable } from '../../../contracts/catalog.ts';
import type { HubLimits, SourceConfig } from '../../../contracts/config.ts';
import type { SourceConnector } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Position } from '../../../contracts/position.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { Compaction } from '../../compaction/compaction.ts';
import { compactionView } from '../../compaction/compaction-view.ts';
import type { DiskGuard } from '../../compaction/disk-guard.ts';
import { offsetOf } from '../../moments/moment.ts';
import { resolveMoment } from '../../moments/resolve.ts';
import { keptView, tableStatus } from '../../table-status.ts';
import { errorView } from '../../error-view.ts';
import type { CompactAnswer, KeptView, SourceStatusView } from '../../service.ts';
import { Capture } from './capture.ts';
import { CopyCompanion } from './copy/companion.ts';
import type { Copies } from './copy/copies.ts';
import { backOff } from '../error-policy.ts';
import { Part } from '../part.ts';
import { Rate } from '../rate.ts';
import type { RowCompletion } from './row-completion.ts';
import { SourceWatch } from './source-watch.ts';
import type { Supervised } from '../supervisor.ts';

export interface SourcePipelineParts {
  readonly config: SourceConfig;
  readonly limits: HubLimits;
  readonly disk: DiskGuard;
  /** How a table is to be kept, as configured. */
  readonly keep: (table: TableSchema) => KeptView['how'];
  /** Owned by the pipeline from here. */
  readonly connector: SourceConnector;
  readonly log: SourceLog;
  readonly compaction: Compaction;
  /** Owned by the pipeline from here. */
  readonly rows: RowCompletion;
  readonly copies: Copies;
  /** A directory that this source alone uses. */
  readonly directory: string;
  readonly runtime: Runtime;
}

/** One source: its connector, its log's writer, its copies, and what is known of it. */
export class SourcePipeline implements Supervised {
  readonly name: string;
  readonly config: SourceConfig;
  readonly log: SourceLog;
  readonly connector: SourceConnector;
  readonly #parts: SourcePipelineParts;
  readonly #capture: Capture;
  readonly #part: Part;
  readonly #watch: SourceWatch;
  readonly #rate: Rate;

  constructor(parts: SourcePipelineParts) {
    const { config, connector, log, rows, copies, directory, runtime, limits, disk } = parts;
    this.#parts = parts;
    this.name = `source ${config.name}`;
    this.config = config;
    this.log = log;
    this.connector = connector;
    this.#rate = new Rate(runtime.clock);
    this.#capture = new Capture({
      config, connector, log, runtime, disk,
      completer: rows,
      companion: new CopyCompanion({ copies, repair: rows, directory, runtime }),
      onAppended: (records) => this.#rate.add(records),
    });
    this.#part = new Part(this.name, this.#capture, runtime);
    this.#watch = new SourceWatch({
      name: config.name, connector, runtime, limits,
      onLimit: (action, error) => {
        if (action === 'stop') this.#capture.fail(error);
        else this.resync(error.message).catch((failure: unknown) => this.#capture.fail(failure));
      },
    });
  }

  start(): void {
    this.#part.start();
    this.#watch.start();
    this.#parts.compaction.start();
  }

  /** Tries again now, after a failure. */
  retry(): void {
    this.#part.retry();
  }

  /**
   * Begins again wherever the source is now: what it holds back is given up, a gap is recorded, every table is copied
   * again. The remedy for a lost slot, and for a source that was restored or replaced.
   */
  async resync(why: string): Promise<void> {
    await this.#part.stop();
    this.#capture.beginAfterGap(why);
    this.#part.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#watch.stop(), this.#part.close(), this.#parts.compaction.stop()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { rows, connector } = this.#parts;
    await this.#capture.close();
    await rows[Symbol.asyncDispose]();
    await connector[Symbol.asyncDispose]();
  }

  /**
   * Resolves with the high watermark once everything up to that position is durable in the log.
   * @throws TidemarkError the failure on which the source has stopped, or stops meanwhile; `ABORTED`
   */
  passed(position: string, signal: AbortSignal): Promise<Offset> {
    return this.unlessFailed((either) => this.#passed(position, either), signal);
  }

  /**
   * The offset at which everything up to that position is in the log; null: that is still to come. Nobody is asked.
   * @throws TidemarkError `POSITION_SYNTAX`, `LOG_BELOW_HORIZON`, what the log throws, `ABORTED`
   */
  async known(text: string, signal: AbortSignal): Promise<Offset | null> {
    const { positions } = this.connector;
    const { log } = this.#parts;
    const { position } = log.state();
    if (position === null || positions.compare(position, positions.parse(text, position)) < 0) return null;
    return offsetOf({ kind: 'position', text }, log, positions, signal);
  }

  /** What `waiting` resolves with. @throws TidemarkError the failure on which the source has stopped, or stops meanwhile */
  unlessFailed<T>(waiting: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#part.unlessFailed(waiting, signal);
  }

  /** Resolves with the high watermark once the log is durable up to a position of which `there` is true. @throws `ABORTED` */
  come(there: (position: Position) => boolean, signal: AbortSignal): Promise<Offset> {
    return this.#capture.come(there, signal);
  }

  async #passed(position: string, signal: AbortSignal): Promise<Offset> {
    const like = await this.#capture.position(signal);
    return this.#capture.passed(this.connector.positions.parse(position, like), signal);
  }

  /**
   * Resolves when every table that the source has now is in the log, copied as far as it can be, and the log has come to
   * where the source was at the call. @throws TidemarkError what the source has failed on, `ABORTED`
   */
  caughtUp(signal: AbortSignal): Promise<Offset> {
    return this.#part.unlessFailed((either) => this.#caughtUp(either), signal);
  }

  async #caughtUp(signal: AbortSignal): Promise<Offset> {
    const { connector, runtime } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      const turns = await this.#capture.streaming(signal);
      try {
        const tables = await connector.tables(signal);
        await turns.waitCatalog(allSettled(tables), signal);
        const { head } = await connector.status(signal);
        if (head !== null) return await this.#capture.passed(head, signal);
      } catch (failure) {
        if (signal.aborted || !(failure instanceof TidemarkError) || failure.retry !== 'auto') throw failure;
      }
      await runtime.clock.sleep(backOff(attempt, runtime.random.unit()), signal);
    }
  }

  /** Looks for tables that the source has and the log has not. @throws TidemarkError `TABLE_UNKNOWN` */
  async addTable(table: string, signal: AbortSignal): Promise<void> {
    const present = await this.connector.tables(signal);
    if (!present.some((schema) => tableName(schema) === table)) {
      throw new TidemarkError('TABLE_UNKNOWN', `source ${this.config.name} has no table ${table} that its configuration selects and that can be captured`, {
        where: { source: this.config.name, table },
        remedy: 'Look at `tables` of the source (after a change `tidemark reload`); `tidemark check` names tables that cannot be captured, and the statement that mends it.',
      });
    }
    this.#parts.copies.refresh();
  }

  /** @throws TidemarkError `TABLE_UNKNOWN` */
  recopy(table: string): void {
    const found = this.log.catalog().byName(table);
    if (found === undefined) throw this.#unknown(table);
    this.#parts.copies.recopy(found.tableId);
  }

  /**
   * Copies a table again. Resolves with the offset from which it is consistent once that is durable, however often the
   * stream is begun again meanwhile. @throws TidemarkError `TABLE_UNKNOWN` when the table goes, `ABORTED`
   */
  async recopied(tableId: number, signal: AbortSignal): Promise<Offset> {
    const { highWatermark } = this.log.state();
    this.#parts.copies.recopy(tableId);
    const isOver = (catalog: Catalog): boolean => {
      const state = catalog.table(tableId)?.state;
      return state === undefined || state.state === 'removed' || (state.state === 'consistent' && state.since > highWatermark);
    };
    for (;;) {
      const turns = await this.#capture.streaming(signal);
      try {
        await turns.waitCatalog(isOver, signal);
        await turns.turn((turn) => turn.flush());
      } catch (failure) {
        if (signal.aborted || !(failure instanceof TidemarkError) || (failure.retry !== 'auto' && failure.code !== 'ABORTED')) throw failure;
        continue;
      }
      const table = this.log.catalog().table(tableId);
      if (table?.state.state === 'consistent') return table.state.since;
      if (table === undefined || table.state.state === 'removed') throw this.#unknown(String(tableId));
    }
  }

  recopyIds(tableIds: readonly number[]): void {
    for (const tableId of tableIds) this.#parts.copies.recopy(tableId);
  }

  #unknown(table: string): TidemarkError {
    return new TidemarkError('TABLE_UNKNOWN', `source ${this.config.name} has no table ${table}`, { where: { source: this.config.name, table } });
  }

  /**
   * Folds the history into the base now, up to a moment (null: all of it), as far as nobody holds it.
   * @throws TidemarkError what the moment is refused with, what folding fails on, `ABORTED`
   */
  async compact(to: string | null, signal: AbortSignal): Promise<CompactAnswer> {
    const { log, connector } = this;
    const { compaction, runtime } = this.#parts;
    const from = log.state().horizon;
    const offset = await resolveMoment(to ?? 'end', log, { codecs: [connector.positions], now: runtime.clock.now(), signal });
    const horizon = await compaction.compact(offset, signal);
    const { hold } = log.compaction();
    return { from, horizon, to: offset, hold: horizon < offset ? hold : null };
  }

  /** The room on the disk has changed. */
  roomChanged(): void {
    this.#parts.compaction.wake();
    // What waits because there was none need not wait any longer.
    if (this.#parts.disk.room.level !== 'full' && this.#part.error?.code === 'LOG_DISK_LIMIT') this.#part.retry();
  }

  status(): SourceStatusView {
    const { config, connector, copies, compaction, disk, keep } = this.#parts;
    const { state, error, failedAt } = this.#part;
    const log = this.log.state();
    const copying = new Map(copies.progress().map((progress) => [progress.tableId, progress]));
    const { source } = this.#watch;
    return {
      name: config.name,
      type: config.type,
      state: state === 'running' ? 'streaming' : state === 'paused' ? 'stopped' : state,
      highWatermark: log.highWatermark,
      horizon: log.horizon,
      horizonTime: log.horizonTime,
      position: log.position === null ? null : connector.positions.format(log.position),
      commitTime: log.commitTime,
      lag: this.#watch.lagOf(log),
      retainedWalBytes: source?.retainedBytes ?? null,
      logBytes: log.bytes,
      historyBytes: log.historyBytes,
      baseBytes: log.baseBytes,
      archiveBytes: log.archiveBytes,
      compaction: compactionView(compaction.state(), log.horizon, compaction.failedAt),
      recordsPerSecond: this.#rate.perSecond(),
      waitingFor: this.#watch.warning ?? disk.warning ?? source?.waitingFor ?? '',
      tables: this.log.catalog().tables().map((table) => {
        const schema = table.versions.at(-1)?.schema;
        const kept = keptView(this.log.extent(table.tableId), log.horizon, schema === undefined ? 'compact' : keep(schema));
        return tableStatus(table, copying.get(table.tableId) ?? null, copies.failure(table.tableId), kept);
      }),
      error: error === null ? null : errorView(error, failedAt),
    };
  }
}

/**
 * True of a catalog that has all of the tables, with nothing left to copy. Asked again and again while many tables are
 * copied: looks at the first that was not settled when it was asked last, and at all of them only when that one is.
 */
function allSettled(tables: readonly TableSchema[]): (catalog: Catalog) => boolean {
  let waitsFor: string | null = null;
  return (catalog) => {
    if (waitsFor !== null && !isSettled(catalog.bySourceId(waitsFor))) return false;
    const settled = new Set<string>();
    for (const table of catalog.tables()) {
      const sourceId = table.versions.at(-1)?.schema.sourceTableId;
      if (sourceId === undefined || table.state.state === 'removed') continue;
      if (isSettled(table)) settled.add(sourceId);
      else settled.delete(sourceId);
    }
    waitsFor = tables.find((table) => !settled.has(table.sourceTableId))?.sourceTableId ?? null;
    return waitsFor === null;
  };
}

/** True when there is nothing left to copy of the table. */
function isSettled(table: CatalogTable | undefined): boolean {
  const state = table?.state;
  return state?.state === 'consistent' || (state?.state === 'stopped' && !state.recopy);
}
