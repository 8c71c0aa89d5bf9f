import type { BaseReader } from '../../../contracts/base.ts';
import type { Catalog } from '../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import type { Checkpoint, EpochId } from '../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type {
  CommitPoint, CompactionOptions, CompactionProgress, DurableProgress, FoundRecord, HistoryMark, LogState, LogWriter, NewestOptions, ReadOptions, ReadPlan, SourceLog, TableExtent, TableRecords,
} from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { EmbeddedBaseReader } from './base/base-reader.ts';
import { catalogAt } from './base/catalog-at.ts';
import { Compactor } from './base/compactor.ts';
import { pinHorizon } from './base/pins.ts';
import { epochOf, epochsWith, planRead } from './epochs.ts';
import { findNewest } from './reading/find-newest.ts';
import { lastCommit } from './reading/last-commit.ts';
import type { LogCore } from './log-core.ts';
import type { SealedSegment } from './manifest.ts';
import { readLog } from './reading/reader.ts';
import { readTables } from './reading/table-records.ts';
import { agesOf } from './segments/age.ts';
import { cutLog } from './segments/sealing.ts';
import { ID_BYTES } from './segments/segment.ts';
import { EmbeddedLogWriter } from './writing/writer.ts';

/** One source's log in a folder of its own. Owned by its engine. */
export class EmbeddedSourceLog implements SourceLog, AsyncDisposable {
  readonly source: string;
  readonly core: LogCore;
  readonly #compactor: Compactor;
  #writer: EmbeddedLogWriter | null = null;
  #opening = false;

  constructor(core: LogCore) {
    this.core = core;
    this.source = core.source;
    this.#compactor = new Compactor(core);
  }

  state(): LogState {
    const { view, manifest } = this.core;
    const historyBytes = this.#historyBytes();
    const baseBytes = view.base?.runs.reduce((sum, run) => sum + run.bytes, 0) ?? 0;
    const archiveBytes = view.base?.archive.reduce((sum, run) => sum + run.bytes, 0) ?? 0;
    return {
      highWatermark: view.end.offset,
      position: view.end.sourcePosition,
      logId: manifest.logId,
      epochs: view.epochs,
      horizon: view.horizon,
      horizonTime: view.base?.commitTime ?? 0,
      commitTime: view.end.commitTime,
      bytes: historyBytes + baseBytes + archiveBytes,
      historyBytes,
      baseBytes,
      archiveBytes,
    };
  }

