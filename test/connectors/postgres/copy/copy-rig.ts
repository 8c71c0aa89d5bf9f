import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectorModule } from '../../../../contracts/config.ts';
import type { CopiedChunk, CopyPlan, SourceConnector, TableCopier } from '../../../../contracts/connector.ts';
import type { SourceConfig } from '../../../../contracts/config.ts';
import { decodeControl, type Control } from '../../../../contracts/control.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { Projector } from '../../../../contracts/projection.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { PLACEHOLDER, readImage } from '../../../../contracts/row-image.ts';
import type { Runtime } from '../../../../contracts/runtime.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import { PostgresConnector } from '../../../../connectors/postgres/connector.ts';
import { formatTidRange, parseTidRange, type TidRange } from '../../../../connectors/postgres/copy/ranges.ts';
import { postgresConnector } from '../../../../connectors/postgres/index.ts';
import { Hub } from '../../../../hub/hub.ts';
import type { PostgresServer, Session } from '../../../fixtures/embedded-postgres.ts';
import { createTestRuntime, type TestRuntime } from '../../../fixtures/runtime.ts';
import { testConfig, testSource } from '../../../fixtures/test-hub.ts';
import { quotedName, sameAsServer } from '../server-rows.ts';

/** What a test does around the copier of the hub. */
export interface CopyHooks {
  /** Ranges are cut to so many pages. */
  readonly pages?: number;
  /** Before a chunk's snapshot is taken; the count begins at 1. */
  beforeChunk?(count: number, plan: CopyPlan, signal: AbortSignal): Promise<void>;
  /** When its rows have been read. */
  afterChunk?(count: number, plan: CopyPlan): Promise<void>;
  afterPlan?(): Promise<void>;
  /** Rows of the repair set are read. */
  beforeRows?(keys: number): void;
}

class HookedCopier implements TableCopier {
  readonly #inner: TableCopier;
  readonly #hooks: CopyHooks;
  #chunks = 0;

  constructor(inner: TableCopier, hooks: CopyHooks) {
    this.#inner = inner;
    this.#hooks = hooks;
  }

  get waitingFor(): string {
    return this.#inner.waitingFor ?? '';
  }

  async plan(table: TableSchema, resume: { copyState: string; done: readonly string[] } | null, signal: AbortSignal): Promise<CopyPlan> {
    const plan = await this.#inner.plan(table, resume, signal);
    await this.#hooks.afterPlan?.();
    const { pages } = this.#hooks;
    return pages === undefined ? plan : { ...plan, ranges: plan.ranges.flatMap((range) => cut(range, pages)) };
  }

  async chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    const count = ++this.#chunks;
    await this.#hooks.beforeChunk?.(count, plan, signal);
    const chunk = await this.#inner.chunk(plan, range, signal);
    await this.#hooks.afterChunk?.(count, plan);
    return chunk;
  }

  rows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): Promise<CopiedChunk> {
    this.#hooks.beforeRows?.(keys.length);
    return this.#inner.rows(table, keys, signal);
  }
}

/** Twelve pieces and an open end; enough for the tables of these tests. */
function cut(range: string, pages: number): string[] {
  const tids = parseTidRange(range);
  if (tids === null) return [range];
  const pieces: TidRange[] = [];
  let { from } = tids;
  for (let piece = 1; piece <= 12; piece++) {
    const to = { page: tids.from.page + piece * pages, item: 0 };
    if (tids.to !== null && to.page >= tids.to.page) break;
    pieces.push({ leaf: tids.leaf, from, to });
    from = to;
  }
  pieces.push({ leaf: tids.leaf, from, to: tids.to });
  return pieces.map(formatTidRange);
}

class HookedConnector extends PostgresConnector {
  readonly #hooks: CopyHooks;
  #hooked: HookedCopier | null = null;

  constructor(config: SourceConfig, runtime: Runtime, hooks: CopyHooks) {
    super(config, runtime);
    this.#hooks = hooks;
  }

  override copier(): TableCopier {
    this.#hooked ??= new HookedCopier(super.copier(), this.#hooks);
    return this.#hooked;
  }
}

/** A row of the fold: cells as the server prints them. */
export type FoldedRow = readonly (string | null)[];

export class CopyRig implements AsyncDisposable {
  readonly hub: Hub;
  readonly log: SourceLog;
  readonly runtime: TestRuntime;
  readonly #server: PostgresServer;
  readonly #database: string;

  private constructor(hub: Hub, log: SourceLog, runtime: TestRuntime, server: PostgresServer, database: string) {
    this.hub = hub;
    this.log = log;
    this.runtime = runtime;
    this.#server = server;
    this.#database = database;
  }

  /** A hub with one source and no sink. @param data a folder that outlives it */
  static async start(
    server: PostgresServer,
    database: string,
    data: string,
    hooks: CopyHooks = {},
    source: Partial<SourceConfig> = {},
  ): Promise<CopyRig> {
    const connector: ConnectorModule<SourceConnector> = {
      ...postgresConnector,
      create: (config, runtime) => new HookedConnector(config, runtime, hooks),
    };
    const runtime = createTestRuntime();
    const options = { slot: `slot_${database}`, publication: `publication_${database}`, ...source.options };
    const config = testConfig(data, testSource(server.url(database), { ...source, options }), []);
    const hub = await Hub.start(config, runtime, { registry: { connectors: [connector], sinks: [] } });
    return new CopyRig(hub, await hub.engine.open('shop', { create: false }), runtime, server, database);
  }

