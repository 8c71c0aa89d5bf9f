import type { Catalog } from '../../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { Projectors } from '../../../../contracts/projection.ts';
import { readU32, RecordView } from '../../../../contracts/record.ts';
import { Cell, ImageWalker } from '../../../../contracts/row-image.ts';
import { decodeSchema, type TableSchema } from '../../../../contracts/schema.ts';
import { baseType } from '../../../../contracts/types/logical-type.ts';
import { afterOf, filledRecord, isLeftOut, type Image } from './fill.ts';
import type { Generation } from './generation.ts';
import { isBefore, OF_SNAPSHOT, partOver, ReplayedRows, type Origin } from './replayed-rows.ts';
import { rowId, rowName, type RowId } from './row-id.ts';
import { endAfter, TableStops, type LogEnd } from './table-stops.ts';

/** What is known of the log by who asks for images. */
export interface Asking {
  readonly end: LogEnd;
  /** The table is consistent: every row of it has a whole image in the log. */
  mustBeWhole(tableId: number): boolean;
}

/** Where whole images of rows come from. */
export interface Images {
  /**
   * The newest whole images, as of everything appended; null: not known. In whatever shape they are stored.
   * @throws TidemarkError `WHOLE_ROWS_AGAIN`
   */
  newest(ids: readonly RowId[], asking: Asking): Promise<(Image | null)[]>;
  /** False when no row of the table has ever needed an image: there is nothing to look for. */
  mayHave(tableId: number): boolean;
}

const NO_INDEXES: ReadonlySet<number> = new Set();

const NONE_STOPPED: ReadonlyMap<number, TidemarkError> = new Map();

/** What a batch needs, found by one pass over its flags. */
interface Need {
  readonly incomplete: boolean;
  readonly held: boolean;
  /** It repeats records over a chunk. */
  readonly replayed: boolean;
  /** It ends between the two halves of a change of key. */
  readonly endsInKeyChange: boolean;
}

/** What is known while the records of one batch are walked in order. */
interface Walk {
  readonly batch: ChangeBatch;
  readonly catalog: Catalog;
  /** Schemas that stand in this batch. */
  readonly schemas: Map<string, TableSchema>;
  /** Images as of the record walked, where this batch said something of the row; null: gone or not known. */
  readonly local: Map<string, Image | null>;
  /** Images as of the beginning of the batch. */
  readonly before: ReadonlyMap<string, Image | null>;
  readonly completedAt: Set<number>;
  readonly pieces: Buffer[];
  readonly stops: TableStops;
  /** The image of the row that the record before this one deleted, as the first half of a change of key. */
  changedFrom: Image | null;
}

/**
 * Completes the batches of one log, in the order in which they are appended. An update is completed from the newest
 * image of its key, the second half of a change of key from that of the old key. A record that the batch itself holds
 * counts as soon as it has been walked.
 */
export class BatchCompletion {
  readonly #images: Images;
  readonly #view = new RecordView();
  readonly #projectors = new Projectors();
  /** Keyless tables that are not consistent: their source records are held back. */
  readonly #held = new Set<number>();
  #changed: Set<number> | 'all' = 'all';
  /** From the batch before: see {@link Walk.changedFrom}. */
  #changedFrom: Image | null = null;
  #completedAt: ReadonlySet<number> = NO_INDEXES;
  #stopped: ReadonlyMap<number, TidemarkError> = NONE_STOPPED;
  #end: LogEnd;
  readonly #replayed = new ReplayedRows();
  readonly #walker = new ImageWalker();
  /** Columns of JSON, by table and version. */
  readonly #json = new WeakMap<TableSchema, readonly number[]>();

  /** @param end the log's last offset, which ends a transaction */
  constructor(images: Images, end: Offset) {
    this.#images = images;
    this.#end = { last: end, committed: end };
  }

  /** Indexes of the records that were filled in in the last batch. */
  get completedAt(): ReadonlySet<number> {
    return this.#completedAt;
  }

  /** The tables that the last batch stops, and why. */
  get stopped(): ReadonlyMap<number, TidemarkError> {
    return this.#stopped;
  }

