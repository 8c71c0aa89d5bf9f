import type { Catalog } from '../../../../contracts/catalog.ts';
import { tableName } from '../../../../contracts/schema.ts';

/** Names for table ids, for people: of generations of one table only one. Ids that no schema names show as they are. */
export function namesOf(catalog: Catalog, ids: Iterable<number>): string[] {
  const names = new Set<string>();
  for (const id of ids) {
    const schema = catalog.schema(id);
    if (id !== 0) names.add(schema === undefined ? `table id ${id}` : tableName(schema));
  }
  return [...names].toSorted();
}
