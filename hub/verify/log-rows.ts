/** The rows of one table of the log as of its moments, in batches of `r` records. */
import type { BaseRows } from '../../contracts/base.ts';
import { BATCH_BYTES, BatchBuilder, type ChangeBatch } from '../../contracts/change-batch.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import type { Offset } from '../../contracts/offset.ts';
import { Op } from '../../contracts/op.ts';
import { Projectors } from '../../contracts/projection.ts';
import { RecordView } from '../../contracts/record.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { EntryKind, ValueView } from '../log/embedded/base/base-entry.ts';
import type { EntryCursor } from '../log/embedded/runs/run-format.ts';
import { BaseCursor } from '../moments/table-at.ts';
import { Part, type LogSide } from './log-side.ts';

/** Some rows of the log. */
export interface LogRows {
  /** `r` records of the schema that their moment has. */
  readonly batch: ChangeBatch;
  /** The moments at which they stand. */
  readonly part: Part;
  /** -1: rows of a keyless table that were counted before, and are gone. */
  readonly sign: 1 | -1;
}

/** The table's shape at each moment; null: it is not wanted there. */
export interface Shapes {
  readonly sink: TableSchema | null;
  readonly source: TableSchema | null;
}

const NO_KEY = Buffer.alloc(0);
const MOMENTS = [Part.sink, Part.source] as const;

/**
 * The rows at both moments, those that are the same at both only once. Rows of a keyless table may come several times, and
 * be taken back: their sum counts. Nothing is read ahead beyond one batch.
 * @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
 */
export async function* logRows(side: LogSide, tableId: number, shapes: Shapes, catalog: Catalog): AsyncGenerator<LogRows, void, void> {
  const out = new Out(tableId, shapes, catalog);
  const schema = shapes.sink ?? shapes.source;
  if (schema === null) return;
  const history = await Promise.all([Part.both, Part.sink, Part.source].map(async (part) => ({ part, cursor: await side.history(part, { tableId, key: NO_KEY }) })));
  const heads: Head[] = [];
  const emptied: [Offset, Offset] = [0, 0];
  for (const { part, cursor } of history) {
    const head = new Head(cursor, part, tableId);
    // What empties the table stands before its rows.
    for (let more = await head.next(); more; more = await head.next()) {
      if (head.value.kind !== EntryKind.emptied) break;
      for (const moment of MOMENTS) if (part === Part.both || part === moment) emptied[moment - 1] = Math.max(emptied[moment - 1] ?? 0, head.value.offset);
    }
    if (head.isAt) heads.push(head);
  }
  const isVoid = emptied.map((offset) => offset > 0);
  const rows = isVoid.every(Boolean) || side.base === null ? null : side.base.rows(tableId, { signal: side.signal });
  if (schema.keyKind === 'none') yield* bagRows(out, rows, heads, emptied);
  else if (heads.length === 0 && !isVoid.some(Boolean)) yield* baseRows(out, rows);
  else yield* keyedRows(out, rows, heads, emptied, tableId);
}

async function* baseRows(out: Out, rows: AsyncIterable<BaseRows> | null): AsyncGenerator<LogRows, void, void> {
  for await (const { batch } of rows ?? []) yield* out.whole(batch, 1);
}

/** One place of a merge: an entry of one cursor, of the table only. */
class Head {
  readonly cursor: EntryCursor;
  readonly part: Part;
  readonly value = new ValueView();
  isAt = false;
  /** It stands at the key that comes next. */
  isLeast = false;
  readonly #tableId: number;

  constructor(cursor: EntryCursor, part: Part, tableId: number) {
    this.cursor = cursor;
    this.part = part;
    this.#tableId = tableId;
  }

