/** Rows that several sessions load before their checkpoint: whatever cuts them off, the end is as if nothing had happened. */
import { deepStrictEqual, ok } from 'node:assert/strict';
import { vi } from 'vitest';
import { type ModelRow, type ModelTable, SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { Sink, SinkBatch } from '../../../contracts/sink.ts';
import { Session } from '../../../sinks/mysql/session.ts';
import type { MysqlServer } from '../../fixtures/mysql.ts';
import { type ReplicaPlace, replicaPlace } from './replica-place.ts';
import { type Fault, StatementFaults } from './statement-faults.ts';

/** Rows of one part: enough that they go in by several sessions. */
const ROWS = 5_000;
const { signal } = new AbortController();

/** How the same records are cut into batches. */
export type Cut = 'parts' | 'whole';

export interface Scenario {
  readonly model: SinkModel;
  readonly batches: readonly SinkBatch[];
}

export function row(id: number, text = `row ${id} `.repeat(30)): ModelRow {
  return [String(id), text];
}

export function bigTable(model: SinkModel, name = 'big'): ModelTable {
  const table = model.createTable('kit', name, [
    { name: 'id', type: { kind: 'int64' }, nativeType: 'bigint', nullable: false },
    { name: 'a', type: { kind: 'text', length: null, fixed: false }, nativeType: 'text' },
  ], ['id']);
  model.tableState(table, 'copying');
  return table;
}

export function insertRows(model: SinkModel, table: ModelTable, from: number): void {
  for (let id = from; id < from + ROWS; id++) model.insert(table, row(id));
}

/**
 * A table under copy: a transaction of several parts, which ends with what has changed since; one that is a batch; one
 * beside rows of another table; the end of the copy, and what comes after it.
 */
export function copied(cut: Cut): Scenario {
  const model = new SinkModel();
  const batches: SinkBatch[] = [];
  const part = (): void => void (cut === 'parts' && batches.push(model.batch(true)));
  const end = (): void => void batches.push(model.batch());
  const small = model.createTable('kit', 'small', [{ name: 'id', type: { kind: 'int64' }, nativeType: 'bigint', nullable: false }], ['id']);
  model.insert(small, ['1']);
  end();
  const big = bigTable(model);
  insertRows(model, big, 0);
  part();
  insertRows(model, big, ROWS);
  part();
  for (let id = ROWS - 20; id < ROWS + 20; id++) model.update(big, big.rows.get(big.keyOf(row(id)).toString('hex'))?.row ?? [], row(id, 'changed meanwhile'));
  for (let id = 100; id < 120; id++) model.delete(big, row(id));
  end();
  insertRows(model, big, 2 * ROWS);
  end();
  insertRows(model, big, 3 * ROWS);
  model.delete(big, row(2 * ROWS));
  model.insert(small, ['2']);
  end();
  model.tableState(big, 'copied');
  model.delete(big, row(3 * ROWS));
  model.insert(big, row(100, 'again'));
  model.delete(small, ['1']);
  end();
  return { model, batches };
}

export async function deliverRest(sink: Sink, { model, batches }: Scenario): Promise<void> {
  const at = (await sink.open(model.start(), signal))?.offset ?? 0;
  const from = batches.findIndex(({ after }) => after === at);
  ok(from >= 0 || at === model.offset, `the checkpoint is at ${at}, where no batch begins`);
  const ends: Promise<number>[] = [];
  for (const batch of from < 0 ? [] : batches.slice(from)) {
    const { accepted, durable } = sink.apply(batch, signal);
    durable.catch(() => undefined);
    ends.push(durable);
    await accepted;
  }
  await Promise.all(ends);
}

export async function expectRows(place: ReplicaPlace, model: SinkModel): Promise<void> {
  for (const table of model.tables) {
    const found = await place.rows(table.schema);
    deepStrictEqual(found?.map((one) => JSON.stringify(one)).toSorted(), table.expected().map((one) => JSON.stringify(one)).toSorted(), table.schema.name);
  }
}

type Call = (this: Session, ...args: unknown[]) => Promise<unknown>;

/** Runs `before` ahead of each call of the method, until the answer is called. */
export function ahead(method: 'load' | 'rows', before: (session: Session, sql: string) => Promise<void> | void): () => void {
  const original = Reflect.get(Session.prototype, method) as Call;
  const spy = vi.spyOn(Session.prototype, method).mockImplementation(async function (this: Session, ...args: unknown[]) {
    await before(this, String(args[0]));
    return Reflect.apply(original, this, args) as never;
  });
  return () => spy.mockRestore();
}

/** @param at 0: nothing happens. Answers how many statements there were, and whether it has happened. */
export async function oneDeath(server: MysqlServer, at: number, fault: Fault): Promise<{ readonly count: number; readonly happened: boolean }> {
  await using place = await replicaPlace(server);
  const faults = new StatementFaults(at, fault);
  try {
    await using sink = place.sink();
    await deliverRest(sink, copied('parts')).catch((error: unknown) => {
      if (!faults.happened) throw error;
    });
  } finally {
    vi.restoreAllMocks();
  }
  // What comes next is cut in the same way, or in another.
  const next = copied(at % 2 === 0 ? 'whole' : 'parts');
  await using sink = place.sink();
  await deliverRest(sink, next);
  await expectRows(place, next.model);
  return { count: faults.count, happened: faults.happened };
}
