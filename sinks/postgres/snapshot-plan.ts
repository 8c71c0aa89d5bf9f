/** How the rows of a table at the replica are read back in the form that the log has. Pure. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { type Column, tableName, type TableSchema } from '../../contracts/schema.ts';
import { baseType } from '../../contracts/types/logical-type.ts';
import type { ColumnAction } from '../../contracts/types/postgres-copy-text.ts';
import { printedName } from '../relational/names.ts';
import type { ReplicaColumn, ReplicaTable } from './replica-table.ts';
import { ident, rowsOf } from './sql.ts';

/** One column of the log's schema at the replica. */
export interface ReadColumn {
  /** What it is selected by. */
  readonly sql: string;
  readonly action: ColumnAction;
  /**
   * `same`: the replica prints what the log has. `mapped`: its column is of another type, which prints the same value in
   * its own way. `left-out`: the replica computes it by itself, from what it likes.
   */
  readonly form: 'same' | 'mapped' | 'left-out';
  /** As DDL writes the column's type at the replica. */
  readonly nativeType: string;
}

export interface ReadPlan {
  readonly schema: TableSchema;
  readonly table: ReplicaTable;
  /** One for each column of the schema. */
  readonly columns: readonly ReadColumn[];
  /** All columns are `same`. */
  readonly isSame: boolean;
}

/** @throws TidemarkError `VERIFY_TABLE` (retry: operator) */
export function readPlan(schema: TableSchema, table: ReplicaTable): ReadPlan {
  if (table.kind !== 'r' && table.kind !== 'p') throw unfit(schema, `${printedName(table.name)} is not a table`);
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  const columns = schema.columns.map((column, index) => {
    const target = byName.get(column.name);
    if (target === undefined) throw unfit(schema, `${printedName(table.name)} has no column ${column.name}`);
    if (target.generated && schema.key.includes(index)) throw unfit(schema, `the key column ${column.name} is generated at the replica`);
    return readColumn(column, target, schema.dialect === 'mysql');
  });
  return { schema, table, columns, isSame: columns.every((column) => column.form === 'same') };
}

/** All rows, in text format. @param where a condition; '' for none */
export function copyAll(plan: ReadPlan, where = ''): string {
  return `COPY (SELECT ${selectList(plan, '')} FROM ${rowsOf(plan.table)}${where === '' ? '' : ` WHERE ${where}`}) TO STDOUT`;
}

/** @param alias of the table, with its dot; '' for none */
export function selectList({ columns }: ReadPlan, alias: string): string {
  return columns.map(({ sql, form }) => (form === 'left-out' ? 'NULL' : `${alias}${sql}`)).join(', ');
}

export function unfit(schema: TableSchema, why: string): TidemarkError {
  return new TidemarkError('VERIFY_TABLE', why, {
    where: { table: tableName(schema) }, retry: 'operator', remedy: 'Make the table at the replica fit (`tidemark check` prints how), or rebuild the sink.',
  });
}

function readColumn(column: Column, target: ReplicaColumn, isMysql: boolean): ReadColumn {
  const isBytes = baseType(column.type).kind === 'bytes';
  // A single group of zeros is `::` to MariaDB, and 0 to Postgres.
  const isAlike = !(isMysql && column.nativeType === 'inet') && printsAlike(column.nativeType, target.nativeType);
  const form = target.generated ? 'left-out' : isAlike ? 'same' : 'mapped';
  return { sql: ident(target.name), action: isBytes && form === 'same' ? 'bytes' : 'keep', form, nativeType: target.nativeType };
}

const INTEGERS: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint']);
const TEXTS = /^(text|character varying(\([0-9]+\))?)$/;

/** The replica's type prints every value that it was given just as the source's does. */
function printsAlike(source: string, target: string): boolean {
  if (source === target) return true;
  if (INTEGERS.has(source)) return INTEGERS.has(target);
  return (TEXTS.test(source) && TEXTS.test(target)) || (source.startsWith('numeric(') && target === 'numeric');
}
