import { BatchBuilder } from '../../../contracts/change-batch.ts';
import { describeError, TidemarkError, type ErrorWhere } from '../../../contracts/errors/error.ts';
import type { LoadCursor } from '../../../contracts/load-cursor.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../../contracts/op.ts';
import { RECORD_HEADER, RecordView } from '../../../contracts/record.ts';
import { tableName } from '../../../contracts/schema.ts';
import { DEFAULT_LIMITS, type Sink, type SinkBatch, type SinkStep, type TableSelector } from '../../../contracts/sink.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import type { DeadLetter, DeadLetters } from '../../dead-letters/dead-letters.ts';
import type { PrintPosition } from '../../print-position.ts';
import { keysOf } from './batch-keys.ts';
import { sinkStart } from './delivery-plan.ts';
import { isDataError } from '../error-policy.ts';
import { Fold, type FoldLimits, type FoldStart } from './fold.ts';
import { keyText } from './key-text.ts';
import { MirroredTables } from './mirrored-tables.ts';
import { hasChanges, idOf, isMixed, offsetOf, onlyRow, type Piece, piecesOf, type Refused, stepsWith } from './pieces.ts';

export interface SiftParts {
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly selects: TableSelector;
  readonly letters: DeadLetters;
  readonly clock: Clock;
  readonly printPosition: PrintPosition;
  /** Bytes of the log in one piece; a transaction of more is applied in parts. */
  readonly maxBytes: number;
  /** What is done with the rows that the sink refuses: set aside, or the first of them is named in an error. */
  readonly refused: 'set-aside' | 'name';
  /** The sink has applied everything up to there. */
  readonly onProgress: (at: FoldStart) => void;
}

const NONE = new Uint8Array(0);

const UNLIMITED = { wholeTransactions: true, maxKeys: Infinity, maxBytes: Infinity };

/**
 * Brings a sink over a stretch of the log in which it refuses some rows: bisects by transactions, then by rows, until the
 * refused rows stand alone. They become dead letters, durable before the sink commits the transaction without them; or
 * the first of them is named, and the sink stays before its transaction.
 * A sink of whole transactions tries the rows of one in groups without committing anything. Another one commits them
 * without moving its checkpoint, so that they are only done again.
 */
export class Sift {
  readonly #parts: SiftParts;
  readonly #signal: AbortSignal;
  /** That of the checkpoint while a batch is tried. */
  #cursor: LoadCursor | null = null;

