/**
 * The second session of a stream: answers what a Relation message leaves open, and looks at the catalog every few
 * seconds for what comes without an event. One statement at a time.
 */
import { tableName } from '../../../contracts/schema.ts';
import type { Logger } from '../../../contracts/runtime.ts';
import { formatTypes, integer, listTables, readFingerprints, text } from '../catalog/catalog-query.ts';
import { streamEnd } from '../copy/xid-snapshot.ts';
import { parseLsn, type Lsn } from '../position.ts';
import { ensurePublication } from '../catalog/publication.ts';
import type { Relation } from '../stream/relation.ts';
import type { SchemaTracker, TableReading } from './schema-tracker.ts';
import type { Session } from '../session.ts';
import { isCapturable, type CatalogReading, type SourceCatalog } from '../catalog/source-catalog.ts';
import type { SourceTable } from '../catalog/source-table.ts';
import { newPartitionsHarmless } from '../catalog/partitions.ts';

/** What polling found. It is true of the stream once that has passed `lsn`. */
export interface CatalogNews {
  readonly lsn: Lsn;
  readonly changed: ReadonlyMap<number, TableReading>;
  /** When it was read, in the order of all readings. */
  readonly sequence: number;
}

export interface PollResult {
  readonly news: CatalogNews | null;
  /** Tables that are as they were when last remembered. */
  readonly same: readonly number[];
  /** An xmax of 64 bits. */
  readonly xmax: number;
}

export class CatalogWatch {
  readonly #session: Session;
  readonly #catalog: SourceCatalog;
  readonly #tracker: SchemaTracker;
  readonly #logger: Logger;
  #queue: Promise<unknown> = Promise.resolve();
  #sequence = 0;
  /** Tables without identity that were named in the log of the program already. */
  readonly #refused = new Set<number>();
  /** Readings by OID, of the start or of the last poll that changed them. */
  readonly #known = new Map<number, { readonly reading: TableReading; readonly sequence: number }>();

  constructor(session: Session, catalog: SourceCatalog, tracker: SchemaTracker, logger: Logger) {
    this.#session = session;
    this.#catalog = catalog;
    this.#tracker = tracker;
    this.#logger = logger;
  }

