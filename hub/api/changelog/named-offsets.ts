/** Moments where the API takes offsets that need not be in the log yet. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { LogEngine, SourceLog } from '../../../contracts/log-engine.ts';
import { checkedOffset, type Offset } from '../../../contracts/offset.ts';
import { parseMoment, type Moment } from '../../moments/moment.ts';
import { resolved, type MomentContext } from '../../moments/resolve.ts';
import type { HubService, WaitTarget } from '../../service.ts';

export interface ReadRange {
  /** First offset; undefined: the first there is. */
  readonly from: Offset | undefined;
  /** Last offset; undefined: the end. */
  readonly to: Offset | undefined;
}

/**
 * The records that `read` is asked for. Numbers are the first and the last offset, in the log or not; any other moment is
 * a place between two records: they begin behind the one, and end before the other.
 * @throws TidemarkError as `resolveMoment`
 */
export async function readRange(log: SourceLog, query: { readonly from?: string | undefined; readonly to?: string | undefined }, context: MomentContext): Promise<ReadRange> {
  const from = query.from === undefined ? null : parseMoment(query.from, context.now);
  const to = query.to === undefined ? null : parseMoment(query.to, context.now);
  if (from?.kind === 'offset' && from.offset === 0) throw new TidemarkError('OFFSET_RANGE', 'the first record has offset 1', { where: { source: log.source, offset: 0 } });
  if (from?.kind === 'offset' && to?.kind === 'offset' && from.offset > to.offset) {
    throw new TidemarkError('OFFSET_RANGE', `the first record, ${from.offset}, comes after the last, ${to.offset}`, { where: { source: log.source, offset: from.offset } });
  }
  return {
    from: from === null || from.kind === 'begin' ? undefined : from.kind === 'offset' ? from.offset : (await resolved(from, log, context)) + 1,
    to: to === null ? undefined : to.kind === 'offset' ? to.offset : await resolved(to, log, context),
  };
}

/**
 * What a wait is for. An offset and a position may be still to come; any other moment is one of the log as it is, and so
 * is the offset that it means. Text that is no moment is taken for a position, on which the source has the last word.
 * @throws TidemarkError `OFFSET_RANGE`, `SINK_UNKNOWN`, and as `resolveMoment`
 */
export async function waitTarget(
  at: string,
  sink: string,
  parts: { readonly service: Pick<HubService, 'status'>; readonly log: Pick<LogEngine, 'open'> },
  context: MomentContext,
): Promise<WaitTarget> {
  if (/^[0-9]+$/.test(at)) return { offset: checkedOffset(Number(at)) };
  const moment = momentOrNull(at, context.now);
  if (moment === null || moment.kind === 'position') return { position: at };
  const { sinks } = await parts.service.status();
  const found = sinks.find(({ name }) => name === sink);
  if (found === undefined) throw new TidemarkError('SINK_UNKNOWN', `there is no sink ${sink}`, { where: { sink } });
  const log = await parts.log.open(found.from, { create: false });
  return { offset: await resolved(moment, log, context) };
}

function momentOrNull(text: string, now: number): Moment | null {
  try {
    return parseMoment(text, now);
  } catch (failure) {
    if (failure instanceof TidemarkError && failure.code === 'MOMENT_SYNTAX') return null;
    throw failure;
  }
}
