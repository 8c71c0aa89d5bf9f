import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { SinkConfig } from '../../../contracts/config.ts';
import type { Sink, SinkBatch, TableSelector } from '../../../contracts/sink.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { selectTables } from '../../config/table-patterns.ts';
import { baseBatches } from './base-batches.ts';
import type { DeliveryStart } from './delivery-plan.ts';
import { Fold, type FoldStart } from './fold.ts';
import { MirroredTables } from './mirrored-tables.ts';

const VERSION = 2;
const JOIN_BYTES = 8 << 20;

/** Selections that are remembered: as far back as a sink is expected to go. */
const MOST_SELECTIONS = 16;

/** Where a sink stands as it is opened. */
type Place = Pick<DeliveryStart, 'after' | 'fence'>;

/** What a sink was given from an offset of its checkpoint on. */
interface Selection {
  readonly since: Offset;
  /** Of the opening that gave it: a sink at the same offset with a lower one is from before. */
  readonly fence: number;
  readonly patterns: readonly string[];
}

/**
 * Which tables a sink has been given, kept in the hub as the patterns in force. When the configuration selects more
 * tables than before, the new ones join at the sink's own checkpoint: their history up to there is replayed while the
 * checkpoint stands still. Interrupted, a join begins again from nothing. A sink that went back to before a join (a backup,
 * a failover) has not got it: what counts is the selection that was in force at its checkpoint.
 */
export class SinkTables {
  readonly #files: FileSystem;
  readonly #path: string;
  readonly #config: SinkConfig;

  /** @param path absolute, of a file that need not exist */
  constructor(files: FileSystem, path: string, config: SinkConfig) {
    this.#files = files;
    this.#path = path;
    this.#config = config;
  }

  /**
   * Null when the sink has been given what the configuration selects; else `joins` selects the tables that it lacks.
   */
  async change({ after, fence }: Place): Promise<{ readonly joins: TableSelector | null } | null> {
    const selections = await this.#read();
    const last = selections.at(-1);
    if (last === undefined) return { joins: null };
    const inForce = selections.findLast((one) => one.since < after || (one.since === after && one.fence < fence)) ?? selections[0] ?? last;
    const { tables, tablePatterns } = this.#config;
    const isSame = JSON.stringify(inForce.patterns) === JSON.stringify(tablePatterns);
    if (isSame) return inForce === last ? null : { joins: null };
    const before = selectTables(inForce.patterns);
    return { joins: (table) => tables(table) && !before(table) };
  }

  /** The sink has been given everything that the configuration selects. Durable when it resolves. */
  async settled({ after, fence }: Place): Promise<void> {
    const selections = await this.#read();
    const kept = selections.filter(({ since }) => since < after).slice(1 - MOST_SELECTIONS);
    const isFirst = selections.length === 0;
    const now: Selection = { since: isFirst ? 0 : after, fence: isFirst ? 0 : fence, patterns: this.#config.tablePatterns };
    const content = JSON.stringify({ version: VERSION, selections: [...kept, now] });
    await this.#files.replace(this.#path, Buffer.from(content, 'utf8'));
  }

  /** In the order of their offsets; none when the sink was never given any. */
  async #read(): Promise<Selection[]> {
    return (await this.#files.exists(this.#path)) ? decode(await this.#files.readFile(this.#path), this.#path) : [];
  }
}

export interface Joining {
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly joins: TableSelector;
  /** Applies a batch that leaves the checkpoint where it is; resolves when it is durable. */
  readonly apply: (batch: SinkBatch) => Promise<void>;
}

/** The name of the lease that keeps the horizon from passing a sink while it is filled. */
export function leaseOf(sink: string): string {
  return `sink:${sink}`;
}

/**
 * Replays the tables that `joins` selects from the log's start to where the sink stands. Its checkpoint does not move.
 * @throws TidemarkError what `apply` or the log throws
 */
export async function joinTables({ sink, log, joins, apply }: Joining, at: FoldStart, signal: AbortSignal): Promise<void> {
  if (at.after === 0) return;
  await using base = await log.openBase();
  const horizon = base?.horizon ?? 0;
  const beginning: FoldStart = { after: horizon, position: new Uint8Array(0), commitTime: 0 };
  const maxKeys = sink.limits?.maxKeys ?? 50_000;
  const tables = new MirroredTables(log.catalog(), horizon, joins, sink.handsNamesOn);
  const fold = new Fold(tables, { wholeTransactions: false, maxKeys, maxBytes: JOIN_BYTES }, beginning);
  // What the base has of a table empties it first.
  const emptied = new Set(tables.schemas().map(({ tableId }) => tableId));
  const take = async (): Promise<void> => {
    const batch = emptiedFirst(fold.take((offset) => log.epochAt(offset)), emptied);
    if (batch.steps.length > 0) await apply(standingAt(batch, at, log));
  };
  for await (const { steps, records, bytes } of base === null ? [] : baseBatches(base, tables, { maxKeys, maxBytes: JOIN_BYTES, empties: true }, signal)) {
    await apply(standingAt({ ...NOTHING, steps, records, bytes }, at, log));
  }
  for await (const batch of log.read({ after: horizon, to: at.after, follow: false, signal })) {
    fold.feed(batch);
    while (!fold.run()) await take();
  }
  await take();
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

function decode(bytes: Buffer, path: string): Selection[] {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new TidemarkError('SINK_TABLES_FILE', 'the file is not JSON', { where: { file: path }, cause });
  }
  if (typeof value !== 'object' || value === null || !('version' in value) || value.version !== VERSION || !('selections' in value) || !Array.isArray(value.selections)) {
    throw new TidemarkError('SINK_TABLES_FILE', 'the file is not of this version', { where: { file: path } });
  }
  const selections: readonly unknown[] = value.selections;
  if (!selections.every(isSelection)) throw new TidemarkError('SINK_TABLES_FILE', 'a selection lacks a field', { where: { file: path } });
  return [...selections];
}

function isSelection(value: unknown): value is Selection {
  if (typeof value !== 'object' || value === null) return false;
  const { since, fence, patterns } = value as Partial<Record<keyof Selection, unknown>>;
  return typeof since === 'number' && typeof fence === 'number' && Array.isArray(patterns) && patterns.every((pattern) => typeof pattern === 'string');
}
