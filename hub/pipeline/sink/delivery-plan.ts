import { Catalog } from '../../../contracts/catalog.ts';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { ReadPlan, SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Sink, SinkStart, TableSelector } from '../../../contracts/sink.ts';
import type { FoldStart } from './fold.ts';

/** How a sink's delivery begins. */
export interface DeliveryStart extends FoldStart {
  /** The offset at which a rebuild in place is complete and is swept; null: none is under way. */
  readonly sweepAt: Offset | null;
  /** The base is to be loaded first: the sink stands before everything. */
  readonly loads: boolean;
  /** Of this opening; 0: the sink had no checkpoint. */
  readonly fence: number;
  /** The sink was told to begin a rebuild in place. */
  readonly begins: boolean;
}

/** A rebuild in place that somebody has asked for, over one that has nothing wrong. */
export interface InPlaceOrder {
  /** Where it ends, exactly, and where the sink then rests; null: it goes on after the end that the log has when it is opened. */
  readonly to: Offset | null;
  /** The sink has been told to begin. */
  readonly begun: boolean;
}

/** What must happen before records can be applied. A pure decision. */
export type Opening =
  | { readonly kind: 'resume' }
  | { readonly kind: 'resume-rebuild' }
  | { readonly kind: 'rebuild-in-place'; readonly why: string }
  /** The sink has nothing yet, and the log has a base. */
  | { readonly kind: 'load' }
  | { readonly kind: 'refuse'; readonly error: TidemarkError };

/**
 * @param rebuildPending a rebuild in place was begun earlier and not swept
 * @param canRebuild the sink rebuilds in place
 */
export function openingOf(plan: ReadPlan, checkpoint: Checkpoint | null, canRebuild: boolean, rebuildPending: boolean): Opening {
  switch (plan.kind) {
    case 'resume':
      if (checkpoint === null && canRebuild) return { kind: 'rebuild-in-place', why: 'the sink has no checkpoint' };
      return { kind: rebuildPending ? 'resume-rebuild' : 'resume' };
    case 'diverged':
      if (canRebuild) return { kind: 'rebuild-in-place', why: plan.why };
      return { kind: 'refuse', error: new TidemarkError('SINK_DIVERGED', plan.why) };
    case 'load':
      if (canRebuild) return { kind: 'rebuild-in-place', why: `the sink stands below the horizon ${plan.horizon}` };
      if (checkpoint === null || checkpoint.offset === 0) return { kind: 'load' };
      return {
        kind: 'refuse',
        error: new TidemarkError('SINK_BEHIND', `the sink stands below the horizon ${plan.horizon}`, { where: { offset: plan.horizon } }),
      };
  }
}

/** The tables now in the log that the sink mirrors. */
export function sinkStart(log: SourceLog, selects: TableSelector): SinkStart {
  const mirrored = log.catalog().tables().filter((table) => {
    const schema = table.versions.at(-1)?.schema;
    return schema !== undefined && table.state.state !== 'removed' && selects(schema);
  });
  return { logId: log.state().logId, catalog: Catalog.from(mirrored) };
}

/**
 * Takes the sink over and finds where its delivery begins.
 * @param order null: a rebuild in place is begun only where the sink cannot go on
 * @throws TidemarkError what the sink throws, or what refuses
 */
export async function openSink(sink: Sink, log: SourceLog, selects: TableSelector, signal: AbortSignal, order: InPlaceOrder | null = null): Promise<DeliveryStart> {
  const start = sinkStart(log, selects);
  const checkpoint = await sink.open(start, signal);
  const { inPlace } = sink;
  const pending = inPlace !== null && checkpoint !== null && (await inPlace.pending(signal));
  const opening = openingOf(log.plan(checkpoint), checkpoint, inPlace !== null, pending);
  const begins = order?.begun === false || opening.kind === 'rebuild-in-place';
  if (opening.kind === 'refuse') throw opening.error;
  const { highWatermark, horizon } = log.state();
  const target = order?.to ?? highWatermark;
  if (begins && inPlace !== null) {
    return { ...placeOf(await inPlace.begin(start, signal)), sweepAt: target, loads: horizon > 0, begins };
  }
  return { ...placeOf(checkpoint), sweepAt: opening.kind === 'resume-rebuild' ? target : null, loads: opening.kind === 'load', begins: false };
}

function placeOf(checkpoint: Checkpoint | null): Omit<DeliveryStart, 'sweepAt' | 'loads' | 'begins'> {
  return { after: checkpoint?.offset ?? 0, position: checkpoint?.position ?? new Uint8Array(0), commitTime: 0, fence: checkpoint?.fence ?? 0 };
}
