/**
 * Dividing a table into ranges of about as many rows. The part with the most rows, as the server's optimizer estimates them
 * by two looks into the index, is divided again and again, at the place of a key: the last one that is not behind a value
 * in the middle. So neither a gap in the keys nor a crowd of them leaves one range with nearly everything. What is told
 * wrong on the way only makes ranges of different sizes.
 */
import type { Bound } from './key-ranges.ts';
import { middleOf } from './key-middle.ts';
import { explainRange, selectPlace } from './copy-sql.ts';
import { packedLength, packedStart } from './packed.ts';
import type { ReadTable } from './read-table.ts';
import type { RowSession } from './row-session.ts';

/** Attempts at dividing a part, for each range that is wanted. */
const ATTEMPTS_PER_RANGE = 3;

/** Rows that stand behind `after` (null: all before), from the key `low` to the key `high`. */
interface Part {
  readonly after: Bound | null;
  readonly low: Bound;
  readonly high: Bound;
  readonly rows: number;
  isWhole: boolean;
}

/** Places that divide the table, in the server's order: fewer than `ranges`. @throws TidemarkError what the server says */
export async function boundsOf(session: RowSession, table: ReadTable, ranges: number): Promise<Bound[]> {
  // Such an index is not searched backwards.
  if (new Set(table.keyParts.map(({ isDescending }) => isDescending)).size > 1) return [];
  const low = await placeOf(session, table, { after: null, to: null }, 'first');
  const high = low === null ? null : await placeOf(session, table, { after: null, to: null }, 'last');
  if (low === null || high === null) return [];
  const parts: Part[] = [{ after: null, low, high, rows: table.estimatedRows, isWhole: false }];
  for (let attempt = 0; attempt < ranges * ATTEMPTS_PER_RANGE && parts.length < ranges; attempt++) {
    const largest = largestOf(parts);
    if (largest < 0) break;
    const part = parts[largest] as Part;
    const halves = await divide(session, table, part);
    if (halves === null) part.isWhole = true;
    else parts.splice(largest, 1, ...halves);
  }
  return parts.slice(0, -1).map((part) => part.high);
}

function largestOf(parts: readonly Part[]): number {
  let largest = -1;
  for (const [at, part] of parts.entries()) {
    if (!part.isWhole && (largest < 0 || part.rows > (parts[largest] as Part).rows)) largest = at;
  }
  return largest;
}

/** Null: there is no place in it that is known. */
async function divide(session: RowSession, table: ReadTable, { after, low, high }: Part): Promise<[Part, Part] | null> {
  const middle = middleKey(table, low, high);
  if (middle === null) return null;
  const last = await placeOf(session, table, { after, to: middle }, 'last');
  const first = last === null ? null : await placeOf(session, table, { after: middle, to: high }, 'first');
  if (last === null || first === null) return null;
  return [
    { after, low, high: last, rows: await estimate(session, table, after, last), isWhole: false },
    { after: last, low: first, high, rows: await estimate(session, table, last, high), isWhole: false },
  ];
}

/** Behind the first columns that both have in common, up to the first that is different. */
function middleKey({ keyParts }: ReadTable, low: Bound, high: Bound): Bound | null {
  const place = low.findIndex((value, at) => !value.equals(high[at] as Buffer));
  const part = keyParts[place];
  const [one, other] = [low[place], high[place]];
  const middle = part === undefined || one === undefined || other === undefined ? null : middleOf(part.type, one, other);
  return middle === null ? null : [...low.slice(0, place), middle];
}

async function estimate(session: RowSession, table: ReadTable, after: Bound | null, to: Bound): Promise<number> {
  const [row] = await session.query(explainRange(table, { after, to }));
  return Number(row?.['rows'] ?? 0);
}

async function placeOf(session: RowSession, table: ReadTable, range: { after: Bound | null; to: Bound | null }, which: 'first' | 'last'): Promise<Bound | null> {
  let place: Buffer[] | null = null;
  await session.rows(selectPlace(table, range, which), (bytes, start) => {
    let at = start;
    place = table.keyParts.map(() => {
      const from = packedStart(bytes, at);
      at = from + packedLength(bytes, at);
      return Buffer.from(bytes.subarray(from, at));
    });
    return true;
  }).ended;
  return place;
}
