import type { Catalog } from '../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { DurableProgress, LogWriter, SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { Op } from '../../../contracts/op.ts';
import type { Position } from '../../../contracts/position.ts';
import { RecordView } from '../../../contracts/record.ts';
import { splitAtIncomplete, splitAtLastCommit } from './split.ts';
import { Waiters } from '../../waiters.ts';
import type { WriterTurn, WriterTurns } from './writer-turn.ts';

/** Completes rows before they enter the log, and follows what entered. */
export interface RowCompleter {
  /** How many incomplete records a batch may have, by how large those before it became. */
  readonly mostIncomplete: number;
  /** The batch with its placeholders filled in: itself when there are none. */
  complete(batch: ChangeBatch, catalog: Catalog): Promise<ChangeBatch>;
  /** The completed batch has been appended at its place. */
  appended(batch: ChangeBatch): void;
  /** Everything after `offset` has been cut from the log. */
  rolledBack(offset: Offset): Promise<void>;
}

/** What the feed needs, and whom it tells. */
export interface FeedParts {
  readonly log: SourceLog;
  readonly writer: LogWriter;
  readonly completer: RowCompleter;
  /** Durable progress when the stream begins. */
  readonly start: DurableProgress;
  /** A batch that reaches this position is about to be appended. */
  readonly onAppending: (position: Position) => void;
  readonly onAppended: (batch: ChangeBatch) => void;
  /** The writer itself has failed: the stream cannot go on with it. */
  readonly onBroken: (failure: unknown) => void;
  /** Asks the source for progress. */
  readonly requestProgress: () => void;
}

interface PendingTurn {
  readonly run: () => Promise<void>;
  readonly fail: (reason: unknown) => void;
}

/**
 * What one stream appends to the log, and the turns that others take in between. Lives as long as the stream does; the
 * log's writer outlives it. Invariant: between the first and the last batch of a source transaction nothing else is
 * appended. A batch that ends inside a transaction is cut at its last commit when somebody waits for a turn, so that a
 * backlog of batches that never end with a commit does not keep turns waiting.
 */
export class StreamFeed implements WriterTurns {
  readonly #parts: FeedParts;
  readonly #view = new RecordView();
  readonly #turns: PendingTurn[] = [];
  readonly #passed = new Waiters<Position>();
  readonly #catalogs = new Waiters<Catalog>();
  #catalog: Catalog;
  #position: Position | null;
  #commitTime: number;
  /** A source transaction has begun in the log and not ended. */
  #open = false;
  #streamBusy = false;
  #turning: Promise<void> | null = null;
  #ended: { readonly reason: unknown } | null = null;

  constructor(parts: FeedParts) {
    this.#parts = parts;
    this.#catalog = parts.log.catalog();
    this.#position = parts.start.position;
    this.#commitTime = parts.log.state().commitTime;
  }

  /** As of the last append; the feed's. */
  get catalog(): Catalog {
    return this.#catalog;
  }

  /** Somebody waits for the source to come further. */
  get isAwaited(): boolean {
    return this.#passed.size > 0;
  }

