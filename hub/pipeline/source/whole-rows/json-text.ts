/**
 * The text of a JSON value after changes of parts of it (contracts/types/json-part.ts). Values stay as they are printed: only
 * containers on the way to a change are taken apart, and printed again as the source prints them: `{"a": 1, "b": [2, 3]}`, with
 * keys by length, then by bytes. So the result is what the source prints.
 */
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { decodeJsonPart, JsonOperation, type JsonChange, type JsonPartLeg } from '../../../../contracts/types/json-part.ts';

type Node = LeafNode | ArrayNode | ObjectNode;

/** A value as it is printed. */
interface LeafNode {
  readonly kind: 'leaf';
  readonly text: Buffer;
}

interface ArrayNode {
  readonly kind: 'array';
  readonly items: Node[];
}

/** `keys[i]`, in its quotes, is that of `items[i]`, `names[i]` what it means. */
interface ObjectNode {
  readonly kind: 'object';
  readonly keys: Buffer[];
  readonly names: Buffer[];
  readonly items: Node[];
}

const Byte = { quote: 0x22, comma: 0x2c, colon: 0x3a, openArray: 0x5b, backslash: 0x5c, closeArray: 0x5d, openObject: 0x7b, closeObject: 0x7d } as const;
const SEPARATOR = Buffer.from(', ');
const COLON = Buffer.from(': ');

/**
 * The value `text` with the changes that `part` holds, in order.
 * @throws TidemarkError `WHOLE_ROW_PART` when they were made for another value
 */
export function changedJson(text: Buffer, part: Buffer): Buffer {
  let root: Node = { kind: 'leaf', text };
  for (const change of decodeJsonPart(part)) root = changed(root, change);
  const pieces: Buffer[] = [];
  print(root, pieces);
  return Buffer.concat(pieces);
}

function changed(root: Node, { operation, path, value }: JsonChange): Node {
  const last = path.at(-1);
  if (last === undefined) throw misfit('a path is empty');
  const top = opened(root);
  let parent = top;
  for (const leg of path.slice(0, -1)) {
    const place = placeOf(parent, leg);
    if (parent.kind === 'leaf' || place === null) throw misfit('a path leads nowhere');
    parent = parent.items[place] = opened(parent.items[place] as Node);
  }
  const leaf: LeafNode = { kind: 'leaf', text: value };
  if (operation === JsonOperation.insert) insert(parent, last, leaf);
  else {
    const place = placeOf(parent, last);
    if (parent.kind === 'leaf' || place === null) throw misfit('there is nothing at the end of a path');
    if (operation === JsonOperation.replace) parent.items[place] = leaf;
    else removeAt(parent, place);
  }
  return top;
}

function removeAt(parent: ArrayNode | ObjectNode, place: number): void {
  parent.items.splice(place, 1);
  if (parent.kind === 'array') return;
  parent.keys.splice(place, 1);
  parent.names.splice(place, 1);
}

function insert(parent: Node, leg: JsonPartLeg, value: Node): void {
  if ('key' in leg) {
    if (parent.kind !== 'object') throw misfit('a key goes into what is no object');
    const name = meaning(leg.key);
    const place = search(parent.names, name);
    if (place >= 0) throw misfit('a key that goes into an object is there already');
    parent.keys.splice(-1 - place, 0, leg.key);
    parent.names.splice(-1 - place, 0, name);
    parent.items.splice(-1 - place, 0, value);
    return;
  }
  if (parent.kind !== 'array') throw misfit('a place goes into what is no array');
  const place = leg.fromEnd ? parent.items.length - 1 - leg.index : leg.index;
  parent.items.splice(Math.max(0, Math.min(place, parent.items.length)), 0, value);
}

/** Null: there is none. */
function placeOf(node: Node, leg: JsonPartLeg): number | null {
  if ('key' in leg) {
    const place = node.kind === 'object' ? search(node.names, meaning(leg.key)) : -1;
    return place < 0 ? null : place;
  }
  if (node.kind !== 'array') return null;
  const place = leg.fromEnd ? node.items.length - 1 - leg.index : leg.index;
  return place >= 0 && place < node.items.length ? place : null;
}

