import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { SinkConfig } from '../../../contracts/config.ts';
import type { Sink, SinkBatch, TableSelector } from '../../../contracts/sink.ts';
import { selectTables } from '../../config/table-patterns.ts';
import { Fold, type FoldStart } from './fold.ts';
import { MirroredTables } from './mirrored-tables.ts';

const VERSION = 1;
const JOIN_BYTES = 8 << 20;

/**
 * Which tables a sink has been given, kept in the hub as the patterns in force. When the configuration selects more
 * tables than before, the new ones join at the sink's own checkpoint: their history up to there is replayed while the
 * checkpoint stands still. Interrupted, a join begins again from nothing.
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

  /** Null when the selection is the one that was last settled; else `joins` selects the tables that the sink lacks. */
  async change(): Promise<{ readonly joins: TableSelector | null } | null> {
    if (!(await this.#files.exists(this.#path))) return { joins: null };
    const patterns = decode(await this.#files.readFile(this.#path), this.#path);
    const { tables, tablePatterns } = this.#config;
    if (JSON.stringify(patterns) === JSON.stringify(tablePatterns)) return null;
    const before = selectTables(patterns);
    return { joins: (table) => tables(table) && !before(table) };
  }

  /** The sink has been given everything that the configuration selects. Durable when it resolves. */
  async settled(): Promise<void> {
    const content = JSON.stringify({ version: VERSION, patterns: this.#config.tablePatterns });
    await this.#files.replace(this.#path, Buffer.from(content, 'utf8'));
  }
}

export interface Joining {
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly joins: TableSelector;
  /** Applies a batch that leaves the checkpoint where it is; resolves when it is durable. */
  readonly apply: (batch: SinkBatch) => Promise<void>;
}

/**
 * Replays the tables that `joins` selects from the log's start to where the sink stands. Its checkpoint does not move.
 * @throws TidemarkError what `apply` or the log throws
 */
export async function joinTables({ sink, log, joins, apply }: Joining, at: FoldStart, signal: AbortSignal): Promise<void> {
  const beginning: FoldStart = { after: 0, position: new Uint8Array(0), commitTime: 0 };
  const maxKeys = sink.limits?.maxKeys ?? 50_000;
  const tables = new MirroredTables(log.catalog(), 0, joins, sink.handsNamesOn);
  const fold = new Fold(tables, { wholeTransactions: false, maxKeys, maxBytes: JOIN_BYTES }, beginning);
  const emptied = new Set<number>();
  const take = async (): Promise<void> => {
    const batch = emptiedFirst(fold.take((offset) => log.epochAt(offset)), emptied);
    if (batch.steps.length > 0) await apply(fixedAt(batch, at, log));
  };
  if (at.after === 0) return;
  for await (const batch of log.read({ after: 0, to: at.after, follow: false, signal })) {
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

function fixedAt(batch: SinkBatch, { after, position, commitTime }: FoldStart, log: SourceLog): SinkBatch {
  return { ...batch, after, to: after, endsOpen: false, position, commitTime, epoch: log.epochAt(after) };
}

function decode(bytes: Buffer, path: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new TidemarkError('SINK_TABLES_FILE', 'the file is not JSON', { where: { file: path }, cause });
  }
  if (typeof value !== 'object' || value === null || !('version' in value) || value.version !== VERSION || !('patterns' in value) || !Array.isArray(value.patterns)) {
    throw new TidemarkError('SINK_TABLES_FILE', 'the file is not of this version', { where: { file: path } });
  }
  return value.patterns.map(String);
}

