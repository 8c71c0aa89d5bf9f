import { SpooledChunk, type Spool } from '../../relational/spooled-chunk.ts';
import { formatBound, formatKeyRange, type KeyRange } from './key-ranges.ts';
import type { Spooled } from './read-rows.ts';
import type { ReadTable } from './read-table.ts';
import { sightOf, type SourceView } from './source-view.ts';

/** What was read of a range, at most `limit` rows of it. */
export interface ReadPiece extends Spooled {
  readonly table: ReadTable;
  readonly asked: KeyRange;
  readonly limit: number;
  readonly spool: Spool;
  readonly view: SourceView;
}

/** The rows as a chunk: of the whole range, or of its beginning up to the last row that was read. */
export function pieceOf({ table, asked, limit, spool, how, last, view }: ReadPiece): SpooledChunk {
  const isWhole = last === null || (how === 'ended' && spool.rows < limit) || (asked.to !== null && formatBound(asked.to) === formatBound(last));
  const range = formatKeyRange(isWhole ? asked : { after: asked.after, to: last });
  const rest = isWhole ? null : formatKeyRange({ after: last, to: asked.to });
  return new SpooledChunk({ schema: table.schema, range, rest, sight: sightOf(view), spool });
}