  #historyBytes(): number {
    return this.core.view.segments.reduce((sum, segment) => sum + (segment.state === 'active' ? this.core.activeBytes : segment.bytes), 0);
  }

  catalog(): Catalog {
    return this.core.catalog.clone();
  }

  epochAt(offset: Offset): EpochId {
    return epochOf(this.core.view.epochs, offset);
  }

  catalogAt(offset: Offset, signal: AbortSignal): Promise<Catalog> {
    return catalogAt(this.core, offset, signal);
  }

  lastCommit(accepts: (point: CommitPoint) => boolean, signal: AbortSignal): Promise<CommitPoint | null> {
    return lastCommit(this.core, accepts, signal);
  }

  pin(): Promise<Disposable> {
    this.core.assertOpen();
    return pinHorizon(this.core);
  }

  openBase(): Promise<BaseReader | null> {
    this.core.assertOpen();
    return EmbeddedBaseReader.open(this.core);
  }

  async compact(to: Offset, options: CompactionOptions, signal: AbortSignal): Promise<Offset> {
    this.core.assertOpen();
    this.#assertWritable('compaction was asked for');
    if (options.seals === true) await this.#writer?.closeSegment();
    return this.#compactor.compact(to, options, signal);
  }

  compaction(): CompactionProgress {
    return this.#compactor.progress;
  }

  extent(tableId: number): TableExtent {
    const { extents, horizon } = this.core.view;
    const { recordsAfter, rowsAfter } = extents.get(tableId) ?? { recordsAfter: horizon, rowsAfter: 0 };
    return { recordsAfter, rowsAfter };
  }

  marks(): readonly HistoryMark[] {
    const { segments, horizon } = this.core.view;
    const sealed = segments.filter((segment): segment is SealedSegment => segment.state === 'sealed' && segment.last > horizon);
    const ages = agesOf(sealed);
    return sealed.map((segment, at) => ({ offset: segment.last, agesFrom: ages[at] ?? 0, bytes: segment.bytes }));
  }

  async lease(name: string, offset: Offset): Promise<void> {
    this.#assertWritable('a lease was asked for');
    await this.core.updateManifest((manifest) => {
      if (offset < manifest.horizon) {
        throw new TidemarkError('LOG_BELOW_HORIZON', `offset ${offset} was to be kept; the horizon is ${manifest.horizon}`, { where: { source: this.source, offset } });
      }
      return { ...manifest, leases: [...manifest.leases.filter((lease) => lease.name !== name), { name, offset }] };
    });
  }

  async leaseHorizon(name: string): Promise<Offset> {
    this.#assertWritable('a lease was asked for');
    let offset = 0;
    await this.core.updateManifest((manifest) => {
      offset = manifest.horizon;
      return { ...manifest, leases: [...manifest.leases.filter((lease) => lease.name !== name), { name, offset }] };
    });
    return offset;
  }

  leases(): readonly string[] {
    return this.core.manifest.leases.map(({ name }) => name);
  }

  async release(name: string): Promise<void> {
    if (!this.core.manifest.leases.some((lease) => lease.name === name)) return;
    await this.core.updateManifest((manifest) => ({ ...manifest, leases: manifest.leases.filter((lease) => lease.name !== name) }));
  }

  #assertWritable(what: string): void {
    if (this.core.readOnly) throw new TidemarkError('LOG_READ_ONLY', what, { where: { source: this.source } });
  }

  plan(checkpoint: Checkpoint | null): ReadPlan {
    const { view, manifest } = this.core;
    return planRead({ logId: manifest.logId, epochs: view.epochs, horizon: view.horizon, highWatermark: view.end.offset }, checkpoint);
  }

  read(options: ReadOptions): AsyncIterable<ChangeBatch> {
    return readLog(this.core, options);
  }

  readTables(tableIds: readonly number[], options: ReadOptions): AsyncIterable<TableRecords> {
    return readTables(this.core, tableIds, options);
  }

  newest(tableId: number, key: Uint8Array, options: NewestOptions): Promise<FoundRecord | null> {
    return findNewest(this, tableId, key, options);
  }

  reached(offset: Offset, signal: AbortSignal): Promise<void> {
    return this.core.until((view) => view.end.offset >= offset, signal);
  }

  async openWriter(onDurable: (progress: DurableProgress) => void): Promise<LogWriter> {
    this.core.assertOpen();
    this.#assertWritable('a writer was asked for');
    if (this.#opening || (this.#writer !== null && !this.#writer.hasFailed)) {
      throw new TidemarkError('LOG_LOCKED', 'the log has a writer already', { where: { source: this.source } });
    }
    this.#opening = true;
    try {
      await this.#writer?.[Symbol.asyncDispose]();
      return await this.#openEpoch(onDurable);
    } finally {
      this.#opening = false;
    }
  }

  async #openEpoch(onDurable: (progress: DurableProgress) => void): Promise<LogWriter> {
    const epoch = this.core.runtime.random.bytes(ID_BYTES).toString('hex');
    const start = this.core.view.end.offset;
    await cutLog(this.core, (manifest) => ({ ...manifest, epochs: epochsWith(manifest.epochs, { id: epoch, start }) }));
    const { highWatermark, position } = this.core.progress();
    const writer = new EmbeddedLogWriter(
      this.core,
      { logId: this.core.manifest.logId, epoch, highWatermark, position },
      onDurable,
      () => {
        if (this.#writer === writer) this.#writer = null;
      },
    );
    this.#writer = writer;
    return writer;
  }

  /** Closes the writer, if any, and ends every reader with `LOG_CLOSED`. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#compactor[Symbol.asyncDispose]();
      await this.#writer?.[Symbol.asyncDispose]();
    } finally {
      this.core.close();
    }
  }
}
