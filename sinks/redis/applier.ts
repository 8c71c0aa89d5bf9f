import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { Logger } from '../../contracts/runtime.ts';
import { RecordView } from '../../contracts/record.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { FoldedTable, RecordRef, SinkBatch, SinkStep } from '../../contracts/sink.ts';
import { KeyScratch } from './key-scratch.ts';
import { areDisjoint } from './key-template.ts';
import { KeyWalker } from './key-walker.ts';
import { isBefore, type RowVersion } from './row-version.ts';
import { walksOf } from './reshape.ts';
import { CHUNK_BYTES } from './resp/command-buffer.ts';
import { Before, writeUnlink } from './row-writer.ts';
import type { Span } from './row-target.ts';
import type { Store } from './store.ts';
import { changeBetween, type TableLayout } from './table-layout.ts';
import { storedTable, type PreparedTable, type TableSet } from './table-set.ts';

/** Applies the steps of batches to a store, one batch at a time. */
export class Applier {
  readonly #store: Store;
  readonly #tables: TableSet;
  readonly #tablesKey: string;
  readonly #walker: KeyWalker;
  readonly #logger: Logger;
  readonly #view = new RecordView();
  readonly #key = new KeyScratch();
  /** Below it some targets may be ahead: each row is asked for. */
  readonly #aheadUntil: Offset;

  /** @param tablesKey hash in which the layout of each table is kept */
  constructor(store: Store, tables: TableSet, tablesKey: string, logger: Logger) {
    this.#store = store;
    this.#tables = tables;
    this.#tablesKey = tablesKey;
    this.#walker = new KeyWalker(store);
    this.#logger = logger;
    this.#aheadUntil = Math.max(...store.versioned.map(({ freshFrom }) => freshFrom));
  }

  /** Writes the batch; resolves when all of it has been sent. @throws TidemarkError */
  async apply(batch: SinkBatch, signal: AbortSignal): Promise<{ readonly durable: Promise<void> }> {
    await this.#store.beginBatch(batch);
    for (const step of batch.steps) {
      if (signal.aborted) throw new TidemarkError('ABORTED', 'a batch was being applied');
      await this.#step(step, batch, signal);
    }
    const { epoch, to, position, cursor } = batch;
    return this.#store.endBatch({ epoch, offset: to, position, cursor });
  }

