/**
 * Joins one copied chunk to the log (docs/protocol-copy.md, steps 5 to 7).
 *
 *     log:  ... prefix that the chunk's snapshot sees  A_W ]  window  ( ... A_P ]  rows  window again  control
 *                                                                               '---- one hub transaction ----'
 *
 * The window holds what the snapshot may not have seen. It is written again behind the rows, in the writer's turn, so
 * that the last word on every row is the stream's. No row of the chunk is compared with the stream or dropped.
 */
import type { CopiedChunk } from '../../../../contracts/connector.ts';
import { BATCH_BYTES, BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { Control } from '../../../../contracts/control.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag } from '../../../../contracts/op.ts';
import { Projector, Projectors } from '../../../../contracts/projection.ts';
import { readU32, RecordView, writeU32 } from '../../../../contracts/record.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';
import type { WriterTurn } from '../writer-turn.ts';
import { HubTransaction } from './hub-transaction.ts';
import { visiblePrefix, Window } from './own-records.ts';
import { awaitSchema } from './schema-fit.ts';
import { stillCopying, type CopySession } from './session.ts';

/** A window is read ahead until it is this short, in records: the rest is read within the turn. */
const SHORT_WINDOW = 20_000;
const READ_AHEAD_ROUNDS = 8;

/** The offset up to which every snapshot that is taken from now on sees everything; shared by a session's copies. */
export interface Seen {
  offset: Offset;
}

export interface CopyOf {
  readonly session: CopySession;
  readonly tableId: number;
  /** Offset of the `copying` record. */
  readonly since: Offset;
  readonly seen: Seen;
}

/**
 * Waits until the stream has passed all that the chunk may contain, and reads the window ahead.
 * @param from an offset up to which the chunk's snapshot sees everything: `seen` as it was before the snapshot
 */
export async function windowOf(copy: CopyOf, chunk: CopiedChunk, from: Offset, signal: AbortSignal): Promise<Window> {
  const { log, turns } = copy.session;
  await turns.waitPassed((position) => chunk.passedBy(position), signal);
  // All that the snapshot sees has been appended. It must be readable, too: a keyless table's window must not begin early.
  const end = await turns.turn(async (turn) => (await turn.flush()).highWatermark);
  const start = await visiblePrefix(log, from, end, (transaction) => chunk.sees(transaction), signal);
  copy.seen.offset = Math.max(copy.seen.offset, start);
  return readAhead(copy, start, (transaction) => chunk.lacks?.(transaction) ?? false, signal);
}

/** The window after `start`, most of it read. `lacks`: as of {@link CopiedChunk}. */
export async function readAhead(copy: CopyOf, start: Offset, lacks: (transaction: TransactionEntry) => boolean, signal: AbortSignal): Promise<Window> {
  const { log } = copy.session;
  const window = new Window(log, copy.tableId, start, lacks);
  for (let round = 0; round < READ_AHEAD_ROUNDS; round++) {
    const end = log.state().highWatermark;
    if (end - window.upTo < SHORT_WINDOW) break;
    await window.extend(end, signal);
  }
  return window;
}

export interface Joined {
  readonly rows: number;
  readonly bytes: number;
}

/**
 * One hub transaction: the chunk's rows, the window, the control record if any. Answers how many rows there were.
 * @throws TidemarkError `COPY_SUPERSEDED` when the copy is over
 */
export async function joinChunk(
  copy: CopyOf,
  chunk: CopiedChunk,
  from: Offset,
  control: ((rows: number) => Control) | null,
  signal: AbortSignal,
): Promise<Joined> {
  await awaitSchema(copy.session, copy.tableId, copy.since, chunk.schema, signal);
  const window = await windowOf(copy, chunk, from, signal);
  return copy.session.turns.turn(async (turn) => {
    const { schema } = stillCopying(turn, copy.tableId, copy.since);
    await turn.flush();
    const end = turn.lastOffset;
    const transaction = new HubTransaction(turn);
    const joined = await writeRows(transaction, chunk, schema);
    await writeWindow(transaction, turn, window, end, schema, signal);
    if (control !== null) transaction.control(copy.tableId, control(joined.rows));
    await transaction.commit();
    return joined;
  });
}

/** The chunk's rows as records of `schema`, the newest in the log. */
async function writeRows(transaction: HubTransaction, chunk: CopiedChunk, schema: TableSchema): Promise<Joined> {
  const stamp = new RowStamp(chunk.schema, schema);
  let rows = 0;
  let bytes = 0;
  for await (const batch of chunk.batches()) {
    const stamped = stamp.apply(batch);
    rows += stamped.count;
    bytes += stamped.records.length;
    await transaction.records(stamped.records, stamped.count);
  }
  return { rows, bytes };
}

/** The window up to `end`, in order, as records of `schema`. What was held back (`notApplied`) is tried again. */
export async function writeWindow(
  transaction: HubTransaction,
  turn: WriterTurn,
  window: Window,
  end: Offset,
  schema: TableSchema,
  signal: AbortSignal,
): Promise<void> {
  const projectors = new Projectors();
  const { tableId, version } = schema;
  const again = (view: RecordView, own: number): Promise<void> | void => {
    const flags = (own | Flag.replayed) & ~Flag.notApplied;
    if (view.schemaVersion === version) transaction.builder.copy(view.record(), flags);
    else projectors.get(turn.catalog.schemaOf(tableId, view.schemaVersion), schema).record(view, transaction.builder, flags);
    if (transaction.builder.length >= BATCH_BYTES) return transaction.drain();
  };
  await window.replay(end, again, signal);
  await transaction.drain();
}

/** Gives rows of a chunk their place: table id, schema version, and the newest shape where theirs is older. */
export class RowStamp {
  readonly #projector: Projector;
  readonly #view = new RecordView();

  constructor(rows: TableSchema, newest: TableSchema) {
    this.#projector = new Projector({ ...rows, tableId: newest.tableId }, newest);
  }

  apply(batch: ChangeBatch): ChangeBatch {
    if (!this.#projector.identical) return this.#projected(batch);
    const { records } = batch;
    const { tableId, version } = this.#projector.to;
    for (let at = 0; at < records.length; at += 4 + readU32(records, at)) {
      writeU32(records, at + 8, tableId);
      writeU32(records, at + 12, version);
    }
    return batch;
  }

  #projected(batch: ChangeBatch): ChangeBatch {
    const builder = new BatchBuilder(batch.records.length + (batch.records.length >> 3));
    builder.begin('hub', 0, 0);
    for (this.#view.reset(batch.records); this.#view.next(); ) this.#projector.record(this.#view, builder);
    return builder.take();
  }
}
