import { TidemarkError } from '../../contracts/errors/error.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { Position, PositionCodec } from '../../contracts/position.ts';
import { offsetOf, parseMoment, type Moment } from './moment.ts';

/** What a moment is resolved with. */
export interface MomentContext {
  /** Of every connector there is: the log's own position tells which of them speaks for it. */
  readonly codecs: readonly PositionCodec[];
  /** Milliseconds since 1970, for times that are named by how long ago they were. */
  readonly now: number;
  readonly signal: AbortSignal;
}

/**
 * The offset of a moment as people write it: the one way in which an offset is named anywhere.
 * @throws TidemarkError `MOMENT_SYNTAX`, `LOG_BELOW_HORIZON`, `OFFSET_RANGE` above the high watermark and for times to
 *   come, `POSITION_SYNTAX`, `ABORTED`
 */
export async function resolveMoment(text: string, log: SourceLog, context: MomentContext): Promise<Offset> {
  return resolved(parseMoment(text, context.now), log, context);
}

/** As {@link resolveMoment}, of a moment that has been read. */
export async function resolved(moment: Moment, log: SourceLog, { codecs, now, signal }: MomentContext): Promise<Offset> {
  if (moment.kind === 'time' && moment.time > now * 1000) {
    throw new TidemarkError('OFFSET_RANGE', `${new Date(moment.time / 1000).toISOString()} has not come yet`, {
      where: { source: log.source },
      remedy: 'Name a time that has passed, or `end`.',
    });
  }
  return offsetOf(moment, log, codecOf(codecs, log.state().position), signal);
}

/**
 * The codec that can read a position of the log: a stopped hub's log tells its connector by nothing else, and a source
 * need not be configured any more.
 */
function codecOf(codecs: readonly PositionCodec[], position: Position | null): PositionCodec {
  const found = position === null ? undefined : codecs.find((codec) => canRead(codec, position));
  return found ?? NOBODY;
}

function canRead(codec: PositionCodec, position: Position): boolean {
  try {
    return codec.format(position) !== '';
  } catch (failure) {
    if (failure instanceof TidemarkError && failure.code === 'POSITION_SYNTAX') return false;
    throw failure;
  }
}

/** Where no connector can read the log's positions, none that a user writes can be compared with them. */
const NOBODY: PositionCodec = {
  compare: (a, b) => Buffer.compare(a, b),
  format: () => '',
  parse(text) {
    throw new TidemarkError('POSITION_SYNTAX', `no connector can compare ${text} with the positions of this log`);
  },
};
