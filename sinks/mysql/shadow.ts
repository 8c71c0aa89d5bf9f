/** A rebuild in a database of its own beside what is served, swapped by one statement. */
import type { SinkConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { ShadowRebuild, Swap, SwapProgress } from '../../contracts/rebuild.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { Sink, SinkStart, TableSelector } from '../../contracts/sink.ts';
import { printedName, targetName } from '../relational/names.ts';
import { shadowNames, type ShadowNames, shadowRules } from '../relational/shadow-names.ts';
import { ShadowSink } from '../relational/shadow-sink.ts';
import type { Watchdog } from '../relational/watchdog.ts';
import { checkReplica } from './check.ts';
import { checkpointTable, mirroredTable, readCheckpoint } from './checkpoint-table.ts';
import { sinkError } from './errors.ts';
import { hasOwnTables } from './opening.ts';
import type { MysqlSinkOptions } from './options.ts';
import { Registry } from './registry.ts';
import { readReplicaTable } from './replica-table.ts';
import { readServer } from './server.ts';
import type { Session } from './session.ts';
import { servedTarget, type SinkTarget, targetAt } from './sink-target.ts';
import { quoteName, quoteText } from './sql.ts';
import { swapShadow } from './swap.ts';

export interface MysqlShadowParts {
  readonly config: SinkConfig;
  /** Of this process, as in the checkpoint of the sink. */
  readonly owner: string;
  /** A sink of the same kind for other tables. */
  readonly sinkOf: (config: SinkConfig, target: SinkTarget) => Sink;
  readonly options: () => Promise<MysqlSinkOptions>;
  /** Of sessions that `open` answers; the caller disposes it. */
  readonly watchdog: () => Promise<Watchdog<Session>>;
  /** A session; the caller disposes it. */
  readonly open: (watchdog: Watchdog<Session>, signal: AbortSignal) => Promise<Session>;
}

export class MysqlShadow implements ShadowRebuild {
  readonly #parts: MysqlShadowParts;
  readonly #names: ShadowNames;

  constructor(parts: MysqlShadowParts) {
    this.#parts = parts;
    this.#names = shadowNames(parts.config.name);
  }

  check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
    return this.#session(signal, async (session, options) => {
      const target = await this.#served(session);
      const findings = await checkReplica({ session, options, target }, tables);
      const errors = findings.filter(({ severity }) => severity === 'error');
      const inTheWay: Finding[] = [];
      for (const schema of tables) {
        for (const what of await obstacles(session, options.ownDatabase, schema, target)) {
          inTheWay.push({ severity: 'error', code: 'rebuild-in-the-way', what, remedy: 'Drop it, and make it again after the rebuild.', table: tableName(schema) });
        }
      }
      return [...errors, ...inTheWay];
    });
  }

  open(selects: TableSelector): Sink {
    const { config, sinkOf } = this.#parts;
    const { unfit } = servedTarget(config);
    const target: SinkTarget = { sink: this.#names.checkpoint, names: shadowRules(this.#names), unfit };
    return new ShadowSink(sinkOf({ ...config, tables: selects }, target), (start, signal) => this.#clear(start, signal));
  }

  async finish(_tables: readonly TableSchema[], _onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<void> {
    // Indexes are made in the swap's own call, before anything is taken over.
    signal.throwIfAborted();
    return Promise.resolve();
  }

  swap(request: Swap, signal: AbortSignal): Promise<void> {
    const { owner } = this.#parts;
    return this.#session(signal, async (session, options) => {
      const target = await this.#served(session);
      for (const schema of request.tables) {
        const [first] = await obstacles(session, options.ownDatabase, schema, target);
        if (first !== undefined) throw new TidemarkError('REBUILD_IN_THE_WAY', first, { where: { table: tableName(schema) } });
      }
      await swapShadow({ session, ownDatabase: options.ownDatabase, lockTimeoutMs: options.lockTimeoutMs, names: this.#names, target, owner }, request);
      await discardShadow(session, options.ownDatabase, this.#names);
    });
  }

  discard(signal: AbortSignal): Promise<void> {
    return this.#session(signal, (session, options) => discardShadow(session, options.ownDatabase, this.#names));
  }

  /** One of another log is not gone on with. */
  #clear(start: SinkStart, signal: AbortSignal): Promise<void> {
    return this.#session(signal, async (session, { ownDatabase }) => {
      const stored = (await hasOwnTables(session, ownDatabase)) ? await readCheckpoint(session, ownDatabase, this.#names.checkpoint, false) : null;
      if (stored?.logId !== start.logId) await discardShadow(session, ownDatabase, this.#names);
    });
  }

  async #served(session: Session): Promise<SinkTarget> {
    return targetAt(await readServer(session), servedTarget(this.#parts.config));
  }

  async #session<T>(signal: AbortSignal, work: (session: Session, options: MysqlSinkOptions) => Promise<T>): Promise<T> {
    const { config } = this.#parts;
    try {
      const options = await this.#parts.options();
      using watchdog = await this.#parts.watchdog();
      await using session = await this.#parts.open(watchdog, signal);
      return await session.within(signal, () => work(session, options)).catch((error: unknown) => {
        throw session.lost ?? error;
      });
    } catch (error) {
      throw sinkError(error, { sink: config.name });
    }
  }
}

/** The checkpoint goes first: a shadow without one is only ever removed. */
async function discardShadow(session: Session, ownDatabase: string, names: ShadowNames): Promise<void> {
  if (await hasOwnTables(session, ownDatabase)) {
    await session.run(`DELETE FROM ${checkpointTable(ownDatabase)} WHERE sink = ${quoteText(names.checkpoint)}`);
    await session.run(`DELETE FROM ${mirroredTable(ownDatabase)} WHERE sink = ${quoteText(names.checkpoint)}`);
  }
  await session.run(`DROP DATABASE IF EXISTS ${quoteName(names.schema)}`);
}

/** What of the served table would not outlive its replacement by another one. Views and grants go by names, and do. */
async function obstacles(session: Session, ownDatabase: string, schema: TableSchema, target: SinkTarget): Promise<string[]> {
  const name = targetName(target.names, schema);
  const table = await readReplicaTable(session, name);
  if (table === null) return [];
  const [database, plain, printed] = [quoteText(name.schema), quoteText(name.name), printedName(name)];
  const found: string[] = [];
  for (const row of await session.rows(`SELECT TRIGGER_NAME AS name FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ${database} AND EVENT_OBJECT_TABLE = ${plain}`)) {
    found.push(`the trigger ${row['name']} of ${printed}`);
  }
  const keys = await session.rows(
    `SELECT CONSTRAINT_NAME AS name, TABLE_SCHEMA AS own_schema, TABLE_NAME AS own FROM information_schema.KEY_COLUMN_USAGE
      WHERE REFERENCED_TABLE_NAME IS NOT NULL AND ((TABLE_SCHEMA = ${database} AND TABLE_NAME = ${plain}) OR (REFERENCED_TABLE_SCHEMA = ${database} AND REFERENCED_TABLE_NAME = ${plain})) GROUP BY 1, 2, 3`,
  );
  for (const row of keys) found.push(`the foreign key ${row['name']} of ${row['own_schema']}.${row['own']}, at ${printed}`);
  const mirrored = new Set(schema.columns.map((column) => column.name.toLowerCase()));
  // Columns that the source has had, by whatever name the table goes.
  const known = (await hasOwnTables(session, ownDatabase)) ? await new Registry(session, ownDatabase).at(name) : null;
  const recorded = new Set(known?.shape.columns.map((column) => column.name.toLowerCase()));
  for (const column of table.columns) {
    if (column.generated) found.push(`the column ${column.name} of ${printed}, which the replica computes`);
    else if (!mirrored.has(column.name.toLowerCase()) && !recorded.has(column.name.toLowerCase())) found.push(`the column ${column.name} of ${printed}, which is not the source's`);
  }
  const [parts] = await session.rows(`SELECT COUNT(*) AS parts FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = ${database} AND TABLE_NAME = ${plain} AND PARTITION_NAME IS NOT NULL`);
  if (parts?.['parts'] !== '0') found.push(`the partitions of ${printed}`);
  return found;
}
