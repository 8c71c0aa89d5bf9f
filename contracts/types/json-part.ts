/**
 * What a source that sends parts of JSON values has changed in one: the content of a cell of kind 'p' (row-image.ts).
 *
 *     per change, in the order in which they apply:
 *       u8 operation             0 replace, 1 insert, 2 remove
 *       u16 legs of the path     1 or more
 *       per leg
 *         u8 kind                0 key of an object, 1 place in an array, 2 place counted from its last item
 *         u32                    length of the key, or the place
 *         key                    as JSON text, in its quotes, as the source prints it
 *       u32 length, value        as JSON text, as the source prints it; not of remove
 *
 * Integers are big-endian. Replace and remove mean a value that is there. Insert means a key that is not, or a place before
 * which the value goes (behind the last item: at the end).
 */
import { TidemarkError } from '../errors/error.ts';

export const JsonOperation = { replace: 0, insert: 1, remove: 2 } as const;
const Leg = { key: 0, place: 1, fromEnd: 2 } as const;

/** `key`: JSON text in quotes. `fromEnd`: 0 is the last item. */
export type JsonPartLeg = { readonly key: Buffer } | { readonly index: number; readonly fromEnd: boolean };

export interface JsonChange {
  /** One of {@link JsonOperation}. */
  readonly operation: number;
  readonly path: readonly JsonPartLeg[];
  /** JSON text; empty of remove. */
  readonly value: Buffer;
}

export function encodeJsonPart(changes: readonly JsonChange[]): Buffer {
  const pieces: Buffer[] = [];
  for (const { operation, path, value } of changes) {
    pieces.push(head(operation, path.length));
    for (const leg of path) {
      if ('key' in leg) pieces.push(numbered(Leg.key, leg.key.length), leg.key);
      else pieces.push(numbered(leg.fromEnd ? Leg.fromEnd : Leg.place, leg.index));
    }
    if (operation !== JsonOperation.remove) pieces.push(u32(value.length), value);
  }
  return Buffer.concat(pieces);
}

/** The changes; keys and values are views of `bytes`. @throws TidemarkError `RECORD_CORRUPT` */
export function decodeJsonPart(bytes: Buffer): JsonChange[] {
  const changes: JsonChange[] = [];
  let at = 0;
  const take = (length: number): number => {
    if (at + length > bytes.length) throw new TidemarkError('RECORD_CORRUPT', `changes of a JSON value end ${at + length - bytes.length} bytes early`);
    at += length;
    return at - length;
  };
  const span = (length: number): Buffer => bytes.subarray(take(length), at);
  while (at < bytes.length) {
    const operation = bytes.readUInt8(take(1));
    const path: JsonPartLeg[] = [];
    for (let legs = bytes.readUInt16BE(take(2)); legs > 0; legs--) {
      const kind = bytes.readUInt8(take(1));
      const number = bytes.readUInt32BE(take(4));
      path.push(kind === Leg.key ? { key: span(number) } : { index: number, fromEnd: kind === Leg.fromEnd });
    }
    const value = operation === JsonOperation.remove ? bytes.subarray(at, at) : span(bytes.readUInt32BE(take(4)));
    changes.push({ operation, path, value });
  }
  return changes;
}

function head(operation: number, legs: number): Buffer {
  const bytes = Buffer.alloc(3);
  bytes[0] = operation;
  bytes.writeUInt16BE(legs, 1);
  return bytes;
}

function numbered(kind: number, number: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = kind;
  bytes.writeUInt32BE(number, 1);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}
