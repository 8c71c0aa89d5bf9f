import { Catalog } from '../../../contracts/catalog.ts';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { WhenBehind } from '../../../contracts/config.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { LoadCursor } from '../../../contracts/load-cursor.ts';
import type { ReadPlan, SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Sink, SinkStart, TableSelector } from '../../../contracts/sink.ts';
import { placeIn } from './base-load.ts';
import type { FoldStart } from './fold.ts';
import type { LoadPlace } from './load-place.ts';

/** The base is to be loaded before the history. */
export interface LoadStart {
  /** Held by the lease. */
  readonly horizon: Offset;
  /** Where an earlier opening came to; null: it begins. */
  readonly from: LoadPlace | null;
}

/** How a sink's delivery begins. */
export interface DeliveryStart extends FoldStart {
  /** The offset at which a rebuild in place is complete and is swept; null: none is under way. */
  readonly sweepAt: Offset | null;
  /** The sink stands before everything, and is filled from the base first; null: it goes on with the history. */
  readonly load: LoadStart | null;
  /** Of the checkpoint, where a join was cut off; null: none is under way. */
  readonly cursor: LoadCursor | null;
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
  /** The sink has nothing yet, or only a part of the base, and the log has a base. */
  | { readonly kind: 'load' }
  /** A rebuild in place that was filling the sink from the base goes on with that. */
  | { readonly kind: 'load-rebuild' }
  | { readonly kind: 'refuse'; readonly error: TidemarkError };

/** What the decision knows of the sink. */
export interface SinkState {
  readonly checkpoint: Checkpoint | null;
  /** It rebuilds in place. */
  readonly inPlace: boolean;
  /** A rebuild in place was begun earlier and not swept. */
  readonly rebuildPending: boolean;
  /** The load that its cursor tells of can go on. */
  readonly loadGoesOn: boolean;
  readonly whenBehind: WhenBehind;
}

export function openingOf(plan: ReadPlan, { checkpoint, inPlace, rebuildPending, loadGoesOn, whenBehind }: SinkState): Opening {
  const isNew = checkpoint === null || checkpoint.offset === 0;
  const rebuilds = inPlace && (whenBehind === 'rebuild' || isNew || rebuildPending);
  switch (plan.kind) {
    case 'resume':
      if (inPlace && checkpoint === null) return { kind: 'rebuild-in-place', why: 'the sink has no checkpoint' };
      if (inPlace && checkpoint !== null && checkpoint.cursor !== null && isNew) return { kind: 'rebuild-in-place', why: 'the base that it was filled from is gone' };
      return { kind: rebuildPending ? 'resume-rebuild' : 'resume' };
    case 'diverged':
      if (rebuilds) return { kind: 'rebuild-in-place', why: plan.why };
      return { kind: 'refuse', error: new TidemarkError('SINK_DIVERGED', plan.why) };
    case 'load':
      if (inPlace && loadGoesOn && rebuildPending) return { kind: 'load-rebuild' };
      if (rebuilds) return { kind: 'rebuild-in-place', why: `the sink stands below the horizon ${plan.horizon}` };
      if (isNew) return { kind: 'load' };
      return {
        kind: 'refuse',
        error: new TidemarkError('SINK_BEHIND', `the sink stands below the horizon ${plan.horizon}`, { where: { offset: plan.horizon } }),
      };
  }
}

/**
 * The tables of the log that the sink mirrors, wherever it stands: one that has been removed, or got a name that is not
 * selected, is still to leave a sink that has not come to that.
 */
export function sinkStart(log: SourceLog, selects: TableSelector): SinkStart {
  const { horizon } = log.state();
  const mirrored = log.catalog().tables().filter(({ versions, state }) => {
    const isGone = state.state === 'removed' && state.at <= horizon;
    return !isGone && versions.some(({ schema }) => selects(schema));
  });
  return { logId: log.state().logId, catalog: Catalog.from(mirrored) };
}

/** What an opening needs. */
export interface OpenParts {
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly selects: TableSelector;
  readonly whenBehind: WhenBehind;
  /** Keeps the horizon where it is, from before a load begins until the caller releases it. */
  readonly lease: string;
  /** Null: a rebuild in place is begun only where the sink cannot go on. */
  readonly order: InPlaceOrder | null;
}

/** Takes the sink over and finds where its delivery begins. @throws TidemarkError what the sink throws, or what refuses */
export async function openSink(parts: OpenParts, signal: AbortSignal): Promise<DeliveryStart> {
  const { sink, log, selects, order, lease } = parts;
  const start = sinkStart(log, selects);
  const checkpoint = await sink.open(start, signal);
  const { inPlace } = sink;
  const rebuildPending = inPlace !== null && checkpoint !== null && (await inPlace.pending(signal));
  let decision = decide(parts, checkpoint, rebuildPending);
  if (decision.opening.kind === 'refuse') throw decision.opening.error;
  if (decision.fills) {
    // Before anything that takes its time: the horizon must not move away from under it.
    await log.leaseHorizon(lease);
    decision = decide(parts, checkpoint, rebuildPending);
  }
  const { opening, from } = decision;
  const { highWatermark, horizon } = log.state();
  const target = order?.to ?? highWatermark;
  const load = (place: LoadPlace | null): LoadStart | null => (horizon > 0 ? { horizon, from: place } : null);
  switch (opening.kind) {
    case 'refuse':
      throw opening.error;
    case 'rebuild-in-place':
      if (inPlace === null) throw new TidemarkError('INTERNAL', 'a rebuild in place of a sink that has none');
      return { ...placeOf(await inPlace.begin(start, signal)), sweepAt: target, load: load(null), begins: true };
    case 'load':
    case 'load-rebuild':
      return { ...placeOf(checkpoint), sweepAt: opening.kind === 'load' ? null : target, load: load(from), begins: false };
    case 'resume':
    case 'resume-rebuild':
      return { ...placeOf(checkpoint), sweepAt: opening.kind === 'resume' ? null : target, load: null, begins: false };
  }
}

interface Decision {
  readonly opening: Opening;
  /** Where a load goes on. */
  readonly from: LoadPlace | null;
  /** The sink is filled from the log's start. */
  readonly fills: boolean;
}

function decide(parts: OpenParts, checkpoint: Checkpoint | null, rebuildPending: boolean): Decision {
  const { sink, log, order, whenBehind } = parts;
  const inPlace = sink.inPlace !== null;
  const from = placeIn(checkpoint?.cursor ?? null, parts);
  const state: SinkState = { checkpoint, inPlace, rebuildPending, loadGoesOn: from !== null, whenBehind };
  const isOrdered = inPlace && order?.begun === false;
  const opening: Opening = isOrdered ? { kind: 'rebuild-in-place', why: 'it was asked for' } : openingOf(log.plan(checkpoint), state);
  return { opening, from, fills: opening.kind !== 'refuse' && opening.kind !== 'resume' && opening.kind !== 'resume-rebuild' };
}

function placeOf(checkpoint: Checkpoint | null): Omit<DeliveryStart, 'sweepAt' | 'load' | 'begins'> {
  return { after: checkpoint?.offset ?? 0, position: checkpoint?.position ?? new Uint8Array(0), commitTime: 0, fence: checkpoint?.fence ?? 0, cursor: checkpoint?.cursor ?? null };
}
