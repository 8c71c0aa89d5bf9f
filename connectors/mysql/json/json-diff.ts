/**
 * JSON diffs of `binlog_row_value_options=PARTIAL_JSON`, applied as a replica does. Each is
 *
 *     u8 operation                  0 replace, 1 insert, 2 remove
 *     packed length, path           `$.a[1]`
 *     packed length, document       binary JSON; not for remove
 *
 * Replace and remove want a value at the path. Insert wants none: a new key of an object, or a place in an array, where the
 * values from there on move up. A diff that finds it otherwise was made for another document.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { readU16, readU24, readU32 } from '../values/digits.ts';
import { encodeJsonPart, JsonOperation, type JsonChange } from '../../../contracts/types/json-part.ts';
import type { JsonText } from './json-text.ts';
import { type JsonNode, type JsonObjectNode, leafOf, opened, placeOfKey } from './json-tree.ts';
import { parsePath, type PathLeg } from './json-path.ts';

/** The same numbers in both. */
const Operation = JsonOperation;
const NOTHING = Buffer.alloc(0);

/** The document `old[oldAt .. oldEnd)` with the diffs `bytes[at .. end)`. The tree refers to both. @throws TidemarkError `MYSQL_VALUE` */
export function applyDiffs(bytes: Buffer, at: number, end: number, old: Buffer, oldAt: number, oldEnd: number): JsonNode {
  if (oldAt === oldEnd) throw rejected('the old document is empty');
  let root: JsonNode = leafOf(old, oldAt, oldEnd);
  for (const { operation, legs, last, start, stop } of readDiffs(bytes, at, end)) {
    root = opened(root);
    const parent = openedAt(root, legs.slice(0, -1));
    if (operation === Operation.remove) remove(parent, last);
    else if (operation === Operation.replace) replace(parent, last, leafOf(bytes, start, stop));
    else insert(parent, last, leafOf(bytes, start, stop));
  }
  return root;
}

/** The same diffs for whoever has the old document as text (contracts/types/json-part.ts). @throws TidemarkError `MYSQL_VALUE` */
export function partOf(bytes: Buffer, at: number, end: number, text: JsonText): Buffer {
  const printed = (print: () => void): Buffer => {
    print();
    return Buffer.from(text.bytes.subarray(0, text.length));
  };
  const changes: JsonChange[] = [];
  for (const { operation, legs, start, stop } of readDiffs(bytes, at, end)) {
    changes.push({
      operation,
      path: legs.map((leg) => ('key' in leg ? { key: printed(() => text.printString(leg.key)) } : leg)),
      value: operation === Operation.remove ? NOTHING : printed(() => text.print(bytes, start, stop)),
    });
  }
  return encodeJsonPart(changes);
}

/** One diff; its document is `bytes[start .. stop)`. */
interface Diff {
  readonly operation: number;
  readonly legs: readonly PathLeg[];
  readonly last: PathLeg;
  readonly start: number;
  readonly stop: number;
}

function* readDiffs(bytes: Buffer, at: number, end: number): Generator<Diff, void, void> {
  const reader = new DiffReader(bytes, at, end);
  while (reader.at < end) {
    const operation = reader.byte();
    if (operation > Operation.remove) throw new TidemarkError('MYSQL_VALUE', `a JSON diff has the operation ${operation}`);
    const [pathStart, pathEnd] = reader.span();
    const legs = parsePath(bytes.toString('utf8', pathStart, pathEnd));
    const last = legs.at(-1);
    if (last === undefined) throw rejected('it means the whole document');
    const [start, stop] = operation === Operation.remove ? [reader.at, reader.at] : reader.span();
    if (operation !== Operation.remove && start === stop) throw new TidemarkError('MYSQL_VALUE', 'a JSON diff has an empty document');
    yield { operation, legs, last, start, stop };
  }
}

/** The value at the end of the legs, it and all before it taken apart. */
function openedAt(root: JsonNode, legs: readonly PathLeg[]): JsonNode {
  let node = root;
  for (const leg of legs) {
    const place = placeOf(node, leg);
    if (node.kind === 'leaf' || place === null) throw rejected('its path leads nowhere');
    node = node.items[place] = opened(node.items[place] as JsonNode);
  }
  return node;
}

/** Null: there is none. */
function placeOf(node: JsonNode, leg: PathLeg): number | null {
  if ('key' in leg) {
    const place = node.kind === 'object' ? placeOfKey(node, leg.key) : -1;
    return place < 0 ? null : place;
  }
  if (node.kind !== 'array') return null;
  const place = leg.fromEnd ? node.items.length - 1 - leg.index : leg.index;
  return place >= 0 && place < node.items.length ? place : null;
}

function replace(parent: JsonNode, leg: PathLeg, value: JsonNode): void {
  const place = placeOf(parent, leg);
  if (parent.kind === 'leaf' || place === null) throw rejected('there is nothing to replace');
  parent.items[place] = value;
}

function remove(parent: JsonNode, leg: PathLeg): void {
  const place = placeOf(parent, leg);
  if (parent.kind === 'leaf' || place === null) throw rejected('there is nothing to remove');
  parent.items.splice(place, 1);
  if (parent.kind === 'object') parent.keys.splice(place, 1);
}

function insert(parent: JsonNode, leg: PathLeg, value: JsonNode): void {
  if ('key' in leg) {
    if (parent.kind !== 'object') throw rejected('a key is put into what is no object');
    insertKey(parent, leg.key, value);
    return;
  }
  if (parent.kind !== 'array') throw rejected('a place is put into what is no array');
  const { items } = parent;
  const place = leg.fromEnd ? items.length - 1 - leg.index : leg.index;
  items.splice(Math.max(0, Math.min(place, items.length)), 0, value);
}

function insertKey(parent: JsonObjectNode, key: Buffer, value: JsonNode): void {
  const place = placeOfKey(parent, key);
  if (place >= 0) throw rejected('the key is there already');
  parent.keys.splice(-1 - place, 0, key);
  parent.items.splice(-1 - place, 0, value);
}

function rejected(why: string): TidemarkError {
  return new TidemarkError('MYSQL_VALUE', `a JSON diff does not fit the document: ${why}`);
}

class DiffReader {
  at: number;
  readonly #bytes: Buffer;
  readonly #end: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes;
    this.at = at;
    this.#end = end;
  }

  byte(): number {
    this.#require(1);
    return this.#bytes[this.at++] as number;
  }

  /** First and last position of what stands behind its packed length. */
  span(): [start: number, end: number] {
    const first = this.byte();
    const width = first < 0xfb ? 0 : first === 0xfc ? 2 : first === 0xfd ? 3 : first === 0xfe ? 8 : -1;
    if (width < 0) throw new TidemarkError('MYSQL_VALUE', `a JSON diff has a length that begins with ${first}`);
    this.#require(width);
    const { at } = this;
    const length = width === 0 ? first : width === 2 ? readU16(this.#bytes, at) : width === 3 ? readU24(this.#bytes, at) : readU32(this.#bytes, at) + readU32(this.#bytes, at + 4) * 0x100000000;
    this.at += width;
    this.#require(length);
    const start = this.at;
    this.at += length;
    return [start, this.at];
  }

  #require(length: number): void {
    if (this.at + length > this.#end) throw new TidemarkError('MYSQL_VALUE', `a JSON diff ends ${this.at + length - this.#end} bytes early`);
  }
}