  constructor(parts: SiftParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  /**
   * From where the sink stands to the end of the transaction that `to` is in. The sink is open, and is so again
   * afterwards. @throws TidemarkError `DEAD_LETTER_IMPOSSIBLE` where what is refused is no single row; the refusal itself
   *   with all that is known of its place, where refused rows are to be named; what else the sink throws
   */
  async over(start: FoldStart, to: Offset): Promise<void> {
    let at = start;
    let ends: Offset[] = [];
    const transactions = await this.#transactions(start.after, to);
    const stops = await this.#stopsBeforeSteps(start, transactions.at(-1)?.end ?? to);
    for (const [index, { end, bytes }] of transactions.entries()) {
      const isLarge = this.#keepsWhole && bytes > this.#parts.maxBytes;
      if (!isLarge) ends.push(...stops.filter((stop) => stop > (transactions[index - 1]?.end ?? start.after) && stop < end));
      ends.push(end);
      if (!isLarge) continue;
      at = await this.#overTransactions(at, ends.slice(0, -1));
      at = await this.#overParts(at, end);
      ends = [];
    }
    await this.#overTransactions(at, ends);
  }

  /**
   * For a sink that cannot change shapes and rows in one transaction: the ends of rows that have a change of shape behind
   * them. What was committed with the one would come again with the other, and a row without a key would be there twice.
   */
  async #stopsBeforeSteps(start: FoldStart, to: Offset): Promise<Offset[]> {
    const { sink, log } = this.#parts;
    if (sink.limits?.stepsFirst !== true) return [];
    const stops: Offset[] = [];
    const fold = this.#fold(start, { ...UNLIMITED, stepsFirst: true });
    for await (const batch of log.read({ after: start.after, to, follow: false, signal: this.#signal })) {
      for (fold.feed(batch); !fold.run(); ) stops.push(fold.take((offset) => log.epochAt(offset)).to);
    }
    return stops;
  }

  /** Where transactions end, and about how large they are. A sink that may stop inside of one is led to `to` itself. */
  async #transactions(after: Offset, to: Offset): Promise<{ readonly end: Offset; readonly bytes: number }[]> {
    const { log } = this.#parts;
    const found: { end: Offset; bytes: number }[] = [];
    let bytes = 0;
    for await (const batch of log.read({ after, to: this.#keepsWhole ? log.state().highWatermark : to, follow: false, signal: this.#signal })) {
      bytes += batch.records.length;
      for (const entry of batch.transactions) {
        if (!entry.commits) continue;
        const end = batch.baseOffset + entry.first + entry.count - 1;
        if (end > after && end !== found.at(-1)?.end) found.push({ end, bytes });
        bytes = batch.records.length;
        if (end >= to) return found;
      }
    }
    if (found.at(-1)?.end !== to) found.push({ end: this.#keepsWhole ? log.state().highWatermark : to, bytes });
    return found;
  }

  async #overTransactions(start: FoldStart, ends: readonly Offset[]): Promise<FoldStart> {
    const last = ends.at(-1);
    if (last === undefined || last <= start.after) return start;
    const batch = await this.#folded(start, last);
    if (ends.length === 1 || this.#parts.sink.limits?.stepsFirst !== true || !isMixed(batch)) {
      const error = await this.#settledBy(batch);
      if (error === null) return this.#applied(batch);
      if (ends.length === 1) return this.#overOne(batch, error);
    }
    const middle = ends.length >> 1;
    const between = await this.#overTransactions(start, ends.slice(0, middle));
    return this.#overTransactions(between, ends.slice(middle));
  }

  /** One transaction of which something is refused. */
  async #overOne(batch: SinkBatch, error: TidemarkError): Promise<FoldStart> {
    const names = this.#parts.refused === 'name';
    // Rows that a sink commits one by one are not tried only to be named.
    const refused = names && !this.#keepsWhole ? [] : await this.#refusedOf(batch, piecesOf(batch));
    if (names) throw this.#named(batch, refused[0] ?? null, error);
    const letters = await this.#without(batch, refused);
    const start = this.#applied(batch);
    await this.#tryAgain(start, letters);
    return start;
  }

  /** Applies the batch without the rows that are refused, for which letters are durable before. */
  async #without(batch: SinkBatch, refused: readonly Refused[]): Promise<readonly DeadLetter[]> {
    const letters = refused.map((one) => this.#letter(batch, one));
    await this.#parts.letters.write(letters);
    const bad = new Set(refused.map(({ piece }) => piece.ref));
    const left = await this.#settledBy({ ...batch, steps: stepsWith(batch, (ref) => !bad.has(ref), true) }, letters);
    if (left !== null) throw this.#impossible(batch, left);
    return letters;
  }

  /**
   * Applies a batch that leaves the checkpoint's offset where it is: a part of the base, or the past of a table that joins.
   * Rows that the sink refuses are set aside.
   * @param cursor the checkpoint's as it is now
   * @throws TidemarkError as `over`
   */
  async still(batch: SinkBatch, cursor: LoadCursor | null = null): Promise<void> {
    this.#cursor = cursor;
    const error = await this.#settledBy(batch);
    if (error === null) return;
    const refused = await this.#refusedOf(batch, piecesOf(batch));
    if (this.#parts.refused === 'name') throw this.#named(batch, refused[0] ?? null, error);
    await this.#without(batch, refused);
  }

  /**
   * One transaction that is larger than memory. It is applied part by part; where a part is refused the transaction
   * begins again without the keys that were found to be the reason.
   */
  async #overParts(start: FoldStart, end: Offset): Promise<FoldStart> {
    const letters = new Map<string, DeadLetter>();
    for (;;) {
      const settled: DeadLetter[] = [];
      const { batch, error } = await this.#applyParts(start, end, letters, settled);
      if (error === null) {
        await this.#parts.letters.close(settled);
        const at = this.#applied(batch);
        await this.#tryAgain(at, [...letters.values()]);
        return at;
      }
      const refused = await this.#refusedOf(batch, piecesOf(batch));
      if (this.#parts.refused === 'name') throw this.#named(batch, refused[0] ?? null, error);
      if (refused.length === 0) throw this.#impossible(batch, error);
      const found = refused.map((one) => this.#letter(batch, one));
      await this.#parts.letters.write(found);
      for (const letter of found) letters.set(idOf(letter), letter);
    }
  }

  /**
   * Applies the transaction without the keys that are left out. Answers its last batch; or the part that is refused, as
   * one that follows the checkpoint, with the changes of schema that come before it.
   * @param settled gets the open letters that the parts settle
   */
  async #applyParts(start: FoldStart, end: Offset, without: ReadonlyMap<string, unknown>, settled: DeadLetter[]): Promise<{ readonly batch: SinkBatch; readonly error: TidemarkError | null }> {
    const { log, sink, maxBytes } = this.#parts;
    const fold = this.#fold(start, { ...(sink.limits ?? DEFAULT_LIMITS), maxBytes });
    const earlier: SinkStep[] = [];
    const view = new RecordView();
    const next = async (): Promise<{ readonly batch: SinkBatch; readonly error: TidemarkError | null }> => {
      const taken = fold.take((offset) => log.epochAt(offset));
      const kept = stepsWith(taken, ({ batch, at }) => !without.has(idOf({ tableId: view.seek(batch.records, at).tableId, key: view.key() })), true);
      const batch = { ...taken, steps: kept };
      settled.push(...(await this.#settling(batch, without)));
      const error = await this.#partRefusal(batch);
      if (error !== null) return { batch: { ...batch, after: start.after, steps: [...earlier, ...kept] }, error };
      earlier.push(...kept.filter(({ kind }) => kind !== 'rows'));
      return { batch, error };
    };
    for await (const batch of log.read({ after: start.after, to: end, follow: false, signal: this.#signal })) {
      fold.feed(batch);
      while (!fold.run()) {
        const part = await next();
        if (part.error !== null) return part;
      }
      if (!fold.isFull || fold.to >= end) continue;
      const part = await next();
      if (part.error !== null) return part;
    }
    fold.reached(end);
    return next();
  }

  /** Applies a part, or what ends the transaction; why the sink refuses it, or null. After a refusal the sink is open again. */
  async #partRefusal(batch: SinkBatch): Promise<TidemarkError | null> {
    if (!batch.endsOpen) return this.#refusal(batch);
    // What comes after a part is accepted once the part has been applied.
    const nothing: SinkBatch = { ...batch, after: batch.to, steps: [], records: 0 };
    const parts = [batch, nothing].map((part) => this.#parts.sink.apply(part, this.#signal));
    for (const { durable } of parts) durable.catch(() => undefined);
    const accepted = await Promise.allSettled(parts.map((part) => part.accepted));
    const failure = accepted.find((each) => each.status === 'rejected');
    return failure === undefined ? null : this.#reopenedAfter(failure.reason);
  }

  /** @throws what is no error of data */
  async #reopenedAfter(failure: unknown): Promise<TidemarkError> {
    if (!(failure instanceof TidemarkError) || !isDataError(failure)) throw failure;
    await this.#backToCheckpoint();
    return failure;
  }

  /** The sink stands at its checkpoint, open: without taking it over again where it knows how, since each row that is tried comes to this. */
  async #backToCheckpoint(): Promise<void> {
    const { sink, log, selects } = this.#parts;
    const start = sinkStart(log, selects);
    if (sink.rewind === undefined || !(await sink.rewind(start, this.#signal))) await sink.open(start, this.#signal);
  }

  #applied({ to, position, commitTime }: SinkBatch): FoldStart {
    const at = { after: to, position, commitTime };
    this.#parts.onProgress(at);
    return at;
  }

  /** Those of `pieces` that the sink refuses also when they come alone, after the changes of schema of their transaction. */
  async #refusedOf(batch: SinkBatch, pieces: readonly Piece[]): Promise<Refused[]> {
    if (pieces.length === 0) return [];
    const chosen = new Set(pieces.map(({ ref }) => ref));
    const why = await this.#trial(batch, stepsWith(batch, (ref) => chosen.has(ref), false));
    if (why === null) return [];
    const [piece] = pieces;
    if (pieces.length === 1 && piece !== undefined) return [{ piece, error: why }];
    const middle = pieces.length >> 1;
    const first = await this.#refusedOf(batch, pieces.slice(0, middle));
    return [...first, ...(await this.#refusedOf(batch, pieces.slice(middle)))];
  }

  get #keepsWhole(): boolean {
    return (this.#parts.sink.limits ?? DEFAULT_LIMITS).wholeTransactions;
  }

  /** Why the sink refuses these steps, or null. Its checkpoint stays where it is, and so do the rows of a sink of whole transactions. */
  async #trial(batch: SinkBatch, steps: readonly SinkStep[]): Promise<TidemarkError | null> {
    const { log, sink } = this.#parts;
    const still = { ...batch, to: batch.after, epoch: log.epochAt(batch.after), cursor: this.#cursor, steps };
    if (!this.#keepsWhole) return this.#refusal(still);
    // A part of a transaction is not committed; what comes after it is accepted once it has been applied.
    const parts = [{ ...still, endsOpen: true }, { ...still, endsOpen: true, steps: [] }].map((part) => sink.apply(part, this.#signal));
    for (const { durable } of parts) durable.catch(() => undefined);
    const accepted = await Promise.allSettled(parts.map((part) => part.accepted));
    await this.#backToCheckpoint();
    const refused = accepted.find((each) => each.status === 'rejected');
    if (refused === undefined) return null;
    const failure: unknown = refused.reason;
    if (failure instanceof TidemarkError && isDataError(failure)) return failure;
    throw failure;
  }

  /** What is refused, with all that is known of where it stands. */
  #named(batch: SinkBatch, refused: Refused | null, error: TidemarkError): TidemarkError {
    const one = refused ?? onlyRow(batch, error);
    return (refused?.error ?? error).at(one === null ? this.#end(batch) : this.#placeOf(batch, one.piece));
  }

  #end(batch: SinkBatch): ErrorWhere {
    const position = this.#parts.printPosition(batch.position);
    return { offset: batch.to, ...(position === null ? {} : { position }) };
  }

  #placeOf(batch: SinkBatch, { schema, ref }: Piece): ErrorWhere {
    const key = new RecordView().seek(ref.batch.records, ref.at).key();
    return { ...this.#end(batch), table: tableName(schema), key: keyText(schema, key), offset: offsetOf(ref) ?? batch.to };
  }

  /** What cannot be set aside, and why. */
  #impossible(batch: SinkBatch, cause: TidemarkError): TidemarkError {
    const rows = batch.steps.flatMap((step) => (step.kind === 'rows' ? step.tables : []));
    const keyless = rows.filter((table) => table.schema.keyKind === 'none' && hasChanges(table)).map(({ schema }) => tableName(schema));
    const steps = batch.steps.filter((step) => step.kind !== 'rows');
    const what = keyless.length > 0
      ? `rows of ${keyless.join(', ')}, which has no key by which a row could be set aside and tried again`
      : steps.length > 0 ? 'a change of schema, or rows together with it' : 'rows together that it takes one by one';
    const remedy = keyless.length > 0
      ? `Let ${keyless.join(', ')} at the sink take the row (the message says what it does not fit), or leave the table out of the sink, then \`tidemark sink retry NAME\`. A primary key at the source makes dead letters possible for what comes after.`
      : 'Mend at the sink what the message names (a constraint, a type, the size of a column), then `tidemark sink retry NAME`.';
    return new TidemarkError('DEAD_LETTER_IMPOSSIBLE', `the sink refuses ${what}: ${cause.message}`, {
      where: { ...this.#end(batch), ...cause.where }, remedy, cause,
    });
  }

  /**
   * Writes what the keys of open letters are now, each by itself, and closes the letters of those that the sink takes.
   * @param start where the sink stands: what the keys are is what they are there
   */
  async retry(start: FoldStart): Promise<void> {
    await this.#tryAgain(start, this.#parts.letters.list());
  }

  async #tryAgain(start: FoldStart, letters: readonly DeadLetter[]): Promise<void> {
    if (letters.length === 0) return;
    const newest = await this.#newestRecords(start.after, letters);
    for (const letter of letters) {
      const record = newest.get(idOf(letter));
      const batch = record === undefined ? null : this.#single(start, record);
      const error = batch === null ? null : await this.#refusal(batch);
      if (error === null) await this.#parts.letters.close([letter]);
    }
  }

  /** The newest applied record of each letter's key, up to `to`; none where the table was emptied afterwards. */
  async #newestRecords(to: Offset, letters: readonly DeadLetter[]): Promise<Map<string, Buffer>> {
    const wanted = new Map(letters.map((letter) => [idOf(letter), letter]));
    const newest = new Map<string, Buffer>();
    const first = Math.min(...letters.map((letter) => letter.offset)) - 1;
    await using base = first < this.#parts.log.state().horizon ? await this.#parts.log.openBase() : null;
    for (const letter of base === null ? [] : letters) {
      const row = await base?.find(letter.tableId, letter.key);
      if (row === null || row === undefined) continue;
      const builder = new BatchBuilder(RECORD_HEADER + letter.key.length + row.image.length);
      builder.begin('hub', 0, 0);
      builder.record(Op.read, 0, letter.tableId, row.schemaVersion, letter.key, NONE, row.image);
      newest.set(idOf(letter), builder.take().records);
    }
    const after = Math.max(first, base?.horizon ?? 0);
    const view = new RecordView();
    for await (const batch of this.#parts.log.read({ after, to, follow: false, signal: this.#signal })) {
      for (view.reset(batch.records); view.next(); ) {
        if ((view.flags & (Flag.incomplete | Flag.notApplied)) !== 0) continue;
        if (view.op === Op.truncate) {
          for (const [id, { tableId }] of wanted) if (tableId === view.tableId) newest.delete(id);
        } else if (isRowOp(view.op)) {
          const id = idOf({ tableId: view.tableId, key: view.key() });
          if (wanted.has(id)) newest.set(id, Buffer.from(view.record()));
        }
      }
    }
    return newest;
  }

  /** A batch of that one record, as the table is where the sink stands. Null when it is not mirrored any more. */
  #single(start: FoldStart, record: Buffer): SinkBatch | null {
    const { log } = this.#parts;
    const builder = new BatchBuilder(record.length);
    builder.begin('hub', 0, start.commitTime);
    builder.copy(record);
    builder.commit(start.position);
    const fold = this.#fold(start, UNLIMITED);
    fold.feed(builder.take().placedAt(start.after + 1));
    fold.run();
    const batch = fold.take(() => log.epochAt(start.after));
    const tables = batch.steps.flatMap((step) => (step.kind === 'rows' ? step.tables : []));
    if (tables.length === 0) return null;
    const existing = tables.map((table) => ({ ...table, upserts: [...table.upserts, ...table.inserts], inserts: [] }));
    return { ...batch, to: batch.after, steps: [{ kind: 'rows', tables: existing }] };
  }

  #fold(start: FoldStart, limits: FoldLimits): Fold {
    const { sink, log, selects } = this.#parts;
    return new Fold(new MirroredTables(log.catalog(), start.after, selects, sink.handsNamesOn), limits, start);
  }

  async #folded(start: FoldStart, to: Offset): Promise<SinkBatch> {
    const { log } = this.#parts;
    const fold = this.#fold(start, UNLIMITED);
    for await (const batch of log.read({ after: start.after, to, follow: false, signal: this.#signal })) {
      fold.feed(batch);
      fold.run();
    }
    return { ...fold.take((offset) => log.epochAt(offset)), endsOpen: false };
  }

  /**
   * As `#refusal`; the open letters whose keys the batch writes or removes are closed once it is durable.
   * @param opened letters of rows that were left out of it, which stay
   */
  async #settledBy(batch: SinkBatch, opened: readonly DeadLetter[] = []): Promise<TidemarkError | null> {
    const { letters } = this.#parts;
    const settled = await this.#settling(batch, new Set(opened.map(idOf)));
    const error = await this.#refusal(batch);
    if (error === null) await letters.close(settled);
    return error;
  }

  /** The open letters that a batch settles, noted as such where it moves the checkpoint. */
  async #settling(batch: SinkBatch, without: Pick<ReadonlySet<string>, 'has'>): Promise<readonly DeadLetter[]> {
    const { letters } = this.#parts;
    if (letters.count === 0) return [];
    const settled = letters.list().filter(keysOf(batch)).filter((letter) => !without.has(idOf(letter)));
    if (batch.to > batch.after && settled.length > 0) await letters.settling(settled, batch.to);
    return settled;
  }

  /** Applies a batch; the data error with which the sink refuses it, or null. The sink is open again afterwards. */
  async #refusal(batch: SinkBatch): Promise<TidemarkError | null> {
    const { accepted, durable } = this.#parts.sink.apply(batch, this.#signal);
    const [, settled] = await Promise.allSettled([accepted, durable]);
    return settled.status === 'fulfilled' ? null : this.#reopenedAfter(settled.reason);
  }

  /** Of a record that says nothing of its place: no later than it. Where the checkpoint stands still it may be of the base. */
  #findableFrom({ after, to }: SinkBatch): Offset {
    return to > after ? after + 1 : Math.max(1, this.#parts.log.state().horizon);
  }

  #letter(batch: SinkBatch, { piece, error }: Refused): DeadLetter {
    const view = new RecordView().seek(piece.ref.batch.records, piece.ref.at);
    return {
      tableId: piece.schema.tableId,
      table: tableName(piece.schema),
      key: Buffer.from(view.key()),
      offset: offsetOf(piece.ref) ?? this.#findableFrom(batch),
      code: error.code,
      message: describeError(error.at(this.#placeOf(batch, piece))),
      at: new Date(this.#parts.clock.now()).toISOString(),
    };
  }
}
