/** Cases about rows and shapes: after any changes the place holds what the model holds. */
import { describeError } from '../errors/error.ts';
import { modelColumn, type ModelRow } from './sink-model.ts';
import { KIT_COLUMNS, randomRow } from './sink-kit-rows.ts';
import { randomNumbers, type Stand } from './sink-kit-stand.ts';

export async function truncated(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 30; id++) things.insert(id, 'before');
  await stand.apply();
  stand.model.truncate(things.table);
  await stand.apply();
  await stand.compare('emptied');
  for (let id = 10; id <= 20; id++) things.insert(id, 'between');
  await stand.apply();
  stand.model.truncate(things.table);
  for (let id = 15; id <= 25; id++) things.insert(id, 'after');
  await stand.apply();
  await stand.compare('emptied and filled in one batch');
}

export async function swappedKeys(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 9; id++) things.insert(id, `row ${id}`);
  await stand.apply();
  things.rekey([[1, 2], [2, 1]]);
  await stand.apply();
  await stand.compare('two keys swapped');
  things.rekey([1, 2, 3, 4, 5, 6, 7, 8, 9].map((id) => [id, (id % 9) + 1]));
  await stand.apply();
  await stand.compare('nine keys moved on by one');
  things.rekey([[9, 100]]);
  things.insert(9, 'taken again');
  await stand.apply();
  await stand.compare('a key moved, and given again');
}

export async function swappedUnique(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 6; id++) things.insert(id, `code ${id}`);
  await stand.apply();
  await stand.place.addUnique?.(things.table.schema, 'name');
  await stand.open();
  things.update(1, 'aside');
  things.update(2, 'code 1');
  things.update(1, 'code 2');
  await stand.apply();
  await stand.compare('two unique values swapped');
  things.remove(3);
  things.insert(7, 'code 3');
  things.update(4, 'x');
  things.insert(8, 'code 4');
  await stand.apply();
  await stand.compare('unique values handed on');
}

export async function alteredColumns(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  for (let id = 1; id <= 5; id++) things.insert(id, `row ${id}`);
  await stand.apply();
  const { columns } = things.table.schema;
  const added = modelColumn({ name: 'added', type: { kind: 'text', length: null, fixed: false }, nativeType: 'text', fill: 'filled' }, 20);
  stand.model.alterTable(things.table, { columns: [...columns, added] });
  things.updateRow(1, (row) => row.with(row.length - 1, 'own'));
  await stand.apply();
  if (stand.target.reshapes) await stand.compare('a column added');
  const renamed = things.table.schema.columns.map((column) => (column.number === 2 ? { ...column, name: 'renamed' } : column));
  stand.model.alterTable(things.table, { columns: renamed.filter((column) => column.number !== 3) });
  things.updateRow(2, (row) => row.with(1, 'changed'));
  await stand.apply();
  if (stand.target.reshapes) await stand.compare('a column renamed, another dropped');
}

export async function swappedNames(stand: Stand): Promise<void> {
  await stand.open();
  const [one, two] = [stand.standardTable('one'), stand.standardTable('two')];
  for (let id = 1; id <= 5; id++) one.insert(id, `one ${id}`);
  for (let id = 4; id <= 9; id++) two.insert(id, `two ${id}`);
  await stand.apply();
  stand.model.alterTable(one.table, { name: 'two' });
  stand.model.alterTable(two.table, { name: 'one' });
  one.insert(20, 'was one');
  two.remove(4);
  await stand.apply();
  await stand.compare('two tables changed names');
  stand.model.alterTable(two.table, { name: 'two' });
  await stand.apply();
  await stand.open();
  stand.model.alterTable(one.table, { name: 'three' });
  one.update(1, 'changed after its change of name');
  await stand.apply();
  await stand.compare('a name was handed on');
}

export async function newGeneration(stand: Stand): Promise<void> {
  await stand.open();
  const old = stand.standardTable();
  for (let id = 1; id <= 5; id++) old.insert(id, 'old');
  await stand.apply();
  stand.model.truncate(old.table);
  stand.model.tableState(old.table, 'removed');
  stand.model.forget(old.table);
  const things = stand.standardTable();
  for (let id = 3; id <= 8; id++) things.insert(id, 'new');
  await stand.apply();
  await stand.compare('the new generation');
}

export async function removedAhead(stand: Stand): Promise<void> {
  await stand.open();
  const old = stand.standardTable();
  for (let id = 1; id <= 5; id++) old.insert(id, 'old');
  await stand.apply();
  stand.model.tableState(old.table, 'removed');
  stand.model.forget(old.table);
  const things = stand.standardTable();
  for (let id = 3; id <= 8; id++) things.insert(id, 'new');
  await stand.sink[Symbol.asyncDispose]();
  await stand.open();
  await stand.apply();
  await stand.compare('the new generation');
}

export async function copied(stand: Stand): Promise<void> {
  await stand.open();
  const things = stand.standardTable();
  stand.model.tableState(things.table, 'copying');
  for (let id = 1; id <= 40; id++) things.insert(id, 'streamed before its chunk came');
  await stand.apply();
  for (let id = 1; id <= 80; id++) things.put(id, 'copied');
  await stand.apply();
  await stand.compare('while it is copied');
  for (let id = 70; id <= 120; id++) things.put(id, 'copied again');
  stand.model.tableState(things.table, 'copied');
  things.remove(5);
  await stand.apply();
  await stand.compare('when it is copied');
}

export async function bag(stand: Stand): Promise<void> {
  await stand.open();
  const table = stand.model.createTable('kit', 'bag', KIT_COLUMNS, []);
  const row = (id: number): ModelRow => [String(id), `row ${id}`, null, null, 't'];
  for (const id of [1, 1, 1, 2, 2, 3]) stand.model.insert(table, row(id));
  await stand.apply();
  await stand.compare('filled');
  for (const id of [1, 1, 3]) stand.model.delete(table, row(id));
  stand.model.insert(table, row(2));
  await stand.apply();
  await stand.compare('one of each deleted goes');
}

export async function randomChanges(stand: Stand): Promise<void> {
  const { seed } = stand.target;
  const next = randomNumbers(seed);
  try {
    await stand.open();
    const tables = ['things', 'Other "things"', 'ünïcode'].map((name) => stand.standardTable(name));
    for (let round = 0; round < (stand.target.batches ?? 25); round++) {
      const changes = Math.floor(next() * (next() < 0.2 ? 300 : 30));
      for (let n = 0; n < changes; n++) {
        const things = tables[Math.floor(next() * tables.length)];
        things?.random(next, (id) => randomRow(id, next));
      }
      if (next() < 0.1) stand.model.skip(5);
      if (next() < 0.1) await stand.open();
      await stand.apply();
      if (round % 5 === 4) await stand.compare(`after batch ${round}`);
    }
    await stand.compare('at the end');
  } catch (error) {
    throw new Error(`seed ${seed}: ${describeError(error)}`, { cause: error });
  }
}