/** Where the name is, or, as a negative number -1 - place, where it would be. */
function search(names: readonly Buffer[], name: Buffer): number {
  let low = 0;
  let high = names.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const other = names[middle] as Buffer;
    const order = other.length - name.length || Buffer.compare(other, name);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return -1 - low;
}

/** What a string in quotes means, in UTF-8. */
function meaning(text: Buffer): Buffer {
  if (!text.includes(Byte.backslash)) return text.subarray(1, -1);
  const value: unknown = JSON.parse(text.toString('utf8'));
  if (typeof value !== 'string') throw misfit('a key is no string');
  return Buffer.from(value);
}

/** A container as a node whose items can be changed; any other value as it is. */
function opened(node: Node): Node {
  if (node.kind !== 'leaf') return node;
  const { text } = node;
  const first = text[0];
  if (first !== Byte.openArray && first !== Byte.openObject) return node;
  const items: Node[] = [];
  const keys: Buffer[] = [];
  let at = skipBlanks(text, 1);
  while (text[at] !== (first === Byte.openArray ? Byte.closeArray : Byte.closeObject)) {
    if (items.length > 0) at = skipBlanks(text, expect(text, at, Byte.comma));
    if (first === Byte.openObject) {
      const end = stringEnd(text, at);
      keys.push(text.subarray(at, end));
      at = skipBlanks(text, expect(text, skipBlanks(text, end), Byte.colon));
    }
    const end = valueEnd(text, at);
    items.push({ kind: 'leaf', text: text.subarray(at, end) });
    at = skipBlanks(text, end);
  }
  return first === Byte.openArray ? { kind: 'array', items } : { kind: 'object', keys, names: keys.map(meaning), items };
}

function expect(text: Buffer, at: number, byte: number): number {
  if (text[at] !== byte) throw misfit(`the value is no JSON at byte ${at}`);
  return at + 1;
}

function skipBlanks(text: Buffer, from: number): number {
  let at = from;
  while (isBlank(text[at])) at++;
  return at;
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}

function stringEnd(text: Buffer, from: number): number {
  let at = expect(text, from, Byte.quote);
  for (; at < text.length && text[at] !== Byte.quote; at++) if (text[at] === Byte.backslash) at++;
  return expect(text, at, Byte.quote);
}

/** Behind the value that begins at `from`. */
function valueEnd(text: Buffer, from: number): number {
  let at = from;
  let depth = 0;
  do {
    const byte = text[at];
    if (byte === undefined) throw misfit('the value is no JSON: it ends early');
    if (byte === Byte.quote) at = stringEnd(text, at);
    else {
      if (byte === Byte.openArray || byte === Byte.openObject) depth++;
      else if (byte === Byte.closeArray || byte === Byte.closeObject) depth--;
      at++;
    }
  } while (depth > 0 || !endsHere(text[at]));
  if (depth < 0) throw misfit('the value is no JSON: a container lacks an item');
  return at;
}

function endsHere(byte: number | undefined): boolean {
  return byte === undefined || byte === Byte.comma || byte === Byte.closeArray || byte === Byte.closeObject || isBlank(byte);
}

function print(node: Node, pieces: Buffer[]): void {
  if (node.kind === 'leaf') {
    pieces.push(node.text);
    return;
  }
  const isObject = node.kind === 'object';
  pieces.push(Buffer.of(isObject ? Byte.openObject : Byte.openArray));
  for (const [index, item] of node.items.entries()) {
    if (index > 0) pieces.push(SEPARATOR);
    if (node.kind === 'object') pieces.push(node.keys[index] as Buffer, COLON);
    print(item, pieces);
  }
  pieces.push(Buffer.of(isObject ? Byte.closeObject : Byte.closeArray));
}

function misfit(why: string): TidemarkError {
  return new TidemarkError('WHOLE_ROW_PART', `a change of part of a JSON value does not fit the value: ${why}`);
}
