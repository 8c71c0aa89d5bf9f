import { isUtf8 } from 'node:buffer';
import { readKey } from '../../../contracts/key.ts';
import type { TableSchema } from '../../../contracts/schema.ts';

const LONGEST = 200;

/** A key for people: `id=7, region=eu`; bytes that are no text in hexadecimal digits. Cut where it is long. */
export function keyText(schema: TableSchema, key: Uint8Array): string {
  const values = readKey(key);
  const text = schema.key.map((column, index) => `${schema.columns[column]?.name ?? column}=${valueText(values[index])}`).join(', ');
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 1)}…`;
}

function valueText(value: Buffer | undefined): string {
  if (value === undefined) return '?';
  return isUtf8(value) ? value.toString('utf8') : `\\x${value.toString('hex')}`;
}
