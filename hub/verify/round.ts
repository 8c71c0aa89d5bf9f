import { Catalog } from '../../contracts/catalog.ts';
import type { Checkpoint } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { SinkStart } from '../../contracts/sink.ts';
import type { SinkSnapshot, SourceSnapshot } from '../../contracts/verify.ts';
import { MirroredTables } from '../pipeline/sink/mirrored-tables.ts';
import type { Sides } from './compare.ts';
import { LogSide, type SeenSource } from './log-side.ts';
import type { Shapes } from './log-rows.ts';
import type { VerifyParts } from './places.ts';

/** Bytes of history sorted in memory; what is more goes to files. */
const SORT_BYTES = 32 << 20;

/** A snapshot of the sink, and where it stands in the log. */
export interface SinkMoment {
  readonly snapshot: SinkSnapshot;
  readonly checkpoint: Checkpoint;
  readonly tables: MirroredTables;
}

/**
 * Opens a snapshot of the sink. The caller disposes of it.
 * @throws TidemarkError `VERIFY_SINK` when it stands nowhere that the log could be compared with; what the sink throws
 */
export async function sinkMoment({ sink, log, config, worker }: VerifyParts, tableIds: ReadonlySet<number>, signal: AbortSignal): Promise<SinkMoment> {
  if (sink.snapshot === undefined) throw cannot(config.name, 'a sink of this type cannot be read back');
  if (worker?.isRebuilding === true) throw cannot(config.name, 'the sink is being rebuilt');
  const snapshot = await sink.snapshot(startOf(log, tableIds), signal);
  try {
    const { checkpoint } = snapshot;
    if (checkpoint === null) throw cannot(config.name, 'the sink has no checkpoint: nothing was applied to it yet');
    if (checkpoint.cursor !== null) throw cannot(config.name, 'the sink is being filled');
    const plan = log.plan(checkpoint);
    if (plan.kind === 'diverged') throw cannot(config.name, plan.why);
    if (plan.kind === 'load') throw cannot(config.name, `the sink stands at ${checkpoint.offset}, below the horizon ${plan.horizon}`);
    return { snapshot, checkpoint, tables: new MirroredTables(log.catalog(), checkpoint.offset, config.tables, sink.handsNamesOn) };
  } catch (failure) {
    await snapshot[Symbol.asyncDispose]();
    throw failure;
  }
}

function startOf(log: SourceLog, tableIds: ReadonlySet<number>): SinkStart {
  return { logId: log.state().logId, catalog: Catalog.from(log.catalog().tables().filter(({ tableId }) => tableIds.has(tableId))) };
}

function cannot(sink: string, what: string): TidemarkError {
  return new TidemarkError('VERIFY_SINK', what, { where: { sink } });
}

/** What the source shows, and up to where the log has to be read for it. */
export interface SourceMoment {
  readonly snapshot: SourceSnapshot;
  readonly to: Offset;
  /** As of `to`. */
  readonly catalog: Catalog;
  readonly position: string | null;
}

/** Opens a snapshot of the source and waits until the log has all that it shows. The caller disposes of it. */
export async function sourceMoment({ source, log, config, printPosition }: VerifyParts, tables: readonly TableSchema[], signal: AbortSignal): Promise<SourceMoment> {
  if (source === null) throw new TidemarkError('VERIFY_SOURCE', 'the source cannot be read', { where: { source: config.from } });
  const snapshot = await source.snapshot(tables, signal);
  try {
    const to = await source.passed((position) => snapshot.passedBy(position), signal);
    const { position } = log.state();
    return { snapshot, to, catalog: await log.catalogAt(to, signal), position: position === null ? null : printPosition(position) };
  } catch (failure) {
    await snapshot[Symbol.asyncDispose]();
    throw failure;
  }
}

/** What of the log the snapshot sees. */
export function seenOf({ snapshot, to, catalog }: SourceMoment): SeenSource {
  return { to, sees: (transaction) => snapshot.sees(transaction), gap: catalog.lastGap };
}

export interface RoundRequest {
  readonly tables: readonly TableSchema[];
  readonly against: 'log' | 'source';
  readonly directory: string;
}

