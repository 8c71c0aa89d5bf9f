import type { HorizonHold } from '../../../../contracts/log-engine.ts';
import { tableName } from '../../../../contracts/schema.ts';
import type { LogCore } from '../log-core.ts';

/**
 * The lowest of what keeps the horizon from moving; null: nothing does. A copy under way does, since what it has to repair
 * and to delete is told apart by the records before it began.
 * @param force readers and leases do not count
 */
export function heldBy({ pins, manifest, catalog }: LogCore, force = false): HorizonHold | null {
  let hold: HorizonHold | null = null;
  const note = (by: HorizonHold['by'], name: string, offset: number): void => {
    if (hold === null || offset < hold.offset) hold = { by, name, offset };
  };
  if (!force) {
    const lowest = pins.lowest();
    if (Number.isFinite(lowest)) note('reader', '', lowest);
    for (const { name, offset } of manifest.leases) note('lease', name, offset);
  }
  for (const { state, versions } of catalog.tables()) {
    if (state.state !== 'copying') continue;
    const schema = versions.at(-1)?.schema;
    note('copy', schema === undefined ? '' : tableName(schema), state.since - 1);
  }
  return hold;
}
