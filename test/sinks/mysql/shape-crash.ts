/** Everything that a sink is given, cut off at its statements one by one: what comes after must be as if nothing had happened. */
import { deepStrictEqual, ok } from 'node:assert/strict';
import { vi } from 'vitest';
import { modelColumn, type ModelColumn, type ModelRow, SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { SinkBatch } from '../../../contracts/sink.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import type { MysqlServer } from '../../fixtures/mysql.ts';
import { type ReplicaPlace, replicaPlace } from './replica-place.ts';
import { type Fault, StatementFaults } from './statement-faults.ts';

const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };
const COLUMNS: readonly ModelColumn[] = [
  { name: 'id', type: { kind: 'int32' }, nativeType: 'integer', nullable: false },
  { name: 'a', type: TEXT, nativeType: 'text' },
  { name: 'b', type: TEXT, nativeType: 'text' },
];

/** Batches that change rows and shapes in every way, and the model of what they leave. */
function scenario(): { readonly model: SinkModel; readonly batches: readonly SinkBatch[] } {
  const model = new SinkModel();
  const batches: SinkBatch[] = [];
  const cut = (): void => void batches.push(...model.batches({ stepsFirst: true }));
  const [one, two] = ['one', 'two'].map((name) => model.createTable('kit', name, COLUMNS, ['id']));
  const bag = model.createTable('kit', 'bag', COLUMNS, []);
  if (one === undefined || two === undefined) throw new Error('the model has no tables');
  const row = (id: number, ...rest: (string | null)[]): ModelRow => [String(id), ...rest];
  for (let id = 1; id <= 20; id++) {
    model.insert(one, row(id, `a${id}`, `b${id}`));
    model.insert(two, row(id, `two ${id}`, null));
    model.insert(bag, row(id % 3, 'bag', null));
  }
  cut();
  model.alterTable(one, { columns: [...one.schema.columns, modelColumn({ name: 'c', type: { kind: 'int32' }, nativeType: 'integer', fill: '7' }, 10), modelColumn({ name: 'd', type: TEXT, nativeType: 'text', fill: 'filled' }, 11)] });
  model.insert(one, row(21, 'x', 'y', '1', 'own'));
  model.insert(bag, row(1, 'bag', null));
  model.delete(bag, row(2, 'bag', null));
  cut();
  const swapped = { a: 'b', b: 'a' } as const;
  model.alterTable(one, { columns: one.schema.columns.map((column) => ({ ...column, name: column.name === 'a' || column.name === 'b' ? swapped[column.name] : column.name })) });
  model.update(one, one.expected().find(([id]) => id === '3') ?? [], row(3, 'is b', 'is a', '7', 'after the swap'));
  cut();
  model.alterTable(one, { name: 'two' });
  model.alterTable(two, { name: 'one', columns: two.schema.columns.filter(({ name }) => name !== 'b') });
  model.delete(two, row(5, 'two 5'));
  model.insert(bag, row(9, 'late', null));
  cut();
  model.alterTable(bag, { columns: bag.schema.columns.map((column) => (column.name === 'id' ? { ...column, type: { kind: 'int64' }, nativeType: 'bigint' } : column)) });
  model.delete(bag, row(9, 'late', null));
  model.truncate(two);
  model.insert(two, row(1, 'again'));
  cut();
  model.tableState(two, 'removed');
  model.forget(two);
  const three = model.createTable('kit', 'three', COLUMNS, ['id']);
  model.insert(three, row(1, 'three', null));
  cut();
  return { model, batches };
}

/** How many statements the scenario takes when nothing happens. */
async function statementsOf(server: MysqlServer, load: string): Promise<number> {
  const faults = new StatementFaults(0, 'lost before');
  await runWith(server, load);
  vi.restoreAllMocks();
  return faults.count;
}

/** @throws AssertionError when rows differ in the end */
async function runWithFault(server: MysqlServer, load: string, at: number, fault: Fault): Promise<void> {
  const faults = new StatementFaults(at, fault);
  try {
    await runWith(server, load);
    ok(faults.happened, `there is no statement ${at}`);
  } finally {
    vi.restoreAllMocks();
  }
}

async function runWith(server: MysqlServer, load: string): Promise<void> {
  await using place = await replicaPlace(server, { load });
  const { model, batches } = scenario();
  await deliver(place, model, batches);
  for (const table of model.tables) {
    const found = await place.rows(table.schema);
    deepStrictEqual(found?.map((one) => JSON.stringify(one)).toSorted(), table.expected().map((one) => JSON.stringify(one)).toSorted(), table.schema.name);
  }
}

/** From where the sink stands, as often as it takes. */
async function deliver(place: ReplicaPlace, model: SinkModel, batches: readonly SinkBatch[]): Promise<void> {
  const { signal } = new AbortController();
  const failures: unknown[] = [];
  for (let attempt = 0; attempt < 4; attempt++) {
    await using sink = place.sink();
    try {
      const at = (await sink.open(model.start(), signal))?.offset ?? 0;
      const from = batches.findIndex(({ after }) => after === at);
      ok(from >= 0 || at === model.offset, `the checkpoint is at ${at}, where no batch begins`);
      for (const batch of from < 0 ? [] : batches.slice(from)) {
        const { accepted, durable } = sink.apply(batch, signal);
        await Promise.all([accepted, durable]);
      }
      return;
    } catch (error) {
      failures.push(error);
    }
  }
  throw new AggregateError(failures, `the sink does not recover: ${String(failures.at(-1))}`);
}

/** @param choose of so many statements, those that the faults are at */
export async function faultsAt(server: MysqlServer, load: string, choose: (count: number) => readonly number[]): Promise<void> {
  const count = await statementsOf(server, load);
  for (const at of choose(count)) {
    for (const fault of ['lost before', 'lost after'] as const) {
      await runWithFault(server, load, at, fault).catch((error: unknown) => {
        throw new Error(`${fault} statement ${at} of ${count}: ${String(error)}`, { cause: error });
      });
    }
  }
}
