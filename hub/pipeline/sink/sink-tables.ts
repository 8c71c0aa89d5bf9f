import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';
import type { SinkConfig } from '../../../contracts/config.ts';
import type { TableSelector } from '../../../contracts/sink.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { selectTables } from '../../config/table-patterns.ts';
import type { DeliveryStart } from './delivery-plan.ts';

const VERSION = 2;

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
 * checkpoint stands still (`join.ts`). A sink that went back to before a join (a backup,
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
   * Null when the sink has been given what the configuration selects; else `joins` selects the tables that it lacks, and
   * `change` tells one such change from another.
   */
  async change({ after, fence }: Place): Promise<{ readonly joins: TableSelector | null; readonly change: string } | null> {
    const selections = await this.#read();
    const last = selections.at(-1);
    if (last === undefined) return { joins: null, change: '' };
    const inForce = selections.findLast((one) => one.since < after || (one.since === after && one.fence < fence)) ?? selections[0] ?? last;
    const { tables, tablePatterns } = this.#config;
    const isSame = JSON.stringify(inForce.patterns) === JSON.stringify(tablePatterns);
    if (isSame) return inForce === last ? null : { joins: null, change: '' };
    const before = selectTables(inForce.patterns);
    return { joins: (table) => tables(table) && !before(table), change: JSON.stringify([inForce.patterns, tablePatterns]) };
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

/** The name of the lease that keeps the horizon from passing a sink while it is filled. */
export function leaseOf(sink: string): string {
  return `sink:${sink}`;
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