  /** The last batch has been appended. */
  appended(batch: ChangeBatch, generation: Generation): void {
    this.#end = endAfter(this.#end, batch);
    if (generation.allChanged) this.#changed = 'all';
    else if (this.#changed !== 'all') for (const tableId of generation.changed) this.#changed.add(tableId);
  }

  async complete(batch: ChangeBatch, catalog: Catalog): Promise<ChangeBatch> {
    this.#completedAt = NO_INDEXES;
    this.#stopped = NONE_STOPPED;
    if (this.#changed === 'all' || this.#changed.size > 0) this.#lookAtTables(catalog);
    const need = this.#needOf(batch);
    if (need.replayed) this.#replayed.enter(batch, this.#end);
    if (!need.incomplete && !need.held && !need.endsInKeyChange) {
      if (batch.count > 0) this.#changedFrom = null;
      return batch;
    }
    const walk: Walk = {
      batch, catalog,
      schemas: new Map(),
      local: new Map(),
      before: await this.#fetch(batch, need, catalog),
      completedAt: new Set(),
      pieces: [],
      stops: new TableStops(batch, catalog, this.#end),
      changedFrom: this.#changedFrom,
    };
    const records = this.#walk(walk);
    this.#changedFrom = need.endsInKeyChange ? walk.changedFrom : null;
    this.#completedAt = walk.completedAt;
    this.#stopped = walk.stops.stopped;
    return walk.stops.counted(records);
  }

  #lookAtTables(catalog: Catalog): void {
    const all = this.#changed === 'all';
    if (all) this.#held.clear();
    const ids = this.#changed === 'all' ? catalog.tables().map(({ tableId }) => tableId) : this.#changed;
    for (const tableId of ids) {
      const table = catalog.table(tableId);
      const held = table?.versions.at(-1)?.schema.keyKind === 'none' && table.state.state !== 'consistent';
      if (held) this.#held.add(tableId);
      else this.#held.delete(tableId);
    }
    this.#changed = new Set();
  }

  /** One pass over ops and flags; what the narrow rows of a batch cost. */
  #needOf(batch: ChangeBatch): Need {
    const bytes = batch.records;
    const held = this.#held;
    let flags = 0;
    let anyHeld = false;
    let last = 0;
    // A schema may be of a keyless table that the log does not know yet.
    for (let at = 0; at < bytes.length; at += 4 + readU32(bytes, at)) {
      flags |= bytes[at + 5] as number;
      if (bytes[at + 4] === Op.schema || (held.size > 0 && held.has(readU32(bytes, at + 8)))) anyHeld = true;
      last = at;
    }
    const keyChange = batch.endsOpen && bytes.length > 0 && bytes[last + 4] === Op.delete && ((bytes[last + 5] as number) & Flag.keyChange) !== 0;
    return {
      incomplete: (flags & Flag.incomplete) !== 0,
      held: anyHeld,
      replayed: (flags & Flag.replayed) !== 0,
      // The first large row of all may stand in this batch.
      endsInKeyChange: keyChange && ((flags & Flag.wide) !== 0 || this.#images.mayHave(readU32(bytes, last + 8))),
    };
  }

  /** The images, as of the beginning of the batch, of every row that may have to be completed from them. */
  async #fetch(batch: ChangeBatch, need: Need, catalog: Catalog): Promise<Map<string, Image | null>> {
    const ids = new Map<string, RowId>();
    if (need.incomplete || need.endsInKeyChange) {
      const view = this.#view;
      let deleted: RowId | null = null;
      for (view.reset(batch.records); view.next(); ) {
        if (!isRowOp(view.op)) continue;
        if ((view.flags & Flag.incomplete) !== 0) {
          if (isSecondHalf(view) && deleted !== null) add(ids, deleted);
          if (!isSecondHalf(view) || isReplayed(view)) add(ids, rowId(view.tableId, view.key()));
        }
        deleted = isFirstHalf(view) ? rowId(view.tableId, view.key()) : null;
      }
      if (need.endsInKeyChange && deleted !== null) add(ids, deleted);
    }
    const asking = { end: this.#end, mustBeWhole: (tableId: number) => catalog.table(tableId)?.state.state === 'consistent' };
    const images = ids.size === 0 ? [] : await this.#images.newest([...ids.values()], asking);
    return new Map([...ids.keys()].map((name, index) => {
      const image = images[index] ?? null;
      return [name, need.replayed ? this.#replayed.seen(name, image) : image];
    }));
  }

  #walk(walk: Walk): Buffer {
    const { batch } = walk;
    const view = this.#view;
    let copied = 0;
    let entry = 0;
    for (view.reset(batch.records); view.next(); ) {
      for (; view.index >= entryEnd(batch, entry); entry++);
      const record = this.#record(walk, view, entry);
      if (record === null) continue;
      if (view.at > copied) walk.pieces.push(batch.records.subarray(copied, view.at));
      walk.pieces.push(record);
      copied = view.afterEnd;
    }
    if (copied === 0) return batch.records;
    walk.pieces.push(batch.records.subarray(copied));
    return Buffer.concat(walk.pieces);
  }

  /** The record as it is to be appended; null: as it is. */
  #record(walk: Walk, view: RecordView, entry: number): Buffer | null {
    if (view.op === Op.control) walk.stops.follow(view);
    if (view.op === Op.schema) {
      const schema = decodeSchema(view.after());
      walk.schemas.set(`${schema.tableId}/${schema.version}`, schema);
      if (schema.keyKind === 'none' && walk.catalog.table(schema.tableId) === undefined) this.#held.add(schema.tableId);
      return null;
    }
    if (view.op === Op.truncate) forget(walk, view.tableId);
    const fromSource = walk.batch.transactions[entry]?.kind === 'source';
    if (fromSource && this.#held.has(view.tableId) && (isRowOp(view.op) || view.op === Op.truncate)) {
      return flagged(view, view.flags | Flag.notApplied);
    }
    if (!isRowOp(view.op)) return null;
    if ((view.flags & Flag.incomplete) !== 0) return this.#completed(walk, view, entry);
    const name = rowName(rowId(view.tableId, view.key()));
    walk.changedFrom = isFirstHalf(view) ? imageBefore(walk, name) : null;
    const { bytes, afterStart: start, afterEnd: end, schemaVersion } = view;
    const image = { bytes, start, end, schemaVersion };
    walk.local.set(name, view.op === Op.delete ? null : view.op === Op.read ? { ...image, origin: OF_SNAPSHOT } : image);
    return null;
  }

  /** An incomplete record made whole; where that is not possible it is held back, and a table that was consistent stops. */
  #completed(walk: Walk, view: RecordView, entry: number): Buffer {
    const name = rowName(rowId(view.tableId, view.key()));
    const base = baseOf(walk, view, name);
    walk.changedFrom = null;
    const flags = view.flags & ~(Flag.incomplete | Flag.notApplied | Flag.unseen);
    const record = base === null ? missing() : this.#filled(walk, view, base, flags | Flag.wide);
    if (record instanceof TidemarkError) {
      walk.local.set(name, null);
      const held = flagged(view, flags | Flag.incomplete | Flag.notApplied);
      return walk.stops.mustBeWhole(view.tableId) ? Buffer.concat([walk.stops.stop(view.tableId, entry, record), held]) : held;
    }
    const origin = base === null || !isReplayed(view) ? undefined : this.#originAfter(walk, view, base);
    const after = afterOf(record, view.keyEnd - view.keyStart, view.beforeEnd - view.beforeStart, view.schemaVersion);
    walk.local.set(name, origin === undefined ? after : { ...after, origin });
    const index = view.index + walk.stops.count;
    if (isReplayed(view)) this.#replayed.note(name, index, origin);
    walk.completedAt.add(index);
    return record;
  }