  session(): Promise<Session> {
    return this.#server.connect(this.#database);
  }

  query<R extends object = Record<string, unknown>>(sql: string): Promise<R[]> {
    return this.#server.query<R>(sql, [], this.#database);
  }

  /** Waits until `ready`, or says how the hub's log ends. */
  async until(what: string, ready: () => boolean | Promise<boolean>): Promise<void> {
    const limit = Date.now() + 40_000;
    while (!(await ready())) {
      if (Date.now() > limit) throw new Error(`not in time: ${what}; the hub says ${JSON.stringify(this.runtime.lines.slice(-8))}`);
      await delay(10);
    }
  }

  state(table: string): string {
    return this.log.catalog().byName(table)?.state.state ?? 'none';
  }

  async consistent(...tables: string[]): Promise<void> {
    await this.until(`${tables.join()} consistent`, () => tables.every((table) => this.state(table) === 'consistent'));
  }

  /** Everything that is committed now is in the log. */
  async caughtUp(): Promise<void> {
    const [row] = await this.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
    await this.query(`SELECT pg_logical_emit_message(true, 'test', 'caught up')`);
    const position = this.log.state().position;
    if (row === undefined || position === null) throw new Error('no position');
    const connector = new PostgresConnector(testSource(this.#server.url(this.#database)), this.runtime);
    const target = connector.positions.parse(`lsn:${row.lsn}`, position);
    await this.until('the log has it', () => {
      const now = this.log.state().position;
      return now !== null && connector.positions.compare(now, target) >= 0;
    });
    await connector[Symbol.asyncDispose]();
  }

  /** The table's rows as of the log's end, in its newest shape, sorted. */
  async fold(table: string): Promise<FoldedRow[]> {
    const catalog = this.log.catalog();
    const found = catalog.byName(table);
    if (found === undefined) throw new Error(`the log has no ${table}`);
    const newest = catalog.schema(found.tableId);
    if (newest === undefined) throw new Error('no schema');
    const rows = new Map<string, FoldedRow>();
    const bag: FoldedRow[] = [];
    for await (const view of this.records()) {
      if (view.tableId !== found.tableId || (view.flags & Flag.notApplied) !== 0) continue;
      if (view.op === Op.truncate) {
        rows.clear();
        bag.length = 0;
      }
      if (!isRowOp(view.op)) continue;
      const project = (start: number, end: number) => {
        const projector = new Projector(catalog.schemaOf(found.tableId, view.schemaVersion), newest);
        return cellsOf(projector.image(view.bytes, start, end));
      };
      if (newest.keyKind === 'none') {
        if (view.op === Op.delete || view.op === Op.update) remove(bag, project(view.beforeStart, view.beforeEnd));
        if (view.op !== Op.delete) bag.push(project(view.afterStart, view.afterEnd));
      } else if (view.op === Op.delete) rows.delete(view.key().toString('hex'));
      else rows.set(view.key().toString('hex'), project(view.afterStart, view.afterEnd));
    }
    return [...rows.values(), ...bag].toSorted(byText);
  }

  /** Every record of the log; the view is valid until the next one. */
  async *records(): AsyncGenerator<RecordView & { offset: number }, void, void> {
    const view = Object.assign(new RecordView(), { offset: 0 });
    const to = this.log.state().highWatermark;
    for await (const batch of this.log.read({ after: 0, to, follow: false, signal: new AbortController().signal })) {
      for (view.reset(batch.records); view.next(); ) {
        view.offset = batch.baseOffset + view.index;
        yield view;
      }
    }
  }

  async controls(table: string): Promise<Control[]> {
    const tableId = this.log.catalog().byName(table)?.tableId;
    const controls: Control[] = [];
    for await (const view of this.records()) if (view.op === Op.control && view.tableId === tableId) controls.push(decodeControl(view.after()));
    return controls;
  }

  /** The table at the server, in the same form as {@link fold}. */
  async atServer(table: string, columns: readonly string[]): Promise<FoldedRow[]> {
    await using session = await this.session();
    await sameAsServer(session);
    const list = columns.map((column) => `(${quotedName(column)})::text`).join(', ');
    const { rows } = await session.query<(string | null)[]>({ text: `SELECT ${list} FROM ${table}`, rowMode: 'array' });
    return rows.toSorted(byText);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hub[Symbol.asyncDispose]();
  }
}

function cellsOf(image: Buffer): FoldedRow {
  return readImage(image).map((cell) => {
    if (cell === PLACEHOLDER) throw new Error('a placeholder in an applied record');
    if (cell === null || typeof cell === 'string') return cell;
    return `\\x${Buffer.from(cell).toString('hex')}`;
  });
}

function remove(bag: FoldedRow[], row: FoldedRow): void {
  const index = bag.findIndex((other) => JSON.stringify(other) === JSON.stringify(row));
  if (index < 0) throw new Error('a row is deleted that is not there');
  bag.splice(index, 1);
}

function byText(a: FoldedRow, b: FoldedRow): number {
  const [x, y] = [JSON.stringify(a), JSON.stringify(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}
