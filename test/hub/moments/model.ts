/** What tables, rows and differences at moments must be: worked out from the reference log, with everything in memory. */
import { RecordView } from '../../../contracts/record.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import { NEVER } from '../../../contracts/kit/log-engine-kit-common.ts';
import type { ReferenceLog, ReferenceRecord } from '../../../contracts/kit/reference-log.ts';
import { Flag, isRowOp, Op } from '../../../contracts/op.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';
import type { MomentTable, TablePair } from '../../../hub/moments/named-table.ts';
import { rowHistory } from '../../../hub/moments/row-history.ts';
import { tableAt } from '../../../hub/moments/table-at.ts';
import { tableDiff } from '../../../hub/moments/table-diff.ts';

/** Key to image, or image to how often where there is no key; all hex. */
export type State = ReadonlyMap<string, string>;

export interface Place {
  readonly log: SourceLog;
  readonly files: FileSystem;
  /** Bytes in memory while sorting. */
  readonly memoryBytes?: number;
}

export async function stateAt({ log, files, memoryBytes }: Place, tableId: number, at: number): Promise<State> {
  const rows = new Map<string, string>();
  const view = new RecordView();
  const found = tableAt(log, { tableId, at, files, directory: '/data/sorting/test-1', signal: NEVER, ...(memoryBytes === undefined ? {} : { memoryBytes }) });
  for await (const { batch } of found) {
    for (view.reset(batch.records); view.next(); ) {
      const key = view.key().toString('hex');
      const image = view.after().toString('hex');
      if (key === '') rows.set(image, String(Number(rows.get(image) ?? '0') + 1));
      else rows.set(key, image);
    }
  }
  return rows;
}

/** A difference as `kind key before after count`, sorted. */
export async function diffBetween({ log, files, memoryBytes }: Place, tableId: number, from: number, to: number): Promise<string[]> {
  const pair = await pairOf(log, tableId, from, to);
  const changes: string[] = [];
  const found = tableDiff(log, { pair, files, directory: '/data/sorting/test-2', signal: NEVER, ...(memoryBytes === undefined ? {} : { memoryBytes }) });
  for await (const portion of found) {
    for (const { kind, key, before, after, count } of portion) changes.push(line(kind, key.toString('hex'), before?.toString('hex'), after?.toString('hex'), count));
  }
  return changes.toSorted();
}

async function pairOf(log: SourceLog, tableId: number, from: number, to: number): Promise<TablePair> {
  const fromCatalog = await log.catalogAt(from, NEVER);
  const toCatalog = await log.catalogAt(to, NEVER);
  const placed = (at: number, catalog: TablePair['fromCatalog']): MomentTable | null => {
    const schema = catalog.schema(tableId);
    return schema === undefined ? null : { tableId, at, catalog, schema };
  };
  return { from: placed(from, fromCatalog), to: placed(to, toCatalog), fromCatalog, toCatalog };
}

/** As {@link diffBetween}, of two states of the reference. */
export function expectedDiff(from: State, to: State, keyless: boolean): string[] {
  const changes: string[] = [];
  for (const key of new Set([...from.keys(), ...to.keys()])) {
    const before = from.get(key);
    const after = to.get(key);
    if (before === after) continue;
    if (keyless) {
      const count = Number(after ?? '0') - Number(before ?? '0');
      changes.push(count > 0 ? line('added', '', undefined, key, count) : line('removed', '', key, undefined, -count));
    } else changes.push(line(before === undefined ? 'added' : after === undefined ? 'removed' : 'changed', key, before, after, 1));
  }
  return changes.toSorted();
}

function line(kind: string, key: string, before: string | undefined, after: string | undefined, count: number): string {
  return `${kind} key=${key} before=${before ?? '-'} after=${after ?? '-'} count=${count}`;
}

/** Versions as `offset before after`. */
export async function versionsBetween(log: SourceLog, tableId: number, key: string, from: number, to: number): Promise<string[]> {
  const catalog = await log.catalogAt(to, NEVER);
  const versions: string[] = [];
  for await (const { offset, before, after } of rowHistory(log, { tableId, key: Buffer.from(key, 'hex'), from, to, catalog, signal: NEVER })) {
    versions.push(`${offset} ${before?.image.toString('hex') ?? '-'} ${after?.image.toString('hex') ?? '-'}`);
  }
  return versions;
}

/** As {@link versionsBetween}; a transaction of the hub is one change, or none. */
export function expectedVersions(reference: ReferenceLog, tableId: number, key: string, from: number, to: number): string[] {
  const standing = reference.fold(tableId, from).get(key);
  const versions: string[] = [];
  const says = (record: ReferenceRecord): boolean =>
    record.tableId === tableId && (record.flags & (Flag.notApplied | Flag.incomplete)) === 0 &&
    (record.op === Op.truncate || (isRowOp(record.op) && record.key === key && (record.op === Op.delete || record.after !== '')));
  let now = standing;
  if (standing !== undefined) versions.push(`${lastChange(reference, says, from)} - ${standing}`);
  for (const { after, last, kind } of reference.transactions) {
    const records = reference.records.slice(Math.max(after, from), Math.min(last, to)).filter(says);
    for (const record of kind === 'hub' ? records.slice(-1) : records) {
      const next = record.op === Op.truncate || record.op === Op.delete ? undefined : record.after;
      if (next === undefined ? now === undefined : kind === 'hub' && next === now) continue;
      versions.push(`${record.offset} ${now ?? '-'} ${next ?? '-'}`);
      now = next;
    }
  }
  return versions;
}

function lastChange(reference: ReferenceLog, says: (record: ReferenceRecord) => boolean, at: number): number {
  return reference.records.slice(0, at).findLast(says)?.offset ?? 0;
}
