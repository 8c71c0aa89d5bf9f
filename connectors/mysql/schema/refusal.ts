import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import type { Cascade } from '../catalog/catalog-query.ts';
import { typeOfColumn } from '../catalog/column-type.ts';
import { isSent, type SourceTables } from '../catalog/source-tables.ts';
import type { TableReading } from '../catalog/table-reading.ts';
import { cascadeFault, whyVolatile } from '../requirements.ts';
import type { Flavor } from '../server-version.ts';

/** Why a table cannot be captured as it is; null: it can. What `check` says of it, too. */
export function refusal(table: TableReading, cascades: readonly Cascade[], source: SourceTables, flavor: Flavor, acceptCascades: readonly string[]): TidemarkError | null {
  const { shape, unreadable } = table;
  const where = { where: { table: tableName(table) } };
  const ruled = source.ruleError(table, shape, flavor);
  if (ruled !== null) return ruled;
  const seen = shape.columns.filter((column) => isSent(column, flavor) && source.ruleOf(table, column, null) !== 'exclude');
  const hidden = seen.filter(({ name }) => unreadable.includes(name)).map(({ name }) => name);
  if (hidden.length > 0) return new TidemarkError('MYSQL_ACCESS', `the user may not read ${hidden.join(', ')} of ${tableName(table)}`, where);
  const unknown = seen.find((column) => typeOfColumn(column).name === 'other');
  if (unknown !== undefined) return new TidemarkError('MYSQL_TYPE_UNKNOWN', `column ${unknown.name} of ${tableName(table)} is of the type ${unknown.type}`, where);
  const volatile = whyVolatile(table);
  if (volatile !== null) return new TidemarkError('MYSQL_ENGINE', `${tableName(table)} ${volatile}`, where);
  return cascadeFault(table, cascades, { acceptCascades });
}
