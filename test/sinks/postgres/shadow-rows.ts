import { modelColumn, type ModelTable } from '../../../contracts/kit/sink-model.ts';
import { ModelChanges } from '../../../contracts/kit/sink-kit-changes.ts';
import { KIT_COLUMNS } from '../../../contracts/kit/sink-kit-rows.ts';
import type { ShadowStand } from './shadow-stand.ts';

/** A table of the kit with ten rows, applied. */
export async function tenRows(stand: ShadowStand, name = 'things'): Promise<ModelChanges> {
  const table = stand.model.createTable('public', name, KIT_COLUMNS, ['id']);
  const changes = new ModelChanges(stand.model, table);
  for (let id = 0; id < 10; id++) changes.insert(id, `name ${id}`);
  await stand.apply();
  return changes;
}

/** The shape changes in a way that needs no merge: the table is exchanged where nothing is in the way. */
export function addColumn(stand: ShadowStand, table: ModelTable, name = 'note'): void {
  const number = Math.max(...table.schema.columns.map((column) => column.number)) + 1;
  stand.model.alterTable(table, { columns: [...table.schema.columns, modelColumn({ name, type: { kind: 'text', length: null, fixed: false }, nativeType: 'text', fill: 'filled' }, number)] });
}

export async function oidOf(stand: ShadowStand, table: string): Promise<string | null | undefined> {
  return (await stand.sql(`SELECT to_regclass('${table}')::oid`))[0]?.[0];
}
