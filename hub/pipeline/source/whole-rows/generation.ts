/**
 * What one appended batch says of rows that may hold out-of-line values. Generations stand in the order of the log; what
 * is not in the newest is looked for in the one before it, and at last in the index on disk.
 */
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { decodeControl } from '../../../../contracts/control.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { decodeSchema } from '../../../../contracts/schema.ts';
import { leavesOutOfAnyRow } from './any-row.ts';
import type { Image } from './fill.ts';
import { rowId, rowName } from './row-id.ts';

export type RowEntry =
  /** The newest whole image stands at that offset. `completed`: it was filled in, and its row is likely to change again. */
  | { readonly kind: 'image'; readonly offset: Offset; readonly image: Image; readonly completed: boolean }
  /** The newest record is incomplete, and nothing is known to complete it from. */
  | { readonly kind: 'incomplete' }
  /** The row is gone, or narrow: it needs no entry. */
  | { readonly kind: 'none' };

/** Which tables need more than a look at the flags. Kept by the index, grown by generations. */
export interface Watched {
  /** Tables that have an entry somewhere: their deletes are followed. */
  readonly indexed: Set<number>;
  /** Tables that have an incomplete row: all their rows are followed. */
  readonly marked: Set<number>;
  /** Tables whose source may leave columns out of any row, large or not. */
  readonly anyRow: Set<number>;
  /**
   * Those of them of which such a row has come: from there on every row is followed. Records up to the offset may be missing
   * from the index; 0: none counts any more.
   */
  readonly followedFrom: Map<number, Offset>;
}

export function watchedNone(): Watched {
  return { indexed: new Set(), marked: new Set(), anyRow: new Set(), followedFrom: new Map() };
}

export class Generation {
  readonly firstOffset: Offset;
  readonly lastOffset: Offset;
  /** Bytes of the batch that the entries keep in memory. */
  readonly bytes: number;
  readonly entries = new Map<string, RowEntry>();
  /** Tables whose entries from before this generation are void. */
  readonly cleared = new Set<number>();
  /** Tables of the entries that may have had incomplete rows before: their marks in the index are to be renewed. */
  readonly marked = new Set<number>();
  /** Tables whose incomplete rows from before the entries are settled. */
  readonly unmarked = new Set<number>();
  /** Tables whose schema or state this batch changed; with `gap`, all of them. */
  readonly changed = new Set<number>();
  allChanged = false;
  /** Tables of which {@link Watched.followedFrom} was changed here, and to what. */
  readonly followed = new Map<number, Offset>();

  readonly #watched: Watched;

  /** Follows the batch; `watched` is kept in step with the log. */
  constructor(batch: ChangeBatch, watched: Watched, completedAt: ReadonlySet<number>) {
    this.#watched = watched;
    this.firstOffset = batch.baseOffset;
    this.lastOffset = batch.lastOffset;
    const view = new RecordView();
    for (view.reset(batch.records); view.next(); ) {
      const { op, flags } = view;
      if (op === Op.update || op === Op.create || op === Op.read) {
        if ((flags & (Flag.wide | Flag.incomplete)) !== 0) this.#wide(view, batch.baseOffset + view.index, completedAt);
        else if (watched.followedFrom.has(view.tableId)) this.#image(view, batch.baseOffset + view.index, false);
        else if (watched.marked.has(view.tableId)) this.#set(view, { kind: 'none' });
      } else if (op === Op.delete) {
        if (watched.indexed.has(view.tableId)) this.#set(view, { kind: 'none' });
      } else if (op === Op.truncate) {
        if ((flags & Flag.notApplied) === 0) this.#clear(view.tableId);
      } else if (op === Op.schema) {
        this.changed.add(view.tableId);
        if (leavesOutOfAnyRow(decodeSchema(view.after()))) watched.anyRow.add(view.tableId);
      } else if (op === Op.control) this.#control(view);
    }
    this.bytes = this.entries.size > 0 ? batch.records.length : 0;
  }

  /** True when nothing of it needs to be kept. */
  get isEmpty(): boolean {
    return this.entries.size === 0 && this.cleared.size === 0 && this.unmarked.size === 0 && this.followed.size === 0;
  }

  #wide(view: RecordView, offset: Offset, completedAt: ReadonlySet<number>): void {
    const watched = this.#watched;
    watched.indexed.add(view.tableId);
    if (watched.anyRow.has(view.tableId) && !watched.followedFrom.has(view.tableId)) this.#follow(view.tableId, offset - 1);
    if ((view.flags & Flag.incomplete) !== 0) {
      watched.marked.add(view.tableId);
      this.#set(view, { kind: 'incomplete' });
      return;
    }
    this.#image(view, offset, completedAt.has(view.index));
  }

  #image(view: RecordView, offset: Offset, completed: boolean): void {
    const image = { bytes: view.bytes, start: view.afterStart, end: view.afterEnd, schemaVersion: view.schemaVersion, offset };
    this.#set(view, { kind: 'image', offset, image, completed });
  }

  #follow(tableId: number, from: Offset): void {
    this.#watched.followedFrom.set(tableId, from);
    this.followed.set(tableId, from);
  }

  #set(view: RecordView, entry: RowEntry): void {
    // A keyless table's rows cannot be looked up; its source sends them whole.
    if (view.keyEnd === view.keyStart) return;
    if (this.#watched.marked.has(view.tableId)) this.marked.add(view.tableId);
    this.entries.set(rowName(rowId(view.tableId, view.key())), entry);
  }

  #clear(tableId: number): void {
    const { anyRow, followedFrom } = this.#watched;
    if (followedFrom.has(tableId)) this.#follow(tableId, 0);
    // Nothing is known of it yet; what will be looked up of before here may come from behind this.
    else if (anyRow.has(tableId)) return;
    this.cleared.add(tableId);
    const prefix = rowName(rowId(tableId, new Uint8Array(0)));
    for (const name of this.entries.keys()) if (name.startsWith(prefix)) this.entries.delete(name);
  }

  #control(view: RecordView): void {
    const control = decodeControl(view.after());
    if (control.type === 'gap') {
      for (const tableId of this.#watched.indexed) this.#clear(tableId);
      this.allChanged = true;
      return;
    }
    this.changed.add(view.tableId);
    if (control.type === 'copying' || control.type === 'removed') this.#clear(view.tableId);
    else if (control.type === 'copied') {
      this.#settle(view.tableId);
      this.#watched.marked.delete(view.tableId);
    }
  }

  /** No row of the table up to here is incomplete any more; one that comes later in this batch may be. */
  #settle(tableId: number): void {
    this.unmarked.add(tableId);
    const prefix = rowName(rowId(tableId, new Uint8Array(0)));
    for (const [name, entry] of this.entries) {
      if (entry.kind === 'incomplete' && name.startsWith(prefix)) this.entries.set(name, { kind: 'none' });
    }
  }
}
