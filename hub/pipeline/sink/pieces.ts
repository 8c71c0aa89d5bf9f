/** Batches taken apart into rows that are tried, set aside or named by themselves. */
import type { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { RecordView } from '../../../contracts/record.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { FoldedTable, RecordRef, SinkBatch, SinkStep } from '../../../contracts/sink.ts';

/** One row of a folded batch. */
export interface Piece {
  readonly schema: TableSchema;
  readonly ref: RecordRef;
}

export interface Refused {
  readonly piece: Piece;
  readonly error: TidemarkError;
}

const LISTS = ['deletes', 'upserts', 'inserts'] as const;

/** The rows that can be set aside: those that have a key. */
export function piecesOf(batch: SinkBatch): Piece[] {
  return batch.steps.flatMap((step) => (step.kind === 'rows' ? step.tables : [])).flatMap((folded) =>
    folded.schema.keyKind === 'none' ? [] : LISTS.flatMap((list) => folded[list].map((ref) => ({ schema: folded.schema, ref }))),
  );
}

/** The row that must be meant when the batch has no other of the table that the error names. */
export function onlyRow(batch: SinkBatch, error: TidemarkError): Refused | null {
  const { table } = error.where;
  const [piece, ...more] = piecesOf(batch).filter(({ schema }) => table === undefined || tableName(schema) === table);
  return piece === undefined || more.length > 0 ? null : { piece, error };
}

/**
 * The steps of the batch with some of their rows only; other steps stay as they are.
 * @param keyless the rows of keyless tables stay too: they are counted, and so never tried but all at once
 */
export function stepsWith(batch: SinkBatch, keeps: (ref: RecordRef) => boolean, keyless: boolean): SinkStep[] {
  return batch.steps.flatMap((step): SinkStep[] => {
    if (step.kind !== 'rows') return [step];
    const tables = step.tables.map((table) => only(table, keeps, keyless)).filter(hasChanges);
    return tables.length === 0 ? [] : [{ kind: 'rows', tables }];
  });
}

function only(table: FoldedTable, keeps: (ref: RecordRef) => boolean, keyless: boolean): FoldedTable {
  if (table.schema.keyKind === 'none') return keyless ? table : { ...table, truncate: false, deletes: [], upserts: [], inserts: [] };
  return { ...table, deletes: table.deletes.filter(keeps), upserts: table.upserts.filter(keeps), inserts: table.inserts.filter(keeps) };
}

export function hasChanges(table: FoldedTable): boolean {
  return table.truncate || table.deletes.length + table.upserts.length + table.inserts.length > 0;
}

/** Steps of other kinds stand behind rows. */
export function isMixed({ steps }: SinkBatch): boolean {
  return steps.some(({ kind }, index) => kind !== 'rows' && steps[index - 1]?.kind === 'rows');
}

export function idOf({ tableId, key }: { readonly tableId: number; readonly key: Buffer }): string {
  return `${tableId}/${key.toString('latin1')}`;
}

/** The offset of a record; null of one that was projected, and so has no place of its own. */
export function offsetOf({ batch, at }: RecordRef): Offset | null {
  if (batch.baseOffset === 0) return null;
  const view = new RecordView().reset(batch.records);
  while (view.next()) if (view.at === at) return batch.baseOffset + view.index;
  return null;
}
