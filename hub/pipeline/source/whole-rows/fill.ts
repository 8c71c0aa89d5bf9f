import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { RECORD_HEADER, writeU32, type RecordView } from '../../../../contracts/record.ts';
import { Cell, ImageWalker } from '../../../../contracts/row-image.ts';

const walker = { image: new ImageWalker(), base: new ImageWalker() };

/** A row image in bytes that somebody holds; never changed. */
export interface Image {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly schemaVersion: number;
}

/**
 * The record under `view` with its after image completed: each placeholder becomes the cell of the same column of
 * `base`, an image of the same schema version. A record of its own, with other flags.
 * @throws TidemarkError `RECORD_CORRUPT` when the images do not belong together
 */
export function filledRecord(view: RecordView, base: Image, flags: number): Buffer {
  const head = view.afterStart - view.at;
  const room = head + (view.afterEnd - view.afterStart) + (base.end - base.start);
  const record = Buffer.allocUnsafeSlow(room);
  view.bytes.copy(record, 0, view.at, view.afterStart + 2);
  const end = fill(view, base, record, head + 2);
  record[5] = flags;
  writeU32(record, 0, end - 4);
  writeU32(record, 24, end - head);
  return record.subarray(0, end);
}

function fill(view: RecordView, base: Image, into: Buffer, at: number): number {
  const image = walker.image.reset(view.bytes, view.afterStart, view.afterEnd);
  const older = walker.base.reset(base.bytes, base.start, base.end);
  if (image.left !== older.left) throw corrupt('an incomplete row and the image that completes it differ in columns', view);
  while (image.next()) {
    older.next();
    const from = image.kind === Cell.placeholder ? older : image;
    if (from.kind === Cell.placeholder) throw corrupt('the image that completes a row is incomplete itself', view);
    into[at++] = from.kind;
    if (from.kind === Cell.null) continue;
    writeU32(into, at, from.end - from.start);
    at += 4;
    into.set(from.bytes.subarray(from.start, from.end), at);
    at += from.end - from.start;
  }
  return at;
}

/** Where the after image of a record stands when the record is bytes of its own. */
export function afterOf(record: Buffer, keyLength: number, beforeLength: number, schemaVersion: number): Image {
  return { bytes: record, start: RECORD_HEADER + keyLength + beforeLength, end: record.length, schemaVersion };
}

function corrupt(what: string, view: RecordView): TidemarkError {
  return new TidemarkError('RECORD_CORRUPT', `${what} (byte ${view.at}, table id ${view.tableId})`);
}
