/** What a log must have of tables that it keeps in different ways, by the reference that has everything. */
import { expect } from 'vitest';
import { expectCode, NEVER } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { recordsOf, type ReferenceLog, type ReferenceRecord } from '../../../../../contracts/kit/reference-log.ts';
import type { Keep, SourceLog } from '../../../../../contracts/log-engine.ts';
import { Op } from '../../../../../contracts/op.ts';
import type { FileSystem } from '../../../../../contracts/runtime.ts';
import { tableAt } from '../../../../../hub/moments/table-at.ts';

export type KeepById = (tableId: number) => Keep;

/** Tables of the workload are named `table_ID`. */
export function keepOfName(keep: KeepById): (table: { readonly name: string }) => Keep {
  return ({ name }) => keep(Number(name.replace('table_', '')));
}

/** @param now milliseconds since 1970, at or after the last fold */
export async function mustBeKept(log: SourceLog, files: FileSystem, reference: ReferenceLog, keep: KeepById, now: number): Promise<void> {
  const { horizon, highWatermark } = log.state();
  for (const { tableId, state, versions } of log.catalog().tables()) {
    const { recordsAfter, rowsAfter } = log.extent(tableId);
    expect(recordsAfter).toBeLessThanOrEqual(horizon);
    mustBeWithin(keep(tableId), { recordsAfter, rowsAfter, horizon }, reference.read(0, recordsAfter).filter((record) => record.tableId === tableId), reference, now);
    if (versions.at(-1)?.schema.keyKind === 'none') expect(rowsAfter).toBe(0);
    const records = await recordsOfTable(log, tableId, recordsAfter, reference);
    expect([tableId, recordsAfter, records]).toEqual([tableId, recordsAfter, reference.read(recordsAfter).filter((record) => concerns(record, tableId))]);
    if (recordsAfter > 0) await expectCode(recordsOfTable(log, tableId, recordsAfter - 1, reference), 'LOG_BELOW_HORIZON');
    if (state.state === 'removed') continue;
    for (const at of [horizon, highWatermark]) {
      expect([tableId, at, rowsAfter, await rowsOf(log, files, tableId, at)]).toEqual([tableId, at, rowsAfter, reference.fold(tableId, at, rowsAfter)]);
    }
  }
}

/** @param dropped records of the table that cannot be read any more */
function mustBeWithin(
  keep: Keep,
  has: { recordsAfter: number; rowsAfter: number; horizon: number },
  dropped: readonly ReferenceRecord[],
  reference: ReferenceLog,
  now: number,
): void {
  expect(has.rowsAfter).toBeLessThanOrEqual(has.recordsAfter);
  if (keep.kind === 'compact') expect(has).toEqual({ ...has, recordsAfter: has.horizon, rowsAfter: 0 });
  if (keep.kind === 'all') expect([dropped, has.rowsAfter]).toEqual([[], 0]);
  if (keep.kind !== 'window') return;
  // What is younger than the age is never dropped.
  for (const { offset } of dropped) {
    const whole = transactionOf(reference, offset);
    if (whole?.kind === 'source') expect(whole.commitTime).toBeLessThanOrEqual((now - keep.ageMs) * 1000);
  }
}

function transactionOf(reference: ReferenceLog, offset: number): ReferenceLog['transactions'][number] | undefined {
  return reference.transactions.find(({ after, last }) => after < offset && offset <= last);
}

function concerns({ tableId, op }: Pick<ReferenceRecord, 'tableId' | 'op'>, wanted: number): boolean {
  return tableId === wanted || (tableId === 0 && op === Op.control);
}

async function recordsOfTable(log: SourceLog, tableId: number, after: number, reference: ReferenceLog): Promise<ReferenceRecord[]> {
  const records: ReferenceRecord[] = [];
  for await (const { batch, offsets } of log.readTables([tableId], { after, follow: false, signal: NEVER })) {
    const read = recordsOf(batch).map((record, index) => ({ ...record, offset: offsets?.[index] ?? record.offset }));
    if (offsets !== null) {
      expect(offsets.length).toBe(batch.count);
      for (const entry of batch.transactions) {
        for (const { offset } of read.slice(entry.first, entry.first + entry.count)) {
          const whole = transactionOf(reference, offset);
          const { kind, xid, commitTime, origin, position } = entry;
          expect({ kind, xid, commitTime, origin, position: Buffer.from(position).toString('hex') }).toEqual({
            kind: whole?.kind, xid: whole?.xid, commitTime: whole?.commitTime, origin: whole?.origin, position: whole?.position,
          });
        }
      }
    }
    records.push(...read.filter((record) => concerns(record, tableId)));
  }
  return records;
}

/** The rows of a table as of `at`: key to image; of a keyless one row to how often it stands there. All hex. */
export async function rowsOf(log: SourceLog, files: FileSystem, tableId: number, at: number): Promise<Map<string, string>> {
  const rows = new Map<string, string>();
  for await (const { batch } of tableAt(log, { tableId, at, files, directory: '/sort', signal: NEVER })) {
    for (const { key, after } of recordsOf(batch)) {
      if (key === '') rows.set(after, String(Number(rows.get(after) ?? '0') + 1));
      else rows.set(key, after);
    }
  }
  return rows;
}