  /** Appends the stream's next batch. Waiting for it is the stream's back-pressure. Called one at a time. */
  async append(batch: ChangeBatch): Promise<void> {
    this.#streamBusy = true;
    try {
      if (this.#turning !== null) await this.#turning;
      const parts = this.#turns.length > 0 && batch.endsOpen ? splitAtLastCommit(batch) : null;
      if (parts === null) await this.#write(batch);
      else {
        await this.#write(parts[0]);
        await this.#takeTurn();
        await this.#write(parts[1]);
      }
      if (!this.#open) await this.#takeTurn();
    } finally {
      this.#streamBusy = false;
    }
    this.#turnWhileIdle();
  }

  turn<T>(work: (turn: WriterTurn) => Promise<T>): Promise<T> {
    if (this.#ended !== null) return Promise.reject(this.#endReason());
    return new Promise<T>((resolve, reject) => {
      this.#turns.push({
        run: () => this.#runTurn(work).then(resolve, reject),
        fail: reject,
      });
      this.#turnWhileIdle();
    });
  }

  async waitPassed(passed: (position: Position) => boolean, signal: AbortSignal): Promise<void> {
    if (this.#ended !== null) throw this.#endReason();
    if (this.#position !== null && passed(this.#position)) return;
    const waiting = this.#passed.wait(passed, signal);
    this.#parts.requestProgress();
    await waiting;
  }

  async waitCatalog(ready: (catalog: Catalog) => boolean, signal: AbortSignal): Promise<void> {
    if (this.#ended !== null) throw this.#endReason();
    if (ready(this.#catalog)) return;
    await this.#catalogs.wait(ready, signal);
  }

  /** The stream is over: resolves when the turn that runs has ended; all who wait are rejected with `reason`. */
  async end(reason: unknown): Promise<void> {
    this.#ended ??= { reason };
    for (const pending of this.#turns.splice(0)) pending.fail(this.#endReason());
    this.#passed.failAll(this.#endReason());
    this.#catalogs.failAll(this.#endReason());
    if (this.#turning !== null) await this.#turning;
  }

  #endReason(): TidemarkError {
    const reason = this.#ended?.reason;
    if (reason instanceof TidemarkError) return reason;
    return new TidemarkError('ABORTED', 'the stream has ended', { cause: reason });
  }

  /** Runs turns while the stream has nothing to append. */
  #turnWhileIdle(): void {
    if (this.#streamBusy || this.#open || this.#turning !== null || this.#turns.length === 0) return;
    this.#turning = this.#takeTurn().finally(() => {
      this.#turning = null;
      this.#turnWhileIdle();
    });
  }

  async #takeTurn(): Promise<void> {
    await this.#turns.shift()?.run();
  }

  async #runTurn<T>(work: (turn: WriterTurn) => Promise<T>): Promise<T> {
    if (this.#ended !== null) throw this.#endReason();
    let result: T;
    try {
      result = await work(this.#turnView());
      if (this.#open) throw new TidemarkError('INTERNAL', 'a turn left its transaction open');
    } catch (failure) {
      if (this.#open) await this.#cutOpen();
      throw failure;
    }
    return result;
  }

  #turnView(): WriterTurn {
    const lastOffset = (): Offset => this.#parts.writer.lastOffset;
    const catalog = (): Catalog => this.#catalog;
    return {
      get lastOffset() {
        return lastOffset();
      },
      get catalog() {
        return catalog();
      },
      position: this.#position,
      commitTime: this.#commitTime,
      append: (batch) => this.#write(batch),
      flush: () => this.#guarded(() => this.#parts.writer.flush()),
    };
  }

  /** Takes back what a turn left unfinished: the log, the catalog and the completed rows are as before it. */
  async #cutOpen(): Promise<void> {
    await this.#guarded(async () => {
      const { writer, log, completer } = this.#parts;
      const last = await writer.rollback();
      await writer.flush();
      await completer.rolledBack(last);
      this.#catalog = log.catalog();
      this.#open = false;
    });
  }

  /** In pieces, where completing all of it at once would take too much memory. */
  async #write(batch: ChangeBatch): Promise<{ baseOffset: Offset; lastOffset: Offset }> {
    let first: Offset | null = null;
    let rest = batch;
    for (;;) {
      const parts = splitAtIncomplete(rest, this.#parts.completer.mostIncomplete);
      const { baseOffset, lastOffset } = await this.#writePiece(parts?.[0] ?? rest);
      first ??= baseOffset;
      if (parts === null) return { baseOffset: first, lastOffset };
      rest = parts[1];
    }
  }

  async #writePiece(batch: ChangeBatch): Promise<{ baseOffset: Offset; lastOffset: Offset }> {
    const { writer, completer, onAppending, onAppended } = this.#parts;
    const complete = await completer.complete(batch, this.#catalog);
    const reached = reachedBy(complete);
    if (reached !== null) onAppending(reached);
    const place = await this.#guarded(() => writer.append(complete));
    const placed = complete.placedAt(place.baseOffset);
    this.#open = placed.packed.length > 0 ? placed.endsOpen : this.#open;
    if (reached !== null) this.#position = reached;
    const source = placed.packed.lastSourceCommit;
    if (source !== null) this.#commitTime = source.commitTime;
    completer.appended(placed);
    const changed = this.#follow(placed);
    onAppended(placed);
    if (reached !== null) this.#passed.test(reached);
    if (changed) this.#catalogs.test(this.#catalog);
    return place;
  }

  #follow(batch: ChangeBatch): boolean {
    const view = this.#view.reset(batch.records);
    let changed = false;
    while (view.next()) {
      if (view.op !== Op.schema && view.op !== Op.control) continue;
      this.#catalog.apply(view, batch.baseOffset + view.index);
      changed = true;
    }
    return changed;
  }

  async #guarded<T>(use: () => Promise<T>): Promise<T> {
    try {
      return await use();
    } catch (failure) {
      this.#parts.onBroken(failure);
      throw failure;
    }
  }
}

/** The position that stands when the batch is applied: its progress, or its last commit. */
function reachedBy(batch: ChangeBatch): Position | null {
  if (batch.progress !== null) return batch.progress;
  const { lastCommit, lastSourceCommit } = batch.packed;
  return (lastCommit?.position.length ? lastCommit : lastSourceCommit)?.position ?? null;
}
