import type { CopiedChunk, TableCopier } from '../../../../contracts/connector.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';

/** Copies tables that have no rows. */
export function emptyCopier(): TableCopier {
  const chunk = (schema: TableSchema, range: string): CopiedChunk => ({
    schema, range, rowCount: 0,
    async *batches() {},
    sees: () => true,
    passedBy: () => true,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  return {
    plan: (table) => Promise.resolve({ table, copyState: '', ranges: ['all'], estimatedRows: 0, estimatedBytes: 0, whole: false }),
    chunk: (plan, range) => Promise.resolve(chunk(plan.table, range)),
    rows: (table) => Promise.resolve(chunk(table, '')),
  };
}
