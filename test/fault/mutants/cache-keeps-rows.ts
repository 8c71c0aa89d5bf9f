/** Loaded into a hub's process: the cache does not remove rows. */
import { RedisSink } from '../../../sinks/redis/sink.ts';
import { replaced } from './replaced.ts';

replaced(RedisSink.prototype, 'apply', (right) => function apply(this: RedisSink, batch, signal) {
  const steps = batch.steps.map((step) => (step.kind === 'rows' ? { ...step, tables: step.tables.map((table) => ({ ...table, deletes: [] })) } : step));
  return right.call(this, { ...batch, steps }, signal);
});
