/** Copies through a hub with one source and no sink: what is the same for every kind of source. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectorModule, SourceConfig } from '../../../contracts/config.ts';
import type { CopiedChunk, CopyPlan, SourceConnector, TableCopier } from '../../../contracts/connector.ts';
import { decodeControl, type Control } from '../../../contracts/control.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import { Flag, isRowOp, Op } from '../../../contracts/op.ts';
import { Projector } from '../../../contracts/projection.ts';
import { RecordView } from '../../../contracts/record.ts';
import { PLACEHOLDER, readImage } from '../../../contracts/row-image.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { Hub } from '../../../hub/hub.ts';
import type { TestRuntime } from '../../fixtures/runtime.ts';
import { testConfig } from '../../fixtures/test-hub.ts';

/** What a test does around the copier of the hub. */
export interface ChunkHooks {
  /** Before a chunk's snapshot is taken; the count begins at 1. */
  beforeChunk?(count: number, plan: CopyPlan, signal: AbortSignal): Promise<void>;
  /** When its rows have been read. */
  afterChunk?(count: number, plan: CopyPlan): Promise<void>;
  afterPlan?(): Promise<void>;
  /** Rows of the repair set are read. */
  beforeRows?(keys: number): void;
}

/** A copier with hooks around it. */
export class HookedCopier implements TableCopier {
  readonly #inner: TableCopier;
  readonly #hooks: ChunkHooks;
  readonly #replan: (plan: CopyPlan, isResumed: boolean) => CopyPlan;
  #chunks = 0;

  /** @param replan what the hub gets for a plan: its ranges may be cut anew */
  constructor(inner: TableCopier, hooks: ChunkHooks, replan: (plan: CopyPlan, isResumed: boolean) => CopyPlan) {
    this.#inner = inner;
    this.#hooks = hooks;
    this.#replan = replan;
  }

  get waitingFor(): string {
    return this.#inner.waitingFor ?? '';
  }

  async plan(table: TableSchema, resume: { copyState: string; done: readonly string[] } | null, signal: AbortSignal): Promise<CopyPlan> {
    const plan = await this.#inner.plan(table, resume, signal);
    await this.#hooks.afterPlan?.();
    return this.#replan(plan, resume !== null);
  }

  async chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    const count = ++this.#chunks;
    await this.#hooks.beforeChunk?.(count, plan, signal);
    const chunk = await this.#inner.chunk(plan, range, signal);
    await this.#hooks.afterChunk?.(count, plan);
    return chunk;
  }

  rows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal, exact?: boolean): Promise<CopiedChunk> {
    this.#hooks.beforeRows?.(keys.length);
    return this.#inner.rows(table, keys, signal, exact);
  }
}

/** A row of the fold: cells as the server prints them. */
export type FoldedRow = readonly (string | null)[];

/** What a rig is made of. */
export interface RigParts {
  readonly hub: Hub;
  readonly log: SourceLog;
  readonly runtime: TestRuntime;
}

/** A hub of one source. @param data a folder that outlives it */
export async function startRig(connector: ConnectorModule<SourceConnector>, source: SourceConfig, data: string, runtime: TestRuntime): Promise<RigParts> {
  const hub = await Hub.start(testConfig(data, source, []), runtime, { registry: { connectors: [connector], sinks: [] } });
  return { hub, log: await hub.engine.open(source.name, { create: false }), runtime };
}

/** Disposing stops its hub. */
export abstract class SourceRig implements AsyncDisposable {
  readonly hub: Hub;
  readonly log: SourceLog;
  readonly runtime: TestRuntime;

  protected constructor({ hub, log, runtime }: RigParts) {
    this.hub = hub;
    this.log = log;
    this.runtime = runtime;
  }

  /** Everything that is committed now is in the log. */
  abstract caughtUp(): Promise<void>;
  /** The table at the server, in the same form as {@link fold}. */
  abstract atServer(table: string, columns: readonly string[]): Promise<FoldedRow[]>;
  /** Bytes as `atServer` gives them. */
  protected abstract printed(bytes: Uint8Array): string;

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
      const project = (start: number, end: number) => this.#cells(new Projector(catalog.schemaOf(found.tableId, view.schemaVersion), newest).image(view.bytes, start, end));
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hub[Symbol.asyncDispose]();
  }

  #cells(image: Buffer): FoldedRow {
    return readImage(image).map((cell) => {
      if (cell === PLACEHOLDER) throw new Error('a placeholder in an applied record');
      return cell === null || typeof cell === 'string' ? cell : this.printed(cell);
    });
  }
}

function remove(bag: FoldedRow[], row: FoldedRow): void {
  const index = bag.findIndex((other) => JSON.stringify(other) === JSON.stringify(row));
  if (index < 0) throw new Error('a row is deleted that is not there');
  bag.splice(index, 1);
}

/** An order for rows. */
export function byText(a: FoldedRow, b: FoldedRow): number {
  const [x, y] = [JSON.stringify(a), JSON.stringify(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}
