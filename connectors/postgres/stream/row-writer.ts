/**
 * Insert, Update and Delete messages into records. A row that needs no conversion is copied once, from the buffer of the
 * socket into that of the batch. Reading checks every byte; writing cannot fail then, except for a key without a value.
 */
import type { BatchBuilder } from '../../../contracts/change-batch.ts';
import { Flag, Op } from '../../../contracts/op.ts';
import { writeU32 } from '../../../contracts/record.ts';
import { Cell } from '../../../contracts/row-image.ts';
import { protocolError } from '../errors.ts';
import type { Route } from './route.ts';
import { ImageBuilder } from './row-plan.ts';
import { TupleSpans } from './tuple.ts';

export const RowMessage = { insert: 0x49, update: 0x55, delete: 0x44 } as const;

/** What stands before a tuple: the key alone, the whole old row, the new row. */
const Tuple = { key: 0x4b, old: 0x4f, new: 0x4e } as const;

/** Up to this many bytes a loop is quicker than a call. */
const SHORT_COPY = 32;

/** One per decoder: holds the tuples of the message that was read last. */
export class RowWriter {
  readonly #builder: BatchBuilder;
  readonly #new = new TupleSpans();
  readonly #old = new TupleSpans();
  readonly #newImage = new ImageBuilder();
  readonly #oldImage = new ImageBuilder();
  /** What the message had of the old row. */
  #had: 'nothing' | 'key' | 'row' = 'nothing';

  constructor(builder: BatchBuilder) {
    this.#builder = builder;
  }

