import type { TargetName } from '../relational/names.ts';
import { quoteName, quoteText } from './types/sql.ts';

export { quoteName, quoteText };

/** `` `shop`.`orders` ``: the schema of a name is a database here. */
export function qualified({ schema, name }: TargetName): string {
  return `${quoteName(schema)}.${quoteName(name)}`;
}

/** Bytes as an expression. */
export function hexLiteral(bytes: Uint8Array): string {
  return bytes.length === 0 ? "''" : `x'${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}'`;
}
