import { TidemarkError } from '../../contracts/errors/error.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { PositionCodec } from '../../contracts/position.ts';
import { parseDuration } from '../../contracts/units.ts';

/** A place in a log as people name it. */
export type Moment =
  | { readonly kind: 'offset'; readonly offset: Offset }
  /** Microseconds since 1970: the last source transaction before the running maximum of commit times passes it. */
  | { readonly kind: 'time'; readonly time: number }
  /** A source position as text, such as `lsn:0/16B3748` or `gtid:SET`. */
  | { readonly kind: 'position'; readonly text: string }
  | { readonly kind: 'begin' | 'horizon' | 'end' };

/** What a moment may look like, for messages and help. */
export const MOMENT_FORMS = 'an offset, a time (2026-11-01T12:00Z, or -2h), a position (lsn:0/16B3748, gtid:SET or binlog:FILE:OFFSET), begin, horizon or end';

/** Date and time of ISO 8601, with a zone; up to six digits behind the second. */
const TIME = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?(Z|[+-]\d{2}:\d{2})$/;

/**
 * @param now milliseconds since 1970, for times that are named by how long ago they were
 * @throws TidemarkError `MOMENT_SYNTAX`
 */
export function parseMoment(text: string, now: number): Moment {
  if (text === 'begin' || text === 'horizon' || text === 'end') return { kind: text };
  if (/^\d+$/.test(text)) {
    const offset = Number(text);
    if (Number.isSafeInteger(offset)) return { kind: 'offset', offset };
  }
  if (/^[a-z]+:/.test(text)) return { kind: 'position', text };
  const time = text.startsWith('-') ? ago(text.slice(1), now) : instant(text);
  if (time !== null) return { kind: 'time', time };
  throw new TidemarkError('MOMENT_SYNTAX', `'${text}' is no moment: ${MOMENT_FORMS} is one`);
}

function ago(text: string, now: number): number | null {
  const ms = parseDuration(text);
  return ms === null || /^\d+$/.test(text) ? null : (now - ms) * 1000;
}

function instant(text: string): number | null {
  const parts = TIME.exec(text);
  if (parts === null) return null;
  const [, day, minute, second = '00', fraction = '', zone] = parts;
  const ms = Date.parse(`${day}T${minute}:${second}${zone}`);
  // The 30th of February would be taken for the 2nd of March.
  const isDay = new Date(`${day}T00:00Z`).toJSON()?.startsWith(day ?? '') === true;
  return Number.isNaN(ms) || !isDay ? null : ms * 1000 + Number(fraction.padEnd(6, '0'));
}

/**
 * The offset of a moment: the state as of there is the one that the moment names. Not below the horizon, not above the
 * high watermark.
 * @throws TidemarkError `LOG_BELOW_HORIZON`, `OFFSET_RANGE` above the high watermark, `POSITION_SYNTAX`, `ABORTED`
 */
export async function offsetOf(moment: Moment, log: SourceLog, positions: PositionCodec, signal: AbortSignal): Promise<Offset> {
  const { horizon, highWatermark, position } = log.state();
  switch (moment.kind) {
    case 'begin':
    case 'horizon':
      return horizon;
    case 'end':
      return highWatermark;
    case 'offset':
      if (moment.offset < horizon) throw belowHorizon(log, `offset ${moment.offset}`);
      if (moment.offset > highWatermark) {
        throw new TidemarkError('OFFSET_RANGE', `offset ${moment.offset} is not in the log yet, which ends at ${highWatermark}`, {
          where: { source: log.source, offset: moment.offset },
        });
      }
      return moment.offset;
    case 'time': {
      const point = await log.lastCommit(({ maxCommitTime }) => maxCommitTime <= moment.time, signal);
      if (point === null) throw belowHorizon(log, new Date(moment.time / 1000).toISOString());
      return point.offset;
    }
    case 'position': {
      if (position === null) throw new TidemarkError('POSITION_SYNTAX', `the log of ${log.source} has no position yet with which ${moment.text} could be compared`);
      const wanted = positions.parse(moment.text, position);
      const point = await log.lastCommit((commit) => commit.position !== null && positions.compare(commit.position, wanted) <= 0, signal);
      if (point === null) throw belowHorizon(log, moment.text);
      return point.offset;
    }
  }
}

function belowHorizon(log: SourceLog, what: string): TidemarkError {
  const { horizon } = log.state();
  return new TidemarkError('LOG_BELOW_HORIZON', `${what} lies below the horizon ${horizon}`, { where: { source: log.source, offset: horizon } });
}
