import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Position, PositionCodec } from '../../../../contracts/position.ts';

/** Positions of a made-up source: one number each. */
export function positionOf(value: number): Position {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

export function valueOf(position: Position): number {
  return Number(Buffer.from(position).readBigUInt64BE());
}

export const numberedPositions: PositionCodec = {
  compare: (a, b) => valueOf(a) - valueOf(b),
  format: (position) => String(valueOf(position)),
  parse(text) {
    if (!/^lsn:\d+$/.test(text)) throw new TidemarkError('POSITION_SYNTAX', `${text} is no position`);
    return positionOf(Number(text.slice(4)));
  },
};