  next(): boolean | Promise<boolean> {
    const more = this.cursor.next();
    return more instanceof Promise ? more.then((arrived) => this.#arrive(arrived)) : this.#arrive(more);
  }

  /** Sign of: its key stands before, is, or stands behind the other's. */
  compare({ cursor: { bytes, keyStart, keyEnd } }: Head): number {
    const own = this.cursor;
    return own.bytes.compare(bytes, keyStart, keyEnd, own.keyStart, own.keyEnd);
  }

  #arrive(more: boolean): boolean {
    const { cursor } = this;
    this.isAt = more && cursor.tableId === this.#tableId;
    if (this.isAt) this.value.read(cursor.bytes, cursor.keyEnd, cursor.valueEnd);
    return this.isAt;
  }
}

/** Of each key the newest entry that counts at each moment. */
async function* keyedRows(out: Out, rows: AsyncIterable<BaseRows> | null, history: readonly Head[], emptied: readonly Offset[], tableId: number): AsyncGenerator<LogRows, void, void> {
  const heads = [...history];
  if (rows !== null) {
    const base = new Head(new BaseCursor(rows), Part.both, tableId);
    if (await base.next()) heads.push(base);
  }
  while (heads.length > 0) {
    markLeast(heads);
    const sink = newestOf(heads, Part.sink, emptied[0] ?? 0);
    const source = newestOf(heads, Part.source, emptied[1] ?? 0);
    if (sink === source) out.row(sink, Part.both);
    else {
      out.row(sink, Part.sink);
      out.row(source, Part.source);
    }
    if (out.isFull) yield* out.take();
    for (let at = heads.length - 1; at >= 0; at--) {
      const head = heads[at];
      if (head === undefined || !head.isLeast) continue;
      const moving = head.next();
      const more = moving instanceof Promise ? await moving : moving;
      if (!more) heads.splice(at, 1);
    }
  }
  yield* out.take();
}

/** Marks those that stand at the least key of all. */
function markLeast(heads: readonly Head[]): void {
  let least: Head | null = null;
  for (const head of heads) {
    const order = least === null ? -1 : head.compare(least);
    if (order < 0) {
      for (const other of heads) {
        if (other === head) break;
        other.isLeast = false;
      }
      least = head;
    }
    head.isLeast = order <= 0;
  }
}

/** Of those at the least key the newest that counts at a moment; null: none does. */
function newestOf(heads: readonly Head[], moment: Part, emptied: Offset): Head | null {
  let newest: Head | null = null;
  for (const head of heads) {
    if (!head.isLeast || (head.part !== Part.both && head.part !== moment) || head.value.offset < emptied) continue;
    if (newest === null || head.value.offset >= newest.value.offset) newest = head;
  }
  return newest;
}

/** Rows of a keyless table: those of the base, and what history adds and takes away. */
async function* bagRows(out: Out, rows: AsyncIterable<BaseRows> | null, history: readonly Head[], emptied: readonly Offset[]): AsyncGenerator<LogRows, void, void> {
  const [inSink, inSource] = emptied.map((offset) => offset === 0);
  const part = inSink === true ? (inSource === true ? Part.both : Part.sink) : Part.source;
  for await (const { batch } of rows ?? []) yield* out.whole(batch, 1, part);
  for (const head of history) {
    for (let more = true; more; ) {
      const { offset } = head.value;
      const counts = MOMENTS.filter((moment) => (head.part === Part.both || head.part === moment) && offset >= (emptied[moment - 1] ?? 0));
      const [first] = counts;
      if (first !== undefined) yield* out.bagRow(head, counts.length === 2 ? Part.both : first);
      const moving = head.next();
      more = moving instanceof Promise ? await moving : moving;
    }
  }
  yield* out.take();
}

/** Gathers rows in batches, by moments and sign, in the shape of their moment. */
class Out {
  readonly #tableId: number;
  readonly #shapes: Shapes;
  readonly #catalog: Catalog;
  readonly #projectors = new Projectors();
  readonly #view = new RecordView();
  /** By part; those of rows that are taken back behind. */
  readonly #builders: (BatchBuilder | null)[] = [null, null, null, null, null, null];
  #full = false;
  readonly #sameShape: boolean;

  constructor(tableId: number, shapes: Shapes, catalog: Catalog) {
    this.#tableId = tableId;
    this.#shapes = shapes;
    this.#catalog = catalog;
    this.#sameShape = shapes.sink === null || shapes.source === null || shapes.sink.version === shapes.source.version;
  }

