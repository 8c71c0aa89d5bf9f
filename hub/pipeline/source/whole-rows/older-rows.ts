import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { decodeControl } from '../../../../contracts/control.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { offsetOf, offsetValue, writeFollowed, type IndexStore } from './index-store.ts';
import { rowId, rowIdOfName, rowName } from './row-id.ts';

/** Rows that are noted before they are written to the index. */
const NOTED_ROWS = 1_000;

/** What the newest record of a row says of it, among those that were read. */
interface Noted {
  readonly offset: Offset;
  readonly isGone: boolean;
}

/**
 * Brings into the index what the log has of a table from before its rows were followed, when it turns out that they are
 * wanted. Rows of the base are not: they are found there by their keys.
 */
export class OlderRows {
  readonly #log: SourceLog;
  readonly #store: IndexStore;

  constructor(log: SourceLog, store: IndexStore) {
    this.#log = log;
    this.#store = store;
  }

  /**
   * Reads the history up to `upTo`, which is durable, and behind which the index has every row of the table. Answers from
   * where it has them now: the horizon, or 0 when nothing that is older counts. What fails in the middle is begun again.
   * @throws TidemarkError what reading the log throws, `WHOLE_ROW_INDEX`
   */
  async index(tableId: number, upTo: Offset, signal: AbortSignal): Promise<Offset> {
    for (;;) {
      const { horizon } = this.#log.state();
      if (horizon >= upTo) return upTo;
      try {
        const from = await this.#read(tableId, horizon, upTo, signal);
        writeFollowed(this.#store, new Map([[tableId, from]]));
        await this.#store.write();
        return from;
      } catch (error) {
        // Folded meanwhile: less is to be read.
        if (!(error instanceof TidemarkError) || error.code !== 'LOG_BELOW_HORIZON' || this.#log.state().horizon <= horizon) throw error;
      }
    }
  }

  async #read(tableId: number, horizon: Offset, upTo: Offset, signal: AbortSignal): Promise<Offset> {
    let from = horizon;
    const noted = new Map<string, Noted>();
    const view = new RecordView();
    for await (const batch of this.#log.read({ after: horizon, to: upTo, follow: false, signal })) {
      for (view.reset(batch.records); view.next(); ) {
        if (clears(view, tableId)) {
          from = 0;
          noted.clear();
          await this.#forget(tableId, batch.baseOffset + view.index);
        } else if (view.tableId === tableId && isRowOp(view.op) && view.keyEnd > view.keyStart) note(noted, view, batch);
      }
      if (noted.size >= NOTED_ROWS) await this.#write(noted, upTo);
    }
    await this.#write(noted, upTo);
    return from;
  }

  /** What the index has of behind `upTo` is newer. */
  async #write(noted: Map<string, Noted>, upTo: Offset): Promise<void> {
    const store = this.#store;
    const ids = [...noted.keys()].map(rowIdOfName);
    const [entries, gone] = [await store.getMany('e', ids), await store.getMany('d', ids)];
    for (const [index, id] of ids.entries()) {
      const known = [entries[index], gone[index]].some((value) => value !== undefined && offsetOf(value) > upTo);
      const row = noted.get(rowName(id));
      if (known || row === undefined) continue;
      store.put(row.isGone ? 'd' : 'e', id, offsetValue(row.offset));
      store.delete(row.isGone ? 'e' : 'd', id);
    }
    await store.write();
    noted.clear();
  }

  /** The table was empty at `offset`. */
  async #forget(tableId: number, offset: Offset): Promise<void> {
    for (const space of ['e', 'd'] as const) {
      for await (const [id, value] of this.#store.entries(space, tableId)) {
        if (offsetOf(value) <= offset) this.#store.delete(space, id);
        if (this.#store.isFull) await this.#store.write();
      }
    }
    await this.#store.write();
  }
}

function note(noted: Map<string, Noted>, view: RecordView, batch: ChangeBatch): void {
  // A row that was not whole was read again before the table became consistent.
  const isGone = view.op === Op.delete || (view.flags & (Flag.incomplete | Flag.notApplied)) !== 0;
  noted.set(rowName(rowId(view.tableId, view.key())), { offset: batch.baseOffset + view.index, isGone });
}

/** No row of the table from before counts: it was emptied, or copied anew. */
function clears(view: RecordView, tableId: number): boolean {
  if (view.op === Op.truncate) return view.tableId === tableId && (view.flags & Flag.notApplied) === 0;
  if (view.op !== Op.control) return false;
  const { type } = decodeControl(view.after());
  return type === 'gap' || (view.tableId === tableId && (type === 'copying' || type === 'removed'));
}
