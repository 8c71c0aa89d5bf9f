/**
 * The log as of two moments at once: where a sink stands, and what a snapshot of the source sees.
 *
 *     base    history: in both | in the sink's only | in the source's only | in neither
 *
 * A snapshot of the source is no offset: a transaction is in the log once its commit is, and visible a little later (much
 * later where commits wait for a standby). So history is taken by transaction: a row is what the newest transaction left
 * that the snapshot sees. That is what the source shows, since whoever changes a row waits until the one that changed it
 * before is visible: of those that wrote one row, or emptied one table, a snapshot sees the first ones without a hole.
 *
 * Hub transactions are nobody's to see, and repeat changes of the source's that the snapshot may not see yet. So a table
 * is compared only if the snapshot sees everything up to `seenTo`, and the last copy of the table ended before that: up
 * to there the log is the source as of that very place, and behind it there are no rows of the hub.
 */
import { join } from 'node:path';
import type { BaseReader } from '../../contracts/base.ts';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { FileSystem } from '../../contracts/runtime.ts';
import type { TransactionEntry } from '../../contracts/transaction.ts';
import { HistorySort } from '../log/embedded/base/history-sort.ts';
import type { EntryPlace } from '../log/embedded/runs/external-sort.ts';
import type { EntryCursor } from '../log/embedded/runs/run-format.ts';
import { MergeCursor } from '../log/embedded/runs/merge.ts';

/** The moments that the log is compared at. */
export interface Moments {
  /** Where the sink stands; null: it is not compared. */
  readonly sink: Offset | null;
  /** What the source shows, all of which stands at or below `to`; null: it is not compared. */
  readonly source: SeenSource | null;
}

export interface SeenSource {
  readonly to: Offset;
  readonly sees: (transaction: TransactionEntry) => boolean;
  /** The last gap: the tables were copied behind it, and a snapshot may know no transaction of before it. 0: none. */
  readonly gap: Offset;
}

export interface LogSideOptions {
  readonly moments: Moments;
  readonly tables: ReadonlySet<number>;
  readonly files: FileSystem;
  /** A folder of its own, for sorting; made, and removed at the end. */
  readonly directory: string;
  /** Bytes of rows in memory while sorting. */
  readonly memoryBytes: number;
  readonly signal: AbortSignal;
}

/** Whose moment records count for. */
export const Part = { both: 0, sink: 1, source: 2 } as const;
export type Part = (typeof Part)[keyof typeof Part];

const NO_PART = 3;

export class LogSide implements AsyncDisposable {
  readonly log: SourceLog;
  readonly moments: Moments;
  /** The snapshot of the source sees every transaction up to there. -1: perhaps not even all that the base has. */
  readonly seenTo: Offset;
  /** Null: the history holds everything. */
  readonly base: BaseReader | null;
  readonly #sorts: readonly HistorySort[];
  readonly #options: LogSideOptions;
  #opened: AsyncDisposableStack | null = null;

  private constructor(log: SourceLog, options: LogSideOptions, base: BaseReader | null, sorts: readonly HistorySort[], seenTo: Offset) {
    this.log = log;
    this.moments = options.moments;
    this.base = base;
    this.seenTo = seenTo;
    this.#sorts = sorts;
    this.#options = options;
  }

  /**
   * Reads the history of the tables once. The caller sees to it that the horizon passes none of the moments meanwhile.
   * @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `LOG_DISK_FULL`, `ABORTED`
   */
  static async open(log: SourceLog, options: LogSideOptions): Promise<LogSide> {
    const { moments, files, directory, signal } = options;
    await using opened = new AsyncDisposableStack();
    const opening = await log.openBase();
    const base = opening === null ? null : opened.use(opening);
    await files.makeDirectory(directory);
    opened.defer(() => files.remove(directory));
    const ends = [
      Math.min(moments.sink ?? Infinity, moments.source?.to ?? Infinity),
      moments.sink ?? -1,
      moments.source?.to ?? -1,
    ];
    const sorts: HistorySort[] = [];
    for (const [index, end] of ends.entries()) {
      // Where there is one moment only, everything is in both.
      if (index > 0 && (moments.sink === null || moments.source === null)) continue;
      const catalog = await log.catalogAt(end, signal);
      const own = join(directory, String(index));
      await files.makeDirectory(own);
      const memoryBytes = index === 0 ? options.memoryBytes : options.memoryBytes / 8;
      sorts.push(opened.use(await HistorySort.create({ files, directory: own, memoryBytes, catalog, tables: options.tables })));
    }
    const seenTo = await fill(log, base?.horizon ?? 0, moments, sorts, signal);
    const side = new LogSide(log, options, base, sorts, seenTo);
    side.#opened = opened.move();
    return side;
  }