  /** Reads every selected table, and those of the log. To be called first. */
  begin(): Promise<PollResult> {
    return this.#alone(async () => {
      const { oids, xmax } = await this.#present();
      const reading = await this.#published([...new Set([...oids, ...this.#trackedOids()])]);
      const lsn = await this.#end();
      const readings = await this.#readings(reading, this.#trackedOids());
      const sequence = ++this.#sequence;
      for (const [oid, one] of readings) this.#known.set(oid, { reading: one, sequence });
      return { news: { lsn, changed: readings, sequence }, same: [], xmax };
    });
  }

  /** The last reading of a table that was not used up by a Relation message. */
  known(oid: number): TableReading | null {
    return this.#known.get(oid)?.reading ?? null;
  }

  sequenceOf(oid: number): number {
    return this.#known.get(oid)?.sequence ?? 0;
  }

  /**
   * Reads one table for a Relation message, and the names of types that only the message knows.
   * @param xid the transaction that the message came in, of 64 bits
   */
  read(relation: Relation, xid: number): Promise<TableReading> {
    return this.#alone(async () => {
      await awaitVisible(this.#session, xid);
      const namesake = this.#tracker.tables.byName(tableName(relation));
      const oids = [relation.oid, ...(namesake === null ? [] : [namesake.oid])];
      const reading = await this.#catalog.read(this.#session, oids);
      const typed = await this.#withTypes(relation, reading);
      const sequence = ++this.#sequence;
      const one = (await this.#readings({ ...reading, types: typed.types }, [relation.oid])).get(relation.oid);
      const found = one ?? { table: null, reading: typed, storageHarmless: true, namesakeGone: true };
      this.#known.set(relation.oid, { reading: found, sequence });
      return found;
    });
  }

  /**
   * Looks at every table of the log and of the configuration. New tables are put into the publication.
   * @param also tables to be read although they seem unchanged
   */
  poll(also: ReadonlySet<number>): Promise<PollResult> {
    return this.#alone(async () => {
      const { oids, xmax } = await this.#present();
      const tracked = this.#trackedOids();
      const prints = await readFingerprints(this.#session, [...new Set([...oids, ...tracked])], this.#catalog.publication);
      const same: number[] = [];
      const changed = new Set<number>();
      for (const [oid, print] of prints) {
        const remembered = this.#tracker.memory.get(oid);
        if (remembered?.table?.fingerprint === print && !also.has(oid)) same.push(oid);
        else if (remembered !== undefined || also.has(oid) || this.#known.get(oid)?.reading.table?.fingerprint !== print) changed.add(oid);
      }
      const gone = tracked.filter((oid) => !prints.has(oid));
      if (changed.size === 0 && gone.length === 0) return { news: null, same, xmax };
      const reading = await this.#published([...changed]);
      const lsn = await this.#end();
      const readings = await this.#readings(reading, gone);
      const sequence = ++this.#sequence;
      for (const [oid, one] of readings) this.#known.set(oid, { reading: one, sequence });
      return { news: { lsn, changed: readings, sequence }, same, xmax };
    });
  }

  /** Runs a statement of ours between two of these. */
  run(statement: string, values: readonly unknown[] = []): Promise<void> {
    return this.#alone(async () => {
      await this.#session.query(statement, values);
    });
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #present(): Promise<{ oids: number[]; xmax: number }> {
    const tables = (await listTables(this.#session)).filter((table) => this.#catalog.config.tables(table));
    const [row] = await this.#session.query('SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xmax');
    return { oids: tables.map((table) => table.oid), xmax: integer(row ?? {}, 'xmax') };
  }

  /** Everything that a reading before this call has seen is below it. */
  async #end(): Promise<Lsn> {
    const [row = {}] = await this.#session.query(
      `SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END AS lsn,
              current_setting('wal_block_size') AS page, pg_size_bytes(current_setting('wal_segment_size')) AS segment`,
    );
    return streamEnd(parseLsn(text(row, 'lsn')), integer(row, 'page'), integer(row, 'segment'));
  }

  #trackedOids(): number[] {
    return [...this.#tracker.tables.all()].map((table) => table.oid);
  }

  /** One per table read, and for those that are not there. */
  async #readings(reading: CatalogReading, expected: readonly number[]): Promise<Map<number, TableReading>> {
    const names = new Map(reading.tables.map((table) => [table.oid, tableName(table)]));
    const readings = new Map<number, TableReading>();
    for (const table of reading.tables) {
      const tracked = this.#tracker.tables.get(table.oid);
      const namesake = this.#tracker.tables.byName(tableName(table));
      const storageHarmless = tracked?.schema.storage === undefined ||
        (await newPartitionsHarmless(this.#session, tracked.schema.storage, table.storage));
      const namesakeGone = namesake === null || names.get(namesake.oid) !== tableName(table);
      readings.set(table.oid, { table, reading, storageHarmless, namesakeGone });
    }
    for (const oid of expected) {
      if (!readings.has(oid)) readings.set(oid, { table: null, reading, storageHarmless: true, namesakeGone: true });
    }
    return readings;
  }

  async #withTypes(relation: Relation, reading: CatalogReading): Promise<CatalogReading> {
    const { typeNames } = this.#tracker;
    const now = new Set<string>();
    for (const { typeOid, typmod, nativeType } of reading.tables.flatMap((table) => table.columns)) {
      now.add(`${typeOid}:${typmod}`);
      typeNames.set(`${typeOid}:${typmod}`, nativeType);
    }
    const other = relation.columns.filter((column) => !now.has(`${column.typeOid}:${column.typmod}`));
    if (other.length === 0) return reading;
    const names = await formatTypes(this.#session, other.map((column) => ({ oid: column.typeOid, typmod: column.typmod })));
    other.forEach((column, index) => {
      const name = names[index];
      // '???' is a type that is gone; the stream has told its name.
      if (name !== undefined && name !== '???') typeNames.set(`${column.typeOid}:${column.typmod}`, name);
    });
    const types = await this.#catalog.types(this.#session, other.map((column) => column.typeOid));
    return { ...reading, types: new Map([...types, ...reading.types]) };
  }

  /** The tables as they are once those that the configuration selects are in the publication. */
  async #published(oids: readonly number[]): Promise<CatalogReading> {
    const reading = await this.#catalog.read(this.#session, oids);
    // What the publication has of a table is part of the reading.
    return (await this.#addMissing(reading.tables)) ? this.#catalog.read(this.#session, oids) : reading;
  }

  /** Tables that the configuration selects and the publication lacks: created since it was made, or selected since. True: there were some. */
  async #addMissing(tables: readonly SourceTable[]): Promise<boolean> {
    const selected = tables.filter((table) => this.#catalog.config.tables(table));
    for (const table of selected) {
      if (this.#catalog.isFollowed(table) || this.#refused.has(table.oid)) continue;
      this.#refused.add(table.oid);
      this.#logger.log('warn', 'table.refused', { table: tableName(table), code: isCapturable(table) ? 'POSTGRES_COLUMN_RULE' : 'POSTGRES_IDENTITY' });
    }
    if (this.#session.inRecovery) return false;
    const added = await ensurePublication(this.#session, this.#catalog.publication, selected.filter((table) => this.#catalog.isFollowed(table)));
    for (const table of added) this.#logger.log('info', 'table.published', { table: tableName(table) });
    return added.length > 0;
  }
}

/** A commit waits for standbys before it is visible, and may wait for one that is not there. */
const LOOKS_FOR_COMMIT = 200;
const LOOK_AGAIN_SECONDS = 0.005;

/**
 * A commit is in the WAL, and with us, before it is visible: a catalog read meanwhile would not have the change of shape
 * that the message tells of. Waits about a second at most; what is read then may want a re-copy.
 */
async function awaitVisible(session: Session, xid: number): Promise<void> {
  for (let look = 0; look < LOOKS_FOR_COMMIT; look++) {
    const [row] = await session.query('SELECT pg_visible_in_snapshot($1::text::xid8, pg_current_snapshot()) AS visible', [String(xid)]);
    if (row?.['visible'] === 't') return;
    await session.query(`SELECT pg_sleep(${LOOK_AGAIN_SECONDS})`);
  }
}
