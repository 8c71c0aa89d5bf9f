import { addKey } from './apply-keys.ts';
import { columnShape } from './apply-column.ts';
import { type CharsetDefaults, resolveCharset, resolvedCollation } from './charsets.ts';
import { sameName } from './context.ts';
import type { TableDefinition } from './create-table.ts';
import type { ColumnShape, KeyShape, TableShape } from './shape.ts';
import { doesNotFit } from './shape-error.ts';

/**
 * The shape of the table that a CREATE TABLE makes; what SHOW CREATE TABLE prints gives the shape of a table that is
 * there. Columns are numbered from 1.
 * @throws TidemarkError `MYSQL_SHAPE`
 */
export function applyCreate(definition: TableDefinition, defaults: CharsetDefaults): TableShape {
  const { context } = definition;
  const table = resolveCharset(definition.charset, resolvedCollation(defaults.databaseCollation), context, defaults);
  const columns: ColumnShape[] = [];
  for (const column of definition.columns) {
    if (columns.some(({ name }) => sameName(name, column.name))) throw doesNotFit(`a table is made with two columns ${column.name}`);
    columns.push(columnShape(column, columns.length + 1, { context, defaults, table }));
  }
  const keys: KeyShape[] = [];
  // Those for foreign keys are made only where no index of the statement serves.
  for (const key of definition.keys) addKey(keys, key, columns);
  return {
    columns: notNullInPrimary(columns, keys),
    keys,
    nextNumber: columns.length + 1,
    collation: table.collation,
    systemVersioned: definition.systemVersioned,
  };
}

/** Columns of the primary key are NOT NULL, whether the statement says so or not. */
export function notNullInPrimary(columns: readonly ColumnShape[], keys: readonly KeyShape[]): ColumnShape[] {
  const primary = keys.find((key) => key.kind === 'primary');
  const numbers = new Set(primary?.parts.map((part) => part.column));
  return columns.map((column) => (column.nullable && numbers.has(column.number) ? { ...column, nullable: false } : column));
}
