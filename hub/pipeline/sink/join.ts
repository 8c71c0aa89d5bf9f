/** Filling the tables that a sink's configuration has come to select, while its checkpoint stands still. */
import { crc32 } from 'node:zlib';
import type { LoadCursor } from '../../../contracts/load-cursor.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Random } from '../../../contracts/runtime.ts';
import type { Sink, SinkBatch, SinkStep, TableSelector } from '../../../contracts/sink.ts';
import { baseBatches } from './base-batches.ts';
import { Fold, type FoldStart } from './fold.ts';
import { BASE_START, decodeLoadPlace, encodeLoadPlace, type LoadPlace } from './load-place.ts';
import { MirroredTables } from './mirrored-tables.ts';

const JOIN_BYTES = 8 << 20;
const LOAD_BYTES = 16;

export interface Joining {
  readonly sink: Pick<Sink, 'limits' | 'handsNamesOn'>;
  readonly log: SourceLog;
  readonly joins: TableSelector;
  /** What the selection was, and what it is: a join of others is not gone on with. */
  readonly change: string;
  readonly random: Random;
  /**
   * Applies a batch that leaves the checkpoint where it is; resolves when it is durable.
   * @param cursor the checkpoint's before it
   */
  readonly apply: (batch: SinkBatch, cursor: LoadCursor | null) => Promise<void>;
}

/** Where the sink stands, and how far the join is that the checkpoint's cursor tells of; null: none was begun. */
export interface JoinStart extends FoldStart {
  readonly cursor: LoadCursor | null;
}

/**
 * Replays the tables that `joins` selects from the log's start to where the sink stands: the base, then the history up to
 * there. Its checkpoint does not move but for the cursor, by which a join that was cut off goes on: in the base of the same
 * horizon, which the caller holds. The last cursor stays there.
 * @throws TidemarkError what `apply` or the log throws
 */
export async function joinTables(joining: Joining, at: JoinStart, signal: AbortSignal): Promise<void> {
  if (at.after === 0) return;
  const { sink, log, joins } = joining;
  await using base = await log.openBase();
  const horizon = base?.horizon ?? 0;
  const tables = new MirroredTables(log.catalog(), horizon, joins, sink.handsNamesOn);
  const join = new Join(joining, at, { horizon, selection: selectionOf(tables, joining.change) });
  const options = { maxKeys: join.maxKeys, maxBytes: JOIN_BYTES, empties: true, from: join.place.place };
  for await (const { place, steps, records, bytes } of base === null || join.place.read !== null ? [] : baseBatches(base, tables, options, signal)) {
    await join.give({ ...NOTHING, steps, records, bytes }, { place });
  }
  await join.history(signal);
}

/** One join as it goes on. */
class Join {
  readonly maxKeys: number;
  place: LoadPlace;
  readonly #joining: Joining;
  readonly #at: FoldStart;
  #cursor: LoadCursor | null;

  constructor(joining: Joining, at: JoinStart, { horizon, selection }: Pick<LoadPlace, 'horizon' | 'selection'>) {
    const { sink, log, random } = joining;
    this.#joining = joining;
    this.#at = at;
    this.#cursor = at.cursor;
    this.maxKeys = sink.limits?.maxKeys ?? 50_000;
    const epoch = log.epochAt(horizon);
    const found = at.cursor === null ? null : decodeLoadPlace(at.cursor);
    const goesOn = found !== null && found.joins && found.horizon === horizon && found.epoch === epoch && found.selection === selection;
    this.place = goesOn ? found : { load: random.bytes(LOAD_BYTES).toString('hex'), batches: 0, rows: 0, horizon, epoch, selection, joins: true, read: null, place: BASE_START };
  }

  /** What comes after the base, or after what was read of it. */
  async history(signal: AbortSignal): Promise<void> {
    const { sink, log, joins } = this.#joining;
    const { horizon, read } = this.place;
    const tables = new MirroredTables(log.catalog(), read ?? horizon, joins, sink.handsNamesOn);
    const start: FoldStart = { after: read ?? horizon, position: new Uint8Array(0), commitTime: 0 };
    const fold = new Fold(tables, { wholeTransactions: false, maxKeys: this.maxKeys, maxBytes: JOIN_BYTES }, start);
    // What the base has of a table empties it first, as do its first rows that were read.
    const emptied = new Set(tables.schemas().map(({ tableId }) => tableId));
    const take = async (): Promise<void> => {
      const batch = emptiedFirst(fold.take((offset) => log.epochAt(offset)), emptied);
      if (batch.steps.length > 0) await this.give({ ...batch, steps: batch.steps.flatMap(atOnce) }, { read: batch.to });
    };
    for await (const batch of log.read({ after: start.after, to: this.#at.after, follow: false, signal })) {
      fold.feed(batch);
      while (!fold.run()) await take();
    }
    await take();
  }

  async give(batch: SinkBatch, progress: Partial<Pick<LoadPlace, 'place' | 'read'>>): Promise<void> {
    const next: LoadPlace = { ...this.place, ...progress, batches: this.place.batches + 1, rows: this.place.rows + batch.records };
    const cursor = encodeLoadPlace(next);
    await this.#joining.apply({ ...standingAt(batch, this.#at, this.#joining.log), cursor }, this.#cursor);
    this.place = next;
    this.#cursor = cursor;
  }
}

/** A batch that does nothing but remove the cursor of a join that is over. */
export function joinEnd(at: FoldStart, log: SourceLog): SinkBatch {
  return standingAt(NOTHING, at, log);
}

/** Of the tables as of the horizon, and of what the join is of. */
function selectionOf(tables: MirroredTables, change: string): number {
  return crc32(tables.schemas().map(({ tableId, version }) => `${tableId}/${version}`).join(' '), crc32(change));
}

/** Rows of the history are changed: a table that appears in it is not one whose rows come once. */
function atOnce(step: SinkStep): SinkStep[] {
  return step.kind === 'schema' ? [step, { kind: 'table-state', table: step.after, state: 'loaded' }] : [step];
}

/** What an interrupted join may have left is removed with a table's first rows. */
function emptiedFirst(batch: SinkBatch, emptied: Set<number>): SinkBatch {
  const steps = batch.steps.map((step) => {
    if (step.kind !== 'rows') return step;
    const tables = step.tables.map((table) => {
      if (emptied.has(table.schema.tableId)) return table;
      emptied.add(table.schema.tableId);
      return { ...table, truncate: true };
    });
    return { ...step, tables };
  });
  return { ...batch, steps };
}

const NOTHING: SinkBatch = { after: 0, to: 0, endsOpen: false, epoch: '', position: new Uint8Array(0), cursor: null, commitTime: 0, steps: [], records: 0, bytes: 0 };

/** Where the sink stands, which does not move. */
function standingAt(batch: SinkBatch, { after, position, commitTime }: FoldStart, log: SourceLog): SinkBatch {
  return { ...batch, after, to: after, endsOpen: false, position, commitTime, epoch: log.epochAt(after) };
}
