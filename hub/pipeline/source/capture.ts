import { BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import type { SourceConfig } from '../../../contracts/config.ts';
import type { ChangeStream, SourceConnector } from '../../../contracts/connector.ts';
import { decodeControl, encodeControl } from '../../../contracts/control.ts';
import { asTidemarkError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { DurableProgress, LogWriter, SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { Op } from '../../../contracts/op.ts';
import type { Position } from '../../../contracts/position.ts';
import { RecordView } from '../../../contracts/record.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import type { DiskGuard } from '../../compaction/disk-guard.ts';
import { GuardedWriter } from '../../compaction/guarded-writer.ts';
import { Acker } from './acker.ts';
import { sourceFailure, type FailureAction } from '../error-policy.ts';
import type { Work } from '../part.ts';
import { StreamFeed, type RowCompleter } from './stream-feed.ts';
import { Waiters } from '../../waiters.ts';
import type { WriterTurns } from './writer-turn.ts';

/** How often the source is asked for progress while somebody waits for it, in milliseconds. */
const PROGRESS_INTERVAL_MS = 50;
const NO_BYTES = new Uint8Array(0);

/** What runs beside a stream for as long as it lives: it announces tables and copies them. */
export interface StreamCompanion {
  /** Runs until `signal` aborts. A rejection ends the stream's life, with that failure. */
  accompany(stream: CompanionContext, signal: AbortSignal): Promise<void>;
}

export interface CompanionContext {
  readonly connector: SourceConnector;
  readonly log: SourceLog;
  readonly turns: WriterTurns;
  /** ChangeStream.announce of the stream that runs. */
  readonly announce: ChangeStream['announce'];
}

export interface CaptureParts {
  readonly config: SourceConfig;
  readonly connector: SourceConnector;
  readonly log: SourceLog;
  readonly completer: RowCompleter;
  readonly companion: StreamCompanion;
  readonly runtime: Runtime;
  /** Whether the disk has room. Default: it has. */
  readonly disk?: Pick<DiskGuard, 'admit' | 'assertRoom'>;
  /** So many records were appended. */
  readonly onAppended: (records: number) => void;
}

/**
 * Source to log. Owns the log's writer; the connector and the log are the caller's. One life: prepare the source, stream
 * from the last durable position, complete rows, append, acknowledge what is durable. The writer outlives the stream; an
 * unfinished transaction is cut when the next life begins, and sent again by the source.
 */
export class Capture implements Work {
  readonly kind = 'source';
  readonly retries: Work['retries'];
  readonly #parts: CaptureParts;
  readonly #durable = new Waiters<DurableProgress>();
  readonly #feeds = new Waiters<StreamFeed>();
  #writer: LogWriter | null = null;
  #acker: Acker | null = null;
  #stream: ChangeStream | null = null;
  #feed: StreamFeed | null = null;
  /** Why changes of the source were missed: a gap is to be recorded before the next stream. */
  #gap: string | null = null;
  /** The log's position from before the gap, until the stream has given a new one. */
  #voided: Position | null = null;
  /** What the source holds back for the time before the gap is to be given up before the next stream. */
  #releases = false;
  #failLife: (failure: unknown) => void = () => undefined;

  constructor(parts: CaptureParts) {
    this.#parts = parts;
    this.retries = { metric: 'tidemark_source_reconnects_total', labels: { source: parts.config.name } };
  }

  judge(failure: unknown): FailureAction {
    return sourceFailure(failure);
  }

  /** The turns between source transactions, as soon as there is a stream. @throws TidemarkError `ABORTED` */
  async streaming(signal: AbortSignal): Promise<WriterTurns> {
    return this.#feed ?? this.#feeds.wait(() => true, signal);
  }

  async live(signal: AbortSignal, healthy: () => void): Promise<void> {
    const { connector, log, config } = this.#parts;
    const life = new AbortController();
    const both = AbortSignal.any([signal, life.signal]);
    this.#failLife = (failure) => life.abort(failure);
    try {
      await this.#parts.disk?.assertRoom();
      const isFirst = this.#writer === null;
      const writer = await this.#openedWriter();
      if (this.#gap !== null) await this.#recordGap(writer, this.#gap, both);
      else if (isFirst && (await endsWithGap(log, both))) {
        this.#voided = log.state().position;
        this.#releases = true;
      }
      if (this.#releases) await connector.release?.(both);
      this.#releases = false;
      const progress = await writer.flush();
      if (!samePosition(progress.position, this.#voided)) this.#voided = null;
      this.#acker = new Acker(connector.positions, progress, this.#voided);
      const position = this.#voided === null ? progress.position : null;
      const start = { position, catalog: log.catalog() };
      await connector.prepare(start, both);
      await using stream = connector.stream(start, both);
      this.#stream = stream;
      const feed = this.#newFeed(writer, { ...progress, position });
      this.#feed = feed;
      this.#feeds.test(feed);
      await this.#runStream(stream, feed, both, healthy);
    } catch (failure) {
      if (signal.aborted) return;
      throw asTidemarkError(life.signal.aborted ? life.signal.reason : failure, 'INTERNAL', { source: config.name });
    } finally {
      this.#stream = null;
      this.#feed = null;
      this.#failLife = () => undefined;
      life.abort(new Error('the stream has ended'));
    }
  }

  /** The position that is durable in the log, as soon as there is one of after the last gap. @throws TidemarkError `ABORTED` */
  async position(signal: AbortSignal): Promise<Position> {
    const known = (progress: DurableProgress): boolean => this.#isCurrent(progress);
    const now = this.#parts.log.state();
    const { position } = known(now) ? now : await this.#durable.wait(known, signal);
    if (position === null) throw new TidemarkError('INTERNAL', 'a wait for a position has ended without one');
    return position;
  }

  /** Resolves with the high watermark once everything up to that source position is durable in the log. */
  passed(position: Position, signal: AbortSignal): Promise<Offset> {
    const { positions } = this.#parts.connector;
    return this.come((at) => positions.compare(at, position) >= 0, signal);
  }

  /** Resolves with the high watermark once the log is durable up to a position of which `there` is true; it stays so. */
  async come(there: (position: Position) => boolean, signal: AbortSignal): Promise<Offset> {
    const { log, runtime } = this.#parts;
    const ready = (progress: DurableProgress): boolean => this.#isCurrent(progress) && progress.position !== null && there(progress.position);
    const now = log.state();
    if (ready(now)) return now.highWatermark;
    const waiting = this.#durable.wait(ready, signal);
    this.#stream?.requestProgress();
    using _asking = runtime.clock.every(PROGRESS_INTERVAL_MS, () => this.#stream?.requestProgress());
    return (await waiting).highWatermark;
  }

  /**
   * The next life gives up what the source holds back, records a gap, and streams from wherever the source begins: every
   * table is copied again. To be called when no life runs.
   */
  beginAfterGap(why: string): void {
    this.#gap = why;
  }

  /** Ends the stream's life with a failure, from outside: the part judges it. */
  fail(failure: unknown): void {
    this.#failLife(failure);
  }

  /** Closes the writer. To be called when no life runs. */
  async close(): Promise<void> {
    this.#durable.failAll(new TidemarkError('ABORTED', 'the source is closed'));
    const writer = this.#writer;
    this.#writer = null;
    await writer?.[Symbol.asyncDispose]();
  }

  /** The writer, with no transaction open: opened, or rolled back after the last stream. */
  async #openedWriter(): Promise<LogWriter> {
    const { log, completer } = this.#parts;
    if (this.#writer !== null) {
      try {
        await completer.rolledBack(await this.#writer.rollback());
        return this.#writer;
      } catch (failure) {
        this.#parts.runtime.logger.log('warn', 'source.writer-reopened', { what: String(failure) });
        const broken = this.#writer;
        this.#writer = null;
        await broken[Symbol.asyncDispose]();
      }
    }
    const writer = await log.openWriter((progress) => this.#onDurable(progress));
    const { disk } = this.#parts;
    this.#writer = disk === undefined ? writer : new GuardedWriter(writer, (bytes) => disk.admit(bytes));
    await completer.rolledBack(writer.start.highWatermark);
    return this.#writer;
  }

  async #recordGap(writer: LogWriter, why: string, signal: AbortSignal): Promise<void> {
    const { connector, completer, log, runtime } = this.#parts;
    const { position, commitTime } = log.state();
    const isOther = position !== null && (await connector.isSameSystem?.(position, signal)) === false;
    const builder = new BatchBuilder(1024);
    builder.begin('hub', 0, commitTime);
    // Tables of another system are other tables, also where their identities are the same by chance.
    for (const { tableId, state } of isOther ? log.catalog().tables() : []) {
      if (state.state !== 'removed') builder.record(Op.control, 0, tableId, 0, NO_BYTES, NO_BYTES, encodeControl({ type: 'removed' }));
    }
    // Last: a log that ends with it has no position of after the gap (see endsWithGap).
    builder.record(Op.control, 0, 0, 0, NO_BYTES, NO_BYTES, encodeControl({ type: 'gap', why }));
    builder.commit(position ?? NO_BYTES);
    const batch = builder.take();
    const { baseOffset } = await writer.append(batch);
    await writer.flush();
    completer.appended(batch.placedAt(baseOffset));
    runtime.logger.log('warn', 'source.gap', { offset: baseOffset, why });
    this.#gap = null;
    this.#voided = position;
    this.#releases = true;
  }

  #newFeed(writer: LogWriter, start: DurableProgress): StreamFeed {
    const { log, completer, runtime, config, onAppended } = this.#parts;
    const labels = { source: config.name };
    return new StreamFeed({
      log, writer, completer, start,
      onAppending: (position) => this.#acker?.appended(position),
      onAppended: (batch: ChangeBatch) => {
        onAppended(batch.count);
        runtime.metrics.add('tidemark_source_records_total', batch.count, labels);
        runtime.metrics.add('tidemark_source_bytes_total', batch.records.length, labels);
        runtime.metrics.add('tidemark_source_transactions_total', batch.packed.length, labels);
      },
      onBroken: (failure) => this.#failLife(failure),
      requestProgress: () => this.#stream?.requestProgress(),
    });
  }

  /** Runs the stream and its companion side by side; ends with the first failure of either. */
  async #runStream(stream: ChangeStream, feed: StreamFeed, signal: AbortSignal, healthy: () => void): Promise<void> {
    const { connector, log, companion, runtime } = this.#parts;
    using _asking = runtime.clock.every(PROGRESS_INTERVAL_MS, () => {
      if (feed.isAwaited) stream.requestProgress();
    });
    const fail = (failure: unknown): void => this.#failLife(failure);
    const announce: ChangeStream['announce'] = (tables) => stream.announce(tables);
    const beside = companion.accompany({ connector, log, turns: feed, announce }, signal).catch(fail);
    let reason: unknown;
    let begun = false;
    try {
      const progress = this.#acker?.pending();
      if (progress !== undefined && progress !== null) stream.acknowledge(progress);
      for await (const batch of stream) {
        await feed.append(batch);
        if (!begun) runtime.logger.log('info', 'source.streaming', { position: positionText(connector, log.state().position) });
        begun = true;
        healthy();
        if (signal.aborted) break;
      }
    } catch (failure) {
      reason = failure;
      throw failure;
    } finally {
      reason ??= signal.reason ?? new TidemarkError('ABORTED', 'the stream has ended by itself');
      this.#feed = null;
      fail(reason);
      await feed.end(reason);
      await beside;
    }
    if (signal.aborted) throw failureOf(signal);
  }

  /** False from a gap on until the stream after it has given a position: the one of before says nothing of the source. */
  #isCurrent({ position }: DurableProgress): boolean {
    return position !== null && this.#gap === null && !samePosition(position, this.#voided);
  }

  #onDurable(progress: DurableProgress): void {
    try {
      const acknowledged = this.#acker?.durable(progress) ?? null;
      if (acknowledged !== null) this.#stream?.acknowledge(acknowledged);
      this.#durable.test(progress);
    } catch (failure) {
      this.#failLife(failure);
    }
  }
}

/**
 * True when the process ended between a gap and the first position after it: the log's position is of before the gap. All
 * that comes after a gap brings a position of its own.
 */
async function endsWithGap(log: SourceLog, signal: AbortSignal): Promise<boolean> {
  const { highWatermark, position, horizon } = log.state();
  // A gap is followed by much before it is folded.
  if (highWatermark <= horizon) return false;
  const view = new RecordView();
  let ends = false;
  for await (const batch of log.read({ after: highWatermark - 1, to: highWatermark, follow: false, signal })) {
    const named = batch.transactions.at(-1)?.position ?? null;
    for (view.reset(batch.records); view.next(); ) {
      ends = view.op === Op.control && decodeControl(view.after()).type === 'gap' && samePosition(named, position);
    }
  }
  return ends;
}

function positionText({ positions }: SourceConnector, position: Position | null): string | null {
  return position === null ? null : positions.format(position);
}

function samePosition(a: Position | null, b: Position | null): boolean {
  return a !== null && b !== null && Buffer.compare(a, b) === 0;
}

function failureOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error(String(reason));
}
