/**
 * How the rows of one table are written in one batch. A violation of a unique or exclusion constraint takes the table
 * back to the savepoint and one mode on; after the last mode it is an error of the data.
 *
 *     optimistic   rows of a copy are taken for new: plain inserts. Wrong when the stream has brought one of them already
 *     upsert       deletes, then upserts by the key, then plain inserts of the known-new
 *     replace      every touched key is deleted, then every final image inserted: no intermediate state can violate a
 *                  constraint that the source has too (unique values that swap rows)
 *     clear        as replace, but rows in the way of a unique constraint are deleted too. Only in a table under copy,
 *                  where such a row is stale by construction
 */
export type ApplyMode = 'optimistic' | 'upsert' | 'replace' | 'clear';

export interface ModeTraits {
  readonly keyed: boolean;
  readonly copying: boolean;
  /** The table has an index by which an upsert finds its row. */
  readonly canUpsert: boolean;
  /** Every row of the batch is known to be new: no key is looked up. */
  readonly onlyNew: boolean;
}

/** @param optimism batches for which the table is not to be tried optimistically (0: try) */
export function firstMode(traits: ModeTraits, optimism: number): ApplyMode {
  if (!traits.keyed) return 'upsert';
  if (traits.copying && optimism === 0) return 'optimistic';
  return traits.canUpsert || traits.onlyNew ? 'upsert' : 'replace';
}

/** The mode after a violation in `mode`; null: there is none, the data cannot be applied. */
export function nextMode(mode: ApplyMode, traits: ModeTraits): ApplyMode | null {
  if (!traits.keyed) return traits.copying && mode !== 'clear' ? 'clear' : null;
  switch (mode) {
    case 'optimistic':
      return traits.canUpsert ? 'upsert' : 'replace';
    case 'upsert':
      return 'replace';
    case 'replace':
      return traits.copying ? 'clear' : null;
    case 'clear':
      return null;
  }
}
