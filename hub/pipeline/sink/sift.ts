import { BatchBuilder } from '../../../contracts/change-batch.ts';
import { describeError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../../contracts/op.ts';
import { RecordView } from '../../../contracts/record.ts';
import { tableName } from '../../../contracts/schema.ts';
import type { FoldedTable, RecordRef, Sink, SinkBatch, TableSelector } from '../../../contracts/sink.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import type { DeadLetter, DeadLetters } from '../../dead-letters/dead-letters.ts';
import { sinkStart } from './delivery-plan.ts';
import { isDataError } from '../error-policy.ts';
import { Fold, type FoldStart } from './fold.ts';
import { MirroredTables } from './mirrored-tables.ts';

export interface SiftParts {
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly selects: TableSelector;
  readonly letters: DeadLetters;
  readonly clock: Clock;
}

/** One row of a folded batch. */
interface Piece {
  readonly table: number;
  readonly list: 'deletes' | 'upserts' | 'inserts';
  readonly ref: RecordRef;
}

interface Refused {
  readonly piece: Piece;
  readonly error: TidemarkError;
}

const UNLIMITED = { wholeTransactions: true, maxKeys: Infinity, maxBytes: Infinity };

/**
 * Brings a sink over a stretch of the log in which it refuses some rows: bisects by transactions, then by rows, until the
 * refused rows stand alone. They become dead letters, durable before the sink commits the transaction without them.
 * Rows of a transaction are tried in groups without moving the checkpoint, so that a crash in between only does them again.
 */
export class Sift {
  readonly #parts: SiftParts;
  readonly #signal: AbortSignal;

  constructor(parts: SiftParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  /**
   * From where the sink stands to `to`, which ends a transaction. The sink is open, and is so again afterwards.
   * @throws TidemarkError `DEAD_LETTER_IMPOSSIBLE` where what is refused is no single row; what else the sink throws
   */
  async over(start: FoldStart, to: Offset): Promise<void> {
    const ends: Offset[] = [];
    for await (const batch of this.#parts.log.read({ after: start.after, to, follow: false, signal: this.#signal })) {
      for (const entry of batch.transactions) if (entry.commits) ends.push(batch.baseOffset + entry.first + entry.count - 1);
    }
    if (ends.at(-1) !== to) ends.push(to);
    await this.#overTransactions(start, [...new Set(ends)]);
  }

  async #overTransactions(start: FoldStart, ends: readonly Offset[]): Promise<FoldStart> {
    const last = ends.at(-1);
    if (last === undefined || last <= start.after) return start;
    const batch = await this.#folded(start, last);
    const error = await this.#refusal(batch);
    if (error === null) return { after: batch.to, position: batch.position, commitTime: batch.commitTime };
    if (ends.length === 1) return this.#overOne(batch, error);
    const middle = ends.length >> 1;
    const between = await this.#overTransactions(start, ends.slice(0, middle));
    return this.#overTransactions(between, ends.slice(middle));
  }

  /** One transaction of which something is refused. */
  async #overOne(batch: SinkBatch, error: TidemarkError): Promise<FoldStart> {
    const step = batch.steps[0];
    if (batch.steps.length !== 1 || step?.kind !== 'rows') throw impossible('a transaction that also changes a schema', batch, error);
    const pieces = piecesOf(step.tables);
    const refused = await this.#refusedOf(batch, step.tables, pieces);
    const letters = refused.map((one) => this.#letter(batch, step.tables, one));
    await this.#parts.letters.write(letters);
    const bad = new Set(refused.map(({ piece }) => piece.ref));
    const rest = step.tables.map((table) => only(table, (ref) => !bad.has(ref)));
    const left = await this.#refusal({ ...batch, steps: [{ kind: 'rows', tables: rest.filter(hasChanges) }] });
    if (left !== null) throw impossible('rows that it takes one by one', batch, left);
    const start = { after: batch.to, position: batch.position, commitTime: batch.commitTime };
    await this.#tryAgain(start, letters);
    return start;
  }

  /** Those of `pieces` that the sink refuses also when they come alone. */
  async #refusedOf(batch: SinkBatch, tables: readonly FoldedTable[], pieces: readonly Piece[]): Promise<Refused[]> {
    if (pieces.length === 0) return [];
    const chosen = new Set(pieces.map(({ ref }) => ref));
    const some = tables.map((table) => only(table, (ref) => chosen.has(ref), false)).filter(hasChanges);
    const why = await this.#refusal({ ...batch, to: batch.after, epoch: this.#parts.log.epochAt(batch.after), steps: [{ kind: 'rows', tables: some }] });
    if (why === null) return [];
    const [piece] = pieces;
    if (pieces.length === 1 && piece !== undefined) return [{ piece, error: why }];
    const middle = pieces.length >> 1;
    const first = await this.#refusedOf(batch, tables, pieces.slice(0, middle));
    return [...first, ...(await this.#refusedOf(batch, tables, pieces.slice(middle)))];
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
    const after = Math.min(...letters.map((letter) => letter.offset)) - 1;
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
    const { log, selects } = this.#parts;
    const builder = new BatchBuilder(record.length);
    builder.begin('hub', 0, start.commitTime);
    builder.copy(record);
    builder.commit(start.position);
    const fold = new Fold(new MirroredTables(log.catalog(), start.after, selects), UNLIMITED, start);
    fold.feed(builder.take().placedAt(start.after + 1));
    fold.run();
    const batch = fold.take(() => log.epochAt(start.after));
    const tables = batch.steps.flatMap((step) => (step.kind === 'rows' ? step.tables : []));
    if (tables.length === 0) return null;
    const existing = tables.map((table) => ({ ...table, upserts: [...table.upserts, ...table.inserts], inserts: [] }));
    return { ...batch, to: batch.after, steps: [{ kind: 'rows', tables: existing }] };
  }

  async #folded(start: FoldStart, to: Offset): Promise<SinkBatch> {
    const { log, selects } = this.#parts;
    const fold = new Fold(new MirroredTables(log.catalog(), start.after, selects), UNLIMITED, start);
    for await (const batch of log.read({ after: start.after, to, follow: false, signal: this.#signal })) {
      fold.feed(batch);
      fold.run();
    }
    return { ...fold.take((offset) => log.epochAt(offset)), endsOpen: false };
  }

  /** Applies a batch; the data error with which the sink refuses it, or null. The sink is open again afterwards. */
  async #refusal(batch: SinkBatch): Promise<TidemarkError | null> {
    const { sink, log, selects } = this.#parts;
    const { accepted, durable } = sink.apply(batch, this.#signal);
    const [, settled] = await Promise.allSettled([accepted, durable]);
    if (settled.status === 'fulfilled') return null;
    const failure: unknown = settled.reason;
    if (!(failure instanceof TidemarkError) || !isDataError(failure)) throw failure;
    await sink.open(sinkStart(log, selects), this.#signal);
    return failure;
  }

  #letter(batch: SinkBatch, tables: readonly FoldedTable[], { piece, error }: Refused): DeadLetter {
    const table = tables[piece.table];
    if (table === undefined) throw new TidemarkError('INTERNAL', 'a row of a batch has no table');
    const view = new RecordView().seek(piece.ref.batch.records, piece.ref.at);
    return {
      tableId: table.schema.tableId,
      table: tableName(table.schema),
      key: Buffer.from(view.key()),
      offset: offsetOf(piece.ref) ?? batch.after + 1,
      code: error.code,
      message: describeError(error),
      at: new Date(this.#parts.clock.now()).toISOString(),
    };
  }
}

/** The rows that can be put aside: those that have a key. */
function piecesOf(tables: readonly FoldedTable[]): Piece[] {
  const lists = ['deletes', 'upserts', 'inserts'] as const;
  return tables.flatMap((folded, table) =>
    folded.schema.keyKind === 'none' ? [] : lists.flatMap((list) => folded[list].map((ref) => ({ table, list, ref }))),
  );
}

/** The table's change with some of its rows only; keyless rows are counted, and so never tried but all at once. */
function only(table: FoldedTable, keeps: (ref: RecordRef) => boolean, keyless = true): FoldedTable {
  if (table.schema.keyKind === 'none') return keyless ? table : { ...table, truncate: false, deletes: [], upserts: [], inserts: [] };
  return { ...table, deletes: table.deletes.filter(keeps), upserts: table.upserts.filter(keeps), inserts: table.inserts.filter(keeps) };
}

function hasChanges(table: FoldedTable): boolean {
  return table.truncate || table.deletes.length + table.upserts.length + table.inserts.length > 0;
}

function idOf({ tableId, key }: { readonly tableId: number; readonly key: Buffer }): string {
  return `${tableId}/${key.toString('latin1')}`;
}

/** The offset of a record; null of one that was projected, and so has no place of its own. */
function offsetOf({ batch, at }: RecordRef): Offset | null {
  if (batch.baseOffset === 0) return null;
  const view = new RecordView().reset(batch.records);
  while (view.next()) if (view.at === at) return batch.baseOffset + view.index;
  return null;
}

function impossible(what: string, batch: SinkBatch, cause: TidemarkError): TidemarkError {
  return new TidemarkError('DEAD_LETTER_IMPOSSIBLE', `the sink refuses ${what}: ${cause.message}`, {
    where: { ...cause.where, offset: batch.to }, cause,
  });
}
