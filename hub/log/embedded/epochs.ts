/** Epochs and checkpoints: decisions without I/O. */
import type { Checkpoint, Epoch, EpochId, LogId } from '../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { ReadPlan } from '../../../contracts/log-engine.ts';
import { BEFORE_ALL, type Offset } from '../../../contracts/offset.ts';

/** Epochs at the log's end that have no record and are kept all the same. */
const KEPT_EMPTY = 16;

/** The epoch whose record stands at `offset`; the first one for 0. @throws TidemarkError `OFFSET_RANGE` below them all */
export function epochOf(epochs: readonly Epoch[], offset: Offset): EpochId {
  const found = epochs.findLast((epoch) => epoch.start < offset) ?? epochs[0];
  if (found === undefined) throw new TidemarkError('OFFSET_RANGE', `offset ${offset} belongs to no epoch`);
  return found.id;
}

/**
 * The epochs with a new one at the end. Of those without a record only the newest stay, so that a hub that restarts
 * over and over does not grow its manifest: no record's checkpoint can name the others.
 */
export function epochsWith(epochs: readonly Epoch[], next: Epoch): Epoch[] {
  const withRecords = epochs.filter((epoch, index) => index === 0 || epoch.start < next.start);
  const empty = epochs.filter((epoch, index) => index > 0 && epoch.start >= next.start);
  return [...withRecords, ...empty.slice(-KEPT_EMPTY), next];
}

export interface PlanState {
  readonly logId: LogId;
  readonly epochs: readonly Epoch[];
  readonly horizon: Offset;
  readonly highWatermark: Offset;
}

/** How a reader with this checkpoint goes on. */
export function planRead(state: PlanState, checkpoint: Checkpoint | null): ReadPlan {
  const { epochs, horizon } = state;
  if (checkpoint === null) return fromStart(horizon);
  if (checkpoint.logId !== state.logId) return diverged(`it is of the log ${checkpoint.logId}, this is ${state.logId}`);
  if (checkpoint.offset === BEFORE_ALL) return fromStart(horizon);
  const index = epochs.findIndex((epoch) => epoch.id === checkpoint.epoch);
  const epoch = epochs[index];
  if (epoch === undefined) return diverged(`its epoch ${checkpoint.epoch} is unknown here`);
  const end = epochs[index + 1]?.start ?? state.highWatermark;
  if (checkpoint.offset > end) return diverged(`its offset ${checkpoint.offset} is beyond its epoch, which ends at ${end}`);
  if (checkpoint.offset < epoch.start) return diverged(`its offset ${checkpoint.offset} is before its epoch, which starts at ${epoch.start}`);
  if (checkpoint.offset < horizon) return { kind: 'load', horizon };
  return { kind: 'resume', after: checkpoint.offset };
}

function fromStart(horizon: Offset): ReadPlan {
  return horizon > BEFORE_ALL ? { kind: 'load', horizon } : { kind: 'resume', after: BEFORE_ALL };
}

function diverged(why: string): ReadPlan {
  return { kind: 'diverged', why: `the checkpoint has diverged: ${why}` };
}
