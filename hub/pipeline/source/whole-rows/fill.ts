import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { RECORD_HEADER, writeU32, type RecordView } from '../../../../contracts/record.ts';
import { Cell, ImageWalker } from '../../../../contracts/row-image.ts';
import { changedJson } from './json-text.ts';
import type { Origin } from './replayed-rows.ts';

const walker = { image: new ImageWalker(), base: new ImageWalker() };

/** A row image in bytes that somebody holds; never changed. */
export interface Image {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly schemaVersion: number;
  /** Where its record was appended, if it is not durable yet. */
  readonly offset?: Offset;
  /** Absent: it is as of its record's own place in the stream. */
  readonly origin?: Origin;
}

/**
 * What a change of part of a column's value becomes: it applies to the older value, or that has it already; null: neither is
 * certain.
 */
export type PartsOf = (column: number) => 'apply' | 'keep' | null;

/**
 * The record under `view` with its after image completed: each placeholder becomes the cell of the same column of
 * `base`, an image of the same schema version. A record of its own, with other flags. Null: a part of a value can be neither
 * applied nor left.
 * @throws TidemarkError `RECORD_CORRUPT` when the images do not belong together, `WHOLE_ROW_PART`
 */
export function filledRecord(view: RecordView, base: Image, flags: number, partsOf: PartsOf): Buffer | null {
  const changed = changedCells(view, base, partsOf);
  if (changed === null) return null;
  const head = view.afterStart - view.at;
  let room = head + (view.afterEnd - view.afterStart) + (base.end - base.start);
  for (const value of changed.values()) room += value.length;
  const record = Buffer.allocUnsafeSlow(room);
  view.bytes.copy(record, 0, view.at, view.afterStart + 2);
  const end = fill(view, base, changed, record, head + 2);
  record[5] = flags;
  writeU32(record, 0, end - 4);
  writeU32(record, 24, end - head);
  return record.subarray(0, end);
}

const NONE_CHANGED: ReadonlyMap<number, Buffer> = new Map();

/** The values that changes of parts lead to, by column. */
function changedCells(view: RecordView, base: Image, partsOf: PartsOf): ReadonlyMap<number, Buffer> | null {
  const [image, older] = bothAt(view, base);
  let changed: Map<number, Buffer> | null = null;
  for (let column = 0; image.next(); column++) {
    older.next();
    if (image.kind !== Cell.part) continue;
    const what = partsOf(column);
    if (what === null) return null;
    if (what === 'keep') continue;
    if (older.kind !== Cell.text) throw new TidemarkError('WHOLE_ROW_PART', `part of the value of column ${column} changes, of which the log has no value`);
    (changed ??= new Map()).set(column, changedJson(base.bytes.subarray(older.start, older.end), view.bytes.subarray(image.start, image.end)));
  }
  return changed ?? NONE_CHANGED;
}

function fill(view: RecordView, base: Image, changed: ReadonlyMap<number, Buffer>, into: Buffer, start: number): number {
  const [image, older] = bothAt(view, base);
  let at = start;
  for (let column = 0; image.next(); column++) {
    older.next();
    const value = changed.get(column);
    if (value !== undefined) {
      at = valueInto(into, at, Cell.text, value, 0, value.length);
      continue;
    }
    const from = isLeftOut(image.kind) ? older : image;
    if (isLeftOut(from.kind)) throw corrupt('the image that completes a row is incomplete itself', view);
    if (from.kind === Cell.null) into[at++] = Cell.null;
    else at = valueInto(into, at, from.kind, from.bytes, from.start, from.end);
  }
  return at;
}

function valueInto(into: Buffer, at: number, kind: number, bytes: Uint8Array, start: number, end: number): number {
  into[at] = kind;
  writeU32(into, at + 1, end - start);
  into.set(bytes.subarray(start, end), at + 5);
  return at + 5 + end - start;
}

function bothAt(view: RecordView, base: Image): [ImageWalker, ImageWalker] {
  const image = walker.image.reset(view.bytes, view.afterStart, view.afterEnd);
  const older = walker.base.reset(base.bytes, base.start, base.end);
  if (image.left !== older.left) throw corrupt('an incomplete row and the image that completes it differ in columns', view);
  return [image, older];
}

/** The source left the column out, whatever it says of it. */
export function isLeftOut(kind: number): boolean {
  return kind === Cell.placeholder || kind === Cell.part;
}

/** Where the after image of a record stands when the record is bytes of its own. */
export function afterOf(record: Buffer, keyLength: number, beforeLength: number, schemaVersion: number): Image {
  return { bytes: record, start: RECORD_HEADER + keyLength + beforeLength, end: record.length, schemaVersion };
}

function corrupt(what: string, view: RecordView): TidemarkError {
  return new TidemarkError('RECORD_CORRUPT', `${what} (byte ${view.at}, table id ${view.tableId})`);
}