  get isFull(): boolean {
    return this.#full;
  }

  /** A batch of rows as the base has them. */
  *whole(batch: ChangeBatch, sign: 1 | -1, part: Part = Part.both): Generator<LogRows, void, void> {
    for (const own of this.#partsOf(part)) {
      const schema = this.#shapeOf(own);
      if (schema !== null) yield { batch: this.#inShape(batch, schema), part: own, sign };
    }
  }

  /** The row of a keyed table that stands under a head; nothing where it was deleted. */
  row(head: Head | null, part: Part): void {
    if (head === null || head.value.kind !== EntryKind.row) return;
    const { bytes, keyStart, keyEnd } = head.cursor;
    const { imageStart, imageEnd, version } = head.value;
    for (const own of this.#partsOf(part)) this.#put(own, bytes, version, keyStart, keyEnd, imageStart, imageEnd);
  }

  /** The row of a keyless table that stands under a head, as often as it says. */
  *bagRow({ cursor: { bytes, keyStart, keyEnd }, value: { count, version } }: Head, part: Part): Generator<LogRows, void, void> {
    for (let copy = Math.abs(count); copy > 0; copy--) {
      for (const own of this.#partsOf(part)) this.#put(count < 0 ? own + 3 : own, bytes, version, keyStart, keyStart, keyStart, keyEnd);
      if (this.#full) yield* this.take();
    }
  }

  /** What has been gathered. */
  *take(): Generator<LogRows, void, void> {
    this.#full = false;
    for (const [index, builder] of this.#builders.entries()) {
      if (builder === null || builder.count === 0) continue;
      yield { batch: builder.take(), part: (index % 3) as Part, sign: index < 3 ? 1 : -1 };
    }
  }

  /** Where the moments have the table in different shapes, rows come for each by themselves. */
  #partsOf(part: Part): readonly Part[] {
    const parts = part === Part.both && !this.#sameShape ? MOMENTS : [part];
    return parts.filter((own) => this.#shapeOf(own) !== null);
  }

  #shapeOf(part: Part): TableSchema | null {
    const { sink, source } = this.#shapes;
    return part === Part.sink ? sink : part === Part.source ? source : (sink ?? source);
  }

  #put(index: number, bytes: Buffer, version: number, keyStart: number, keyEnd: number, imageStart: number, imageEnd: number): void {
    const schema = this.#shapeOf((index % 3) as Part);
    if (schema === null) return;
    let builder = this.#builders[index] ?? null;
    if (builder === null) {
      builder = new BatchBuilder();
      builder.begin('hub', 0, 0);
      this.#builders[index] = builder;
    }
    const keyLength = keyEnd - keyStart;
    const projector = version === schema.version ? null : this.#projectors.get(this.#catalog.schemaOf(this.#tableId, version), schema);
    if (projector !== null && !projector.identical) {
      builder.record(Op.read, 0, this.#tableId, schema.version, bytes.subarray(keyStart, keyEnd), NO_KEY, projector.image(bytes, imageStart, imageEnd));
    } else {
      const at = builder.reserve(Op.read, 0, this.#tableId, schema.version, keyLength, 0, imageEnd - imageStart);
      bytes.copy(builder.buffer, at, keyStart, keyEnd);
      bytes.copy(builder.buffer, at + keyLength, imageStart, imageEnd);
    }
    if (builder.length >= BATCH_BYTES) this.#full = true;
  }

  #inShape(batch: ChangeBatch, schema: TableSchema): ChangeBatch {
    const view = this.#view;
    let same = true;
    for (view.reset(batch.records); same && view.next(); ) same = view.schemaVersion === schema.version;
    if (same) return batch;
    const builder = new BatchBuilder(batch.records.length + (64 << 10));
    builder.begin('hub', 0, 0);
    for (view.reset(batch.records); view.next(); ) this.#projectors.get(this.#catalog.schemaOf(view.tableId, view.schemaVersion), schema).record(view, builder);
    return builder.take();
  }
}
