/** A JSON document that is changed at some places: only the containers on the way to them are taken apart. */
import { isContainer, isObject, JsonContainer, type JsonLeaf } from './binary-json.ts';

export type JsonNode = JsonLeafNode | JsonArrayNode | JsonObjectNode;

export interface JsonLeafNode extends JsonLeaf {
  readonly kind: 'leaf';
}

export interface JsonArrayNode {
  readonly kind: 'array';
  readonly items: JsonNode[];
}

/** `keys[i]` is that of `items[i]`; sorted by length, then by bytes. */
export interface JsonObjectNode {
  readonly kind: 'object';
  readonly keys: Buffer[];
  readonly items: JsonNode[];
}

/** The value whose type stands at `start`. */
export function leafOf(bytes: Buffer, start: number, end: number): JsonLeafNode {
  return { kind: 'leaf', bytes, type: bytes[start] as number, at: start + 1, end };
}

/** A container as a node whose items can be changed; any other value as it is. @throws TidemarkError `MYSQL_VALUE` */
export function opened(node: JsonNode): JsonNode {
  if (node.kind !== 'leaf' || !isContainer(node.type)) return node;
  const { bytes } = node;
  const container = new JsonContainer().reset(bytes, node.type, node.at, node.end);
  const keys: Buffer[] = [];
  const items: JsonNode[] = [];
  for (let index = 0; index < container.count; index++) {
    if (container.isObject) {
      container.key(index);
      keys.push(bytes.subarray(container.at, container.end));
    }
    container.value(index);
    items.push({ kind: 'leaf', bytes, type: container.type, at: container.at, end: container.end });
  }
  return isObject(node.type) ? { kind: 'object', keys, items } : { kind: 'array', items };
}

/** Where a key is, or, as a negative number -1 - place, where it would be. */
export function placeOfKey({ keys }: JsonObjectNode, key: Buffer): number {
  let low = 0;
  let high = keys.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const order = compareKeys(keys[middle] as Buffer, key);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return -1 - low;
}

function compareKeys(a: Buffer, b: Buffer): number {
  return a.length - b.length || Buffer.compare(a, b);
}