  async #step(step: SinkStep, batch: SinkBatch, signal: AbortSignal): Promise<void> {
    switch (step.kind) {
      case 'rows':
        for (const table of step.tables) await this.#rows(table, batch, signal);
        return;
      case 'schema':
        await this.#schema(step.before, step.after, batch, signal);
        return;
      case 'table-state':
        // While a table is copied, and when it is stopped, rows stay as they come: status says what they are worth.
        if (step.state === 'removed') await this.#removed(step.table, batch, signal);
    }
  }

  async #rows(table: FoldedTable, batch: SinkBatch, signal: AbortSignal): Promise<void> {
    const prepared = this.#tables.of(table.schema);
    if (table.truncate) {
      await this.#store.settle();
      const { tableId, version } = table.schema;
      await this.#walker.empty(prepared.layout, (target) => target.wants(tableId, version, batch), signal);
    }
    await this.#deletes(prepared, table.deletes, batch, signal);
    await this.#upserts(prepared, table.upserts, false, batch, signal);
    await this.#upserts(prepared, table.inserts, !table.copying, batch, signal);
  }

  async #deletes({ layout, channel }: PreparedTable, refs: readonly RecordRef[], batch: SinkBatch, signal: AbortSignal): Promise<void> {
    const asks = batch.after < this.#aheadUntil;
    const { tableId, version } = layout.schema;
    for (const ref of refs) {
      const view = this.#view.seek(ref.batch.records, ref.at);
      const target = this.#place(layout, view);
      if (asks && !target.wants(tableId, version, batch)) continue;
      writeUnlink(target.out, this.#key);
      target.seen(this.#key);
      if (layout.index !== null) target.remove(layout.index, this.#key);
      if (channel !== null) target.publish(channel, this.#key);
      if (target.out.length < CHUNK_BYTES) continue;
      if (signal.aborted) throw new TidemarkError('ABORTED', 'a batch was being applied');
      await target.push();
    }
  }

  async #upserts(
    { layout, writer, channel }: PreparedTable, refs: readonly RecordRef[], areNew: boolean, batch: SinkBatch, signal: AbortSignal,
  ): Promise<void> {
    const asks = batch.after < this.#aheadUntil;
    const { tableId, version } = layout.schema;
    for (const ref of refs) {
      const view = this.#view.seek(ref.batch.records, ref.at);
      const target = this.#place(layout, view);
      if (asks && !target.wants(tableId, version, batch)) continue;
      const before = target.replaces ? Before.anything : areNew && batch.after >= target.freshFrom ? Before.nothing : Before.row;
      writer.put(target.out, this.#key, view, before);
      target.seen(this.#key);
      if (layout.index !== null) target.add(layout.index, this.#key);
      if (channel !== null) target.publish(channel, this.#key);
      if (target.out.length < CHUNK_BYTES) continue;
      if (signal.aborted) throw new TidemarkError('ABORTED', 'a batch was being applied');
      await target.push();
    }
  }

  #place(layout: TableLayout, view: RecordView) {
    this.#store.startKey(this.#key);
    layout.template.write(view.bytes, view.keyStart, view.keyEnd, this.#key);
    return this.#store.place(this.#key);
  }

  async #schema(before: TableSchema | null, after: TableSchema, span: Span, signal: AbortSignal): Promise<void> {
    const { layout } = this.#tables.of(after);
    await this.#store.settle();
    const older = this.#tables.namesake(after);
    if (older !== null) await this.#removed(older.schema, span, signal);
    if (before === null) await this.#beginAgain(after, span, signal);
    this.#tables.goesLive(layout);
    if (before !== null) await this.#reshape(this.#tables.of(before).layout, layout, span, signal);
    this.#setVersion(after.tableId, { version: after.version, half: false }, span);
    this.#store.control.out.command('HSET', this.#tablesKey, String(after.tableId), JSON.stringify(storedTable(layout)));
    await this.#store.settle();
  }

  /**
   * A table begins. Where rows of it are there already, this is a repetition, and they may be of any later shape: they
   * are removed, since everything that the log has of the table follows.
   */
  async #beginAgain(after: TableSchema, span: Span, signal: AbortSignal): Promise<void> {
    const { tableId } = after;
    const begun = this.#store.versioned.filter((partition) => !partition.isAhead(span) && partition.versionOf(tableId).version > 0);
    if (begun.length === 0) return;
    for (const layout of this.#tables.layoutsOf(tableId)) await this.#walker.empty(layout, (target) => !target.isAhead(span), signal);
    for (const partition of begun) partition.setVersion(tableId, null);
    await this.#store.settle();
  }

  #setVersion(tableId: number, version: RowVersion, span: Span): void {
    for (const partition of this.#store.versioned) {
      if (!partition.isAhead(span) && isBefore(partition.versionOf(tableId), version)) partition.setVersion(tableId, version);
    }
  }

  /** Walks over the rows that are there, where they must follow. */
  async #reshape(before: TableLayout, after: TableLayout, span: Span, signal: AbortSignal): Promise<void> {
    const change = changeBetween(before, after);
    if (change === null) return;
    const table = tableName(after.schema);
    if (change.moves && before.template.fingerprint !== after.template.fingerprint && !areDisjoint(before.template, after.template)) {
      throw new TidemarkError('REDIS_KEY_OVERLAP', `the keys that ${table} had and the ones that it gets with its new name could be the same`, {
        where: { table, offset: span.to },
      });
    }
    const walks = walksOf(change);
    for (const [index, walk] of walks.entries()) {
      const done: RowVersion = { version: after.schema.version, half: index < walks.length - 1 };
      await this.#store.shapeChanges();
      const rows = await this.#walker.reshape(before, walk, done, span, signal);
      this.#setVersion(after.schema.tableId, done, span);
      await this.#store.shapeChanges();
      this.#logger.log('info', 'redis.reshaped', { table, rows, version: after.schema.version, half: done.half });
    }
  }

  /** A table has left, or a new generation of it begins: rows that nobody maintains are wrong answers. */
  async #removed(schema: TableSchema, span: Span, signal: AbortSignal): Promise<void> {
    if (!this.#tables.isLive(schema.tableId)) return;
    const { layout } = this.#tables.of(schema);
    await this.#store.settle();
    const rows = await this.#walker.empty(layout, (target) => target.wants(schema.tableId, schema.version, span), signal);
    for (const partition of this.#store.versioned) partition.setVersion(schema.tableId, null);
    this.#store.control.out.command('HDEL', this.#tablesKey, String(schema.tableId));
    this.#tables.goesAway(schema.tableId);
    await this.#store.settle();
    this.#logger.log('info', 'redis.table-removed', { table: tableName(schema), rows });
  }
}
