/** Paths of JSON diffs: `$.a."b c"[3][last-1]`, without wildcards. */
import { TidemarkError } from '../../../contracts/errors/error.ts';

/** A key, or a place in an array; `fromEnd`: 0 is the last one. */
export type PathLeg = { readonly key: Buffer } | { readonly index: number; readonly fromEnd: boolean };

const LEG = /\.\s*(?:"((?:[^"\\]|\\.)*)"|([^\s."[\]*]+))\s*|\[\s*(?:(\d+)|last(?:\s*-\s*(\d+))?)\s*\]\s*/suy;
const MAX_LEGS = 100;

/** @throws TidemarkError `MYSQL_VALUE` */
export function parsePath(path: string): PathLeg[] {
  if (!path.startsWith('$')) throw wrong();
  const legs: PathLeg[] = [];
  LEG.lastIndex = 1;
  while (LEG.lastIndex < path.length) {
    const match = LEG.exec(path);
    if (match === null || legs.length === MAX_LEGS) throw wrong();
    const [, quoted, plain, index, back] = match;
    if (quoted !== undefined) legs.push({ key: Buffer.from(unquoted(quoted)) });
    else if (plain !== undefined) legs.push({ key: Buffer.from(plain) });
    else legs.push({ index: Number(index ?? back ?? 0), fromEnd: index === undefined });
  }
  return legs;
}

function unquoted(text: string): string {
  try {
    const value: unknown = JSON.parse(`"${text}"`);
    if (typeof value === 'string') return value;
  } catch (cause) {
    throw new TidemarkError('MYSQL_VALUE', 'a key in the path of a JSON diff is not a JSON string', { cause });
  }
  throw wrong();
}

function wrong(): TidemarkError {
  return new TidemarkError('MYSQL_VALUE', 'the path of a JSON diff cannot be read');
}
