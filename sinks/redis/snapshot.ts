/**
 * The rows of a cache, to verify by. Redis has no snapshots: keys are read one after the other while the sink is written
 * to, so that nothing here is exact, and a difference counts only when it stays.
 */
import type { Catalog } from '../../contracts/catalog.ts';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { Checkpoint } from '../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../contracts/config.ts';
import { asTidemarkError, TidemarkError } from '../../contracts/errors/error.ts';
import { buildKey } from '../../contracts/key.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { SinkStart } from '../../contracts/sink.ts';
import type { SinkSnapshot } from '../../contracts/verify.ts';
import { checkpointOf, lesserProgress, parseCheckpoint, type StoredCheckpoint } from './checkpoint.ts';
import { ownKeys } from './open-store.ts';
import { tableOptionsOf, type RedisOptions } from './options.ts';
import type { Reply } from './resp/reply-reader.ts';
import { accepted, bytesOf } from './server-error.ts';
import { CacheImages, readCommand } from './snapshot-image.ts';
import { Servers, type ServersParts } from './snapshot-servers.ts';
import { layoutOf, type TableLayout } from './table-layout.ts';
import { parseStoredTable } from './table-set.ts';

/** Rows that are asked for at a time. */
const PIECE = 500;

export interface RedisSnapshotParts extends Omit<ServersParts, 'signal'> {
  readonly config: SinkConfig;
  readonly start: SinkStart;
}

interface Fetched {
  readonly keys: readonly Buffer[];
  /** One for each key. */
  readonly replies: readonly Reply[];
}

/** How the rows of one version of a table stand in Redis, and how they are compared. */
interface Shape {
  readonly layout: TableLayout;
  readonly images: CacheImages;
}

export class RedisSnapshot implements SinkSnapshot {
  readonly isExact = false;
  readonly checkpoint: Checkpoint | null;
  readonly #sink: string;
  readonly #config: SinkConfig;
  readonly #options: RedisOptions;
  readonly #catalog: Catalog;
  readonly #servers: Servers;
  readonly #life: AbortController;
  readonly #shapes = new Map<string, Shape>();

  private constructor(parts: RedisSnapshotParts, servers: Servers, life: AbortController, checkpoint: Checkpoint | null) {
    this.#sink = parts.config.name;
    this.#config = parts.config;
    this.#options = parts.options;
    this.#catalog = parts.start.catalog;
    this.#servers = servers;
    this.#life = life;
    this.checkpoint = checkpoint;
  }

  /**
   * @param signal ends the snapshot when it aborts
   * @throws TidemarkError `SINK_FOREIGN`, and what connecting throws
   */
  static async open(parts: RedisSnapshotParts, signal: AbortSignal): Promise<RedisSnapshot> {
    const life = new AbortController();
    signal.addEventListener('abort', () => life.abort(signal.reason), { once: true, signal: life.signal });
    await using stack = new AsyncDisposableStack();
    const { options, discovery, clock } = parts;
    const servers = stack.use(await Servers.open({ options, discovery, clock, signal: life.signal }));
    const stored = await readCheckpoint(servers, options);
    if (stored !== null && stored.logId !== parts.start.logId) {
      throw new TidemarkError('SINK_FOREIGN', `the checkpoint in Redis is of log ${stored.logId}, this is ${parts.start.logId}`);
    }
    stack.move();
    return new RedisSnapshot(parts, servers, life, stored === null ? null : checkpointOf(stored));
  }

  rows(schema: TableSchema, signal: AbortSignal): AsyncGenerator<ChangeBatch, void, void> {
    return this.#read(schema, signal, (layout) => this.#keysOf(layout, signal));
  }

