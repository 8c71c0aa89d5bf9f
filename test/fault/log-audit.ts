import pg from 'pg';
import type { Catalog } from '../../contracts/catalog.ts';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import { Flag, Op } from '../../contracts/op.ts';
import type { PositionCodec } from '../../contracts/position.ts';
import { PLACEHOLDER, readImage } from '../../contracts/row-image.ts';
import { RecordView } from '../../contracts/record.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';

/** A row by column number, in canonical text; a column that is not there yet is filled when compared. */
type Row = ReadonlyMap<number, string | null>;

/**
 * Reads a hub's folder from outside and folds it by the plainest rules there are, as an oracle of the real fold. It goes
 * on where the last audit ended, and so sees a record that changed or moved afterwards.
 */
export class LogAudit {
  readonly #directory: string;
  readonly #source: string;
  readonly #positions: PositionCodec;
  readonly #tables = new Map<number, Map<string, Row>>();
  readonly #xids = new Set<number>();
  #offset = 0;
  #lastRecord: Buffer = Buffer.alloc(0);
  #lastPosition: Uint8Array | null = null;

  /** @param directory the hub's data folder; no hub may run on it during `advance` */
  constructor(directory: string, source: string, positions: PositionCodec) {
    this.#directory = directory;
    this.#source = source;
    this.#positions = positions;
  }

  /** Offset of the last record audited. */
  get offset(): number {
    return this.#offset;
  }

  /**
   * Audits what has come since. Answers the catalog and the durable position.
   * @throws when an offset is skipped, a transaction comes twice, positions go back, or what was read before has changed
   */
  async advance(): Promise<{ catalog: Catalog; position: Uint8Array | null }> {
    await using engine = await EmbeddedLogEngine.openReadOnly(this.#directory, createTestRuntime());
    const log = await engine.open(this.#source, { create: false });
    const { highWatermark, position } = log.state();
    if (highWatermark < this.#offset) throw new Error(`the log went back from offset ${this.#offset} to ${highWatermark}`);
    const catalog = log.catalog();
    const after = Math.max(0, this.#offset - 1);
    const view = new RecordView();
    for await (const batch of log.read({ after, to: highWatermark, follow: false, signal: AbortSignal.timeout(120_000) })) {
      this.#batch(batch, view, catalog);
    }
    if (this.#offset !== highWatermark) throw new Error(`reading ended at ${this.#offset}, not at the high watermark ${highWatermark}`);
    return { catalog, position };
  }

  #batch(batch: ChangeBatch, view: RecordView, catalog: Catalog): void {
    view.reset(batch.records);
    for (const entry of batch.transactions) {
      for (let i = 0; i < entry.count; i++) {
        if (!view.next()) throw new Error(`the batch at ${batch.baseOffset} has too few records`);
        this.#record(batch.baseOffset + entry.first + i, view, catalog, entry.kind === 'source' && entry.begins && i === 0 ? entry.xid : 0);
      }
      if (entry.kind === 'source' && entry.commits) this.#forward(entry.position, batch.baseOffset);
    }
  }

  #record(offset: number, view: RecordView, catalog: Catalog, newXid: number): void {
    if (offset === this.#offset) {
      if (!view.record().equals(this.#lastRecord)) throw new Error(`the record at offset ${offset} has changed since it was readable`);
      return;
    }
    if (offset !== this.#offset + 1) throw new Error(`offset ${offset} comes after ${this.#offset}`);
    this.#offset = offset;
    this.#lastRecord = Buffer.from(view.record());
    if (newXid !== 0) {
      if (this.#xids.has(newXid)) throw new Error(`transaction ${newXid} is in the log twice, again at offset ${offset}`);
      this.#xids.add(newXid);
    }
    this.#fold(view, catalog);
  }

  #forward(position: Uint8Array, offset: number): void {
    if (this.#lastPosition !== null && this.#positions.compare(this.#lastPosition, position) > 0) {
      throw new Error(`positions go back in the batch at offset ${offset}`);
    }
    this.#lastPosition = Buffer.from(position);
  }

  #fold(view: RecordView, catalog: Catalog): void {
    if ((view.flags & Flag.notApplied) !== 0) return;
    let table = this.#tables.get(view.tableId);
    if (table === undefined) this.#tables.set(view.tableId, (table = new Map<string, Row>()));
    if (view.op === Op.truncate) table.clear();
    const key = view.key().toString('hex');
    if (view.op === Op.delete) table.delete(key);
    if (view.op !== Op.create && view.op !== Op.update && view.op !== Op.read) return;
    const { columns } = catalog.schemaOf(view.tableId, view.schemaVersion);
    const cells = readImage(view.after());
    if (cells.length !== columns.length) throw new Error(`an image of ${cells.length} columns for a schema of ${columns.length}`);
    const row = new Map<number, string | null>();
    columns.forEach((column, index) => {
      const cell = cells[index] ?? null;
      if (cell === PLACEHOLDER) throw new Error(`a placeholder in the log at offset ${this.#offset}, column ${column.name}`);
      row.set(column.number, cell instanceof Uint8Array ? Buffer.from(cell).toString('hex') : cell);
    });
    table.set(key, row);
  }

  /** Differences between the folded log and the tables of the database as they are now; empty when there is none. */
  async compareWith(url: string, catalog: Catalog): Promise<string[]> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      await client.query("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET extra_float_digits = 3");
      const differences: string[] = [];
      for (const { tableId, versions, state } of catalog.tables()) {
        const schema = versions.at(-1)?.schema;
        if (schema === undefined || state.state === 'removed') continue;
        if (state.state !== 'consistent') differences.push(`${tableName(schema)} is ${state.state}`);
        differences.push(...(await this.#compareTable(client, tableId, schema)));
      }
      return differences;
    } finally {
      await client.end();
    }
  }

  async #compareTable(client: pg.Client, tableId: number, schema: TableSchema): Promise<string[]> {
    const columns = schema.columns.map((column) => `${pg.escapeIdentifier(column.name)}::text`);
    const { rows } = await client.query<(string | null)[]>({
      text: `SELECT ${columns.join(', ')} FROM ${pg.escapeIdentifier(schema.namespace)}.${pg.escapeIdentifier(schema.name)}`,
      rowMode: 'array',
    });
    const expected = rows.map((row) => JSON.stringify(row)).toSorted();
    const folded = [...(this.#tables.get(tableId)?.values() ?? [])]
      .map((row) => JSON.stringify(schema.columns.map((column) => (row.has(column.number) ? row.get(column.number) : column.fill))))
      .toSorted();
    if (expected.length === folded.length && expected.every((row, index) => row === folded[index])) return [];
    const inLog = new Set(folded);
    const atSource = new Set(expected);
    const name = tableName(schema);
    return [
      `${name}: ${expected.length} rows at the source, ${folded.length} in the log at offset ${this.#offset}`,
      ...expected.filter((row) => !inLog.has(row)).slice(0, 3).map((row) => `${name}: not in the log: ${row}`),
      ...folded.filter((row) => !atSource.has(row)).slice(0, 3).map((row) => `${name}: only in the log: ${row}`),
    ];
  }
}
