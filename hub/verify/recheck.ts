/** Rows that differed, looked at again at a later moment: the log rolled forward from the one before, the place asked by key. */
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { RowsSnapshot, SinkSnapshot } from '../../contracts/verify.ts';
import { forRows } from './buckets.ts';
import { expectedOf } from './expected.ts';
import type { WrongRow } from './gather.ts';
import { Newest, type Stretch } from './newest.ts';

/** A row that differs, as far as is known. */
export interface Suspect {
  /** As of `offset`. */
  readonly row: WrongRow;
  readonly offset: Offset;
  readonly seen: 'still' | 'once';
}

/** Keys that a place is asked for at once. */
const ASKED_KEYS = 2000;

export interface Again {
  readonly log: SourceLog;
  /** At both moments. */
  readonly schema: TableSchema;
  /** From the earlier moment to this one. */
  readonly stretch: Stretch;
  readonly signal: AbortSignal;
}

/** The suspects as they are now: those that differ still, and those that do not. */
export interface Looked {
  readonly still: readonly Suspect[];
  readonly equal: readonly Suspect[];
}

/**
 * Suspects of a sink, as of its newer snapshot; the stretch ends at its checkpoint.
 * @throws TidemarkError `VERIFY_TABLE`, what the log and the sink throw
 */
export async function againAtSink({ log, schema, stretch, signal }: Again, sink: SinkSnapshot, suspects: readonly Suspect[]): Promise<Looked> {
  const newest = new Newest(log, schema.tableId, wantsOf(suspects));
  await newest.read(stretch, signal);
  // What the sink should have for the rows that have changed, by its own keys.
  const changed = new Map<string, Buffer>();
  const batch = newest.batch(schema, log.catalog(), newest.rows.keys());
  if (batch.count > 0) {
    for await (const { expected } of expectedOf(sink, schema, batch, { aligned: false, signal })) collect(expected, (key, image) => void changed.set(key, image));
  }
  const there = await found(sink, schema, suspects, signal);
  return divided(suspects, stretch.to, ({ row }) => {
    const key = textOf(row.key);
    const isTouched = row.logKey === null || newest.isEmptied || newest.rows.has(textOf(row.logKey));
    const left = isTouched ? (changed.get(key) ?? null) : row.left;
    return { ...row, left, leftCount: left === null ? 0 : 1, ...countOf(there.get(key)) };
  });
}

/** Suspects of a source, as of a newer snapshot of it. @throws TidemarkError as `againAtSink` */
export async function againAtSource({ log, schema, stretch, signal }: Again, source: RowsSnapshot, suspects: readonly Suspect[]): Promise<Looked> {
  const newest = new Newest(log, schema.tableId, wantsOf(suspects));
  await newest.read(stretch, signal);
  const changed = new Map<string, Buffer>();
  collect(newest.batch(schema, log.catalog(), newest.rows.keys()), (key, image) => void changed.set(key, image));
  const there = await found(source, schema, suspects, signal);
  return divided(suspects, stretch.to, ({ row }) => {
    const key = textOf(row.key);
    const isTouched = newest.isEmptied || newest.rows.has(key);
    const right = isTouched ? (changed.get(key) ?? null) : row.right;
    const { right: left, rightCount: leftCount } = countOf(there.get(key));
    return { ...row, left, leftCount, right, rightCount: right === null ? 0 : 1 };
  });
}

/** Null where it is not known which rows of the log some of them are. */
function wantsOf(suspects: readonly Suspect[]): ((key: string) => boolean) | null {
  const wanted = new Set<string>();
  for (const { row: { logKey } } of suspects) {
    if (logKey === null) return null;
    wanted.add(textOf(logKey));
  }
  return (key) => wanted.has(key);
}

function divided(suspects: readonly Suspect[], offset: Offset, now: (suspect: Suspect) => WrongRow): Looked {
  const still: Suspect[] = [];
  const equal: Suspect[] = [];
  for (const suspect of suspects) {
    const row = now(suspect);
    if (isEqual(row)) equal.push(suspect);
    else still.push({ row, offset, seen: 'still' });
  }
  return { still, equal };
}

function isEqual({ left, right, leftCount, rightCount }: WrongRow): boolean {
  if (leftCount !== rightCount) return false;
  return left === null || right === null ? left === right : left.equals(right);
}

async function found(place: RowsSnapshot, schema: TableSchema, suspects: readonly Suspect[], signal: AbortSignal): Promise<Map<string, Buffer[]>> {
  const there = new Map<string, Buffer[]>();
  for (let at = 0; at < suspects.length; at += ASKED_KEYS) {
    const keys = suspects.slice(at, at + ASKED_KEYS).map(({ row }) => row.key);
    for await (const batch of place.find(schema, keys, signal)) {
      collect(batch, (key, image) => {
        const images = there.get(key);
        if (images === undefined) there.set(key, [image]);
        else images.push(image);
      });
    }
  }
  return there;
}

function countOf(images: readonly Buffer[] | undefined): Pick<WrongRow, 'right' | 'rightCount'> {
  return { right: images?.[0] ?? null, rightCount: images?.length ?? 0 };
}

function collect(batch: ChangeBatch, each: (key: string, image: Buffer) => void): void {
  const { records } = batch;
  forRows(batch, (_view, keyStart, keyEnd, end) => each(records.toString('latin1', keyStart, keyEnd), Buffer.from(records.subarray(keyEnd, end))));
}

function textOf(key: Buffer): string {
  return key.toString('latin1');
}
