/** Binary JSON and its text by the format's description alone, for tests. */
import { jsonDouble } from '../../../../contracts/types/mysql-json-number.ts';

/** A number is an integer; doubles are marked. */
export type JsonInput = null | boolean | number | bigint | string | { readonly double: number } | readonly JsonInput[] | { readonly [key: string]: JsonInput };

/** @param large containers with offsets of 4 bytes, as in documents above 64 KiB */
export function binaryJson(value: JsonInput, large: boolean): Buffer {
  const { type, bytes } = encoded(value, large);
  return Buffer.concat([Buffer.from([type]), bytes]);
}

interface Encoded {
  readonly type: number;
  readonly bytes: Buffer;
  /** Fits into a value entry of so many bytes. */
  readonly inline: 2 | 4 | null;
}

function encoded(value: JsonInput, large: boolean): Encoded {
  if (value === null || typeof value === 'boolean') return { type: 4, bytes: Buffer.from([value === null ? 0 : value ? 1 : 2]), inline: 2 };
  if (typeof value === 'number' || typeof value === 'bigint') return integer(BigInt(value));
  if (typeof value === 'string') {
    const text = Buffer.from(value);
    return { type: 12, bytes: Buffer.concat([varLength(text.length), text]), inline: null };
  }
  if (isDouble(value)) {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value.double);
    return { type: 11, bytes, inline: null };
  }
  return container(value, large);
}

function isDouble(value: JsonInput): value is { readonly double: number } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 1 && 'double' in value && typeof value['double'] === 'number';
}

function isArray(value: JsonInput): value is readonly JsonInput[] {
  return Array.isArray(value);
}

function integer(value: bigint): Encoded {
  const fits = (bits: bigint): boolean => value >= -(2n ** (bits - 1n)) && value < 2n ** (bits - 1n);
  if (fits(16n) || (value >= 0n && value < 2n ** 16n)) return { type: fits(16n) ? 5 : 6, bytes: sized(value, 2), inline: 2 };
  if (fits(32n) || (value >= 0n && value < 2n ** 32n)) return { type: fits(32n) ? 7 : 8, bytes: sized(value, 4), inline: 4 };
  return { type: fits(64n) ? 9 : 10, bytes: sized(value, 8), inline: null };
}

function sized(value: bigint, bytes: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt.asUintN(64, value));
  return out.subarray(0, bytes);
}

function varLength(length: number): Buffer {
  const bytes: number[] = [];
  let rest = length;
  while (rest >= 128) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}

function sortedEntries(value: { readonly [key: string]: JsonInput }): [Buffer, JsonInput][] {
  return Object.entries(value).map(([key, item]): [Buffer, JsonInput] => [Buffer.from(key), item]).sort(([a], [b]) => a.length - b.length || Buffer.compare(a, b));
}

function container(value: readonly JsonInput[] | { readonly [key: string]: JsonInput }, large: boolean): Encoded {
  const entries = isArray(value) ? null : sortedEntries(value);
  const keys = entries?.map(([key]) => key) ?? [];
  const items = (entries?.map(([, item]) => item) ?? (isArray(value) ? value : [])).map((item) => encoded(item, large));
  const width = large ? 4 : 2;
  const head = width * 2 + keys.length * (width + 2) + items.length * (width + 1);
  const number = (n: number): Buffer => sized(BigInt(n), width);
  let offset = head;
  const keyEntries = keys.map((key) => {
    const entry = Buffer.concat([number(offset), sized(BigInt(key.length), 2)]);
    offset += key.length;
    return entry;
  });
  const outside: Buffer[] = [];
  const valueEntries = items.map(({ type, bytes, inline }) => {
    if (inline !== null && inline <= width) return Buffer.concat([Buffer.from([type]), bytes, Buffer.alloc(width - bytes.length)]);
    const entry = Buffer.concat([Buffer.from([type]), number(offset)]);
    offset += bytes.length;
    outside.push(bytes);
    return entry;
  });
  const body = Buffer.concat([number(items.length), number(offset), ...keyEntries, ...valueEntries, ...keys, ...outside]);
  return { type: (entries === null ? 2 : 0) + (large ? 1 : 0), bytes: body, inline: null };
}

/** As the server prints it. */
export function serverText(value: JsonInput): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (typeof value === 'string') return quoted(value);
  if (isDouble(value)) return jsonDouble(value.double);
  if (isArray(value)) return `[${value.map(serverText).join(', ')}]`;
  return `{${sortedEntries(value).map(([key, item]) => `${quoted(key.toString())}: ${serverText(item)}`).join(', ')}}`;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

/** Diffs: operation (0 replace, 1 insert, 2 remove), path, value. */
export function diffBytes(diffs: readonly (readonly [operation: 0 | 1 | 2, path: string, value?: JsonInput])[]): Buffer {
  const packed = (bytes: Buffer): Buffer => {
    if (bytes.length < 0xfb) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    const length = Buffer.alloc(3, 0xfc);
    length.writeUInt16LE(bytes.length, 1);
    return Buffer.concat([length, bytes]);
  };
  return Buffer.concat(
    diffs.flatMap(([operation, path, value]) => [Buffer.from([operation]), packed(Buffer.from(path)), ...(operation === 2 ? [] : [packed(binaryJson(value ?? null, false))])]),
  );
}
