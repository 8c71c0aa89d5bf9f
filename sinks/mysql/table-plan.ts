/** How rows of a table of the log are written to the replica's table. Made once for each shape. Pure. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { mysqlColumn } from '../relational/identifiers.ts';
import { printedName } from '../relational/names.ts';
import { keyNames } from '../relational/schema-diff.ts';
import { type ReplicaColumn, type ReplicaTable, uniqueIndexOn } from './replica-table.ts';
import { qualified, quoteName } from './sql.ts';
import { exactCollation, LOAD_FORMAT_SQL, type ReplicaServer } from './types/replica-server.ts';
import { type ValueForm, valueForm } from './types/value-form.ts';

export interface PlannedColumn {
  /** Index in the source's schema. */
  readonly source: number;
  readonly target: ReplicaColumn;
  readonly form: ValueForm;
}

export interface TablePlan {
  readonly schema: TableSchema;
  readonly table: ReplicaTable;
  /** `` `shop`.`orders` `` */
  readonly target: string;
  /** Those that are written, in the order of the schema. */
  readonly columns: readonly PlannedColumn[];
  /** By index in the source's schema; null: the replica computes it. */
  readonly forms: readonly (ValueForm | null)[];
  readonly keyed: boolean;
  /** In key order. */
  readonly key: readonly PlannedColumn[];
  /**
   * The key's index is the only unique one: a row that REPLACE or an upsert finds in its way is the row itself, never
   * another one.
   */
  readonly isSoleUnique: boolean;
  /** Columns of the replica's own: what they hold outlives a change of their row. */
  readonly extraColumns: readonly ReplicaColumn[];
  /** LOAD DATA without its verb's REPLACE, from `LOAD` on. */
  readonly load: string;
}

/** @throws TidemarkError `REPLICA_SHAPE` */
export function planTable(schema: TableSchema, table: ReplicaTable, server: ReplicaServer): TablePlan {
  const where = { table: tableName(schema) };
  const printed = printedName(table.name);
  if (table.kind === 'VIEW') throw new TidemarkError('REPLICA_SHAPE', `${printed} is a view`, { where });
  // Names of columns have no case here.
  const byName = new Map(table.columns.map((column) => [column.name.toLowerCase(), column]));
  const forms = schema.columns.map((column): (PlannedColumn & { readonly written: boolean }) => {
    const target = byName.get(mysqlColumn(column.name));
    if (target === undefined) throw new TidemarkError('REPLICA_SHAPE', `${printed} has no column ${column.name}`, { where: { ...where, column: column.name } });
    return { source: schema.columns.indexOf(column), target, form: valueForm(column, target.type, server), written: !target.generated };
  });
  const key = schema.key.map((index) => keyColumn(forms[index], printed, schema, index, server));
  const unique = schema.keyKind === 'none' ? null : uniqueIndexOn(table, keyNames(schema).map((name) => byName.get(mysqlColumn(name))?.name ?? name));
  const written = forms.filter((column) => column.written);
  const mirrored = new Set(forms.map(({ target }) => target.name));
  return {
    schema,
    table,
    target: qualified(table.name),
    columns: written,
    forms: forms.map(({ form, written: isWritten }) => (isWritten ? form : null)),
    keyed: schema.keyKind !== 'none',
    key,
    isSoleUnique: unique !== null && table.indexes.every((index) => !index.unique || index.name === unique.name),
    extraColumns: table.columns.filter((column) => !mirrored.has(column.name) && !column.generated),
    load: loadSql(table, written),
  };
}

/** Collations under which two texts are equal only when their bytes are. */
const EXACT = /^(utf8mb4_0900_bin|\w+_nopad_bin)$/;

function keyColumn(column: PlannedColumn | undefined, printed: string, schema: TableSchema, index: number, server: ReplicaServer): PlannedColumn {
  const name = schema.columns[index]?.name ?? String(index);
  const where = { table: tableName(schema), column: name };
  if (column === undefined || column.target.generated) throw new TidemarkError('REPLICA_SHAPE', `the key column ${name} is computed at the replica`, { where });
  const { charset, collation } = column.target.type;
  // Under others blanks at the end do not count: no matter in ASCII, such as a UUID; and some servers have nothing better.
  const isExact = charset === null || collation === null || EXACT.test(collation) || (collation.endsWith('_bin') && (charset === 'ascii' || exactCollation(server) === null));
  if (isExact) return column;
  throw new TidemarkError('REPLICA_SHAPE', `the key column ${name} of ${printed} has the collation ${collation}, under which two keys of the source may be one`, {
    where,
    remedy: 'Give the column a collation in which texts are equal only when their bytes are: utf8mb4_0900_bin (MySQL), utf8mb4_nopad_bin (MariaDB), or drop the table to have it made anew.',
  });
}

/** Rows as fields in the order of the columns; what the server is to make something else of goes over a variable. */
function loadSql(table: ReplicaTable, columns: readonly PlannedColumn[]): string {
  const fields = columns.map(({ target, form }, index) => (form.assign === null ? quoteName(target.name) : `@v${index}`));
  const sets = columns.flatMap(({ target, form }, index) => (form.assign === null ? [] : [`${quoteName(target.name)} = ${form.assign(`@v${index}`)}`]));
  return `INTO TABLE ${qualified(table.name)} ${LOAD_FORMAT_SQL} (${fields.join(', ')})${sets.length === 0 ? '' : ` SET ${sets.join(', ')}`}`;
}
