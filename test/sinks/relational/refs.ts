import { BatchBuilder } from '../../../contracts/change-batch.ts';
import { buildKey } from '../../../contracts/key.ts';
import { Op } from '../../../contracts/op.ts';
import { buildImage, type CellValue } from '../../../contracts/row-image.ts';
import type { RecordRef } from '../../../contracts/sink.ts';

/** References to create records with the given keys and rows. */
export function refsOf(records: readonly { readonly key: readonly (string | Uint8Array)[]; readonly row: readonly CellValue[] }[]): RecordRef[] {
  const builder = new BatchBuilder(256);
  const places: number[] = [];
  builder.begin('source', 1, 0);
  for (const { key, row } of records) {
    places.push(builder.length);
    builder.record(Op.create, 0, 1, 1, buildKey(key), Buffer.alloc(0), buildImage(row));
  }
  const batch = builder.take();
  return places.map((at) => ({ batch, at }));
}
