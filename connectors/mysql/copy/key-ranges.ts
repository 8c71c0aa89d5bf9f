/**
 * Ranges of a table in the order of the server's index over its key, as text for the log:
 *
 *     key <bound>|begin <bound>|end      after (excluded) to (included)
 *     whole                              all rows of a keyless table
 *
 * A bound is one value for each of the first columns of the key, as the server gave it: `x` and hexadecimal digits each,
 * with commas in between. A bound of fewer columns than the key has stands behind all keys that begin with it.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';

export type Bound = readonly Buffer[];

export interface KeyRange {
  /** Null: from the first key. */
  readonly after: Bound | null;
  /** Null: to the last key. */
  readonly to: Bound | null;
}

export const WHOLE_RANGE = 'whole';

export function formatKeyRange({ after, to }: KeyRange): string {
  return `key ${after === null ? 'begin' : formatBound(after)} ${to === null ? 'end' : formatBound(to)}`;
}

/** @throws TidemarkError `RECORD_CORRUPT` */
export function parseKeyRange(range: string): KeyRange {
  const match = /^key (begin|x[0-9a-f,x]*) (end|x[0-9a-f,x]*)$/.exec(range);
  if (match === null) throw new TidemarkError('RECORD_CORRUPT', `'${range.slice(0, 100)}' is not a range of a copy`);
  const [, after = '', to = ''] = match;
  return { after: after === 'begin' ? null : parseBound(after), to: to === 'end' ? null : parseBound(to) };
}

export function formatBound(bound: Bound): string {
  return bound.map((value) => `x${value.toString('hex')}`).join(',');
}

/** @throws TidemarkError `RECORD_CORRUPT` */
export function parseBound(text: string): Bound {
  return text.split(',').map((value) => {
    if (!/^x(?:[0-9a-f]{2})*$/.test(value)) throw new TidemarkError('RECORD_CORRUPT', `'${text.slice(0, 100)}' is not a place in a table`);
    return Buffer.from(value.slice(1), 'hex');
  });
}

/** The ranges between `bounds`, which are in the server's order; the first and the last are open. */
export function tiled(bounds: readonly Bound[]): KeyRange[] {
  const edges = [null, ...bounds, null];
  return edges.slice(1).map((to, index) => ({ after: edges[index] ?? null, to }));
}

/**
 * What is left of the ranges of a plan. Which of two keys comes first is known to the server only, so that pieces count
 * only as far as each begins where the one before has ended; the others, which a second copier was ahead with, are copied
 * again.
 */
export function rangesLeft(planned: readonly KeyRange[], done: readonly string[]): KeyRange[] {
  const endOf = new Map<string, string>();
  for (const range of done) {
    const [, after = '', to = ''] = range.split(' ');
    if (after !== to) endOf.set(after, to);
  }
  return planned.flatMap((range) => {
    const [, after = '', end = ''] = formatKeyRange(range).split(' ');
    let at = after;
    // A place never comes twice on the way, but what is read from a log is not to be trusted with the loop's end.
    for (let steps = 0; steps <= done.length; steps++) {
      const next = endOf.get(at);
      if (next === undefined) break;
      at = next;
      if (at === end) return [];
    }
    return [parseKeyRange(`key ${at} ${end}`)];
  });
}
