import { BATCH_BYTES, BatchBuilder, ChangeBatch } from '../../../../contracts/change-batch.ts';
import { encodeControl, type Control } from '../../../../contracts/control.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Op } from '../../../../contracts/op.ts';
import type { Position } from '../../../../contracts/position.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';
import type { WriterTurn } from '../writer-turn.ts';

const NONE = new Uint8Array(0);
const SMALL_BUFFER = 1 << 10;

/**
 * One hub transaction, written within one turn in batches of bounded size. It carries the position and commit time of
 * the source transaction before it, so that for a sink the source stands where it stood.
 */
export class HubTransaction {
  readonly #turn: WriterTurn;
  readonly #position: Position;
  readonly #builder: BatchBuilder;
  #begun = false;

  /** @param turn one whose stream has a position: nothing is copied before the stream has said where it stands. */
  constructor(turn: WriterTurn, bufferBytes: number = SMALL_BUFFER) {
    if (turn.position === null) throw new TidemarkError('INTERNAL', 'a hub transaction before the stream has a position');
    this.#turn = turn;
    this.#position = turn.position;
    this.#builder = new BatchBuilder(bufferBytes);
    this.#builder.begin('hub', 0, turn.commitTime);
  }

  /** Where single records are written; call {@link drain} after each few of them. */
  get builder(): BatchBuilder {
    return this.#builder;
  }

  control(tableId: number, control: Control): void {
    this.#builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl(control));
  }

  /** Appends what has been built once it is a batch; waiting for it is the back-pressure. */
  async drain(): Promise<void> {
    if (this.#builder.length >= BATCH_BYTES) await this.#appendBuilt(false);
  }

  /** Appends ready-made records as they stand; the bytes are the log's from here. */
  async records(records: Buffer, count: number): Promise<void> {
    if (this.#builder.count > 0) await this.#appendBuilt(false);
    await this.#append(records, count, false);
  }

  /** Ends the transaction; answers its last offset. */
  async commit(): Promise<Offset> {
    return this.#appendBuilt(true);
  }

  async #appendBuilt(commits: boolean): Promise<Offset> {
    const built = this.#builder.take();
    return this.#append(built.records, built.count, commits);
  }

  async #append(records: Buffer, count: number, commits: boolean): Promise<Offset> {
    const entry: TransactionEntry = {
      kind: 'hub',
      first: 0,
      count,
      begins: !this.#begun,
      commits,
      xid: 0,
      position: commits ? this.#position : NONE,
      commitTime: this.#turn.commitTime,
      origin: '',
    };
    this.#begun = true;
    const progress = commits ? this.#position : null;
    const place = await this.#turn.append(new ChangeBatch({ count, records, transactions: [entry], progress }));
    return place.lastOffset;
  }
}

/** A hub transaction of one control record. */
export async function appendControl(turn: WriterTurn, tableId: number, control: Control): Promise<Offset> {
  const transaction = new HubTransaction(turn);
  transaction.control(tableId, control);
  return transaction.commit();
}
