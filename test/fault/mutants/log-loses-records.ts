/** Loaded into a hub's process: one update in five comes to the log as something that is not to be applied. */
import { BatchBuilder } from '../../../contracts/change-batch.ts';
import { Flag, Op } from '../../../contracts/op.ts';
import { replaced } from './replaced.ts';

let updates = 0;

replaced(BatchBuilder.prototype, 'reserve', (right) => function reserve(this: BatchBuilder, op, flags, ...rest) {
  const lost = op === Op.update && ++updates % 5 === 0;
  return right.call(this, op, lost ? flags | Flag.notApplied : flags, ...rest);
});
