/** Loaded into a hub's process: the replica leaves out one row of every table of a batch that has several. */
import type { FoldedTable } from '../../../contracts/sink.ts';
import { PostgresSink } from '../../../sinks/postgres/sink.ts';
import { replaced } from './replaced.ts';

replaced(PostgresSink.prototype, 'apply', (right) => function apply(this: PostgresSink, batch, signal) {
  const less = (table: FoldedTable): FoldedTable => (table.upserts.length < 2 ? table : { ...table, upserts: table.upserts.slice(1) });
  const steps = batch.steps.map((step) => (step.kind === 'rows' ? { ...step, tables: step.tables.map(less) } : step));
  return right.call(this, { ...batch, steps }, signal);
});
