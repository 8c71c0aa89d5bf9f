import type { BaseRows } from '../../../../contracts/base.ts';
import { BATCH_BYTES, BatchBuilder } from '../../../../contracts/change-batch.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Op } from '../../../../contracts/op.ts';
import type { EntryCursor } from '../runs/run-format.ts';
import { EntryKind, ValueView } from './base-entry.ts';

const NONE = Buffer.alloc(0);

/** Puts the net entries of one table into batches of `r` records. Does not own the cursor. */
export class RowsOfTable {
  readonly #cursor: EntryCursor;
  readonly #tableId: number;
  readonly #after: Uint8Array | null;
  readonly #commitTime: number;
  readonly #value = new ValueView();
  readonly #builder = new BatchBuilder(BATCH_BYTES + (64 << 10));
  #ended = false;

  /**
   * @param after entries up to this key are passed over
   * @param commitTime of the batches, microseconds since 1970
   */
  constructor(cursor: EntryCursor, tableId: number, after: Uint8Array | null, commitTime: number) {
    this.#cursor = cursor;
    this.#tableId = tableId;
    this.#after = after;
    this.#commitTime = commitTime;
  }

  /** Null at the end. */
  async next(): Promise<BaseRows | null> {
    if (this.#ended) return null;
    const builder = this.#builder;
    const offsets: Offset[] = [];
    let last: Buffer = NONE;
    builder.begin('hub', 0, this.#commitTime);
    while (builder.length < BATCH_BYTES) {
      const moving = this.#cursor.next();
      const more = moving instanceof Promise ? await moving : moving;
      if (!more || this.#cursor.tableId !== this.#tableId) {
        this.#ended = true;
        break;
      }
      if (this.#isDone()) continue;
      this.#add(builder, offsets);
      if (builder.length >= BATCH_BYTES) last = Buffer.from(this.#cursor.bytes.subarray(this.#cursor.keyStart, this.#cursor.keyEnd));
    }
    builder.commit(NONE);
    const batch = builder.take();
    return batch.count === 0 ? null : { batch, offsets, last: this.#ended ? null : last };
  }

  #isDone(): boolean {
    const { bytes, keyStart, keyEnd } = this.#cursor;
    return this.#after !== null && bytes.compare(this.#after, 0, this.#after.length, keyStart, keyEnd) <= 0;
  }

  #add(builder: BatchBuilder, offsets: Offset[]): void {
    const { bytes, tableId, keyStart, keyEnd, valueEnd } = this.#cursor;
    const { kind, flags, version, offset, count, imageStart, imageEnd } = this.#value.read(bytes, keyEnd, valueEnd);
    if (kind === EntryKind.row) {
      const at = builder.reserve(Op.read, flags, tableId, version, keyEnd - keyStart, 0, imageEnd - imageStart);
      bytes.copy(builder.buffer, at, keyStart, keyEnd);
      bytes.copy(builder.buffer, at + keyEnd - keyStart, imageStart, imageEnd);
      offsets.push(offset);
    }
    // A row that stands less than no times is of a table that is not consistent here.
    for (let copy = 0; copy < count; copy++) {
      const at = builder.reserve(Op.read, flags, tableId, version, 0, 0, keyEnd - keyStart);
      bytes.copy(builder.buffer, at, keyStart, keyEnd);
      offsets.push(offset);
    }
  }
}