  /** The record filled in from `base`, or why the two do not belong together: a fault of one row, not of the source. */
  #filled(walk: Walk, view: RecordView, base: Image, flags: number): Buffer | TidemarkError {
    const isUnseen = (view.flags & Flag.unseen) !== 0;
    const partsOf = (column: number) => (isReplayed(view) ? partOver(base.origin, column, isUnseen) : 'apply');
    try {
      return filledRecord(view, this.#shaped(walk, view, base), flags, partsOf) ?? missing();
    } catch (failure) {
      if (failure instanceof TidemarkError && failure.code !== 'INTERNAL') return failure;
      throw failure;
    }
  }

  /** What the completed image is as of. Undefined: as of the record, or it is all the same. */
  #originAfter(walk: Walk, view: RecordView, { origin }: Image): Origin | undefined {
    if (origin === undefined) return undefined;
    const json = this.#jsonOf(this.#schema(walk, view.tableId, view.schemaVersion));
    if (json.length === 0) return origin;
    const given = new Set(origin.given);
    const image = this.#walker.reset(view.bytes, view.afterStart, view.afterEnd);
    const isUnseen = (view.flags & Flag.unseen) !== 0;
    for (let column = 0; image.next(); column++) {
      if (!json.includes(column)) continue;
      if (!isLeftOut(image.kind) || (image.kind === Cell.part && partOver(origin, column, isUnseen) === 'apply')) given.add(column);
    }
    return { of: origin.of, given: [...given] };
  }

  #jsonOf(schema: TableSchema): readonly number[] {
    let columns = this.#json.get(schema);
    if (columns === undefined) {
      columns = schema.columns.flatMap(({ type }, column) => (baseType(type).kind === 'json' ? [column] : []));
      this.#json.set(schema, columns);
    }
    return columns;
  }

  /** The image in the shape of the record that it completes. */
  #shaped(walk: Walk, view: RecordView, image: Image): Image {
    if (image.schemaVersion === view.schemaVersion) return image;
    const schema = this.#schema(walk, view.tableId, view.schemaVersion);
    const projector = this.#projectors.get(this.#schema(walk, view.tableId, image.schemaVersion), schema);
    if (projector.identical) return image;
    const bytes = projector.image(image.bytes, image.start, image.end);
    return { bytes, start: 0, end: bytes.length, schemaVersion: schema.version };
  }

  #schema(walk: Walk, tableId: number, version: number): TableSchema {
    return walk.schemas.get(`${tableId}/${version}`) ?? walk.catalog.schemaOf(tableId, version);
  }
}