  /** What history says of one part, in order of table and key, from a place on. */
  async history(part: Part, from: EntryPlace): Promise<EntryCursor> {
    return (await this.#sorts[part]?.sorted(from)) ?? new MergeCursor([], 'all');
  }

  get signal(): AbortSignal {
    return this.#options.signal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened?.disposeAsync();
  }
}

/** Deals the records of history out. Answers up to where the snapshot of the source sees everything. */
async function fill(log: SourceLog, after: Offset, { sink, source }: Moments, sorts: readonly HistorySort[], signal: AbortSignal): Promise<Offset> {
  const to = Math.max(sink ?? 0, source?.to ?? 0);
  const sight = new Sight(log, source ?? { to, sees: () => true, gap: 0 }, to, signal);
  const isOne = sorts.length === 1;
  for await (const batch of log.read({ after, to, follow: false, signal })) {
    const unseen = source === null ? null : await sight.unseen(batch);
    const untilSink = sink === null ? (source?.to ?? 0) : sink;
    const untilSource = source === null ? untilSink : source.to;
    const last = Math.min(batch.lastOffset, to);
    if (unseen === null && last <= Math.min(untilSink, untilSource)) {
      await sorts[Part.both]?.add(batch, to);
      continue;
    }
    const partOf = (index: number): number => {
      const offset = batch.baseOffset + index;
      const inSink = sink !== null && offset <= sink;
      const inSource = source !== null && offset <= source.to && unseen?.[index] !== 1;
      if (isOne) return inSink || inSource ? Part.both : NO_PART;
      return inSink ? (inSource ? Part.both : Part.sink) : inSource ? Part.source : NO_PART;
    };
    for (const [part, sort] of sorts.entries()) await sort.add(batch, to, (index) => partOf(index) === part);
  }
  return sight.seenTo(after);
}

/** What a snapshot sees of the log as it is read from an offset on. */
export class Sight {
  readonly #log: SourceLog;
  readonly #source: SeenSource;
  readonly #to: Offset;
  readonly #signal: AbortSignal;
  /** Of the transaction that is open at the end of the batch read last. */
  #openIsSeen = true;
  #first: Offset | null = null;
  #firstUnseen: Offset | null = null;
  #last: Offset = 0;

  /** @param to up to where the log is read, which may lie behind what the source shows */
  constructor(log: SourceLog, source: SeenSource, to: Offset, signal: AbortSignal) {
    this.#log = log;
    this.#source = source;
    this.#to = to;
    this.#signal = signal;
  }

  /** By index in the batch 1 for records that are not seen; null: all are. Batches come in order, without a hole. */
  async unseen(batch: ChangeBatch): Promise<Uint8Array | null> {
    let marked: Uint8Array | null = null;
    for (const entry of batch.transactions) {
      const offset = batch.baseOffset + entry.first;
      if (entry.kind === 'source' && offset > this.#source.gap) {
        this.#first ??= offset;
        if (entry.begins || this.#last === 0) this.#openIsSeen = this.#source.sees(await this.#whole(batch, entry));
        if (!this.#openIsSeen) {
          this.#firstUnseen ??= offset;
          marked ??= new Uint8Array(batch.count);
          marked.fill(1, entry.first, entry.first + entry.count);
        }
      }
      this.#last = Math.max(this.#last, offset + entry.count - 1);
    }
    return marked;
  }

  /**
   * The end of the longest stretch from `after` on of which every transaction is seen. -1 when the first transaction of the
   * source already is not: then what came before may be hidden as well.
   */
  seenTo(after: Offset): Offset {
    if (this.#firstUnseen === null) return Math.max(after, this.#to);
    return this.#firstUnseen === this.#first && after > 0 ? -1 : this.#firstUnseen - 1;
  }

  /** The entry that commits, of a transaction of which this is the first: its end may be what it is known by. */
  async #whole(batch: ChangeBatch, entry: TransactionEntry): Promise<TransactionEntry> {
    if (entry.commits) return entry;
    for await (const later of this.#log.read({ after: batch.lastOffset, to: this.#to, follow: false, signal: this.#signal })) {
      const end = later.transactions.find(({ commits }) => commits);
      if (end !== undefined) return { ...end, kind: entry.kind, xid: entry.xid };
    }
    return entry;
  }
}
