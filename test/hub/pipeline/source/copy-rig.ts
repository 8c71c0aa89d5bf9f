import { join } from 'node:path';
import { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { ReferenceLog } from '../../../../contracts/kit/reference-log.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { LogWriter, SourceLog } from '../../../../contracts/log-engine.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { appendControl } from '../../../../hub/pipeline/source/copy/hub-transaction.ts';
import { Copies } from '../../../../hub/pipeline/source/copy/copies.ts';
import { StreamFeed } from '../../../../hub/pipeline/source/stream-feed.ts';
import { WholeRows } from '../../../../hub/pipeline/source/whole-rows/whole-rows.ts';
import { createTestRuntime, type TestRuntime } from '../../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../../fixtures/temp.ts';
import type { ModelSource } from './copy-model.ts';

/** The hub around a model source: real log, real feed, real whole rows, real copies; the test moves the source. */
export class CopyRig implements AsyncDisposable {
  readonly source: ModelSource;
  readonly runtime: TestRuntime = createTestRuntime();
  readonly copies = new Copies({ parallel: 2, tables: 4 });
  readonly #directory: TemporaryDirectory;
  #engine: EmbeddedLogEngine | null = null;
  #rows: WholeRows | null = null;
  #writer: LogWriter | null = null;
  #feed: StreamFeed | null = null;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #announced: TableSchema[] = [];
  /** What ended the copies before they were asked to end. */
  #failure: unknown = null;
  log!: SourceLog;

  private constructor(source: ModelSource, directory: TemporaryDirectory) {
    this.source = source;
    this.#directory = directory;
  }

  static async start(source: ModelSource): Promise<CopyRig> {
    const rig = new CopyRig(source, await temporaryDirectory('copy'));
    await rig.open();
    return rig;
  }

  /** Opens log and index, as a hub that starts does, and begins a stream. */
  async open(): Promise<void> {
    this.#engine = await EmbeddedLogEngine.create(this.#directory.path, this.runtime);
    this.log = await this.#engine.open('shop', { create: true });
    this.#rows = await WholeRows.open({ directory: join(this.#directory.path, 'whole-rows'), files: this.runtime.files, log: this.log, logger: this.runtime.logger });
    this.#writer = await this.log.openWriter(() => undefined);
    await this.#rows.rolledBack(this.#writer.start.highWatermark);
    await this.connect();
  }

  /** Begins a stream and its session of copies. */
  async connect(): Promise<void> {
    const { source } = this;
    const writer = this.#writer;
    const rows = this.#rows;
    if (writer === null || rows === null) throw new Error('not open');
    const progress = await writer.flush();
    source.resumeAfter(progress.position);
    const feed = new StreamFeed({
      log: this.log, writer, completer: rows, start: progress,
      onAppending: () => undefined,
      onAppended: () => undefined,
      onBroken: (failure) => (this.#failure ??= failure),
      requestProgress: () => undefined,
    });
    this.#feed = feed;
    this.#stop = new AbortController();
    const session = {
      source: 'shop',
      turns: feed,
      log: this.log,
      copier: source,
      repair: rows,
      tables: () => Promise.resolve([{ ...source.schema, tableId: 0, version: 0 }]),
      announce: (tables: readonly TableSchema[]) => void this.#announced.push(...tables),
      runtime: this.runtime,
      directory: join(this.#directory.path, 'copies'),
    };
    this.#running = this.copies.run(session, this.#stop.signal).catch((failure: unknown) => {
      this.#failure ??= failure;
    });
  }

  /** The stream delivers what it has announced and at most one transaction. */
  async deliver(): Promise<boolean> {
    const feed = this.#feed;
    if (feed === null) throw new Error('not connected');
    if (this.#announced.length > 0 && !this.source.inTransaction && feed.catalog.table(1) === undefined) await feed.append(this.source.schemaBatch(this.source.streamPosition()));
    const batch = this.source.next();
    if (batch !== null) {
      try {
        await feed.append(batch);
      } catch (error) {
        if (!(error instanceof TidemarkError) || error.code !== 'WHOLE_ROWS_AGAIN') throw error;
        await this.disconnect();
        await this.connect();
      }
    } else {
      const records = Buffer.alloc(0);
      await feed.append(new ChangeBatch({ count: 0, records, transactions: [], progress: this.source.streamPosition() }));
    }
    return batch !== null;
  }

  /** Notes that the log has lost changes: every table is to be copied again. */
  async gap(): Promise<void> {
    await this.#feed?.turn((turn) => appendControl(turn, 0, { type: 'gap', why: 'the slot was lost' }));
  }

  /** The connection is lost: the stream ends, and what it was sending is cut. */
  async disconnect(): Promise<void> {
    this.#stop.abort();
    const ended = this.#feed?.end(new Error('cut'));
    this.source.tick();
    await ended;
    await this.#running;
    if (this.#writer !== null) await this.#rows?.rolledBack(await this.#writer.rollback());
  }

  /** The process ends and starts again. What was not durable may be gone. */
  async restart(): Promise<void> {
    await this.disconnect();
    await this.#close();
    await this.open();
  }

  throwFailure(): void {
    if (this.#failure !== null) throw new Error('the copies or the feed have failed', { cause: this.#failure });
  }

  state(): string {
    return this.#feed?.catalog.table(1)?.state.state ?? 'none';
  }

  /** Everything in the log. */
  async logged(): Promise<ReferenceLog> {
    await this.#writer?.flush();
    const reference = new ReferenceLog();
    const to = this.log.state().highWatermark;
    for await (const batch of this.log.read({ after: 0, to, follow: false, signal: new AbortController().signal })) reference.append(batch);
    return reference;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
    await this.#close();
    await this.#directory[Symbol.asyncDispose]();
  }

  async #close(): Promise<void> {
    await this.#rows?.[Symbol.asyncDispose]();
    await this.#writer?.[Symbol.asyncDispose]();
    await this.#engine?.[Symbol.asyncDispose]();
    this.#rows = this.#writer = this.#engine = null;
  }
}