/** The first half of a change of key: the old key goes. */
function isFirstHalf(view: RecordView): boolean {
  return view.op === Op.delete && (view.flags & Flag.keyChange) !== 0;
}

/** The second half: the row comes under its new key. */
function isSecondHalf(view: RecordView): boolean {
  return view.op === Op.create && (view.flags & Flag.keyChange) !== 0;
}

function isReplayed(view: RecordView): boolean {
  return (view.flags & Flag.replayed) !== 0;
}

/**
 * What completes the record. A change of key is completed from the row under its old key. When it is replayed, the row may
 * stand under its new key already: as of that change or later, and what is later follows. (A row that was in its way there
 * went before it, in the stream as well.) Else the row under the old key is the one only if it certainly is as of before the
 * change: it may have come there since.
 */
function baseOf(walk: Walk, view: RecordView, name: string): Image | null {
  if (!isSecondHalf(view)) return imageBefore(walk, name);
  const moved = isReplayed(view) ? imageBefore(walk, name) : null;
  if (moved === null) {
    const origin = isReplayed(view) ? walk.changedFrom?.origin : undefined;
    return origin === undefined || isBefore(origin, (view.flags & Flag.unseen) !== 0) ? walk.changedFrom : null;
  }
  return moved.origin === undefined ? moved : { ...moved, origin: { ...moved.origin, of: 'log' } };
}

function imageBefore(walk: Walk, name: string): Image | null {
  const local = walk.local.get(name);
  return local === undefined ? (walk.before.get(name) ?? null) : local;
}

function forget(walk: Walk, tableId: number): void {
  const prefix = rowName(rowId(tableId, new Uint8Array(0)));
  for (const names of [walk.local, walk.before]) {
    for (const name of names.keys()) if (name.startsWith(prefix)) walk.local.set(name, null);
  }
}

function add(ids: Map<string, RowId>, id: RowId): void {
  ids.set(rowName(id), id);
}

function flagged(view: RecordView, flags: number): Buffer {
  const record = Buffer.from(view.record());
  record[5] = flags;
  return record;
}

function entryEnd(batch: ChangeBatch, entry: number): number {
  const transaction = batch.transactions[entry];
  return transaction === undefined ? Infinity : transaction.first + transaction.count;
}

function missing(): TidemarkError {
  return new TidemarkError('WHOLE_ROW_MISSING', 'a row came without columns that did not change, and no earlier image of the row is in the log');
}
