import type { Catalog } from '../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import type { Checkpoint, EpochId } from '../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { DurableProgress, LogState, LogWriter, ReadOptions, ReadPlan, SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { epochOf, epochsWith, planRead } from './epochs.ts';
import type { LogCore } from './log-core.ts';
import { readLog } from './reader.ts';
import { cutLog } from './sealing.ts';
import { ID_BYTES } from './segment.ts';
import { EmbeddedLogWriter } from './writer.ts';

/** One source's log in a folder of its own. Owned by its engine. */
export class EmbeddedSourceLog implements SourceLog, AsyncDisposable {
  readonly source: string;
  readonly core: LogCore;
  #writer: EmbeddedLogWriter | null = null;
  #opening = false;

  constructor(core: LogCore) {
    this.core = core;
    this.source = core.source;
  }

  state(): LogState {
    const { view, manifest } = this.core;
    return {
      highWatermark: view.end.offset,
      position: view.end.sourcePosition,
      logId: manifest.logId,
      epochs: view.epochs,
      horizon: view.horizon,
      commitTime: view.end.commitTime,
      bytes: view.segments.reduce((sum, segment) => sum + (segment.state === 'active' ? this.core.activeBytes : segment.bytes), 0),
    };
  }

  catalog(): Catalog {
    return this.core.catalog.clone();
  }

  epochAt(offset: Offset): EpochId {
    return epochOf(this.core.view.epochs, offset);
  }

  plan(checkpoint: Checkpoint | null): ReadPlan {
    const { view, manifest } = this.core;
    return planRead({ logId: manifest.logId, epochs: view.epochs, horizon: view.horizon, highWatermark: view.end.offset }, checkpoint);
  }

  read(options: ReadOptions): AsyncIterable<ChangeBatch> {
    return readLog(this.core, options);
  }

  reached(offset: Offset, signal: AbortSignal): Promise<void> {
    return this.core.until((view) => view.end.offset >= offset, signal);
  }

  async openWriter(onDurable: (progress: DurableProgress) => void): Promise<LogWriter> {
    this.core.assertOpen();
    if (this.core.readOnly) throw new TidemarkError('LOG_READ_ONLY', 'a writer was asked for', { where: { source: this.source } });
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
      await this.#writer?.[Symbol.asyncDispose]();
    } finally {
      this.core.close();
    }
  }
}
