/** Dividing a table into ranges. */
import type { MysqlType } from '../../../contracts/types/mysql-types.ts';
import type { Bound } from './key-ranges.ts';

/** Ranges of a plan at most; each is copied in as many pieces as it takes. */
const MOST_RANGES = 64;
const INTEGERS: ReadonlySet<MysqlType['name']> = new Set(['tinyint', 'smallint', 'mediumint', 'int', 'bigint']);

export function isDivisible({ name }: MysqlType): boolean {
  return INTEGERS.has(name);
}

/** How many ranges a table of so many bytes is to have. */
export function rangeCount(bytes: number, rangeBytes: number): number {
  return Math.max(1, Math.min(MOST_RANGES, Math.ceil(bytes / rangeBytes)));
}

/**
 * Places that divide the integers from `low` to `high` into `ranges` of the same width, in the server's order. Where values
 * crowd together, ranges are of different sizes; all that depends on it is how well several copiers share them.
 */
export function divided(low: bigint, high: bigint, ranges: number, isDescending: boolean): Bound[] {
  const bounds: Bound[] = [];
  const width = high - low;
  for (let part = 1n; part < BigInt(ranges); part++) {
    const steps = (width * part) / BigInt(ranges);
    const at = isDescending ? high - steps : low + steps;
    if (isDescending ? at < high : at >= low) bounds.push([Buffer.from(String(at), 'latin1')]);
  }
  return bounds.filter((bound, index) => index === 0 || bounds[index - 1]?.[0]?.equals(bound[0] as Buffer) !== true);
}
