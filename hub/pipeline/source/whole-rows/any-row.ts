import type { TableSchema } from '../../../../contracts/schema.ts';

/**
 * Whether any row of the table may come without some of its columns, large or not: MySQL leaves them out by a setting that
 * each session may have for itself. Postgres leaves out large values alone, and `Flag.wide` says which rows have such.
 */
export function leavesOutOfAnyRow({ dialect }: Pick<TableSchema, 'dialect'>): boolean {
  return dialect === 'mysql';
}
