import { afterAll, beforeAll, expect, test } from 'vitest';
import { ModelChanges } from '../../../contracts/kit/sink-kit-changes.ts';
import { KIT_COLUMNS, randomRow } from '../../../contracts/kit/sink-kit-rows.ts';
import { randomNumbers } from '../../../contracts/kit/sink-kit-stand.ts';
import { modelColumn, type ModelRow, type ModelTable } from '../../../contracts/kit/sink-model.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { ShadowStand } from './shadow-stand.ts';

let server: PostgresServer;

export interface RandomRuns {
  readonly seeds: readonly number[];
  readonly batches: number;
  readonly rebuilds: number;
}

/** Random histories, rebuilt to random places over replicas that were spoilt. */
export function randomCases({ seeds, batches, rebuilds }: RandomRuns): void {
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  for (const seed of seeds) {
    test(`every place is what the log says (seed ${seed})`, async () => {
      expect(await run(seed, batches, rebuilds)).toBeUndefined();
    });
  }
}

interface State {
  readonly offset: number;
  readonly tables: readonly { readonly schema: TableSchema; readonly rows: readonly ModelRow[] }[];
}

/** A history of random changes of rows, columns and names. Answers every state of it. */
function history(stand: ShadowStand, batches: number, next: () => number): State[] {
  const { model } = stand;
  const states: State[] = [];
  const tables: ModelChanges[] = [];
  let numbers = KIT_COLUMNS.length;
  for (let batch = 0; batch < batches; batch++) {
    if (tables.length < 3 && (batch % 4 === 0 || tables.length === 0)) {
      const table = model.createTable('public', `table ${tables.length}`, KIT_COLUMNS, ['id']);
      tables.push(new ModelChanges(model, table));
    }
    for (const changes of tables) {
      if (next() < 0.3) reshape(stand, changes.table, next, () => ++numbers);
      for (let n = 0; n < 15; n++) changes.random(next, (id) => rowOf(changes.table, id, next));
    }
    stand.append();
    states.push({ offset: model.offset, tables: tables.map(({ table }) => ({ schema: table.schema, rows: table.expected() })) });
  }
  return states;
}

function rowOf({ schema }: ModelTable, id: number, next: () => number): ModelRow {
  const row = randomRow(id, next);
  return schema.columns.map((column) => {
    const place = KIT_COLUMNS.findIndex((kit) => kit.name === column.name);
    return place < 0 ? (next() < 0.5 ? null : `extra ${id}`) : (row[place] ?? null);
  });
}

function reshape({ model }: ShadowStand, table: ModelTable, next: () => number, number: () => number): void {
  const { columns, name } = table.schema;
  const extra = columns.filter((column) => column.name.startsWith('extra'));
  const kind = next();
  if (kind < 0.4) {
    const at = number();
    model.alterTable(table, { columns: [...columns, modelColumn({ name: `extra ${at}`, type: { kind: 'text', length: null, fixed: false }, nativeType: 'text', fill: next() < 0.5 ? null : 'fill' }, at)] });
  } else if (kind < 0.7 && extra.length > 0) model.alterTable(table, { columns: columns.filter((column) => column !== extra[0]) });
  else model.alterTable(table, { name: `${name.slice(0, 7)}${Math.floor(next() * 1000)}` });
}

/** Somebody, or something, has spoilt rows of the tables that are served. */
async function spoil(stand: ShadowStand, next: () => number): Promise<void> {
  for (const [table] of await stand.sql('SELECT quote_ident(table_name) FROM tidemark.mirrored_table')) {
    if (next() < 0.4) await stand.sql(`DELETE FROM public.${table} WHERE id % 7 = ${Math.floor(next() * 7)}`);
    if (next() < 0.4) await stand.sql(`UPDATE public.${table} SET name = 'spoilt' WHERE id % 5 = ${Math.floor(next() * 5)}`);
    if (next() < 0.4) await stand.sql(`INSERT INTO public.${table} (id) SELECT 1000 + i FROM generate_series(1, 3) AS i ON CONFLICT DO NOTHING`);
  }
}

async function run(seed: number, batches: number, rebuilds: number): Promise<void> {
  const next = randomNumbers(seed);
  await using stand = await ShadowStand.open(server);
  const states = history(stand, batches, next);
  await stand.sink.open(stand.model.start(), stand.signal);
  stand.at = null;
  for (let n = 0; n < rebuilds; n++) {
    const state = states[Math.floor(next() * states.length)];
    if (state === undefined) continue;
    await spoil(stand, next);
    await stand.fill({ to: state.offset });
    const there = new Set(state.tables.map(({ schema }) => schema.tableId));
    const notYet = stand.model.tables.flatMap(({ versions }) => versions[0]?.schema ?? []).filter((schema) => !there.has(schema.tableId));
    await stand.sink[Symbol.asyncDispose]();
    await stand.swap({ from: stand.at, to: stand.checkpointAt(state.offset), tables: state.tables.map(({ schema }) => schema), whole: true, notYet });
    await stand.expectEqual(state.tables.map(({ schema, rows }) => ({ schema, expected: () => [...rows] })));
    await stand.expectOneSet(state.offset);
    if (next() < 0.5) {
      await stand.goOn();
      await stand.expectEqual();
    }
  }
}
