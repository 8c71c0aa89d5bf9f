import type { ConnectorModule } from '../contracts/config.ts';
import { TidemarkError } from '../contracts/errors/error.ts';
import type { Position } from '../contracts/position.ts';

/** A position for people; null for the empty one (nothing has come from the source yet) and where nobody can read it. */
export type PrintPosition = (position: Position) => string | null;

/** Prints positions of a log whose source need not be configured any more: by the first connector that can read them. */
export function positionPrinter(connectors: readonly Pick<ConnectorModule<unknown>, 'positions'>[]): PrintPosition {
  return (position) => {
    if (position.length === 0) return null;
    for (const { positions } of connectors) {
      try {
        return positions.format(position);
      } catch (failure) {
        if (!(failure instanceof TidemarkError) || failure.code !== 'POSITION_SYNTAX') throw failure;
      }
    }
    return null;
  };
}
