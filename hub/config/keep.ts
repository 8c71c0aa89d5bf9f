/** `hub.log.tables`: how long the log keeps each table. */
import { asTidemarkError, TidemarkError } from '../../contracts/errors/error.ts';
import type { Keep } from '../../contracts/log-engine.ts';
import { DURATION_PATTERN, parseDuration } from '../../contracts/units.ts';
import { parseTablePattern, type TableNaming } from './table-patterns.ts';

/** What `keep` may be. */
export const KEEP_PATTERN = `^(compact|all)$|${DURATION_PATTERN}`;

/** A shorter window would be over before it is folded, milliseconds. */
const LEAST_WINDOW_MS = 60_000;
const LEAST_WINDOW = '1m';

/** The first pattern in the file's order that matches a table counts; without one it is folded. */
export function keepByPattern(tables: Readonly<Record<string, { readonly keep: string }>>): (table: TableNaming) => Keep {
  const rules = Object.entries(tables).map(([text, { keep }]) => ({ pattern: parseTablePattern(text), keep: keepOf(keep) }));
  return (table) => rules.find(({ pattern }) => pattern.matches(table))?.keep ?? { kind: 'compact' };
}

/** What is wrong with `hub.log.tables`, by key; the form of `keep` has been checked. */
export function keepFaults(tables: Readonly<Record<string, { readonly keep: string }>>): { readonly pattern: string; readonly error: TidemarkError }[] {
  return Object.entries(tables).flatMap(([pattern, { keep }]) => {
    try {
      if (parseTablePattern(pattern).leavesOut) {
        throw new TidemarkError('CONFIG_TABLE_PATTERN', `the pattern ${pattern} leaves tables out, and says for how long they are kept`, {
          remedy: 'Name the tables that are kept in another way; all others are folded.',
        });
      }
      keepOf(keep);
      return [];
    } catch (error) {
      return [{ pattern, error: asTidemarkError(error, 'CONFIG_TABLE_PATTERN') }];
    }
  });
}

function keepOf(text: string): Keep {
  if (text === 'compact' || text === 'all') return { kind: text };
  const ageMs = parseDuration(text);
  if (ageMs === null || ageMs < LEAST_WINDOW_MS) {
    throw new TidemarkError('CONFIG_VALUE', `\`keep: ${text}\` is shorter than ${LEAST_WINDOW}`, { remedy: `Keep records for ${LEAST_WINDOW} at least.` });
  }
  return { kind: 'window', ageMs };
}
