import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { TableSelector } from '../../contracts/sink.ts';
import { selectTables } from '../config/table-patterns.ts';
import type { SinkPipeline } from '../pipeline/sink/sink-pipeline.ts';
import { inconsistentAt, tablesAt } from './decisions.ts';
import type { RebuildRequest } from './request.ts';

/** What somebody asks for. */
export interface RebuildOrder {
  /** Patterns, each of which must name a table of the sink; null: the whole sink. */
  readonly tables: readonly string[] | null;
  /** Finds the offset to which the sink is to be put, to rest there; null: to where it stands, and it goes on. */
  readonly to: ((signal: AbortSignal) => Promise<Offset>) | null;
  /** What an earlier rebuild has filled is removed first. */
  readonly fromScratch: boolean;
}

/** The tables that are to be rebuilt. @throws TidemarkError `TABLE_UNKNOWN`, `REBUILD_TABLES`, `CONFIG_TABLE_PATTERN` */
export function selectsOf({ tables, to }: RebuildOrder, pipeline: SinkPipeline): TableSelector {
  const { config, log, sink } = pipeline;
  if (tables === null) return config.tables;
  const where = { sink: config.name };
  if (to !== null) throw new TidemarkError('REBUILD_TABLES', 'an offset of its own is for the whole sink', { where });
  if (sink.shadow === undefined) throw new TidemarkError('REBUILD_TABLES', `a sink of type ${config.type} is rebuilt in place, as a whole`, { where });
  if (sink.shadow.takesTables === false) throw new TidemarkError('REBUILD_TABLES', `what a sink of type ${config.type} has beside the one that is served takes its place as a whole`, { where });
  if (pipeline.hasFailed) throw new TidemarkError('REBUILD_TABLES', 'the sink has failed, and single tables join where it stands', { where });
  const { there } = tablesAt(log.catalog(), log.state().highWatermark, config.tables);
  for (const pattern of tables) {
    const selects = selectTables([pattern]);
    if (!there.some((table) => selects(table))) throw new TidemarkError('TABLE_UNKNOWN', `no table of the sink is named ${pattern}`, { where: { ...where, table: pattern } });
  }
  const chosen = selectTables(tables);
  return (table) => config.tables(table) && chosen(table);
}

/** In which way it is done, and what is to be said of it. */
export async function planOf(pipeline: SinkPipeline, selects: TableSelector, to: Offset | null, signal: AbortSignal): Promise<{ way: RebuildRequest['way']; findings: Finding[] }> {
  const { sink, log } = pipeline;
  const { shadow } = sink;
  const at = to ?? log.state().highWatermark;
  const catalog = log.catalog();
  const { there } = tablesAt(catalog, at, selects);
  const inconsistent = to === null ? [] : inconsistentAt(catalog, to, selects);
  if (shadow === undefined) return { way: 'in-place', findings: inconsistent };
  const why = sink.inPlace === null ? null : ((await shadow.unfit?.(there, signal)) ?? null);
  if (why === null) return { way: 'shadow', findings: [...(await shadow.check(there, signal)), ...inconsistent] };
  const what = `the sink is written anew over what it serves, since it cannot be rebuilt beside it: ${why}`;
  return { way: 'in-place', findings: [{ severity: 'warning', code: 'rebuild-in-place', what, remedy: '' }, ...inconsistent] };
}

export function nothingAt(asked: Offset, where: { readonly sink: string }): TidemarkError {
  const why = asked === 0 ? 'offset 0 is before everything' : `offset ${asked} lies within the first transaction of the log, before which there is nothing`;
  return new TidemarkError('OFFSET_RANGE', `${why}: a sink cannot be filled with that`, { where: { ...where, offset: asked } });
}