/** Some tables at one moment of the sink and one of the source. Owns the snapshots. */
export class Round implements AsyncDisposable {
  readonly sink: SinkMoment;
  readonly source: SourceMoment | null;
  readonly side: LogSide;
  /** Of the log, as it was when the round was opened: knows every shape. */
  readonly catalog: Catalog;
  readonly #opened: AsyncDisposableStack;

  private constructor(sink: SinkMoment, source: SourceMoment | null, side: LogSide, catalog: Catalog, opened: AsyncDisposableStack) {
    this.sink = sink;
    this.source = source;
    this.side = side;
    this.catalog = catalog;
    this.#opened = opened;
  }

  /** @throws TidemarkError as `sinkMoment` and `sourceMoment`; what the log throws */
  static async open(parts: VerifyParts, { tables, against, directory }: RoundRequest, signal: AbortSignal): Promise<Round> {
    const { log, runtime } = parts;
    await using opened = new AsyncDisposableStack();
    const tableIds = new Set(tables.map(({ tableId }) => tableId));
    // The source first: what it shows is then soon at the sink, too.
    const source = against === 'log' ? null : await sourceMoment(parts, tables, signal);
    if (source !== null) opened.use(source.snapshot);
    const sink = await sinkMoment(parts, tableIds, signal);
    opened.use(sink.snapshot);
    const side = opened.use(await LogSide.open(log, {
      moments: { sink: sink.checkpoint.offset, source: source === null ? null : seenOf(source) },
      tables: tableIds, files: runtime.files, directory, memoryBytes: SORT_BYTES, signal,
    }));
    return new Round(sink, source, side, log.catalog(), opened.move());
  }

  /** The shapes in which a table can be compared, and why it cannot. */
  shapesOf(tableId: number): { readonly shapes: Shapes; readonly skipped: Readonly<Record<Sides, string | null>> } {
    const atSink = this.#atSink(tableId);
    const atSource = this.#atSource(tableId);
    return {
      shapes: { sink: typeof atSink === 'string' ? null : atSink, source: typeof atSource === 'string' ? null : atSource },
      skipped: { 'log-sink': typeof atSink === 'string' ? atSink : null, 'source-log': typeof atSource === 'string' ? atSource : null },
    };
  }

  /** Why the table's comparison says nothing after all: it was found out later that the log had lost track of it. */
  voided(log: SourceLog, tableId: number, sides: Sides): string | null {
    const at = sides === 'log-sink' ? this.sink.checkpoint.offset : (this.source?.to ?? 0);
    const ranges = log.catalog().table(tableId)?.consistent ?? [];
    if (ranges.some(({ from, to }) => from <= at && (to === null || to >= at))) return null;
    return stateText(log.catalog(), tableId, at);
  }

  #atSink(tableId: number): TableSchema | string {
    const { offset } = this.sink.checkpoint;
    const table = this.sink.tables.get(tableId);
    if (table === undefined) return `the sink does not have it at offset ${offset}`;
    if (!table.consistent) return stateText(this.catalog, tableId, offset);
    return table.schema;
  }

  #atSource(tableId: number): TableSchema | string {
    if (this.source === null) return 'the source was not asked for';
    const { to, catalog } = this.source;
    const schema = catalog.schema(tableId);
    const table = catalog.table(tableId);
    if (schema === undefined || table === undefined) return `the log does not have it at offset ${to}`;
    const range = table.consistent.find(({ from, to: end }) => from <= to && (end === null || end >= to));
    if (range === undefined) return stateText(catalog, tableId, to);
    if (range.from > this.side.seenTo) return 'a transaction from before the end of its copy is not visible at the source yet (it may wait for a standby)';
    return schema;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }
}

function stateText(catalog: Catalog, tableId: number, at: Offset): string {
  const state = catalog.table(tableId)?.state;
  switch (state?.state) {
    case 'stopped':
      return `it has stopped: ${state.why}`;
    case 'removed':
      return 'it has left the source';
    case 'copying':
      return 'it is being copied';
    case 'new':
      return 'it has not been copied yet';
    case 'consistent':
    case undefined:
      return `it is not consistent at offset ${at}`;
  }
}