  find(schema: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): AsyncGenerator<ChangeBatch, void, void> {
    return this.#read(schema, signal, async function* given() {
      yield keys.map((key) => Buffer.from(key.buffer, key.byteOffset, key.byteLength));
    });
  }

  async expected(schema: TableSchema, rows: ChangeBatch): Promise<ChangeBatch> {
    return this.#shapeOf(schema).images.expected(rows);
  }

  /** A row that expired, or was evicted where that is accepted, is not wrong. */
  mayLack(schema: TableSchema): boolean {
    return this.#options.acceptEviction || this.#shapeOf(schema).layout.ttlMs !== null;
  }

  /** Null where the template leaves columns of the key out. */
  logKey(schema: TableSchema, key: Uint8Array): Buffer | null {
    const { template } = this.#shapeOf(schema).layout;
    const values = template.match(Buffer.from(key.buffer, key.byteOffset, key.byteLength).subarray(this.#servers.tagLength));
    if (values === null) return null;
    const found = schema.key.map((_, ordinal) => values[template.placeholders.findIndex((placeholder) => placeholder.ordinal === ordinal)]);
    return found.every((value) => value !== undefined) ? buildKey(found) : null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new TidemarkError('ABORTED', 'the snapshot is closed'));
    await this.#servers[Symbol.asyncDispose]();
  }

  async *#read(
    schema: TableSchema, signal: AbortSignal, keysOf: (layout: TableLayout) => AsyncIterable<readonly Buffer[]>,
  ): AsyncGenerator<ChangeBatch, void, void> {
    try {
      const { layout, images } = this.#shapeOf(schema);
      await this.#requireShape(schema, layout);
      for await (const { keys, replies } of this.#fetched(keysOf(layout), readCommand(layout))) {
        signal.throwIfAborted();
        const rows = images.stored(keys, replies);
        if (rows.count > 0) yield rows;
      }
      // A walk over all rows that change their shape may have begun meanwhile.
      await this.#requireShape(schema, layout);
    } catch (error) {
      const where = { sink: this.#sink, table: tableName(schema) };
      if (signal.aborted || this.#life.signal.aborted) throw new TidemarkError('ABORTED', 'the snapshot was given up', { where, cause: error });
      throw asTidemarkError(error, 'INTERNAL', where);
    }
  }

  /** What is under keys, some hundred at a time. The next are asked for while these are looked at. */
  async *#fetched(found: AsyncIterable<readonly Buffer[]>, command: readonly (string | null)[]): AsyncGenerator<Fetched, void, void> {
    let asked: { readonly keys: readonly Buffer[]; readonly replies: Promise<Reply[]> } | null = null;
    for await (const some of found) {
      for (let at = 0; at < some.length; at += PIECE) {
        const keys = some.slice(at, at + PIECE);
        const replies = this.#servers.read(keys, command);
        // Nobody asks for it when the loop is left.
        replies.catch(() => undefined);
        if (asked !== null) yield { keys: asked.keys, replies: await asked.replies };
        asked = { keys, replies };
      }
    }
    if (asked !== null) yield { keys: asked.keys, replies: await asked.replies };
  }

  /** The table's keys, in pieces. Some may come twice. */
  async *#keysOf({ template, index }: TableLayout, signal: AbortSignal): AsyncGenerator<readonly Buffer[], void, void> {
    const servers = this.#servers;
    const found = index === null ? servers.scan(template.prefix, signal) : servers.members(index, signal);
    for await (const keys of found) yield keys.filter((key) => template.match(key.subarray(servers.tagLength)) !== null);
  }

  /** Rows are as this version of the table has them. @throws TidemarkError `VERIFY_TABLE` */
  async #requireShape(schema: TableSchema, layout: TableLayout): Promise<void> {
    const where = { sink: this.#sink, table: tableName(schema) };
    const keys = ownKeys(this.#options.prefix);
    const [rebuild = null] = await this.#servers.read([Buffer.from(keys.checkpoint, 'utf8')], ['HGET', null, 'rebuild']);
    if (accepted(rebuild, 'Redis') !== null) throw new TidemarkError('VERIFY_TABLE', 'the sink is being rebuilt: rows of before are still there', { where });
    const [reply = null] = await this.#servers.read([Buffer.from(keys.tables, 'utf8')], ['HGET', null, String(schema.tableId)]);
    const text = accepted(reply, 'Redis');
    const stored = text === null ? null : parseStoredTable(bytesOf(text, 'Redis'));
    if (stored === null) throw new TidemarkError('VERIFY_TABLE', 'the sink does not have the table yet', { where });
    if (stored.version !== schema.version) {
      throw new TidemarkError('VERIFY_TABLE', `the rows are as version ${stored.version} of the table has them, and version ${schema.version} was asked for`, { where });
    }
    if (stored.fingerprint !== layout.fingerprint) {
      throw new TidemarkError('VERIFY_TABLE', 'the rows were written under another configuration', {
        where, retry: 'operator', remedy: 'Let the hub open the sink: it is then rebuilt as it is configured now.',
      });
    }
  }

  #shapeOf(schema: TableSchema): Shape {
    const name = `${schema.tableId}/${schema.version}`;
    let shape = this.#shapes.get(name);
    if (shape === undefined) {
      const known = this.#catalog.table(schema.tableId)?.versions.map((version) => version.schema) ?? [];
      const versions = known.some(({ version }) => version === schema.version) ? known : [...known, schema];
      const layout = layoutOf(schema, versions, tableOptionsOf(this.#config, schema), this.#options.prefix);
      shape = { layout, images: new CacheImages(layout, (key) => this.#servers.placed(key)) };
      this.#shapes.set(name, shape);
    }
    return shape;
  }
}

/** What all parts of the sink have applied at least; null: there is no checkpoint. */
async function readCheckpoint(servers: Servers, { prefix }: RedisOptions): Promise<StoredCheckpoint | null> {
  const keys = servers.ownKeys((tag) => ownKeys(prefix, tag).checkpoint).map((key) => Buffer.from(key, 'utf8'));
  const [control = null, ...others] = (await servers.read(keys, ['HGETALL', null])).map((reply) => parseCheckpoint(reply, 'Redis'));
  if (control === null) return null;
  let { applied } = control;
  for (const other of others) {
    const own = other?.applied ?? null;
    applied = own === null || applied === null ? null : lesserProgress(applied, own);
  }
  return { ...control, applied };
}
