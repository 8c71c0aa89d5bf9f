import { ModelChanges } from '../../../contracts/kit/sink-kit-changes.ts';
import { KIT_COLUMNS } from '../../../contracts/kit/sink-kit-rows.ts';
import { type ModelRow, type ModelTable, modelColumn } from '../../../contracts/kit/sink-model.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { columnsOf } from './replica-stand.ts';
import type { ShadowStand } from './shadow-stand.ts';

const TEXT = { kind: 'text', length: null, fixed: false } as const;

/** What a table of the scenario was before the swap. */
export interface Before {
  readonly schema: TableSchema;
  readonly rows: readonly ModelRow[];
}

/**
 * A replica of which one table is exchanged (its shape changes), one merged (a view depends on it), one made, and a bag
 * merged. The log has more than the sink has applied. Answers the tables as the sink has them.
 */
export async function mixedTables(stand: ShadowStand): Promise<Before[]> {
  const { model } = stand;
  const exchanged = new ModelChanges(model, model.createTable('public', 'exchanged', KIT_COLUMNS, ['id']));
  const merged = new ModelChanges(model, model.createTable('public', 'merged', KIT_COLUMNS, ['id']));
  const bag = model.createTable('public', 'bag', columnsOf({ a: 'integer', b: 'text' }), []);
  for (let id = 0; id < 20; id++) {
    exchanged.insert(id, `name ${id}`);
    merged.insert(id, `name ${id}`);
    model.insert(bag, [String(id % 4), 'row']);
  }
  await stand.apply();
  await stand.sql('CREATE VIEW names AS SELECT name FROM merged; CREATE INDEX by_name ON exchanged (flag)');
  const before = [exchanged.table, merged.table, bag].map((table) => ({ schema: table.schema, rows: table.expected() }));
  changeAll(stand, exchanged, merged, bag);
  return before;
}

function changeAll(stand: ShadowStand, exchanged: ModelChanges, merged: ModelChanges, bag: ModelTable): void {
  const { model } = stand;
  const renamed = exchanged.table.schema.columns.map((column) => (column.name === 'name' ? { ...column, name: 'title' } : column));
  model.alterTable(exchanged.table, { columns: renamed });
  exchanged.updateRow(3, (row) => [row[0] ?? null, 'changed', ...row.slice(2)]);
  merged.put(4, 'changed');
  merged.remove(5);
  merged.insert(100, 'new');
  model.delete(bag, ['1', 'row']);
  model.insert(bag, ['9', 'row']);
  const made = model.createTable('shop', 'made', [{ name: 'id', type: { kind: 'int32' }, nativeType: 'integer', nullable: false }], ['id']);
  model.insert(made, ['1']);
  model.alterTable(made, { columns: [...made.schema.columns, modelColumn({ name: 'note', type: TEXT, nativeType: 'text', fill: 'x' }, 2)] });
  stand.append();
}