  readInsert(route: Route, bytes: Buffer, at: number, end: number): void {
    if (bytes[at] !== Tuple.new) throw protocolError('an insert without its row');
    endsAt(this.#new.walk(bytes, at + 1, end, route.relation.columns.length), end);
  }

  readUpdate(route: Route, bytes: Buffer, start: number, end: number): void {
    const columns = route.relation.columns.length;
    let at = start;
    this.#had = oldTuple(bytes[at]);
    if (this.#had !== 'nothing') at = this.#old.walk(bytes, at + 1, end, columns);
    if (at >= end || bytes[at] !== Tuple.new) throw protocolError('an update without its new row');
    endsAt(this.#new.walk(bytes, at + 1, end, columns), end);
    if (route.captured && route.key.length === 0 && this.#had !== 'row') throw protocolError('an update of a table without key has no old row');
  }

  readDelete(route: Route, bytes: Buffer, at: number, end: number): void {
    this.#had = oldTuple(bytes[at]);
    if (this.#had === 'nothing') throw protocolError('a delete without its old row');
    endsAt(this.#old.walk(bytes, at + 1, end, route.relation.columns.length), end);
    if (route.captured && route.key.length === 0 && this.#had !== 'row') throw protocolError('a delete of a table without key has no old row');
  }

  /** The new row has an enum's label that the log does not know yet. */
  hasUnknownLabel(route: Route): boolean {
    return route.enums !== null && route.enums.hasUnknown(this.#new);
  }

  writeInsert(route: Route): void {
    const tuple = this.#new;
    const image = route.plan.isIdentity ? tuple : this.#newImage.build(route.plan, tuple, null);
    this.#row(Op.create, flagsOf(route, tuple, image), route, image, null, image);
  }

  writeUpdate(route: Route): void {
    const { plan, key } = route;
    const tuple = this.#new;
    const old = this.#old;
    const had = this.#had;
    // The key's tuple has nothing but the key: all else in it is not null but unknown.
    if (had === 'key' && tuple.placeholders > 0) forgetOthers(old, route);
    const filled = had !== 'nothing' && tuple.placeholders > 0 ? old : null;
    const image = plan.isIdentity && filled === null ? tuple : this.#newImage.build(plan, tuple, filled);
    const flags = flagsOf(route, tuple, image);
    if (had === 'nothing') {
      this.#row(Op.update, flags, route, image, null, image);
      return;
    }
    const before = plan.isIdentity ? old : this.#oldImage.build(plan, old, null);
    const beforeImage = had === 'row' ? before : null;
    if (key.length === 0) {
      this.#row(Op.delete, 0, route, before, before, null);
      this.#row(Op.create, flags, route, image, null, image);
    } else if (keyChanged(key, before, image)) {
      this.#row(Op.delete, Flag.keyChange, route, before, beforeImage, null);
      this.#row(Op.create, flags | Flag.keyChange, route, image, null, image);
    } else this.#row(Op.update, flags, route, before, beforeImage, image);
  }

  writeDelete(route: Route): void {
    const old = this.#old;
    const before = route.plan.isIdentity ? old : this.#oldImage.build(route.plan, old, null);
    this.#row(Op.delete, 0, route, before, this.#had === 'row' ? before : null, null);
  }

  #row(op: number, flags: number, route: Route, keyOf: TupleSpans, before: TupleSpans | null, after: TupleSpans | null): void {
    const { key, tableId, version } = route;
    let keyLength = 0;
    for (let place = 0; place < key.length; place++) {
      const column = key[place] as number;
      const kind = keyOf.kinds[column];
      if (kind !== Cell.text && kind !== Cell.binary) throw protocolError(`key column ${column} of a row has no value`);
      keyLength += 4 + (keyOf.ends[column] as number) - (keyOf.starts[column] as number);
    }
    const beforeLength = before === null ? 0 : before.end - before.start;
    const afterLength = after === null ? 0 : after.end - after.start;
    let at = this.#builder.reserve(op, flags, tableId, version, keyLength, beforeLength, afterLength);
    const into = this.#builder.buffer;
    for (let place = 0; place < key.length; place++) {
      const column = key[place] as number;
      const start = keyOf.starts[column] as number;
      const length = (keyOf.ends[column] as number) - start;
      writeU32(into, at, length);
      at += 4;
      copyBytes(keyOf.bytes, into, at, start, start + length);
      at += length;
    }
    if (before !== null) {
      before.bytes.copy(into, at, before.start, before.end);
      at += beforeLength;
    }
    if (after !== null) after.bytes.copy(into, at, after.start, after.end);
  }
}

function oldTuple(kind: number | undefined): 'nothing' | 'key' | 'row' {
  return kind === Tuple.key ? 'key' : kind === Tuple.old ? 'row' : 'nothing';
}

/** `incomplete` and `wide`, from the tuple as it came and the image that is written. */
function flagsOf(route: Route, tuple: TupleSpans, image: TupleSpans): number {
  if (image.placeholders > 0) return Flag.incomplete | Flag.wide;
  return route.width !== null && route.width.isWide(tuple.bytes, tuple.start, tuple.end) ? Flag.wide : 0;
}

function forgetOthers(old: TupleSpans, { relation }: Route): void {
  for (let column = 0; column < old.columns; column++) {
    if (relation.columns[column]?.isKey !== true) old.kinds[column] = Cell.placeholder;
  }
}

function endsAt(at: number, end: number): void {
  if (at !== end) throw protocolError(`a row message has ${end - at} bytes too many`);
}

/** Compared by canonical bytes. */
function keyChanged(key: readonly number[], before: TupleSpans, after: TupleSpans): boolean {
  for (const column of key) {
    const start = before.starts[column] as number;
    const end = before.ends[column] as number;
    const other = after.starts[column] as number;
    if (end - start !== (after.ends[column] as number) - other) return true;
    for (let at = start, to = other; at < end; at++, to++) {
      if (before.bytes[at] !== after.bytes[to]) return true;
    }
  }
  return false;
}

function copyBytes(from: Buffer, into: Buffer, at: number, start: number, end: number): void {
  if (end - start > SHORT_COPY) {
    from.copy(into, at, start, end);
    return;
  }
  for (let next = start; next < end; next++) into[at++] = from[next] as number;
}
