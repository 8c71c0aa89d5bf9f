import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectorModule, SourceConfig } from '../../../../contracts/config.ts';
import type { CopiedChunk, CopyPlan, SourceConnector, TableCopier } from '../../../../contracts/connector.ts';
import { decodeControl, type Control } from '../../../../contracts/control.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { Projector } from '../../../../contracts/projection.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { PLACEHOLDER, readImage } from '../../../../contracts/row-image.ts';
import type { Runtime } from '../../../../contracts/runtime.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import { MysqlConnector } from '../../../../connectors/mysql/connector.ts';
import { mysqlConnector } from '../../../../connectors/mysql/index.ts';
import { encodePlace, mysqlPositions } from '../../../../connectors/mysql/position.ts';
import { boundTexts, formatCopyState, parseCopyState, plannedRanges } from '../../../../connectors/mysql/copy/copy-state.ts';
import { formatKeyRange } from '../../../../connectors/mysql/copy/key-ranges.ts';
import { Hub } from '../../../../hub/hub.ts';
import type { MysqlServer } from '../../../fixtures/mysql.ts';
import { createTestRuntime, type TestRuntime } from '../../../fixtures/runtime.ts';
import { testConfig } from '../../../fixtures/test-hub.ts';
import { mysqlSource } from '../mysql-source.ts';
import { endOf } from './copying.ts';

/** What a test does around the copier of the hub. */
export interface CopyHooks {
  /** Where tables with a key are divided: values of its first column, in the server's order, as it prints them. */
  readonly bounds?: readonly string[];
  /** Before a chunk's snapshot is taken; the count begins at 1. */
  beforeChunk?(count: number, plan: CopyPlan, signal: AbortSignal): Promise<void>;
  /** When its rows have been read. */
  afterChunk?(count: number, plan: CopyPlan): Promise<void>;
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
    const { bounds } = this.#hooks;
    if (bounds === undefined || resume !== null || plan.whole) return plan;
    const state = { ...parseCopyState(plan.copyState), bounds: boundTexts(bounds.map((bound) => [Buffer.from(bound)])) };
    return { ...plan, estimatedBytes: 1 << 20, copyState: formatCopyState(state), ranges: plannedRanges(state).map(formatKeyRange) };
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

class HookedConnector extends MysqlConnector {
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

/** A hub with one source, the database `shop` of a server, and no sink. */
export class CopyRig implements AsyncDisposable {
  readonly hub: Hub;
  readonly log: SourceLog;
  readonly runtime: TestRuntime;
  readonly #server: MysqlServer;

  private constructor(hub: Hub, log: SourceLog, runtime: TestRuntime, server: MysqlServer) {
    this.hub = hub;
    this.log = log;
    this.runtime = runtime;
    this.#server = server;
  }

  /** @param data a folder that outlives it */
  static async start(server: MysqlServer, data: string, hooks: CopyHooks = {}, source: Partial<SourceConfig> = {}): Promise<CopyRig> {
    const connector: ConnectorModule<SourceConnector> = { ...mysqlConnector, create: (config, runtime) => new HookedConnector(config, runtime, hooks) };
    const runtime = createTestRuntime({ seed: Date.now() });
    const config = testConfig(data, mysqlSource(server.url('shop'), source), []);
    const hub = await Hub.start(config, runtime, { registry: { connectors: [connector], sinks: [] } });
    return new CopyRig(hub, await hub.engine.open('shop', { create: false }), runtime, server);
  }

  /** Waits until `ready`, or says how the hub's log ends. */
  async until(what: string, ready: () => boolean | Promise<boolean>): Promise<void> {
    const limit = Date.now() + 45_000;
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
    const end = encodePlace(await endOf(this.#server));
    await this.until('the log has it', () => {
      const { position } = this.log.state();
      return position !== null && mysqlPositions.compare(position, end) >= 0;
    });
  }

  /** The table's rows as of the log's end, in its newest shape, sorted. */
  async fold(table: string): Promise<FoldedRow[]> {
    const catalog = this.log.catalog();
    const found = catalog.byName(table);
    const newest = found === undefined ? undefined : catalog.schema(found.tableId);
    if (found === undefined || newest === undefined) throw new Error(`the log has no ${table}`);
    const rows = new Map<string, FoldedRow>();
    const bag: FoldedRow[] = [];
    for await (const view of this.records()) {
      if (view.tableId !== found.tableId || (view.flags & Flag.notApplied) !== 0) continue;
      if (view.op === Op.truncate) {
        rows.clear();
        bag.length = 0;
      }
      if (!isRowOp(view.op)) continue;
      const project = (start: number, end: number) => cellsOf(new Projector(catalog.schemaOf(found.tableId, view.schemaVersion), newest).image(view.bytes, start, end));
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
    const rows = await this.#server.query(`SELECT ${columns.join(', ')} FROM ${table}`, 'shop');
    return rows.map((row) => columns.map((column) => row[column] ?? null)).toSorted(byText);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hub[Symbol.asyncDispose]();
  }
}

function cellsOf(image: Buffer): FoldedRow {
  return readImage(image).map((cell) => {
    if (cell === PLACEHOLDER) throw new Error('a placeholder in an applied record');
    if (cell === null || typeof cell === 'string') return cell;
    return Buffer.from(cell).toString('latin1');
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
